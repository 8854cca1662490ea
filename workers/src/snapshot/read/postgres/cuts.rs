//! Counts the deals of a snapshot and cuts their keys into shards.
//!
//! Where an index holds every column needed, one pass over it yields the cuts and, with the deals
//! after the last cut, the count. Otherwise the table is read once to count, and the keys are
//! numbered.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::{Session, fetch_one, key_expression, key_literal, range_condition};
use crate::snapshot::SnapshotError;
use crate::snapshot::database::SourceDatabase;
use crate::snapshot::plan::MAX_ROWS_PER_PART;
use crate::snapshot::read::counted;
use crate::snapshot::source::SnapshotSource;
use crate::snapshot::sql::{self, column, live, quoted, scope};
use crate::snapshot::task::{KeyKind, KeyRange};

/// Without an index on the key every shard scans the table, so there are at most this many shards,
/// as far as [`MAX_ROWS_PER_PART`] allows.
const MAX_SCANS: u64 = 16;

/// Keys that one query looks up.
const KEYS_AT_ONCE: usize = 4_096;

/// The first key of each shard.
pub(super) struct CutKeys {
    pub(super) keys: Vec<String>,
    /// Deals of each shard except the last.
    pub(super) rows: u64,
    pub(super) total: u64,
    pub(super) deleted: u64,
}

/// Computes the cuts under the snapshot of a connection.
pub(super) struct Cutter<'c> {
    pub(super) connection: &'c mut PgConnection,
    pub(super) database: &'c SourceDatabase,
    pub(super) snapshot: &'c str,
    pub(super) source: &'c SnapshotSource,
    pub(super) key: KeyKind,
}

impl Cutter<'_> {
    /// Cuts every `rows` deals, or into fewer shards where no index serves key ranges. Refuses an id
    /// that occurs twice where a shard begins.
    ///
    /// This is the only way in. Both ways to cut give the same keys and counts.
    pub(super) async fn cut(
        mut self,
        rows: u64,
        indexed: bool,
        failed: &impl Fn(sqlx::Error) -> SnapshotError,
    ) -> Result<CutKeys, SnapshotError> {
        if indexed && self.index_holds_all(rows).await.map_err(failed)? {
            let cut = self.cut_by_index(rows, failed).await?;
            self.refuse_twice(&cut.keys, failed).await?;
            return Ok(cut);
        }
        let found = counts(self.connection, sql::count(self.source)).await;
        let (total, deleted) = counted(self.source, found.map_err(failed)?)?;
        let rows = if indexed {
            rows
        } else {
            let table = &self.source.table;
            // Correct, but every shard scans the table.
            tracing::warn!(
                table = table.table,
                "no index gives the deals in byte order of id; a snapshot is much faster with: CREATE INDEX ON {} ({} COLLATE \"C\")",
                quoted(&table.table),
                quoted(&table.id),
            );
            rows.max(total.div_ceil(MAX_SCANS).min(MAX_ROWS_PER_PART))
        };
        let boundaries = sql::boundaries(self.source, &self.expression(), rows);
        let keys = texts(self.connection, boundaries).await.map_err(failed)?;
        self.refuse_twice(&keys, failed).await?;
        Ok(CutKeys {
            keys,
            rows,
            total,
            deleted,
        })
    }

    /// Refuses a key that occurs twice where a shard begins. Its rows would all fall into the second
    /// of two shards, which would then have more deals than counted, as if the source had changed.
    async fn refuse_twice(
        &mut self,
        keys: &[String],
        failed: &impl Fn(sqlx::Error) -> SnapshotError,
    ) -> Result<(), SnapshotError> {
        let (key, from) = (self.expression(), self.live_rows());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let keys: Vec<String> = keys.iter().map(|it| key_literal(self.key, it)).collect();
            let twice = format!(
                "SELECT min(CAST({key} AS text)) {from} AND {key} IN ({}) \
                 GROUP BY {key} HAVING count(*) > 1 LIMIT 1",
                keys.join(", ")
            );
            let found = texts(self.connection, twice).await.map_err(failed)?;
            if let Some(id) = found.first() {
                return Err(SnapshotError::twice(&self.source.table, id));
            }
        }
        Ok(())
    }

    async fn cut_by_index(
        &mut self,
        rows: u64,
        failed: &impl Fn(sqlx::Error) -> SnapshotError,
    ) -> Result<CutKeys, SnapshotError> {
        let boundaries = self.boundaries(rows);
        let (keys, [all, unnamed]) = {
            let aside = count_aside(self.database, self.snapshot, self.source, failed);
            let cutting = async { texts(self.connection, boundaries).await.map_err(failed) };
            tokio::try_join!(cutting, aside)?
        };
        let whole = u64::try_from(keys.len().saturating_sub(1)).unwrap_or(u64::MAX);
        let last = KeyRange {
            from: keys.last().cloned(),
            below: None,
        };
        let range = range_condition(&self.expression(), self.key, &last);
        let behind = format!("SELECT count(*) {} AND {range}", self.live_rows());
        let [behind] = counts(self.connection, behind).await.map_err(failed)?;
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

    /// The query for every `rows`-th live key, starting with the first and stepping from one to the
    /// next. Keys come as text.
    fn boundaries(&self, rows: u64) -> String {
        let (key, sent, from) = (self.expression(), self.sent(), self.live_rows());
        // UNION rather than UNION ALL, so that the recursion ends at a key that occurs very often;
        // that key is refused when it is read.
        format!(
            "WITH RECURSIVE rollbook_cuts(k) AS (\
             (SELECT {sent} {from} ORDER BY {key} LIMIT 1) UNION \
             SELECT (SELECT {sent} {from} AND {key} >= c.k ORDER BY {key} OFFSET {rows} LIMIT 1) \
             FROM rollbook_cuts c WHERE c.k IS NOT NULL) \
             SELECT CAST(c.k AS text) FROM rollbook_cuts c WHERE c.k IS NOT NULL ORDER BY c.k"
        )
    }

    /// The FROM clause of all deals to read; a condition may be appended.
    fn live_rows(&self) -> String {
        let table = quoted(&self.source.table.table);
        format!("FROM {table} WHERE {}", live(self.source))
    }

    /// The key as a type without a length limit, so that the recursive query may repeat it.
    fn sent(&self) -> String {
        let key = self.expression();
        match self.key {
            KeyKind::Integer | KeyKind::Uuid => key,
            KeyKind::Text | KeyKind::CollatedText | KeyKind::Cast => format!("CAST({key} AS text)"),
        }
    }

    /// Whether the server can step from one cut to the next in an index alone, without the table.
    async fn index_holds_all(&mut self, rows: u64) -> Result<bool, sqlx::Error> {
        let (key, sent, from) = (self.expression(), self.sent(), self.live_rows());
        let step = format!("EXPLAIN SELECT {sent} {from} ORDER BY {key} OFFSET {rows} LIMIT 1");
        let lines = texts(self.connection, step).await?;
        let has = |what| lines.iter().any(|line| line.contains(what));
        Ok(has("Index Only Scan") && !has("Sort"))
    }
}

/// Counts all deals, including deleted ones, and those without an id. It uses a separate connection
/// under the same snapshot, so that the server counts on one core while it cuts on another.
async fn count_aside(
    database: &SourceDatabase,
    snapshot: &str,
    source: &SnapshotSource,
    failed: &impl Fn(sqlx::Error) -> SnapshotError,
) -> Result<[i64; 2], SnapshotError> {
    let mut session = Session::open(database, snapshot).await?;
    let (table, id) = (&source.table.table, column(&source.table, &source.table.id));
    let sql = format!(
        "SELECT (SELECT count(*) FROM {table} WHERE {}), \
         (SELECT count(*) FROM {table} WHERE {} AND {id} IS NULL)",
        scope(source),
        live(source),
        table = quoted(table),
    );
    let found = counts(&mut session.connection, sql).await;
    // Close the session so that its slot is free for a reader where connections are scarce. The
    // counts hold even if closing fails.
    let _ = session.connection.close().await;
    found.map_err(failed)
}

/// The numbers in the only row.
async fn counts<const N: usize>(
    connection: &mut PgConnection,
    sql: String,
) -> Result<[i64; N], sqlx::Error> {
    let row = fetch_one(connection, sql).await?;
    let mut numbers = [0; N];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = row.try_get(index)?;
    }
    Ok(numbers)
}

/// The first column of all rows.
async fn texts(connection: &mut PgConnection, sql: String) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
}
