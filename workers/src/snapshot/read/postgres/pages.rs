//! Reading a table in the order of its pages instead of its keys.
//!
//! Where keys say nothing about where rows lie, as random ids do, a run of keys has its rows on as
//! many pages: the table is read once for every row instead of once for every page.

use std::ops::RangeInclusive;

use sqlx::postgres::PgConnection;

use crate::snapshot::source::SnapshotSource;
use crate::snapshot::sql::quoted;

/// A table of fewer shards is read by keys: it fits the server's memory. Of more shards the places
/// of their rows in the file would take too much of ours: they grow with the square.
const SHARDS: RangeInclusive<u64> = 8..=16_384;
/// From this correlation of keys and places on, runs of keys lie together.
const MAX_CORRELATION: f32 = 0.5;

/// Pages and correlation of an ordinary table of a server that reads ranges of pages.
const TABLE: &str = r#"
SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint, s.correlation
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_am a ON a.oid = c.relam AND a.amname = 'heap'
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = $2
WHERE c.oid = to_regclass($1) AND c.relkind = 'r' AND NOT c.relhassubclass
  AND current_setting('server_version_num')::int >= 140000"#;

/// How many pages to read, if reading by pages costs less for so many deals of so many shards.
///
/// All rows the snapshot sees lie on these pages: rows are never moved while it is held.
pub(super) async fn worth_reading(
    connection: &mut PgConnection,
    source: &SnapshotSource,
    deals: u64,
    shards: u64,
) -> Result<Option<u64>, sqlx::Error> {
    if source.inventory_query.is_some() || !SHARDS.contains(&shards) {
        return Ok(None);
    }
    let found: Option<(i64, Option<f32>)> = sqlx::query_as(TABLE)
        .bind(quoted(&source.table.table))
        .bind(&source.table.id)
        .fetch_optional(connection)
        .await?;
    Ok(found.and_then(|(pages, correlation)| {
        let pages = u64::try_from(pages).ok()?;
        let scattered = correlation?.abs() < MAX_CORRELATION;
        // Of fewer deals than pages by keys few pages are read; a page in its turn costs half.
        (scattered && deals >= pages / 2).then_some(pages)
    }))
}

/// The rows of a range of pages.
pub(super) fn condition(from: u64, below: Option<u64>) -> String {
    let start = format!("ctid >= '({from},0)'::tid");
    match below {
        Some(below) => format!("{start} AND ctid < '({below},0)'::tid"),
        None => start,
    }
}
