//! The deals of the snapshot tests in a SQLite database.

use std::path::Path;

use rollbook_workers::snapshot::SnapshotSource;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::snapshot_deals::deals;

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
