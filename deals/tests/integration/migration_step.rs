//! Runs the migration of the deal-type rollout as a step on both databases.

use rollbook_deals::migrate::{apply, dialect, migrations};
use rollbook_proto::v1::Verdict;
use rollbook_workers::executor;
use serde_json::json;

use crate::executor_fixture::Fixture;
use crate::postgres::Postgres;

async fn deal_migration(url: &str) {
    apply(url, "003").await.unwrap();
    let migration = migrations(dialect(url).unwrap()).last().unwrap();
    let step = json!({"sql": {
        "source": "db", "deploy": migration.deploy, "verify": migration.verify, "revert": migration.revert,
    }});
    let sections =
        json!({"sources": {"db": {"kind": "database", "url": {"staging": {"env": "DB"}}}}});
    let fixture = Fixture::with(step, sections, &[("DB", url)]);
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    let verified = executor::verify(&fixture.step, &fixture.context)
        .await
        .unwrap();
    assert_eq!(verified.verdict, Verdict::Pass, "{verified:?}");
    let undone = executor::undo(&fixture.step, &fixture.context).await;
    assert_eq!(undone.verdict, Verdict::Pass, "{undone:?}");
    let verified = executor::verify(&fixture.step, &fixture.context)
        .await
        .unwrap();
    assert_eq!(verified.verdict, Verdict::Fail, "{verified:?}");
}

#[tokio::test]
async fn the_deal_migration_is_deployed_verified_and_reverted_by_a_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("target.db");
    std::fs::File::create(&path).unwrap();
    deal_migration(&format!("sqlite:{}", path.display())).await;
    let server = Postgres::start();
    deal_migration(&server.database("target").await).await;
}
