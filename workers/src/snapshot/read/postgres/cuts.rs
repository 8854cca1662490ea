//! Counting the deals of a snapshot and cutting their keys.
//!
//! Where an index holds all that is asked for, one pass over it gives the cuts and, with what lies
//! behind the last one, the count. Otherwise the table is read to count, and keys are numbered.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{fetch_one, key_expression, range_condition};
use crate::snapshot::SnapshotError;
use crate::snapshot::plan::MAX_ROWS_PER_PART;
use crate::snapshot::read::counted;
use crate::snapshot::source::SnapshotSource;
use crate::snapshot::sql::{self, column, live, quoted, scope};
use crate::snapshot::task::{KeyKind, KeyRange};

/// Where no index serves the ranges, each shard scans the table: then at most so many shards,
/// as far as [`MAX_ROWS_PER_PART`] allows.
const MAX_SCANS: u64 = 16;

/// The first key of each shard.
pub(super) struct CutKeys {
    pub(super) keys: Vec<String>,
    /// Deals of each shard but the last.
    pub(super) rows: u64,
    pub(super) total: u64,
    pub(super) deleted: u64,
}

/// Cuts under the snapshot of a connection.
pub(super) struct Cutter<'c> {
    pub(super) connection: &'c mut PgConnection,
    pub(super) source: &'c SnapshotSource,
    pub(super) key: KeyKind,
}

impl Cutter<'_> {
    /// Cuts every `rows` deals, or more where no index serves ranges of keys.
    pub(super) async fn cut(
        mut self,
        rows: u64,
        indexed: bool,
        failed: &impl Fn(sqlx::Error) -> SnapshotError,
    ) -> Result<CutKeys, SnapshotError> {
        if indexed && self.index_holds_all(rows).await.map_err(failed)? {
            return self.cut_by_index(rows, failed).await;
        }
        let counts = self.counts(sql::count(self.source)).await;
        let (total, deleted) = counted(self.source, counts.map_err(failed)?)?;
        let rows = if indexed {
            rows
        } else {
            let table = &self.source.table;
            // Right, but each shard scans the table.
            tracing::warn!(
                table = table.table,
                "no index gives the deals in byte order of id; a snapshot is much faster with: CREATE INDEX ON {} ({} COLLATE \"C\")",
                quoted(&table.table),
                quoted(&table.id),
            );
            rows.max(total.div_ceil(MAX_SCANS).min(MAX_ROWS_PER_PART))
        };
        let boundaries = sql::boundaries(self.source, &self.expression(), rows);
        Ok(CutKeys {
            keys: self.texts(boundaries).await.map_err(failed)?,
            rows,
            total,
            deleted,
        })
    }

    async fn cut_by_index(
        mut self,
        rows: u64,
        failed: &impl Fn(sqlx::Error) -> SnapshotError,
    ) -> Result<CutKeys, SnapshotError> {
        let keys = self.texts(self.boundaries(rows)).await.map_err(failed)?;
        let whole = u64::try_from(keys.len().saturating_sub(1)).unwrap_or(u64::MAX);
        let last = KeyRange {
            from: keys.last().cloned(),
            below: None,
        };
        let range = range_condition(&self.expression(), self.key, &last);
        let id = column(&self.source.table, &self.source.table.id);
        let rest = self.counts(format!(
            "SELECT (SELECT count(*) {live} AND {range}), \
             (SELECT count(*) FROM {} WHERE {}), \
             (SELECT count(*) {live} AND {id} IS NULL)",
            quoted(&self.source.table.table),
            scope(self.source),
            live = self.live_rows(),
        ));
        let [behind, all, unnamed] = rest.await.map_err(failed)?;
        let total = whole.saturating_mul(rows) + behind.unsigned_abs();
        let live = i64::try_from(total).unwrap_or(i64::MAX);
        let (total, deleted) = counted(self.source, [live, (all - live).max(0), unnamed])?;
        Ok(CutKeys {
            keys,
            rows,
            total,
            deleted,
        })
    }

    fn expression(&self) -> String {
        key_expression(self.source, self.key)
    }

    /// Every `rows`-th live key from the first on, from one to the next. It comes as text.
    fn boundaries(&self, rows: u64) -> String {
        let (key, sent, from) = (self.expression(), self.sent(), self.live_rows());
        // UNION and not UNION ALL: with a key that occurs very often it ends, and the key is
        // refused when it is read.
        format!(
            "WITH RECURSIVE rollbook_cuts(k) AS (\
             (SELECT {sent} {from} ORDER BY {key} LIMIT 1) UNION \
             SELECT (SELECT {sent} {from} AND {key} >= c.k ORDER BY {key} OFFSET {rows} LIMIT 1) \
             FROM rollbook_cuts c WHERE c.k IS NOT NULL) \
             SELECT CAST(c.k AS text) FROM rollbook_cuts c WHERE c.k IS NOT NULL ORDER BY c.k"
        )
    }

    /// Where all deals to be read come from; a condition may follow.
    fn live_rows(&self) -> String {
        let table = quoted(&self.source.table.table);
        format!("FROM {table} WHERE {}", live(self.source))
    }

    /// The key as a type without a length: only such a one can be repeated.
    fn sent(&self) -> String {
        let key = self.expression();
        match self.key {
            KeyKind::Integer | KeyKind::Uuid => key,
            KeyKind::Text | KeyKind::CollatedText | KeyKind::Cast => format!("CAST({key} AS text)"),
        }
    }

    /// Whether the server goes from one cut to the next in an index, without the table.
    async fn index_holds_all(&mut self, rows: u64) -> Result<bool, sqlx::Error> {
        let (key, sent, from) = (self.expression(), self.sent(), self.live_rows());
        let step = format!("EXPLAIN SELECT {sent} {from} ORDER BY {key} OFFSET {rows} LIMIT 1");
        let lines = self.texts(step).await?;
        let has = |what| lines.iter().any(|line| line.contains(what));
        Ok(has("Index Only Scan") && !has("Sort"))
    }

    async fn counts(&mut self, sql: String) -> Result<[i64; 3], sqlx::Error> {
        let row = fetch_one(self.connection, sql).await?;
        Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?])
    }

    /// The first column of a query.
    async fn texts(&mut self, sql: String) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut *self.connection)
            .await
    }
}
