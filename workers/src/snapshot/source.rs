//! Where deals come from: one consistent read of PostgreSQL or SQLite, in byte order of id.

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::SnapshotError;
use super::batch::{Batcher, RowShape};
use super::calculator::RawDeal;
use super::database::{Database, Opened};

/// Batches waiting between the reader and the compute threads.
const QUEUED_BATCHES: usize = 2;

/// Which table holds the deals, and its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DealTable {
    /// Table, with its schema if needed: `public.deals`.
    pub table: String,
    /// The unique id, of a text or integer type.
    pub id: String,
    /// The deal type.
    pub deal_type: String,
    /// The inventory items of a deal as one JSON array, of type `json`, `jsonb` or text.
    pub inventory: String,
    /// Set for deleted deals, which a snapshot leaves out. `None`: the table has no such column.
    pub deleted_at: Option<String>,
}

impl Default for DealTable {
    fn default() -> Self {
        Self {
            table: "deals".to_owned(),
            id: "id".to_owned(),
            deal_type: "deal_type".to_owned(),
            inventory: "inventory".to_owned(),
            deleted_at: Some("deleted_at".to_owned()),
        }
    }
}

/// What to read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotSource {
    /// `postgres://…` or `sqlite:PATH`. May hold a password: never printed, never stored.
    pub database: String,
    /// The table of the deals.
    #[serde(default)]
    pub table: DealTable,
    /// For inventories in a child table: a query whose two columns are the deal's id and one
    /// item as JSON. It replaces the inventory column. Items are taken in byte order of their
    /// text, so the order of the query does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_query: Option<String>,
    /// An SQL condition on the table of the deals; deals it excludes are not part of the snapshot.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

impl SnapshotSource {
    /// The default table of a database.
    pub fn new(database: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            table: DealTable::default(),
            inventory_query: None,
            filter: None,
        }
    }
}

impl std::fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let database = Database::parse(&self.database).map_or_else(
            |_| "(unreadable URL)".to_owned(),
            |database| database.shown().to_owned(),
        );
        f.debug_struct("SnapshotSource")
            .field("database", &database)
            .field("table", &self.table)
            .field("inventory_query", &self.inventory_query)
            .field("filter", &self.filter)
            .finish()
    }
}

/// How all deals of a snapshot are from the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// One `REPEATABLE READ READ ONLY` transaction of PostgreSQL.
    PostgresRepeatableRead,
    /// One read transaction of SQLite.
    SqliteReadTransaction,
}

/// A source inside its transaction, its size known.
#[derive(Debug)]
pub(super) struct OpenSource {
    connection: Opened,
    database: Database,
    source: SnapshotSource,
    /// Deals that will be read.
    pub(super) total: u64,
    /// Deals left out because they are deleted.
    pub(super) deleted: u64,
    pub(super) consistency: Consistency,
}

/// The deals of an open source, batch by batch. Dropping it ends the read.
#[derive(Debug)]
pub(super) struct Batches {
    receiver: mpsc::Receiver<Result<Vec<RawDeal>, SnapshotError>>,
    _reader: AbortOnDropHandle<()>,
}

impl Batches {
    pub(super) async fn next(&mut self) -> Option<Result<Vec<RawDeal>, SnapshotError>> {
        self.receiver.recv().await
    }
}

impl OpenSource {
    /// Connects, begins the transaction every later read belongs to, and counts.
    pub(super) async fn open(source: &SnapshotSource) -> Result<Self, SnapshotError> {
        let database = Database::parse(&source.database)?;
        let table = source.table.table.clone();
        let sql = count_sql(source);
        let connection = database.connect().await?;
        let failed = |error: sqlx::Error| database.query_error(&table, 0, &error);
        let (connection, consistency, total, deleted) = match connection {
            Opened::Postgres(mut pg) => {
                sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .execute(&mut *pg)
                    .await
                    .map_err(failed)?;
                let row = sqlx::query(AssertSqlSafe(sql))
                    .fetch_one(&mut *pg)
                    .await
                    .map_err(failed)?;
                let (total, deleted) = counts(&row, failed)?;
                let consistency = Consistency::PostgresRepeatableRead;
                (Opened::Postgres(pg), consistency, total, deleted)
            }
            Opened::Sqlite(mut lite) => {
                sqlx::raw_sql("BEGIN")
                    .execute(&mut *lite)
                    .await
                    .map_err(failed)?;
                let row = sqlx::query(AssertSqlSafe(sql))
                    .fetch_one(&mut *lite)
                    .await
                    .map_err(failed)?;
                let (total, deleted) = counts(&row, failed)?;
                let consistency = Consistency::SqliteReadTransaction;
                (Opened::Sqlite(lite), consistency, total, deleted)
            }
        };
        Ok(Self {
            connection,
            database,
            source: source.clone(),
            total,
            deleted,
            consistency,
        })
    }

    /// The database without credentials.
    pub(super) fn shown(&self) -> &str {
        self.database.shown()
    }

    /// Starts reading. Memory is bounded: the reader waits when nobody takes its batches.
    pub(super) fn read(self) -> Batches {
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES);
        let reader = tokio::spawn(async move {
            if let Err(error) = self.read_into(&sender).await {
                // A receiver that has gone no longer wants to know.
                let _ = sender.send(Err(error)).await;
            }
        });
        Batches {
            receiver,
            _reader: AbortOnDropHandle::new(reader),
        }
    }

    async fn read_into(
        self,
        sender: &mpsc::Sender<Result<Vec<RawDeal>, SnapshotError>>,
    ) -> Result<(), SnapshotError> {
        let shape = match self.source.inventory_query {
            Some(_) => RowShape::Item,
            None => RowShape::Whole,
        };
        let table = &self.source.table.table;
        let mut rows = 0u64;
        let mut batcher = Batcher::new(shape);
        // The two drivers have different row types but the same three columns.
        macro_rules! stream {
            ($connection:expr, $sql:expr, $inventory:ty) => {{
                let mut stream = sqlx::query(AssertSqlSafe($sql)).fetch(&mut *$connection);
                while let Some(row) = stream.next().await {
                    let failed = |error| self.database.query_error(table, rows, &error);
                    let row = row.map_err(failed)?;
                    let id: Option<&str> = row.try_get(0).map_err(failed)?;
                    let deal_type: Option<&str> = row.try_get(1).map_err(failed)?;
                    let inventory: Option<$inventory> = row.try_get(2).map_err(failed)?;
                    let inventory = inventory.map(AsRef::<[u8]>::as_ref);
                    rows += 1;
                    let full = batcher.push(id, deal_type, inventory).map_err(|reason| {
                        SnapshotError::Order {
                            table: table.clone(),
                            reason,
                        }
                    })?;
                    if let Some(batch) = full
                        && sender.send(Ok(batch)).await.is_err()
                    {
                        return Ok(());
                    }
                }
            }};
        }
        match self.connection {
            Opened::Postgres(mut pg) => stream!(pg, postgres_sql(&self.source), &str),
            Opened::Sqlite(mut lite) => {
                let order = sqlite_order(&self.source, &mut lite)
                    .await
                    .map_err(|error| self.database.query_error(table, 0, &error))?;
                stream!(lite, sqlite_sql(&self.source, &order), &[u8]);
            }
        }
        let rest = batcher.finish();
        if !rest.is_empty() {
            // A receiver that has gone no longer wants the rest.
            let _ = sender.send(Ok(rest)).await;
        }
        Ok(())
    }
}

fn counts<R: sqlx::Row>(
    row: &R,
    failed: impl Fn(sqlx::Error) -> SnapshotError,
) -> Result<(u64, u64), SnapshotError>
where
    usize: sqlx::ColumnIndex<R>,
    for<'a> i64: sqlx::Decode<'a, R::Database> + sqlx::Type<R::Database>,
{
    let total: i64 = row.try_get(0).map_err(&failed)?;
    let deleted: i64 = row.try_get(1).map_err(&failed)?;
    Ok((
        u64::try_from(total).unwrap_or(0),
        u64::try_from(deleted).unwrap_or(0),
    ))
}

/// An identifier in SQL quotes; dots separate schema and table.
pub(crate) fn quoted(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    parts.join(".")
}

/// A column of the deals. With the table before it, because SQLite reads an unknown quoted name
/// that stands alone as a text.
pub(crate) fn column(table: &DealTable, name: &str) -> String {
    format!("{}.\"{}\"", quoted(&table.table), name.replace('"', "\"\""))
}

/// `WHERE` clause of the deals: the filter, and not deleted.
fn conditions(source: &SnapshotSource) -> String {
    let deleted = source.table.deleted_at.as_deref();
    let live = deleted.map_or_else(
        || "1=1".to_owned(),
        |c| format!("{} IS NULL", column(&source.table, c)),
    );
    match sql_filter(source) {
        Some(filter) => format!("WHERE {live} AND {filter}"),
        None => format!("WHERE {live}"),
    }
}

/// The filter on its own lines, so that a comment at its end hides nothing behind it.
pub(crate) fn sql_filter(source: &SnapshotSource) -> Option<String> {
    let filter = source.filter.as_deref()?.trim();
    (!filter.is_empty()).then(|| format!("(\n{filter}\n)"))
}

fn count_sql(source: &SnapshotSource) -> String {
    let table = quoted(&source.table.table);
    let filter = sql_filter(source).map_or_else(String::new, |f| format!("WHERE {f}"));
    match source
        .table
        .deleted_at
        .as_deref()
        .map(|c| column(&source.table, c))
    {
        Some(deleted) => format!(
            "SELECT count(*) - count({deleted}) AS live, count({deleted}) AS deleted FROM {table} {filter}"
        ),
        None => {
            format!("SELECT count(*) AS live, count(*) - count(*) AS deleted FROM {table} {filter}")
        }
    }
}

fn item_query(source: &SnapshotSource) -> Option<&str> {
    let query = source.inventory_query.as_deref()?;
    Some(query.trim().trim_end_matches(';'))
}

/// PostgreSQL: the sort is inside, the conversion of the inventory outside, so that the server
/// sorts references to large values and not the values.
fn postgres_sql(source: &SnapshotSource) -> String {
    let table = &source.table;
    let id = format!("CAST({} AS text) COLLATE \"C\"", column(table, &table.id));
    let deal_type = format!("CAST({} AS text)", column(table, &table.deal_type));
    let from = format!("FROM {} {}", quoted(&table.table), conditions(source));
    match item_query(source) {
        None => format!(
            "SELECT d.id, d.deal_type, CAST(d.inventory AS text) FROM \
             (SELECT {id} AS id, {deal_type} AS deal_type, {} AS inventory {from} ORDER BY 1) d",
            column(table, &table.inventory)
        ),
        Some(query) => format!(
            "WITH rollbook_deals AS (SELECT {id} AS id, {deal_type} AS deal_type {from}), \
             rollbook_items(deal_id, item) AS (\n{query}\n) \
             SELECT d.id, d.deal_type, CAST(i.item AS text) FROM rollbook_deals d \
             LEFT JOIN rollbook_items i ON CAST(i.deal_id AS text) COLLATE \"C\" = d.id COLLATE \"C\" \
             ORDER BY d.id COLLATE \"C\", CAST(i.item AS text) COLLATE \"C\""
        ),
    }
}

/// The expression SQLite orders ids by. A column of text affinity can be read in index order;
/// others are compared by their text, as PostgreSQL compares them.
async fn sqlite_order(
    source: &SnapshotSource,
    connection: &mut SqliteConnection,
) -> Result<String, sqlx::Error> {
    let table = source.table.table.rsplit('.').next().unwrap_or_default();
    let declared: Option<String> =
        sqlx::query_scalar("SELECT type FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE")
            .bind(table)
            .bind(&source.table.id)
            .fetch_optional(connection)
            .await?;
    let declared = declared.unwrap_or_default().to_ascii_uppercase();
    // The affinity rules of SQLite, https://www.sqlite.org/datatype3.html §3.1.
    let text = !declared.contains("INT")
        && ["CHAR", "CLOB", "TEXT"]
            .iter()
            .any(|name| declared.contains(name));
    let id = column(&source.table, &source.table.id);
    Ok(if text {
        format!("{id} COLLATE BINARY")
    } else {
        format!("CAST({id} AS TEXT) COLLATE BINARY")
    })
}

fn sqlite_sql(source: &SnapshotSource, order: &str) -> String {
    let table = &source.table;
    let id = format!("CAST({} AS TEXT)", column(table, &table.id));
    let deal_type = format!("CAST({} AS TEXT)", column(table, &table.deal_type));
    let from = format!("FROM {} {}", quoted(&table.table), conditions(source));
    match item_query(source) {
        None => format!(
            "SELECT {id}, {deal_type}, CAST({} AS BLOB) {from} ORDER BY {order}",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("public.deals"), "\"public\".\"deals\"");
        assert_eq!(quoted("a\"; drop"), "\"a\"\"; drop\"");
    }

    #[test]
    fn a_source_never_shows_its_password() {
        let source = SnapshotSource::new("postgres://u:hunter2@db/deals");
        assert!(!format!("{source:?}").contains("hunter2"));
        let broken = SnapshotSource::new("u:hunter2@db/deals");
        assert!(!format!("{broken:?}").contains("hunter2"));
    }
}
