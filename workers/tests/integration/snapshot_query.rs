//! Snapshots whose figures are columns of a query, and calculators that a runbook declares.

use std::sync::Arc;

use rollbook_ledger::runbook::calculator::{MetricDeclaration, MetricUnit, SqlCalculatorSpec};
use rollbook_proto::v1::{Verdict, event::Kind};
use rollbook_workers::snapshot::query::{QueryCalculator, figures_query};
use rollbook_workers::snapshot::{
    RowOutcome, Snapshot, SnapshotError, SnapshotSource, Values, take,
};
use serde_json::json;

use crate::executor_fixture::Fixture;
use crate::snapshot_cluster::Cluster;
use crate::snapshot_database::database;
use crate::snapshot_deals::{deals, request, store};

fn spec(query: &str) -> SqlCalculatorSpec {
    let metric = |name: &str, unit| MetricDeclaration {
        name: name.to_owned(),
        unit,
    };
    SqlCalculatorSpec {
        query: query.to_owned(),
        key: "key".to_owned(),
        metrics: vec![
            metric("cost", MetricUnit::Cents),
            metric("chars", MetricUnit::Count),
        ],
    }
}

async fn taken(
    source: &SnapshotSource,
    query: &str,
    threads: usize,
    store: &rollbook_ledger::evidence::EvidenceStore,
) -> Result<Snapshot, SnapshotError> {
    taken_of(source, &spec(query), threads, store).await
}

async fn taken_of(
    source: &SnapshotSource,
    spec: &SqlCalculatorSpec,
    threads: usize,
    store: &rollbook_ledger::evidence::EvidenceStore,
) -> Result<Snapshot, SnapshotError> {
    let mut source = source.clone();
    source.inventory_query = Some(figures_query(spec, &source.database).unwrap());
    let calculator = QueryCalculator::new(spec, true).unwrap();
    let mut request = request(source, Arc::new(calculator));
    request.threads = Some(threads);
    take(&request, store, &|_| {}).await
}

/// Columns in another order than the metrics, deals without a row, a comment at the end.
const QUERY: &str = "SELECT length(id) AS chars, id AS \"key\", length(id) * 0.25 AS cost FROM deals \
                     WHERE deal_type IS NOT NULL -- those";

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_a_query_are_the_same_from_sqlite_and_postgresql_on_any_threads() {
    let (directory, store) = store();
    let sqlite = database(&directory.path().join("deals.db")).await;
    let one = taken(&sqlite, QUERY, 1, &store).await.unwrap();
    let typed: Vec<_> = deals()
        .into_iter()
        .filter(|deal| !deal.deleted)
        .map(|deal| (deal.id, deal.deal_type.is_some()))
        .collect();
    let without = typed.iter().filter(|(_, typed)| !typed).count();
    assert_eq!(one.manifest.total, typed.len() as u64);
    assert_eq!(one.manifest.errors, without as u64);
    assert_eq!(one.manifest.model, "sql");
    let types: std::collections::BTreeMap<_, _> = typed.into_iter().collect();
    for part in 0..one.manifest.parts.len() {
        for row in one.read_rows(&store, part).await.unwrap() {
            let chars = i64::try_from(row.deal_id.chars().count()).unwrap();
            let wanted = if types[&row.deal_id] {
                RowOutcome::Success(vec![chars * 25, chars].into())
            } else {
                RowOutcome::Error("the query has no row of this deal".to_owned())
            };
            assert_eq!(row.outcome, wanted, "{}", row.deal_id);
        }
    }
    let four = taken(&sqlite, QUERY, 4, &store).await.unwrap();
    assert_eq!(one.manifest.parts, four.manifest.parts);

    let cluster = Cluster::start().await;
    cluster.deals("jsonb").await;
    let postgres = taken(&cluster.source(), QUERY, 4, &store).await.unwrap();
    assert_eq!(one.manifest.parts, postgres.manifest.parts);
}

/// Texts with quotes, line ends and other alphabets, a NULL text, a NULL number, an integer as a
/// text, and one that is too long.
const TEXTS: &str = "SELECT id AS \"key\", deal_type AS kind, \
    'é😀 \"' || id || '''\n\\' AS label, \
    CASE WHEN id LIKE 'd0%' THEN NULL ELSE 12.5 END AS cost, \
    CASE WHEN id LIKE 'd9%' THEN replace('xxxxxxxx', 'x', \
        '0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789') \
        ELSE id END AS long, \
    length(id) AS chars FROM deals";

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_a_query_are_the_same_from_sqlite_and_postgresql_on_any_threads() {
    let (directory, store) = store();
    let sqlite = database(&directory.path().join("deals.db")).await;
    let metric = |name: &str, unit| MetricDeclaration {
        name: name.to_owned(),
        unit,
    };
    let spec = SqlCalculatorSpec {
        query: TEXTS.to_owned(),
        key: "key".to_owned(),
        metrics: vec![
            metric("kind", MetricUnit::Text),
            metric("cost", MetricUnit::Cents),
            metric("label", MetricUnit::Text),
            metric("chars", MetricUnit::Text),
            metric("long", MetricUnit::Text),
        ],
    };
    let one = taken_of(&sqlite, &spec, 1, &store).await.unwrap();
    assert_eq!(one.manifest.totals.keys().collect::<Vec<_>>(), ["cost"]);
    assert_eq!(one.manifest.metrics[0].unit, "text");
    let types: std::collections::BTreeMap<_, _> = deals()
        .into_iter()
        .map(|deal| (deal.id, deal.deal_type))
        .collect();
    let (mut nulls, mut errors) = (0, 0);
    for part in 0..one.manifest.parts.len() {
        for row in one.read_rows(&store, part).await.unwrap() {
            let id = &row.deal_id;
            let wanted = if id.starts_with("d0") {
                errors += 1;
                RowOutcome::Error("cost is NULL; give a number in the query".to_owned())
            } else if id.starts_with("d9") {
                errors += 1;
                RowOutcome::Error(
                    "long: the text has 1040 bytes, over the limit of 1024; shorten or hash it"
                        .to_owned(),
                )
            } else {
                nulls += usize::from(types[id].is_none());
                RowOutcome::Success(Values {
                    numbers: vec![1250],
                    texts: vec![
                        types[id].map(str::to_owned),
                        Some(format!("é😀 \"{id}'\n\\")),
                        Some(id.chars().count().to_string()),
                        Some(id.clone()),
                    ],
                })
            };
            assert_eq!(row.outcome, wanted, "{id}");
        }
    }
    assert!(nulls > 0 && errors > 0);
    assert_eq!(one.manifest.errors, errors);
    let eight = taken_of(&sqlite, &spec, 8, &store).await.unwrap();
    assert_eq!(one.evidence.sha256, eight.evidence.sha256);

    let cluster = Cluster::start().await;
    cluster.deals("jsonb").await;
    for threads in [1, 8] {
        let postgres = taken_of(&cluster.source(), &spec, threads, &store).await;
        assert_eq!(one.manifest.parts, postgres.unwrap().manifest.parts);
    }
}

#[tokio::test]
async fn a_query_without_a_declared_column_is_refused() {
    let (directory, store) = store();
    let sqlite = database(&directory.path().join("deals.db")).await;
    let query = "SELECT id AS \"key\", 1 AS cost FROM deals";
    let error = taken(&sqlite, query, 1, &store).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Query { .. }), "{error}");
    assert!(error.to_string().contains("chars"), "{error}");
}

#[tokio::test]
async fn a_runbook_declares_a_query() {
    let directory = tempfile::tempdir().unwrap();
    let source = database(&directory.path().join("deals.db")).await;
    let sections = json!({
        "sources": {"db": {"kind": "sqlite", "url": {"staging": {"env": "DB"}}}},
        "snapshots": {"costs": {"source": "db", "calculator": {"sql": {
            "query": "SELECT id, length(id) AS chars FROM deals",
            "metrics": [{"name": "chars", "unit": "count"}],
        }}}},
    });
    let step = json!({"snapshot": {"of": "costs", "label": "before"}});
    let fixture = Fixture::with(step, sections, &[("DB", &source.database)]);
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
}

#[tokio::test]
async fn a_program_declared_by_a_runbook_reveals_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let source = database(&directory.path().join("deals.db")).await;
    let program = r#"while read -r line; do printf '{"error":"%s %s"}\n' "$DB" "$GREETING"; done"#;
    let sections = json!({
        "sources": {"db": {"kind": "sqlite", "url": {"staging": {"env": "DB"}}}},
        "snapshots": {"costs": {"source": "db", "calculator": {"exec": {
            "command": ["sh", "-c", program],
            "env": {"GREETING": "hello"},
            "env_sources": {"DB": "db"},
            "metrics": [{"name": "cost", "unit": "cents"}],
        }}}},
    });
    let step = json!({"snapshot": {"of": "costs", "label": "before"}});
    let fixture = Fixture::with(step, sections, &[("DB", &source.database)]);
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.message);
    let Some(Kind::SnapshotTaken(event)) = outcome.details.first() else {
        panic!("{outcome:?}");
    };
    assert_eq!(event.errors, event.deals);
    let store = &fixture.context.tools.evidence;
    let snapshot = Snapshot::open(store, &outcome.evidence[0].sha256)
        .await
        .unwrap();
    let rows = snapshot.read_rows(store, 0).await.unwrap();
    assert_eq!(
        rows[0].outcome,
        RowOutcome::Error("[redacted] hello".to_owned())
    );
}
