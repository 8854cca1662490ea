//! Reads a table in page order instead of key order.
//!
//! Where keys do not correlate with the position of rows, as with random ids, the rows of a key
//! range lie on as many pages as there are rows: a page is read once for every row on it instead of
//! once. Nothing is counted beforehand: the keys on a random sample of pages show well enough how
//! many deals there are and how their keys are distributed.

use std::ops::RangeInclusive;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::{key_expression, sent};
use crate::snapshot::SnapshotError;
use crate::snapshot::read::Pages;
use crate::snapshot::source::SnapshotSource;
use crate::snapshot::sql::{column, live, quoted, scope};
use crate::snapshot::task::{InventoryForm, KeyKind};

/// The number of shards for which a table is read by pages. A smaller table fits the server's
/// memory and is read by keys. With more shards the positions of their rows in the file would take
/// too much of our memory: they grow with the square.
const SHARDS: RangeInclusive<u64> = 8..=16_384;
/// At this correlation of keys with positions or above, the rows of a key range lie together and
/// are read by keys.
const MAX_CORRELATION: f32 = 0.5;
/// Pages to sample per expected shard. The keys on one page may be neighbours, so a shard's share
/// of the keys is only as certain as a sample of this many pages.
const LOOKED_AT_PER_SHARD: u64 = 8;
/// Minimum number of pages to sample.
const LOOKED_AT: u64 = 512;

/// Pages, rows and correlation of an ordinary table, on a server that can read ranges of pages.
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
/// All rows that the snapshot sees lie on these pages: rows are never moved while it is held.
/// Refuses a table in which an id occurs twice in the sample.
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
    // With fewer deals than pages, reading by keys touches few pages; a page read in sequence costs
    // half.
    if !SHARDS.contains(&shards) || deals < pages / 2 {
        return Ok(None);
    }
    let order = key.order();
    keys.sort_unstable_by(|left, right| order.compare(left, right));
    // Refusing a frequent id here keeps its rows from filling one bucket beyond memory.
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

/// The query for the keys of live deals on a sample of the pages.
fn some_keys(source: &SnapshotSource, key: KeyKind, share: f64) -> String {
    let (key, table) = (key_expression(source, key), quoted(&source.table.table));
    let percent = share * 100.0;
    format!(
        "SELECT CAST({key} AS text) FROM {table} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0) \
         WHERE {key} IS NOT NULL AND {}",
        live(source)
    )
}

/// The query that counts live deals without an id.
pub(super) fn without_id(source: &SnapshotSource) -> String {
    let id = column(&source.table, &source.table.id);
    let table = quoted(&source.table.table);
    format!(
        "SELECT count(*) FROM {table} WHERE {} AND {id} IS NULL",
        live(source)
    )
}

/// The query for the rows of a range of pages. Deleted deals come with neither an id nor an
/// inventory.
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
