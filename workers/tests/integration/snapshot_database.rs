//! The deals of the snapshot tests in a SQLite database.

use std::path::Path;

use rollbook_workers::snapshot::{RowOutcome, SnapshotSource};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::snapshot_deals::{deals, snapshot, store};

/// Writes the deals with whole inventories and, as a child table, item by item.
pub(crate) async fn database(path: &Path) -> SnapshotSource {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE deals (id TEXT PRIMARY KEY, deal_type TEXT, inventory TEXT, deleted_at TEXT);
         CREATE TABLE items (deal_id TEXT, item TEXT); BEGIN",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    for deal in deals() {
        sqlx::query("INSERT INTO deals VALUES (?, ?, ?, ?)")
            .bind(&deal.id)
            .bind(deal.deal_type)
            .bind(deal.inventory())
            .bind(deal.deleted.then_some("2026-01-01"))
            .execute(&mut connection)
            .await
            .unwrap();
        for item in &deal.items {
            sqlx::query("INSERT INTO items VALUES (?, ?)")
                .bind(&deal.id)
                .bind(item)
                .execute(&mut connection)
                .await
                .unwrap();
        }
    }
    sqlx::raw_sql("COMMIT")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    SnapshotSource::new(format!("sqlite:{}", path.display()))
}

pub(crate) async fn execute(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Asserts that each deal that cannot be computed is a row with an error that begins with the
/// calculator's `reason`, and that all others have figures.
pub(crate) async fn broken_deals_are_error_rows(reason: &str) {
    let (directory, store) = store();
    let path = directory.path().join("deals.db");
    let source = database(&path).await;
    execute(
        &path,
        "UPDATE deals SET inventory = '[{\"item_id\":' WHERE id = 'é-accent';
         UPDATE deals SET inventory = CAST(x'ff' AS TEXT) WHERE id = 'Z-upper';
         UPDATE deals SET deal_type = 'joint_venture' WHERE id = 'z-lower';
         UPDATE deals SET inventory = NULL WHERE id = 'line' || char(10) || 'break'",
    )
    .await;
    let taken = snapshot(source, true, &store).await.unwrap();
    assert_eq!((taken.manifest.total, taken.manifest.errors), (2_499, 3));
    for id in ["é-accent", "Z-upper", "z-lower"] {
        let row = taken.find(&store, id).await.unwrap().unwrap();
        let RowOutcome::Error(text) = row.outcome else {
            panic!("{id} was computed");
        };
        assert!(text.starts_with(reason), "{text}");
    }
    let null = taken.find(&store, "line\nbreak").await.unwrap().unwrap();
    assert!(!null.is_error(), "a deal without inventory has figures");
}
