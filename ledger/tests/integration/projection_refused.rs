//! Commits with a row that the views' database cannot store.

use std::sync::Arc;

use rollbook_ledger::projection::sqlite;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::views::{PageCursor, StepRowStatus};
use rollbook_ledger::proto::v1;
use rollbook_ledger::proto::v1::event::Kind;

use crate::projection_history::{History, opened, rollout, started};

/// Returns incompressible text, which is too long for any index.
fn noise(bytes: usize) -> String {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut text = String::new();
    while text.len() < bytes {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        text.push_str(&format!("{seed:016x}"));
    }
    text
}

/// Applies a row that is too long for an index; `refuses`: the database has such a limit.
pub(crate) async fn a_row_that_the_database_refuses_is_an_anomaly(
    store: &Arc<dyn ViewStore>,
    refuses: bool,
) {
    let mut history = History::default();
    let r = rollout("r1");
    let metric = |metric: String| {
        Kind::SuccessMetricRecorded(v1::SuccessMetricRecorded {
            metric,
            target: "value < 1".to_owned(),
            actual: "0".to_owned(),
            status: v1::Verdict::Pass.into(),
        })
    };
    history.push(&r, "ada", vec![opened()]);
    history.push(&r, "ada", vec![Kind::RolloutStarted(v1::RolloutStarted {})]);
    let long = history.push(
        &r,
        "orchestrator",
        vec![metric(noise(20_000)), metric("errors".to_owned())],
    );
    let last = history.push(&r, "worker", vec![started("1.1", 1)]);
    let reached = store.apply(&history.commits).await.unwrap();
    assert_eq!(reached.sequence, last);
    let detail = store.rollout("r1").await.unwrap().data.unwrap();
    assert_eq!(detail.phases[0].steps[0].status, StepRowStatus::Running);
    let names = detail.success_metrics.iter().map(|row| row.metric.as_str());
    assert!(names.clone().any(|name| name == "errors"));
    let anomalies = store
        .anomalies(PageCursor::default(), 0)
        .await
        .unwrap()
        .data
        .rows;
    if refuses {
        let [anomaly] = &anomalies[..] else {
            panic!("{anomalies:?}")
        };
        assert_eq!((anomaly.sequence, anomaly.idx), (long, 2));
        assert!(anomaly.reason.contains("success_metrics"), "{anomaly:?}");
        assert!(names.clone().all(|name| name.len() < 1_000));
    } else {
        assert_eq!(anomalies, []);
    }

    // The rows are the same however the commits are batched.
    let dump = store.dump().await.unwrap();
    store.reset().await.unwrap();
    for commit in &history.commits {
        store.apply(std::slice::from_ref(commit)).await.unwrap();
    }
    assert_eq!(store.dump().await.unwrap(), dump);
}

/// SQLite itself ends a transaction when the disk is full; `RAISE(ROLLBACK)` has the same effect.
#[tokio::test]
async fn a_transaction_that_sqlite_ended_is_not_reused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("views.db");
    let store = sqlite::open(&file).await.unwrap();
    let mut history = History::default();
    let last = history.push(&rollout("r1"), "ada", vec![opened()]);
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display()))
        .await
        .unwrap();
    let script = async |sql: &'static str| sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    script(
        "CREATE TRIGGER ends BEFORE UPDATE ON view_position \
         BEGIN SELECT RAISE(ROLLBACK, 'ended by itself'); END",
    )
    .await;
    store.apply(&history.commits).await.unwrap_err();
    script("DROP TRIGGER ends").await;
    let reached = store.apply(&history.commits).await.unwrap();
    assert_eq!(reached.sequence, last);
}
