//! Reads the current state of one deal from its source.

use sqlx::{AssertSqlSafe, Row};

use super::SnapshotError;
use super::database::{Opened, SourceDatabase};
use super::source::SnapshotSource;
use super::sql::{column, quoted};

/// The most inventory items that are read from a child table for one deal.
const MAX_ITEMS: usize = 100_000;

/// The current state of a deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentDeal {
    /// The type as stored; `None` for NULL.
    pub deal_type: Option<String>,
    /// Whether it is marked as deleted.
    pub deleted: bool,
    /// The inventory: a JSON array of items.
    pub inventory: Vec<u8>,
}

/// Reads one deal; `None` when the table does not contain it.
///
/// The source's `where` is not applied: the deal was in a snapshot, and the question is what it
/// holds today.
pub async fn read_deal(
    source: &SnapshotSource,
    deal_id: &str,
) -> Result<Option<CurrentDeal>, SnapshotError> {
    let database = SourceDatabase::parse(&source.database)?;
    let failed = |error: sqlx::Error| database.query_error(&source.table.table, 0, &error);
    // The two drivers have different types but return the same columns.
    macro_rules! read {
        ($connection:expr, $mark:literal, $text:literal) => {{
            let row = sqlx::query(AssertSqlSafe(deal_sql(source, $mark, $text)))
                .bind(deal_id)
                .fetch_optional(&mut *$connection)
                .await
                .map_err(failed)?;
            let Some(row) = row else {
                return Ok(None);
            };
            let mut deal = CurrentDeal {
                deal_type: row.try_get(0).map_err(failed)?,
                deleted: row.try_get::<i64, _>(1).map_err(failed)? != 0,
                inventory: row
                    .try_get::<Option<String>, _>(2)
                    .map_err(failed)?
                    .unwrap_or_default()
                    .into_bytes(),
            };
            if let Some(sql) = items_sql(source, $mark, $text) {
                let items: Vec<Option<String>> = sqlx::query_scalar(AssertSqlSafe(sql))
                    .bind(deal_id)
                    .fetch_all(&mut *$connection)
                    .await
                    .map_err(failed)?;
                let items: Vec<String> = items.into_iter().flatten().collect();
                deal.inventory = format!("[{}]", items.join(",")).into_bytes();
            }
            deal
        }};
    }
    let deal = match database.connect().await? {
        Opened::Postgres(mut pg) => read!(pg, "$1", "text"),
        Opened::Sqlite(mut lite) => read!(lite, "?1", "TEXT"),
    };
    Ok(Some(deal))
}

fn deal_sql(source: &SnapshotSource, mark: &str, text: &str) -> String {
    let table = &source.table;
    let of = |name: &str| column(table, name);
    let deleted = table.deleted_at.as_deref().map_or_else(
        || "CAST(0 AS bigint)".to_owned(),
        |name| {
            format!(
                "CAST(CASE WHEN {} IS NULL THEN 0 ELSE 1 END AS bigint)",
                of(name)
            )
        },
    );
    let inventory = match source.inventory_query {
        Some(_) => "NULL".to_owned(),
        None => of(&table.inventory),
    };
    format!(
        "SELECT CAST({} AS {text}), {deleted}, CAST({inventory} AS {text}) FROM {} \
         WHERE CAST({} AS {text}) = {mark} LIMIT 1",
        of(&table.deal_type),
        quoted(&table.table),
        of(&table.id),
    )
}

fn items_sql(source: &SnapshotSource, mark: &str, text: &str) -> Option<String> {
    let query = source.inventory_query.as_deref()?;
    let query = query.trim().trim_end_matches(';');
    Some(format!(
        "WITH rollbook_items(deal_id, item) AS (\n{query}\n) \
         SELECT CAST(item AS {text}) FROM rollbook_items \
         WHERE CAST(deal_id AS {text}) = {mark} ORDER BY 1 LIMIT {MAX_ITEMS}"
    ))
}
