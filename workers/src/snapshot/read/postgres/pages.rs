//! Reading a table in the order of its pages instead of its keys.
//!
//! Where keys say nothing about where rows lie, as random ids do, a run of keys has its rows on as
//! many pages: the table is read once for every row instead of once for every page. Nothing is
//! counted before: keys of some pages, looked at at random, say well enough how many deals there
//! are and how their keys are spread.

use std::ops::RangeInclusive;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::{key_expression, sent};
use crate::snapshot::SnapshotError;
use crate::snapshot::read::Pages;
use crate::snapshot::source::SnapshotSource;
use crate::snapshot::sql::{column, live, quoted, scope};
use crate::snapshot::task::{InventoryForm, KeyKind};

/// A table of fewer shards is read by keys: it fits the server's memory. Of more shards the places
/// of their rows in the file would take too much of ours: they grow with the square.
const SHARDS: RangeInclusive<u64> = 8..=16_384;
/// From this correlation of keys and places on, runs of keys lie together.
const MAX_CORRELATION: f32 = 0.5;
/// Pages to look at for each shard there may be. Keys of one page may be neighbours, so that a
/// shard's share of the keys is as uncertain as that of so few pages.
const LOOKED_AT_PER_SHARD: u64 = 8;
/// Pages to look at in any case.
const LOOKED_AT: u64 = 512;

/// Pages, rows and correlation of an ordinary table of a server that reads ranges of pages.
const TABLE: &str = r#"
SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint,
       greatest(c.reltuples, 0)::float8, s.correlation
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_am a ON a.oid = c.relam AND a.amname = 'heap'
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = $2
WHERE c.oid = to_regclass($1) AND c.relkind = 'r' AND NOT c.relhassubclass
  AND current_setting('server_version_num')::int >= 140000"#;

/// The table's pages, if reading them costs less than reading by keys for shards of `rows` deals.
///
/// All rows the snapshot sees lie on these pages: rows are never moved while it is held. Refused
/// when an id occurs twice among those looked at.
pub(super) async fn worth_reading(
    connection: &mut PgConnection,
    source: &SnapshotSource,
    key: KeyKind,
    rows: u64,
    failed: &impl Fn(sqlx::Error) -> SnapshotError,
) -> Result<Option<Pages>, SnapshotError> {
    if source.inventory_query.is_some() {
        return Ok(None);
    }
    let found: Option<(i64, f64, Option<f32>)> = sqlx::query_as(TABLE)
        .bind(quoted(&source.table.table))
        .bind(&source.table.id)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let Some((pages, stored, Some(correlation))) = found else {
        return Ok(None);
    };
    let pages = pages.unsigned_abs();
    if pages == 0 || correlation.abs() >= MAX_CORRELATION {
        return Ok(None);
    }
    let shards = stored as u64 / rows;
    let wanted = (shards * LOOKED_AT_PER_SHARD).clamp(LOOKED_AT, pages.max(LOOKED_AT));
    let share = (wanted as f64 / pages as f64).min(1.0);
    let mut keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(some_keys(source, key, share)))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let deals = (keys.len() as f64 / share) as u64;
    let shards = deals.div_ceil(rows);
    // Of fewer deals than pages by keys few pages are read; a page in its turn costs half.
    if !SHARDS.contains(&shards) || deals < pages / 2 {
        return Ok(None);
    }
    let order = key.order();
    keys.sort_unstable_by(|left, right| order.compare(left, right));
    // Found here, an id that occurs often never becomes a run of rows that memory can't hold.
    if let Some([id, _]) = keys.array_windows().find(|[left, right]| left == right) {
        return Err(SnapshotError::twice(&source.table, id));
    }
    let step = keys
        .len()
        .div_ceil(usize::try_from(shards).unwrap_or(usize::MAX));
    Ok(Some(Pages {
        count: pages,
        deals,
        bounds: keys.into_iter().step_by(step.max(1)).skip(1).collect(),
    }))
}

/// The keys of live deals on a share of the pages.
fn some_keys(source: &SnapshotSource, key: KeyKind, share: f64) -> String {
    let (key, table) = (key_expression(source, key), quoted(&source.table.table));
    let percent = share * 100.0;
    format!(
        "SELECT CAST({key} AS text) FROM {table} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0) \
         WHERE {key} IS NOT NULL AND {}",
        live(source)
    )
}

/// Live deals without an id.
pub(super) fn without_id(source: &SnapshotSource) -> String {
    let id = column(&source.table, &source.table.id);
    let table = quoted(&source.table.table);
    format!(
        "SELECT count(*) FROM {table} WHERE {} AND {id} IS NULL",
        live(source)
    )
}

/// The rows of a range of pages. Deleted deals have neither an id nor an inventory here.
pub(super) fn statement(
    source: &SnapshotSource,
    form: InventoryForm,
    from: u64,
    below: Option<u64>,
) -> String {
    let table = &source.table;
    let unless_deleted = |value: String| match table.deleted_at.as_deref() {
        Some(deleted) => {
            let deleted = column(table, deleted);
            format!("CASE WHEN {deleted} IS NULL THEN {value} END")
        }
        None => value,
    };
    let id = format!("CAST({} AS text)", column(table, &table.id));
    let inventory = sent(&column(table, &table.inventory), form);
    let below = below.map_or_else(String::new, |page| format!(" AND ctid < '({page},0)'::tid"));
    format!(
        "SELECT {}, CAST({} AS text), {} FROM {} WHERE {} AND ctid >= '({from},0)'::tid{below}",
        unless_deleted(id),
        column(table, &table.deal_type),
        unless_deleted(inventory),
        quoted(&table.table),
        scope(source),
    )
}
