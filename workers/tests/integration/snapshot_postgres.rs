//! Snapshots of a real PostgreSQL.

use std::sync::Mutex;

use rollbook_workers::snapshot::source::Consistency;
use rollbook_workers::snapshot::{LocalPlan, Progress, SnapshotError, plan_here, take_planned};

use crate::snapshot_cluster::Cluster;
use crate::snapshot_database::database;
use crate::snapshot_deals::{calculator, request, snapshot, store};

/// Drops a snapshot midway and waits until the server has stopped working for it.
async fn dropped(cluster: &Cluster, filter: &str) {
    let (_directory, store) = store();
    let mut source = cluster.source();
    source.filter = Some(filter.to_owned());
    let running = tokio::spawn(async move { snapshot(source, true, &store).await });
    let busy = "SELECT count(*) FROM pg_stat_activity
                WHERE state = 'active' AND wait_event = 'PgSleep' AND pid <> pg_backend_pid()";
    let until = async |wanted: fn(i64) -> bool| {
        for _ in 0..1500 {
            if wanted(cluster.number(busy).await) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{} queries run", cluster.number(busy).await);
    };
    until(|busy| busy > 0).await;
    running.abort();
    until(|busy| busy == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_of_a_cancelled_snapshot_end_at_the_server() {
    let cluster = Cluster::start().await;
    cluster.deals("jsonb").await;
    // Once while it counts, once while it reads.
    dropped(&cluster, "pg_sleep(3600)::text = ''").await;
    let reads = "(current_query() NOT ILIKE '%COPY%' OR pg_sleep(3600)::text = '')";
    dropped(&cluster, reads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_type_gives_the_same_parts_as_sqlite() {
    let (directory, store) = store();
    let sqlite = database(&directory.path().join("deals.db")).await;
    let sqlite = snapshot(sqlite, true, &store).await.unwrap();
    let cluster = Cluster::start().await;
    for column in ["json", "jsonb", "text"] {
        cluster.deals(column).await;
        let mut source = cluster.source();
        let whole = snapshot(source.clone(), true, &store).await.unwrap();
        assert_eq!(whole.manifest.parts, sqlite.manifest.parts, "{column}");
        assert_eq!(
            whole.manifest.consistency,
            Consistency::PostgresExportedSnapshot
        );
        assert_eq!(whole.manifest.deleted_excluded, 1);
        source.inventory_query = Some("SELECT deal_id, item FROM items".to_owned());
        let child = snapshot(source, true, &store).await.unwrap();
        assert_eq!(
            child.manifest.parts, sqlite.manifest.parts,
            "{column} items"
        );
        let stored = store.get(&whole.evidence.sha256).await.unwrap();
        assert!(!String::from_utf8_lossy(&stored).contains("correct-horse"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_read_page_by_page_gives_the_same_parts_as_by_key() {
    let cluster = Cluster::start().await;
    cluster.deals("jsonb").await;
    let (_directory, store) = store();
    let taken = async |analyzed: bool, connections: usize, threads: usize| {
        let mut request = request(cluster.source(), calculator(true));
        request.rows_per_part = 100;
        request.connections = Some(connections);
        request.threads = Some(threads);
        let plan = plan_here(&request).await.unwrap();
        assert_eq!(matches!(plan, LocalPlan::Pages(_)), analyzed);
        // Visible only in the plan's snapshot, wherever new versions of the rows are written
        // meanwhile.
        cluster
            .execute("UPDATE deals SET deal_type = deal_type")
            .await;
        cluster.execute("VACUUM deals").await;
        let last = Mutex::new(None);
        let progress = |now: Progress| {
            assert!(now.done <= now.total);
            *last.lock().unwrap() = Some(now);
        };
        let taken = take_planned(&request, plan, &store, &progress)
            .await
            .unwrap();
        let last = last.into_inner().unwrap().unwrap();
        let total = taken.manifest.total;
        assert_eq!((last.done, last.total), (total, total));
        taken
    };
    // Without statistics and an index in byte order, nothing is known about where rows lie.
    cluster
        .execute(
            "CREATE INDEX deals_by_id ON deals (id COLLATE \"C\");
             ALTER TABLE deals SET (autovacuum_enabled = false)",
        )
        .await;
    let by_keys = taken(false, 2, 2).await;
    cluster.execute("ANALYZE deals").await;
    assert!(by_keys.manifest.parts.len() >= 20);
    // Computed on the reading threads, and handed to compute threads.
    for (connections, threads) in [(2, 2), (1, 1), (1, 3), (3, 1)] {
        let by_pages = taken(true, connections, threads).await;
        assert_eq!(
            by_pages, by_keys,
            "{connections} connections, {threads} threads"
        );
    }
    cluster
        .execute("CLUSTER deals USING deals_by_id; ANALYZE deals")
        .await;
    assert_eq!(taken(false, 2, 2).await, by_keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_read_page_by_page_is_refused_with_duplicate_or_missing_ids() {
    let cluster = Cluster::start().await;
    cluster.deals("json").await;
    cluster
        .execute(
            "ALTER TABLE deals DROP CONSTRAINT deals_pkey, ALTER id DROP NOT NULL;
             ALTER TABLE deals SET (autovacuum_enabled = false);
             CREATE INDEX deals_by_id ON deals (id COLLATE \"C\");
             CREATE TABLE one AS SELECT * FROM deals WHERE deleted_at IS NULL LIMIT 1;
             ANALYZE deals",
        )
        .await;
    let mut request = request(cluster.source(), calculator(true));
    request.rows_per_part = 100;
    let pages = plan_here(&request).await.unwrap();
    assert!(matches!(pages, LocalPlan::Pages(_)));
    drop(pages);
    cluster
        .execute("UPDATE one SET id = NULL; INSERT INTO deals SELECT * FROM one")
        .await;
    let missing = plan_here(&request).await.unwrap_err();
    assert!(missing.to_string().contains("1 ids are NULL"), "{missing}");
    cluster
        .execute(
            "DELETE FROM deals WHERE id IS NULL;
             UPDATE one SET id = 'often'; INSERT INTO deals SELECT one.* FROM one, generate_series(1, 150)",
        )
        .await;
    // Detected in the sample, before it fills memory.
    let twice = plan_here(&request).await.unwrap_err();
    assert!(matches!(twice, SnapshotError::Order { .. }), "{twice:?}");
    assert!(
        twice.to_string().contains("\"often\" occurs twice"),
        "{twice}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_named_and_no_password_is_shown() {
    let (_directory, store) = store();
    let cluster = Cluster::start().await;
    cluster.deals("jsonb").await;
    let mut source = cluster.source();
    source.database = cluster.url("hunter2");
    let error = snapshot(source, true, &store).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Denied { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    assert!(!error.is_retryable());

    let mut source = cluster.source();
    source.table.table = "public.deels".to_owned();
    let error = snapshot(source, true, &store).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Query { .. }), "{error:?}");
    assert!(error.to_string().contains("deels"), "{error}");

    // A filter cannot write: the transaction is read-only.
    cluster
        .execute(
            "CREATE FUNCTION remove() RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN DELETE FROM deals; RETURN true; END $$",
        )
        .await;
    let mut source = cluster.source();
    source.filter = Some("remove()".to_owned());
    let error = snapshot(source, true, &store).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Query { .. }), "{error:?}");

    let mut source = cluster.source();
    drop(cluster);
    source.table.table = "deals".to_owned();
    let error = snapshot(source, true, &store).await.unwrap_err();
    assert!(
        matches!(error, SnapshotError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.is_retryable());
    assert!(!format!("{error} {error:?}").contains("correct-horse"));
}
