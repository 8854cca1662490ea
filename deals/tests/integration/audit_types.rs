//! Audits deal types on both databases.

use rollbook_deals::Deals;
use rollbook_deals::audit::{self, AuditReport};
use rollbook_proto::v1::Verdict;
use rollbook_workers::audit::Auditor;
use rollbook_workers::snapshot::SnapshotSource;

use crate::snapshot_cluster::Cluster;
use crate::snapshot_database::{database, execute};

const TAKEN_AT: &str = "2026-01-02T03:04:05Z";

fn check(report: &AuditReport) {
    // 2,500 deals, one of them (a merger) deleted; six types take turns, two of which mean no type.
    assert_eq!(report.total_deals, 2_500);
    assert_eq!((report.active_deals, report.deleted_deals), (2_499, 1));
    assert_eq!(report.null_count, 834);
    assert_eq!(report.distribution["NULL"], 834);
    assert_eq!(report.distribution["carveout"], 417);
    assert_eq!(report.distribution.values().sum::<u64>(), 2_499);
    assert_eq!(report.invalid_count, report.distribution["merger"]);
    assert_eq!(
        (report.invalid_deals.len(), report.null_deals.len()),
        (100, 100)
    );
    let valid = 2_499 - report.null_count - report.invalid_count;
    assert_eq!(report.health_score.valid_deals, valid);
    let json = serde_json::to_value(report).unwrap();
    assert_eq!(json["health_score"]["status"], "CRITICAL");
    assert_eq!(json["health_score"]["percentage"], 50.0);
    assert_eq!(json["audit_timestamp"], TAKEN_AT);
}

async fn audited(source: &SnapshotSource) -> AuditReport {
    audit::take(source, TAKEN_AT.parse().unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_and_postgres_give_the_same_audit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deals.db");
    let sqlite = audited(&database(&path).await).await;
    check(&sqlite);
    // What a step records of the audit, through the port.
    let source = SnapshotSource::new(format!("sqlite:{}", path.display()));
    let recorded = Deals.audit(&source, TAKEN_AT.parse().unwrap()).await;
    let recorded = recorded.unwrap();
    assert_eq!(recorded.verdict, Verdict::Fail);
    assert_eq!(recorded.report, sqlite.to_bytes().unwrap());
    let event = recorded.event;
    assert_eq!(
        (event.health.as_str(), event.health_permille),
        ("CRITICAL", 500)
    );
    let cluster = Cluster::start().await;
    cluster.deals("json").await;
    let postgres = audited(&cluster.source()).await;
    let counts = |r: &AuditReport| {
        let invalid: std::collections::BTreeSet<_> = r
            .invalid_deals
            .iter()
            .map(|d| d.deal_type.clone())
            .collect();
        (
            r.null_count,
            r.invalid_count,
            r.distribution.clone(),
            r.health_score,
            invalid,
        )
    };
    assert_eq!(counts(&postgres), counts(&sqlite));
    check(&postgres);

    execute(
        &path,
        "UPDATE deals SET deal_type = char(9) || ' ' || char(10)",
    )
    .await;
    let blank = audited(&SnapshotSource::new(format!("sqlite:{}", path.display()))).await;
    assert_eq!((blank.null_count, blank.invalid_count), (2_499, 0));
    execute(&path, "UPDATE deals SET deleted_at = 'x'").await;
    let none = audited(&SnapshotSource::new(format!("sqlite:{}", path.display()))).await;
    let json = serde_json::to_value(&none).unwrap();
    assert_eq!(json["health_score"]["status"], "NO_DATA");
    assert_eq!(json["health_score"]["percentage"], 0.0);
}
