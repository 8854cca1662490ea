//! The database queries of the audit.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_workers::snapshot::database::{Opened, SourceDatabase};
use rollbook_workers::snapshot::row::NULL_TYPE;
use rollbook_workers::snapshot::sql::{column, quoted, sql_filter};
use rollbook_workers::snapshot::{SnapshotError, SnapshotSource};
use sqlx::{AssertSqlSafe, Row as _};

use super::{AuditReport, FaultyDeal, HealthScore, MAX_LISTED, MAX_TYPES};
use crate::DealType;

/// Characters that count as blank, the same that the migration to the target schema trims.
const BLANKS: &str = " \t\n\r\u{b}\u{c}";

/// Audits the deal types of a source, without reading inventories.
///
/// All figures come from one transaction. `taken_at` is from the injected clock.
pub async fn take(
    source: &SnapshotSource,
    taken_at: Timestamp,
) -> Result<AuditReport, SnapshotError> {
    let database = SourceDatabase::parse(&source.database)?;
    let table = &source.table.table;
    let sql = Queries::new(source);
    let failed = |error: sqlx::Error| database.query_error(table, 0, &error);
    // The two drivers have different row types but return the same columns.
    macro_rules! gather {
        ($connection:expr, $begin:literal) => {{
            let connection = $connection;
            sqlx::raw_sql($begin)
                .execute(&mut **connection)
                .await
                .map_err(failed)?;
            let row = sqlx::query(AssertSqlSafe(sql.counts))
                .fetch_one(&mut **connection)
                .await
                .map_err(failed)?;
            let mut counts = [0u64; 4];
            for (index, count) in counts.iter_mut().enumerate() {
                let value: i64 = row.try_get(index).map_err(failed)?;
                *count = u64::try_from(value).unwrap_or(0);
            }
            let rows = sqlx::query(AssertSqlSafe(sql.distribution))
                .fetch_all(&mut **connection)
                .await
                .map_err(failed)?;
            let mut distribution = BTreeMap::new();
            for row in rows {
                let deal_type: String = row.try_get(0).map_err(failed)?;
                let deals: i64 = row.try_get(1).map_err(failed)?;
                distribution.insert(deal_type, u64::try_from(deals).unwrap_or(0));
            }
            let mut lists = [Vec::new(), Vec::new()];
            for (list, sql) in lists.iter_mut().zip([sql.invalid, sql.null]) {
                let rows = sqlx::query(AssertSqlSafe(sql))
                    .fetch_all(&mut **connection)
                    .await
                    .map_err(failed)?;
                for row in rows {
                    list.push(FaultyDeal {
                        deal_id: row.try_get(0).map_err(failed)?,
                        deal_type: row.try_get(1).map_err(failed)?,
                    });
                }
            }
            (counts, distribution, lists)
        }};
    }
    let (counts, distribution, lists) = match &mut database.connect().await? {
        Opened::Postgres(pg) => gather!(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        Opened::Sqlite(lite) => gather!(lite, "BEGIN"),
    };
    Ok(report(taken_at, counts, distribution, lists))
}

fn report(
    taken_at: Timestamp,
    [total, active, null, valid]: [u64; 4],
    mut distribution: BTreeMap<String, u64>,
    [invalid_deals, null_deals]: [Vec<FaultyDeal>; 2],
) -> AuditReport {
    let listed = distribution
        .values()
        .fold(0u64, |a, b| a.saturating_add(*b));
    let others = active.saturating_sub(listed);
    if others > 0 {
        *distribution.entry("(other)".to_owned()).or_default() += others;
    }
    AuditReport {
        audit_timestamp: taken_at,
        total_deals: total,
        active_deals: active,
        deleted_deals: total.saturating_sub(active),
        null_count: null,
        invalid_count: active.saturating_sub(null).saturating_sub(valid),
        distribution,
        invalid_deals,
        null_deals,
        health_score: HealthScore::new(valid, active),
    }
}

struct Queries {
    counts: String,
    distribution: String,
    invalid: String,
    null: String,
}

impl Queries {
    /// Builds SQL that both databases understand.
    fn new(source: &SnapshotSource) -> Self {
        let columns = &source.table;
        let id = column(columns, &columns.id);
        let deal_type = format!("CAST({} AS text)", column(columns, &columns.deal_type));
        let table = quoted(&columns.table);
        let filter = sql_filter(source).unwrap_or_else(|| "1=1".to_owned());
        let live = columns.deleted_at.as_deref().map_or_else(
            || "1=1".to_owned(),
            |c| format!("{} IS NULL", column(columns, c)),
        );
        let null = format!("({deal_type} IS NULL OR trim({deal_type}, '{BLANKS}') = '')");
        let types = DealType::ALL.map(|kind| format!("'{kind}'")).join(", ");
        let valid = format!("({deal_type} IS NOT NULL AND {deal_type} IN ({types}))");
        let count = |condition: &str| {
            format!("CAST(COALESCE(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END), 0) AS bigint)")
        };
        let list = |condition: &str| {
            format!(
                "SELECT CAST({id} AS text), {deal_type} FROM {table} \
                 WHERE {live} AND {filter} AND {condition} ORDER BY {id} LIMIT {MAX_LISTED}"
            )
        };
        Self {
            counts: format!(
                "SELECT count(*), {}, {}, {} FROM {table} WHERE {filter}",
                count(&live),
                count(&format!("{live} AND {null}")),
                count(&format!("{live} AND {valid}")),
            ),
            distribution: format!(
                "SELECT CASE WHEN {null} THEN '{NULL_TYPE}' ELSE {deal_type} END AS shown, \
                 count(*) AS deals FROM {table} WHERE {live} AND {filter} \
                 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAX_TYPES}"
            ),
            invalid: list(&format!("NOT {null} AND NOT {valid}")),
            null: list(&null),
        }
    }
}
