//! SQLite as a source: one read transaction on one connection, which reads its shards in turn.

use bytes::Bytes;
use futures::StreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Held, Planned, Sink};
use crate::snapshot::SnapshotError;
use crate::snapshot::database::SourceDatabase;
use crate::snapshot::source::{Consistency, SnapshotSource};
use crate::snapshot::sql::{self, column, literal, quoted};
use crate::snapshot::task::{KeyKind, KeyRange, ShardRead, ShardTask};

/// Begins the read transaction, counts the deals and cuts them.
pub(super) async fn plan(
    database: &SourceDatabase,
    mut connection: SqliteConnection,
    source: &SnapshotSource,
    rows: u64,
) -> Result<Planned, SnapshotError> {
    let table = &source.table;
    let failed = |error: sqlx::Error| database.query_error(&table.table, 0, &error);
    sqlx::raw_sql("BEGIN")
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    // The first statement that reads fixes the snapshot: later writes by others are not seen.
    let row = sqlx::query(AssertSqlSafe(sql::count(source)))
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let count = |index: usize| row.try_get(index).map_err(failed);
    let (total, deleted) = super::counted(source, [count(0)?, count(1)?, count(2)?])?;
    let key = key_of(&mut connection, source).await.map_err(failed)?;
    let boundaries = sql::boundaries(source, &expression(source, key), rows);
    let found = sqlx::query(AssertSqlSafe(boundaries))
        .fetch_all(&mut connection)
        .await
        .map_err(failed)?;
    let keys = found
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<String>, _>>()
        .map_err(failed)?;
    Ok(Planned {
        held: Held::Sqlite(Some(Box::new(Session {
            connection,
            database: database.clone(),
        }))),
        consistency: Consistency::SqliteReadTransaction,
        key_order: key.order(),
        total,
        deleted,
        file_sha256: None,
        shards: super::cuts(keys, total, rows, &ShardRead::Sqlite { key }),
    })
}

/// The kind of the id column. A column of text affinity is read in index order, one that holds only
/// integers by value; any other is compared by its text.
async fn key_of(
    connection: &mut SqliteConnection,
    source: &SnapshotSource,
) -> Result<KeyKind, sqlx::Error> {
    let table = source.table.table.rsplit('.').next().unwrap_or_default();
    let declared: Option<String> =
        sqlx::query_scalar("SELECT type FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE")
            .bind(table)
            .bind(&source.table.id)
            .fetch_optional(&mut *connection)
            .await?;
    let declared = declared.unwrap_or_default().to_ascii_uppercase();
    // SQLite's affinity rules, https://www.sqlite.org/datatype3.html §3.1.
    if declared.contains("INT") {
        let other = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE typeof({}) <> 'integer')",
            quoted(&source.table.table),
            column(&source.table, &source.table.id),
        );
        let other: bool = sqlx::query_scalar(AssertSqlSafe(other))
            .fetch_one(connection)
            .await?;
        return Ok(if other {
            KeyKind::Cast
        } else {
            KeyKind::Integer
        });
    }
    let text = ["CHAR", "CLOB", "TEXT"];
    Ok(if text.iter().any(|name| declared.contains(name)) {
        KeyKind::Text
    } else {
        KeyKind::Cast
    })
}

fn expression(source: &SnapshotSource, key: KeyKind) -> String {
    let id = column(&source.table, &source.table.id);
    match key {
        KeyKind::Integer => id,
        KeyKind::Text | KeyKind::CollatedText => format!("{id} COLLATE BINARY"),
        KeyKind::Uuid | KeyKind::Cast => format!("CAST({id} AS TEXT) COLLATE BINARY"),
    }
}

fn range_condition(expression: &str, key: KeyKind, range: &KeyRange) -> String {
    let value = |text: &String| match key {
        KeyKind::Integer => format!("CAST({} AS INTEGER)", literal(text)),
        _ => literal(text),
    };
    let from = range.from.as_ref();
    let below = range.below.as_ref();
    let conditions: Vec<String> = from
        .map(|key| format!(" AND {expression} >= {}", value(key)))
        .into_iter()
        .chain(below.map(|key| format!(" AND {expression} < {}", value(key))))
        .collect();
    conditions.concat()
}

fn shard_sql(source: &SnapshotSource, range: &KeyRange, key: KeyKind) -> String {
    let table = &source.table;
    let id = format!("CAST({} AS TEXT)", column(table, &table.id));
    let deal_type = format!("CAST({} AS TEXT)", column(table, &table.deal_type));
    let from = format!(
        "FROM {} WHERE {}{}",
        quoted(&table.table),
        sql::live(source),
        range_condition(&expression(source, key), key, range),
    );
    match sql::item_query(source) {
        None => format!(
            "SELECT {id}, {deal_type}, CAST({} AS BLOB) {from}",
            column(table, &table.inventory)
        ),
        Some(query) => format!(
            "WITH rollbook_deals AS (SELECT {id} AS id, {deal_type} AS deal_type {from}), \
             rollbook_items(deal_id, item) AS (\n{query}\n) \
             SELECT d.id, d.deal_type, CAST(i.item AS BLOB) FROM rollbook_deals d \
             LEFT JOIN rollbook_items i ON CAST(i.deal_id AS TEXT) COLLATE BINARY = d.id COLLATE BINARY \
             ORDER BY d.id COLLATE BINARY, CAST(i.item AS BLOB)"
        ),
    }
}

/// The connection that planned; no other connection sees the planned state.
#[derive(Debug)]
pub(in crate::snapshot) struct Session {
    connection: SqliteConnection,
    database: SourceDatabase,
}

impl Session {
    pub(super) async fn read(
        &mut self,
        task: &ShardTask,
        sink: &mut Sink,
    ) -> Result<(), SnapshotError> {
        let ShardRead::Sqlite { key } = task.read else {
            return Err(task.error("it is not of SQLite"));
        };
        let source = super::source_of(task);
        let table = &source.table.table;
        let sql = shard_sql(&source, &task.range, key);
        let mut read = 0u64;
        let mut stream = sqlx::query(AssertSqlSafe(sql)).fetch(&mut self.connection);
        while let Some(row) = stream.next().await {
            let failed = |error| self.database.query_error(table, read, &error);
            let row = row.map_err(failed)?;
            let id: &str = row.try_get(0).map_err(failed)?;
            let deal_type: Option<&str> = row.try_get(1).map_err(failed)?;
            let inventory: Option<&[u8]> = row.try_get(2).map_err(failed)?;
            read += 1;
            let inventory = inventory.map(Bytes::copy_from_slice);
            if sink.push(id, deal_type, inventory).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
