//! The contract suite for every adapter of the view store.

use std::path::PathBuf;
use std::sync::Arc;

use rollbook_ledger::journal::StoredCommit;
use rollbook_ledger::projection::store::{ViewError, ViewStore};
use rollbook_ledger::projection::views::{
    AlertStatus, AsOf, FlagMode, GateStatus, Health, PageCursor, RegressionFilter, RolloutFilter,
    RolloutStatus, SignOffStatus, StepRowStatus, TimelineFilter, Verdict, WorkerStatus,
};
use rollbook_ledger::projection::{postgres, sqlite};
use rollbook_ledger::proto::v1::event::Kind;
use rollbook_ledger::proto::v1::{self, Event};

use crate::postgres::Postgres;
use crate::projection_history::{
    Choice, History, defined, opened, random, recorded_at, rollout, started, worker, worker_joined,
    worker_left,
};
use crate::projection_positions::positions_name_their_commit;
use crate::projection_refused::a_row_that_the_database_refuses_is_an_anomaly;
use crate::projection_story::{ending, story};

/// The location of a store; opening it again finds its content.
#[derive(Debug, Clone)]
enum Place {
    Sqlite(PathBuf),
    Postgres { url: String, schema: String },
}

impl Place {
    async fn open(&self) -> Arc<dyn ViewStore> {
        match self {
            Self::Sqlite(path) => sqlite::open(path).await.unwrap(),
            Self::Postgres { url, schema } => postgres::open(url, schema).await.unwrap(),
        }
    }
}

async fn an_empty_store_says_so(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.position().await.unwrap(), AsOf::default());
    let rollouts = store.rollouts(&RolloutFilter::default()).await.unwrap();
    assert_eq!(rollouts.as_of, AsOf::default());
    assert!(rollouts.data.is_empty());
    assert!(store.rollout("r1").await.unwrap().data.is_none());
    assert!(store.health("r1").await.unwrap().data.is_none());
    assert!(store.flags(None).await.unwrap().data.is_empty());
    assert_eq!(store.apply(&[]).await.unwrap(), AsOf::default());
}

async fn the_story_is_projected(place: &Place) {
    let store = place.open().await;
    let mut history = story();
    let last = history.commits.len() as u64;
    let reached = store.apply(&history.commits).await.unwrap();
    assert_eq!(reached.sequence, last);
    assert_eq!(store.position().await.unwrap(), reached);

    let answer = store.rollout("r1").await.unwrap().with_lag_behind(last + 2);
    assert_eq!((answer.as_of, answer.lag), (reached, Some(2)));
    let detail = answer.data.unwrap();
    assert_eq!(detail.rollout.status, RolloutStatus::Running);
    assert_eq!(detail.rollout.current_phase.as_deref(), Some("2"));
    assert_eq!(detail.rollout.params["count"], "5000");
    assert_eq!(detail.phases.len(), 2);
    let phase = &detail.phases[0];
    assert_eq!(phase.steps[0].attempt, 2);
    assert_eq!(phase.steps[0].verdict, Some(Verdict::Pass));
    assert_eq!(phase.steps[0].duration_ms, Some(1_500));
    assert_eq!(phase.steps[0].measurements[0].value, Some(0.1 + 0.2));
    assert_eq!(phase.steps[1].worker, "bob");
    let gate = phase.gate_detail.as_ref().unwrap();
    assert_eq!(gate.gate.status, GateStatus::Passed);
    let signed: Vec<_> = gate.sign_offs.iter().map(|row| row.status).collect();
    assert_eq!(signed, [SignOffStatus::Voided, SignOffStatus::Given]);
    assert_eq!(gate.sign_offs[1].authentication, "asserted");
    let watch = &detail.phases[1].steps[1];
    assert_eq!(
        (watch.status, watch.verdict),
        (StepRowStatus::Finished, Some(Verdict::Fail))
    );
    assert_eq!(watch.measurements[0].value, Some(7.25));
    let reasons: Vec<(&str, u32)> = detail
        .health_detail
        .deductions
        .iter()
        .map(|deduction| (deduction.reason.as_str(), deduction.points))
        .collect();
    assert_eq!(
        reasons,
        [
            ("failed_step", 15),
            ("open_alert", 40),
            ("unresolved_regression", 31),
            ("audit_needs_attention", 10),
        ]
    );
    assert_eq!(detail.rollout.health, Health::Critical);
    assert_eq!(detail.rollout.health_score, Some(4));
    assert_eq!(detail.audits[0].health_permille, 899);
    assert_eq!(detail.success_metrics.len(), 2);
    assert_eq!(detail.snapshots[0].deals, 5_000);

    let flags = store.flags(Some("production")).await.unwrap().data;
    assert_eq!(flags[0].mode, FlagMode::Percentage);
    assert_eq!(flags[0].setting.to_string(), "12.5 %");
    assert!(store.flags(Some("staging")).await.unwrap().data.is_empty());
    let samples = store
        .measurements("r1", "2.2", PageCursor::default(), 2)
        .await
        .unwrap();
    assert_eq!(samples.data.rows.len(), 2);
    let rest = store
        .measurements("r1", "2.2", samples.data.next.unwrap(), 2)
        .await
        .unwrap();
    assert_eq!((rest.data.rows.len(), rest.data.next), (1, None));

    ending(&mut history);
    let more = &history.commits[history.commits.len() - 3..];
    store.apply(more).await.unwrap();
    let detail = store.rollout("r1").await.unwrap().data.unwrap();
    assert_eq!(detail.rollout.status, RolloutStatus::Paused);
    assert_eq!(detail.rollbacks[0].verdict, Some(Verdict::Pass));
    assert_eq!(detail.alerts[0].status, AlertStatus::Resolved);
    assert_eq!(detail.comparisons[0].superseded_by, Some(last + 3));
    assert_eq!(detail.rollout.health_score, Some(75));
    let changes = store
        .flag_history("production", "DEAL_TYPE")
        .await
        .unwrap()
        .data;
    let changes: Vec<_> = changes.iter().map(|row| row.changed_by.as_str()).collect();
    assert_eq!(changes, ["ada", "worker", "bob"]);
    assert_eq!(store.comparisons(Some("r1")).await.unwrap().data.len(), 2);
    assert_eq!(store.snapshots(None).await.unwrap().data.len(), 1);
    assert_eq!(store.audits(Some("other")).await.unwrap().data.len(), 0);
    assert_eq!(store.alerts(None, false).await.unwrap().data.len(), 1);
    assert_eq!(store.alerts(None, true).await.unwrap().data.len(), 0);
    let anomalies = store.anomalies(PageCursor::default(), 0).await.unwrap();
    assert_eq!(anomalies.data.rows, []);
}

async fn lists_are_filtered_and_paged(place: &Place) {
    let store = place.open().await;
    let mut history = story();
    for id in ["r2", "r3"] {
        history.push(&rollout(id), "ada", vec![opened()]);
    }
    store.apply(&history.commits).await.unwrap();

    let mut filter = RolloutFilter {
        limit: 2,
        ..RolloutFilter::default()
    };
    let page = store.rollouts(&filter).await.unwrap().data;
    let ids: Vec<_> = page.iter().map(|row| row.rollout.as_str()).collect();
    assert_eq!(ids, ["r3", "r2"]);
    filter.before_sequence = Some(page[1].opened_sequence);
    assert_eq!(store.rollouts(&filter).await.unwrap().data[0].rollout, "r1");
    let filter = RolloutFilter {
        status: Some(RolloutStatus::Open),
        environment: Some("production".to_owned()),
        runbook: Some("deal-type-awareness".to_owned()),
        ..RolloutFilter::default()
    };
    assert_eq!(store.rollouts(&filter).await.unwrap().data.len(), 2);

    let mut filter = RegressionFilter {
        rollout: Some("r1".to_owned()),
        current_only: true,
        limit: 8,
        ..RegressionFilter::default()
    };
    let mut found = Vec::new();
    loop {
        let page = store.regressions(&filter).await.unwrap().data;
        found.extend(page.rows.into_iter().map(|row| row.ordinal));
        match page.next {
            Some(next) => filter.after = next,
            None => break,
        }
    }
    assert_eq!(found, (0..20).collect::<Vec<u32>>());

    let mut filter = TimelineFilter {
        rollout: Some("r1".to_owned()),
        limit: 5,
        ..TimelineFilter::default()
    };
    let mut told = Vec::new();
    loop {
        let page = store.timeline(&filter).await.unwrap().data;
        assert!(page.rows.len() <= 5);
        told.extend(page.rows);
        match page.next {
            Some(next) => filter.after = next,
            None => break,
        }
    }
    let of_part = TimelineFilter {
        rollout: Some("r1".to_owned()),
        subject: told
            .iter()
            .map(|row| row.subject.clone())
            .find(|subject| !subject.is_empty()),
        ..TimelineFilter::default()
    };
    let part = store.timeline(&of_part).await.unwrap().data.rows;
    let wanted = told
        .iter()
        .filter(|row| Some(&row.subject) == of_part.subject.as_ref());
    assert_eq!(part, wanted.cloned().collect::<Vec<_>>());
    assert!(!part.is_empty() && part.len() < told.len());

    let all = store
        .timeline(&TimelineFilter::default())
        .await
        .unwrap()
        .data;
    let events: usize = history.commits.iter().map(|c| c.commit.events.len()).sum();
    assert_eq!(all.rows.len(), events);
    // The flag's definition and the two other rollouts do not belong to r1; its change by r1 does.
    assert_eq!(told.len(), events - 3);
    let of_flag: Vec<_> = told
        .iter()
        .filter(|row| row.event == "flag_changed")
        .collect();
    assert_eq!(
        of_flag[0].sentence,
        "worker changed flag production/DEAL_TYPE from off to 12.5 %: step by step"
    );
}

async fn redelivery_is_harmless_and_a_gap_is_refused(place: &Place) {
    let store = place.open().await;
    let history = story();
    store.apply(&history.commits[..10]).await.unwrap();
    let before = store.dump().await.unwrap();
    let reached = store.apply(&history.commits[3..10]).await.unwrap();
    assert_eq!(reached.sequence, 10);
    assert_eq!(store.dump().await.unwrap(), before);

    let error = store.apply(&history.commits[11..]).await.unwrap_err();
    assert!(
        matches!(
            error,
            ViewError::Gap {
                position: 10,
                first: 12
            }
        ),
        "{error}"
    );
    let mut holed: Vec<StoredCommit> = history.commits[10..14].to_vec();
    holed.remove(2);
    let error = store.apply(&holed).await.unwrap_err();
    assert!(
        matches!(
            error,
            ViewError::Gap {
                position: 12,
                first: 14
            }
        ),
        "{error}"
    );
    assert_eq!(
        store.dump().await.unwrap(),
        before,
        "a refused batch leaves nothing"
    );

    store.apply(&history.commits[5..]).await.unwrap();
    let whole = store.dump().await.unwrap();
    store.reset().await.unwrap();
    assert_eq!(store.position().await.unwrap(), AsOf::default());
    assert!(
        store
            .dump()
            .await
            .unwrap()
            .iter()
            .all(|(_, rows)| rows.is_empty())
    );
    store.apply(&history.commits).await.unwrap();
    assert_eq!(store.dump().await.unwrap(), whole);
}

async fn an_inconsistent_event_is_an_anomaly(place: &Place) {
    let store = place.open().await;
    let mut history = History::default();
    let r = rollout("r1");
    history.push(&r, "eve", vec![Kind::RolloutStarted(v1::RolloutStarted {})]);
    history.push(&r, "ada\0", vec![opened(), opened()]);
    history.push(&r, "worker", vec![started("9.9", 1)]);
    history.push(&r, "worker", vec![defined("production", "DEAL_TYPE")]);
    history.push(&r, "worker", vec![]);
    let unknown = history.push(
        &r,
        "worker",
        vec![Kind::RolloutStarted(v1::RolloutStarted {})],
    );
    history.commits[unknown as usize - 1].commit.events = vec![Event { kind: None }];
    let foreign = history.push(
        &r,
        "worker",
        vec![Kind::RolloutStarted(v1::RolloutStarted {})],
    );
    history.commits[foreign as usize - 1].commit.aggregate = "moon".to_owned();
    let bare = history.push(
        &r,
        "worker",
        vec![Kind::RolloutStarted(v1::RolloutStarted {})],
    );
    history.commits[bare as usize - 1].commit.actor = None;
    history.commits[bare as usize - 1].commit.recorded_at = None;
    store.apply(&history.commits).await.unwrap();

    let anomalies = store
        .anomalies(PageCursor::default(), 0)
        .await
        .unwrap()
        .data
        .rows;
    let told: Vec<(u64, u32, &str)> = anomalies
        .iter()
        .map(|row| (row.sequence, row.idx, row.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (1, 0, "the rollout has not been opened"),
            (2, 1, "the rollout is open already"),
            (3, 0, "the plan has no step 9.9"),
            (4, 0, "an event of a flag in a rollout"),
            (5, 0, "the commit has no events"),
            (6, 0, "the event's type is not known to this version"),
            (7, 0, "the commit's aggregate is not one of this ledger's"),
        ]
    );
    let detail = store.rollout("r1").await.unwrap().data.unwrap();
    assert_eq!(detail.rollout.opened_by, "ada\u{FFFD}");
    assert_eq!(detail.rollout.status, RolloutStatus::Running);
    assert_eq!(detail.rollout.started_at, None);
}

async fn a_row_that_is_refused_is_an_anomaly(place: &Place) {
    let refuses = matches!(place, Place::Postgres { .. });
    a_row_that_the_database_refuses_is_an_anomaly(&place.open().await, refuses).await;
}

async fn workers_join_and_leave(place: &Place) {
    let store = place.open().await;
    let mut history = History::default();
    for name in ["w2", "w1", "w3"] {
        history.push(&worker(name), name, vec![worker_joined(name, "a")]);
    }
    history.push(&worker("w3"), "w3", vec![worker_left("a", 1)]);
    // From here on the rows are read back before they change.
    store.apply(&history.commits).await.unwrap();
    let store = place.open().await;
    let last = history.push(
        &worker("w2"),
        "orchestrator",
        vec![worker_left("a", 2), worker_joined("w2", "b")],
    );
    history.push(&worker("w1"), "orchestrator", vec![worker_left("a", 2)]);
    for (name, event) in [
        ("w2", worker_joined("w2", "c")),
        ("w1", worker_left("a", 1)),
        ("w9", worker_left("a", 1)),
        ("w2", worker_left("x", 1)),
        ("w2", worker_left("b", 7)),
    ] {
        history.push(&worker(name), name, vec![event]);
    }
    store.apply(&history.commits).await.unwrap();
    let answer = store.workers().await.unwrap();
    assert_eq!(answer.as_of.sequence, history.commits.len() as u64);
    let told: Vec<_> = answer
        .data
        .iter()
        .map(|row| (row.worker.as_str(), row.status, row.joins))
        .collect();
    assert_eq!(
        told,
        [
            ("w2", WorkerStatus::Present, 2),
            ("w1", WorkerStatus::Lost, 1),
            ("w3", WorkerStatus::Drained, 1),
        ]
    );
    let back = &answer.data[0];
    assert_eq!((back.session.as_str(), back.left_at), ("b", None));
    assert_eq!(back.joined_at, Some(round(recorded_at(last))));
    assert_eq!(back.labels.0, ["db\u{FFFD}"]);
    let anomalies = store
        .anomalies(PageCursor::default(), 0)
        .await
        .unwrap()
        .data;
    let told: Vec<&str> = anomalies
        .rows
        .iter()
        .map(|row| row.reason.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "the worker is there already",
            "the worker has left already",
            "the worker has not joined",
            "another run of the worker is there",
            "the worker left for a reason not known to this version",
        ]
    );
    let timeline = store.timeline(&TimelineFilter::default()).await.unwrap();
    let rows = timeline.data.rows;
    let told = |event: &str| rows.iter().find(|row| row.event == event).unwrap();
    assert_eq!(
        told("worker_joined").sentence,
        "worker w2 joined: version 1.2.3, 4 steps and 2 shards at a time, labels db\u{FFFD}"
    );
    assert_eq!(told("worker_left").sentence, "worker w3 left: drained");
}

/// Rounds to microseconds, the resolution of stored times.
fn round(at: jiff::Timestamp) -> jiff::Timestamp {
    format!("{at:.6}").parse().unwrap()
}

/// Two processes share a store: each skips what the other has applied.
async fn two_projectors_share_a_store(place: &Place) {
    let (one, other) = (place.open().await, place.open().await);
    let history = story();
    for (place, _) in history.commits.iter().enumerate() {
        let store = if place % 3 == 0 { &one } else { &other };
        store
            .apply(&history.commits[place.saturating_sub(2)..=place])
            .await
            .unwrap();
    }
    let (left, right) = tokio::join!(one.dump(), other.dump());
    assert_eq!(left.unwrap(), right.unwrap());
    let alone = sqlite::in_memory().await.unwrap();
    alone.apply(&history.commits).await.unwrap();
    assert_eq!(one.dump().await.unwrap(), alone.dump().await.unwrap());
}

/// A long random history, interrupted by restarts, gives the same rows as SQLite in memory.
async fn any_history_gives_the_same_rows(place: &Place) {
    let choices: Vec<Choice> = (0..600_u32)
        .map(|n| {
            let mixed = n.wrapping_mul(2_246_822_519).rotate_left(7);
            let byte = |shift: u32, of: u32| u8::try_from((mixed >> shift) % of).unwrap();
            (byte(2, 40), byte(8, 3), byte(14, 6), byte(20, 4))
        })
        .collect();
    let history = random(&choices);
    let expected = sqlite::in_memory().await.unwrap();
    expected.apply(&history.commits).await.unwrap();
    for batch in history.commits.chunks(170) {
        place.open().await.apply(batch).await.unwrap();
    }
    let store = place.open().await;
    assert_eq!(store.dump().await.unwrap(), expected.dump().await.unwrap());
    let as_of = store.position().await.unwrap();
    assert_eq!(as_of, expected.position().await.unwrap());
    assert_eq!(
        as_of.recorded_at.unwrap().as_microsecond(),
        recorded_at(as_of.sequence).as_microsecond()
    );
}

macro_rules! suite {
    ($place:ident) => {
        an_empty_store_says_so(&$place("empty").await).await;
        positions_name_their_commit(&*$place("positions").await.open().await).await;
        the_story_is_projected(&$place("story").await).await;
        lists_are_filtered_and_paged(&$place("lists").await).await;
        redelivery_is_harmless_and_a_gap_is_refused(&$place("again").await).await;
        an_inconsistent_event_is_an_anomaly(&$place("anomalies").await).await;
        a_row_that_is_refused_is_an_anomaly(&$place("refused").await).await;
        workers_join_and_leave(&$place("workers").await).await;
        two_projectors_share_a_store(&$place("shared").await).await;
        any_history_gives_the_same_rows(&$place("random").await).await;
    };
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let place = async |name: &str| Place::Sqlite(dir.path().join(format!("{name}.db")));
    suite!(place);
}

#[tokio::test]
async fn postgres_keeps_the_contract() {
    let cluster = Postgres::start();
    let url = cluster.database("views").await;
    let place = async |name: &str| Place::Postgres {
        url: url.clone(),
        schema: format!("rollbook_{name}"),
    };
    suite!(place);

    let refused = postgres::open(&url, "a\"; DROP SCHEMA x")
        .await
        .unwrap_err();
    assert!(matches!(refused, ViewError::Location { .. }), "{refused}");
    let secret = "postgres://rollbook:hunter2@127.0.0.1:port/views";
    let refused = postgres::open(secret, "rollbook").await.unwrap_err();
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
    drop(cluster);
    let down = postgres::open(&url, "rollbook").await.unwrap_err();
    assert!(down.is_retryable(), "{down}");
}

#[tokio::test]
async fn a_store_of_another_version_is_emptied_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("views.db");
    let history = story();
    let store = sqlite::open(&path).await.unwrap();
    store.apply(&history.commits).await.unwrap();
    let dump = store.dump().await.unwrap();
    drop(store);
    let file = format!("sqlite://{}", path.display());
    let pool = sqlx::SqlitePool::connect(&file).await.unwrap();
    sqlx::raw_sql("UPDATE view_position SET version = 0; ALTER TABLE steps DROP COLUMN title")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;

    let store = sqlite::open(&path).await.unwrap();
    assert_eq!(store.position().await.unwrap(), AsOf::default());
    store.apply(&history.commits).await.unwrap();
    assert_eq!(store.dump().await.unwrap(), dump);
    drop(store);

    // The right version with a missing column is damage.
    let pool = sqlx::SqlitePool::connect(&file).await.unwrap();
    sqlx::raw_sql("ALTER TABLE steps DROP COLUMN title")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let error = sqlite::open(&path).await.unwrap_err();
    assert!(matches!(error, ViewError::Schema { .. }), "{error}");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no such folder/views.db");
    let error = sqlite::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("no such folder"), "{error}");
}
