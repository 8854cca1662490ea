//! Planned shards of a real PostgreSQL: the parts are the same whichever worker does them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollbook_workers::snapshot::{
    Calculator, CalculatorDescription, KeyOrder, RawDeal, ShardContext, ShardTask, ShardWorker,
    SnapshotError, SnapshotPlan, Values, finish, plan, run_shard, take,
};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use crate::snapshot_cluster::Cluster;
use crate::snapshot_deals::{calculator, request, snapshot, store};

fn context(store: &rollbook_ledger::evidence::EvidenceStore, threads: usize) -> ShardContext {
    ShardContext::new(calculator(true), store.clone(), Some(threads)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_worker_at_any_time_writes_the_same_part() {
    let (_directory, store) = store();
    let cluster = Cluster::start().await;
    cluster.deals("jsonb").await;
    let url = cluster.source().database;
    let mut request = request(cluster.source(), calculator(true));
    request.rows_per_part = 300;
    let planned = plan(&request).await.unwrap();
    assert_eq!((planned.shards.len(), planned.summary.total), (9, 2_499));
    assert!(planned.shards.iter().all(|shard| shard.deals <= 300));
    let json = serde_json::to_string(&planned.shards).unwrap();
    assert!(!json.contains("correct-horse"), "a task holds the password");

    // Writes after the plan are not read, and changed keys do no harm.
    cluster
        .execute(
            "UPDATE deals SET id = 'x' || id WHERE id < 'd5';
             UPDATE deals SET inventory = '[]', deal_type = 'carveout';
             DELETE FROM deals WHERE id > 'd9';
             INSERT INTO deals VALUES ('d00000a', NULL, '[]', NULL)",
        )
        .await;
    let tasks: Vec<ShardTask> = serde_json::from_str(&json).unwrap();
    let mut reports = Vec::new();
    let mut worker = ShardWorker::new(context(&store, 1), &url).unwrap();
    for task in tasks.iter().rev() {
        reports.push(worker.run(task).await.unwrap());
    }
    // Redelivered, to a worker with another configuration.
    for task in &tasks[2..5] {
        let again = run_shard(task, &url, &context(&store, 8)).await.unwrap();
        assert!(reports.contains(&again));
        reports.push(again);
    }
    let finished = finish(&planned.summary, reports.clone(), &store)
        .await
        .unwrap();
    assert_eq!(finished.manifest.total, 2_499);
    let error = finish(&planned.summary, reports[1..8].to_vec(), &store).await;
    assert!(
        matches!(error, Err(SnapshotError::Shard { .. })),
        "{error:?}"
    );
    drop(planned);

    // The read has ended with its plan, and a worker says so.
    let error = run_shard(&tasks[0], &url, &context(&store, 1))
        .await
        .unwrap_err();
    assert!(matches!(error, SnapshotError::ReadOver { .. }), "{error:?}");
    assert!(error.needs_new_plan() && error.is_retryable());
    assert!(!error.to_string().contains("correct-horse"));

    // Its transaction would keep the table from being dropped.
    drop(worker);
    cluster.deals("jsonb").await;
    for (connections, threads) in [(1, 8), (4, 1)] {
        request.connections = Some(connections);
        request.threads = Some(threads);
        let whole = take(&request, &store, &|_| {}).await.unwrap();
        assert_eq!(
            whole, finished,
            "{connections} connections, {threads} threads"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_shards_it_cannot_compute_correctly() {
    let (_directory, store) = store();
    let cluster = Cluster::start().await;
    cluster.deals("json").await;
    let source = cluster.source();
    let planned = plan(&request(source.clone(), calculator(true)))
        .await
        .unwrap();
    let task = &planned.shards[0];
    let context = context(&store, 1);
    let other = ShardContext::new(calculator(false), store.clone(), None).unwrap();
    let mut newer = task.clone();
    newer.version += 1;
    let mut wrong = task.clone();
    wrong.deals += 1;
    for (refused, reason) in [
        (
            run_shard(task, &source.database, &other).await,
            "calculator",
        ),
        (
            run_shard(task, "postgres://elsewhere/deals", &context).await,
            "elsewhere",
        ),
        (
            run_shard(&newer, &source.database, &context).await,
            "version",
        ),
        (
            run_shard(&wrong, &source.database, &context).await,
            "counted",
        ),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, SnapshotError::Shard { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn integer_and_uuid_keys_are_cut_by_index_and_ordered_by_their_type() {
    let (_directory, store) = store();
    let cluster = Cluster::start().await;
    for (key, expression, order) in [
        // Sparse and skewed: most ids lie in a small part of their range.
        (
            "bigint",
            "(n % 100) * bigint '1000000000' - n",
            KeyOrder::Integer,
        ),
        ("uuid", "md5(n::text)::uuid", KeyOrder::Bytes),
        ("varchar(40) COLLATE \"C\"", "md5(n::text)", KeyOrder::Bytes),
    ] {
        cluster
            .execute(&format!(
                "DROP TABLE IF EXISTS deals, items;
                 CREATE TABLE deals (id {key} PRIMARY KEY, deal_type text, inventory jsonb,
                                     deleted_at timestamptz, tenant_id int);
                 INSERT INTO deals SELECT {expression}, NULL, '[]', NULL, n % 7
                 FROM generate_series(1, 20000) n;
                 CREATE TABLE items AS SELECT id AS deal_id, jsonb_build_object(
                     'item_id', 'a', 'inventory_type', 'vendor') AS item FROM deals;
                 INSERT INTO deals SELECT {expression}, NULL, '[]', now(), 3
                 FROM generate_series(20001, 20007) n;
                 CREATE INDEX ON items (deal_id); ANALYZE deals; ANALYZE items"
            ))
            .await;
        let mut source = cluster.source();
        let mut request = request(source.clone(), calculator(true));
        let planned = plan(&request).await.unwrap();
        assert_eq!(planned.summary.key_order, order, "{key}");
        assert_eq!(planned.shards.len(), 20);
        for shard in [0, 7, 19] {
            let statement = planned.shards[shard].statement().unwrap();
            let lines = explain(&cluster, &statement).await;
            assert!(lines.contains("Index"), "{key} {shard}: {lines}");
        }
        // An index that holds every column needed gives the same cuts.
        cluster
            .execute("CREATE INDEX ON deals (id) WHERE deleted_at IS NULL")
            .await;
        cluster.execute("VACUUM ANALYZE deals").await;
        let step = "SELECT id FROM deals WHERE deleted_at IS NULL ORDER BY id OFFSET 1000 LIMIT 1";
        let lines = explain(&cluster, step).await;
        assert!(lines.contains("Index Only Scan"), "{key}: {lines}");
        let again = plan(&request).await.unwrap();
        let ranges = |plan: &SnapshotPlan| -> Vec<_> {
            let cut = |shard: &ShardTask| (shard.range.clone(), shard.deals);
            plan.shards.iter().map(cut).collect()
        };
        assert_eq!(ranges(&again), ranges(&planned), "{key}");
        for summary in [&planned.summary, &again.summary] {
            assert_eq!((summary.total, summary.deleted_excluded), (20_000, 7));
        }
        let whole = take(&request, &store, &|_| {}).await.unwrap();
        assert_eq!((whole.manifest.total, whole.manifest.errors), (20_000, 0));
        assert!(whole.manifest.parts.iter().all(|part| part.rows == 1_000));
        let known = &whole.manifest.parts[7].last_id;
        assert!(whole.find(&store, known).await.unwrap().is_some());

        source.inventory_query = Some("SELECT deal_id, item FROM items".to_owned());
        source.tenant = Some("3".to_owned());
        request.source = source;
        let tenant = take(&request, &store, &|_| {}).await.unwrap();
        assert_eq!(tenant.manifest.total, 2_857, "{key}");
        assert_eq!(tenant.manifest.totals["vendors"].0, 2_857, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_fills_more_than_a_part_is_refused() {
    let (_directory, store) = store();
    let cluster = Cluster::start().await;
    cluster
        .execute(
            "CREATE TABLE deals (id text COLLATE \"C\" NOT NULL, deal_type text, inventory jsonb,
                                 deleted_at timestamptz, tenant_id int);
             INSERT INTO deals SELECT CASE WHEN n % 2 = 0 THEN 'same' ELSE n::text END, NULL, '[]'
             FROM generate_series(1, 5000) n;
             CREATE INDEX ON deals (id) WHERE deleted_at IS NULL",
        )
        .await;
    cluster.execute("VACUUM ANALYZE deals").await;
    let request = request(cluster.source(), calculator(true));
    let error = take(&request, &store, &|_| {}).await.unwrap_err();
    assert!(
        error.to_string().contains("\"same\" occurs twice"),
        "{error}"
    );
}

async fn explain(cluster: &Cluster, statement: &str) -> String {
    let mut connection = PgConnection::connect(&cluster.source().database)
        .await
        .unwrap();
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN {statement}")))
        .fetch_all(&mut connection)
        .await
        .unwrap();
    lines.join("\n")
}

/// Stops the server when the first deal is computed.
#[derive(Debug)]
struct Stopping {
    cluster: Arc<Cluster>,
    stopped: AtomicBool,
    description: CalculatorDescription,
}

impl Calculator for Stopping {
    fn description(&self) -> &CalculatorDescription {
        &self.description
    }

    fn compute(&self, _: &RawDeal) -> Result<Values, String> {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            self.cluster.stop();
        }
        Ok(Values::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_in_the_middle_leaves_no_snapshot() {
    let (directory, store) = store();
    let cluster = Arc::new(Cluster::start().await);
    cluster.deals("jsonb").await;
    let calculator = Arc::new(Stopping {
        cluster: Arc::clone(&cluster),
        stopped: AtomicBool::new(false),
        description: CalculatorDescription {
            name: "stopping".to_owned(),
            digest: "0".to_owned(),
            deal_type_awareness: true,
            metrics: Vec::new(),
        },
    });
    let mut request = request(cluster.source(), calculator);
    request.rows_per_part = 100;
    let error = take(&request, &store, &|_| {}).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(!error.to_string().contains("correct-horse"), "{error}");
    let mut stored = 0;
    for prefix in std::fs::read_dir(directory.path().join("evidence")).unwrap() {
        for file in std::fs::read_dir(prefix.unwrap().path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(bytes.starts_with(b"PAR1"), "a manifest was stored");
            stored += 1;
        }
    }
    assert!(stored < 25, "{stored} parts");

    // With the server up again, the same request succeeds.
    request.calculator = crate::snapshot_deals::calculator(true);
    cluster.restart_stopped().await;
    let mut planned = plan(&request).await.unwrap();
    planned.check_held().await.unwrap();
    cluster.restart().await;
    let error = planned.check_held().await.unwrap_err();
    assert!(matches!(error, SnapshotError::ReadOver { .. }), "{error:?}");
    let whole = snapshot(cluster.source(), true, &store).await.unwrap();
    assert_eq!(whole.manifest.total, 2_499);
}
