//! The views in SQLite: the embedded default.
//!
//! WAL mode, so readers never wait for the projector. `synchronous = NORMAL`: a power failure may
//! lose the last batches but not consistency, and the projector applies them again from the
//! journal; views need no stronger guarantee.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Arguments, AssertSqlSafe, Connection, Sqlite, Transaction};

use super::row::{ColumnValue, Kind};
use super::sql::{Database, SqlViews, Tx, decode};
use super::store::{ViewError, ViewStore};

/// Maximum time a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent readers.
const READ_CONNECTIONS: u32 = 4;
/// Page cache per connection; SQLite takes KiB as a negative number. A projector batch should fit.
const CACHE_SIZE: &str = "-32768";
/// Maximum size of a file that is checked for damage on opening; in a larger one, damage shows only
/// when it is read.
const MAX_CHECKED_BYTES: u64 = 64 * 1024 * 1024;
/// Number of prepared statements cached per connection: every table in every statement size, and
/// the queries.
const STATEMENT_CACHE: usize = 400;

#[derive(Debug)]
struct SqliteDatabase {
    /// One connection, because SQLite allows one writer.
    writer: SqlitePool,
    /// Read connections; for a database in memory the writer itself, because it lives in one
    /// connection.
    readers: SqlitePool,
}

/// Opens the views in a file as [`open`] does. A damaged file is renamed and replaced by empty
/// views, which the projector fills from the ledger.
pub async fn open_or_replace(path: &Path) -> Result<Arc<dyn ViewStore>, ViewError> {
    match open(path).await {
        Err(ViewError::Damaged { reason }) => {
            let aside = set_aside(path)?;
            tracing::warn!(
                %reason,
                aside = %aside.display(),
                "the views' database is damaged; it was set aside, and the views are rebuilt from the ledger"
            );
            open(path).await
        }
        opened => opened,
    }
}

/// Renames a database file out of the way and deletes its auxiliary files.
pub fn set_aside(path: &Path) -> Result<PathBuf, ViewError> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = beside(&format!(".damaged-{}", jiff::Timestamp::now().as_second()));
    let moved = std::fs::rename(path, &aside);
    moved.map_err(|error| ViewError::Location {
        location: path.display().to_string(),
        reason: format!("it is damaged and cannot be set aside: {error}"),
    })?;
    for end in ["-wal", "-shm"] {
        // The new database would otherwise pick up the auxiliary files of the old one.
        let _ = std::fs::remove_file(beside(end));
    }
    Ok(aside)
}

/// Opens the views in a file, which is created if missing; its directory must exist. Views of
/// another version are emptied. A small file is checked for damage.
pub async fn open(path: &Path) -> Result<Arc<dyn ViewStore>, ViewError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let connect = |count: u32| {
        SqlitePoolOptions::new()
            .max_connections(count)
            .acquire_timeout(BUSY_TIMEOUT)
            // SQLite itself ends a transaction that met a full disk. sqlx then fails to roll back
            // and would count the connection as in a transaction forever.
            .before_acquire(|connection, _| {
                let is_usable = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_usable) })
            })
            .connect_with(tuned(options.clone()))
    };
    let located = |error: sqlx::Error| match failed("open")(error) {
        ViewError::Database { reason, .. } | ViewError::Unavailable { reason } => {
            ViewError::Location {
                location: path.display().to_string(),
                reason,
            }
        }
        error => error,
    };
    let writer = connect(1).await.map_err(located)?;
    let readers = connect(READ_CONNECTIONS).await.map_err(located)?;
    let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() <= MAX_CHECKED_BYTES);
    if is_small {
        let check = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&readers);
        let found: String = check.await.map_err(located)?;
        if found != "ok" {
            return Err(ViewError::Damaged { reason: found });
        }
    }
    Ok(Arc::new(
        SqlViews::open(SqliteDatabase { writer, readers }).await?,
    ))
}

/// Opens empty views in memory, gone when dropped.
pub async fn in_memory() -> Result<Arc<dyn ViewStore>, ViewError> {
    let options = SqliteConnectOptions::from_str("sqlite::memory:").map_err(failed("connect"))?;
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(tuned(options))
        .await
        .map_err(failed("connect"))?;
    let readers = writer.clone();
    Ok(Arc::new(
        SqlViews::open(SqliteDatabase { writer, readers }).await?,
    ))
}

fn tuned(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE)
        .pragma("cache_size", CACHE_SIZE)
        .foreign_keys(false)
}

/// Classifies a failure as `Unavailable` if a retry may succeed.
fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> ViewError {
    move |error| {
        let reason = error.to_string();
        // The primary result code is the low byte.
        let code = match &error {
            sqlx::Error::Database(error) => error
                .code()
                .and_then(|code| code.parse::<u32>().ok())
                .map(|code| code & 0xFF),
            _ => None,
        };
        // 11 corrupt, 26 not a database.
        if matches!(code, Some(11 | 26)) {
            return ViewError::Damaged { reason };
        }
        // 18 too big, 19 constraint, 20 mismatch.
        if matches!(code, Some(18..=20)) || matches!(&error, sqlx::Error::Encode(_)) {
            return ViewError::Value { reason };
        }
        let is_retryable = match &error {
            // 5 busy, 6 locked, 10 I/O error, 13 full.
            sqlx::Error::Database(_) => matches!(code, Some(5 | 6 | 10 | 13)),
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            _ => false,
        };
        if is_retryable {
            ViewError::Unavailable { reason }
        } else {
            ViewError::Database { action, reason }
        }
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    type Tx = SqliteTx;
    // BEGIN IMMEDIATE keeps other writers out.
    const LOCK_POSITION: &'static str =
        "SELECT sequence, recorded_at FROM view_position WHERE id = 1";
    const LOCK_SCHEMA: Option<&'static str> = None;
    const HAS_TABLES: &'static str =
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'view_position'";
    const DEPLOY: &'static str =
        include_str!("../../../migrations/ledger/sqlite/001_views.deploy.sql");
    const STEP_PEOPLE: &'static str =
        include_str!("../../../migrations/ledger/sqlite/004_step_people.deploy.sql");
    const VERIFY: &'static str =
        include_str!("../../../migrations/ledger/sqlite/001_views.verify.sql");
    const REVERT: &'static str =
        include_str!("../../../migrations/ledger/sqlite/001_views.revert.sql");
    const MAX_STATEMENT_ROWS: usize = 256;

    async fn read(&self) -> Result<SqliteTx, ViewError> {
        let tx = self.readers.begin().await.map_err(failed("begin"))?;
        Ok(SqliteTx(tx))
    }

    async fn write(&self) -> Result<SqliteTx, ViewError> {
        let tx = self.writer.begin_with("BEGIN IMMEDIATE");
        Ok(SqliteTx(tx.await.map_err(failed("begin"))?))
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

struct SqliteTx(Transaction<'static, Sqlite>);

fn arguments(args: Vec<ColumnValue>) -> Result<SqliteArguments, ViewError> {
    let mut bound = SqliteArguments::default();
    bound.reserve(args.len(), 0);
    for arg in args {
        let added = match arg {
            ColumnValue::Null => bound.add(None::<i64>),
            ColumnValue::Bool(value) => bound.add(i64::from(value)),
            ColumnValue::Int(value) => bound.add(value),
            ColumnValue::Real(value) => bound.add(value),
            ColumnValue::Text(value) => bound.add(value),
        };
        added.map_err(|error| ViewError::Database {
            action: "bind a value",
            reason: error.to_string(),
        })?;
    }
    Ok(bound)
}

#[async_trait]
impl Tx for SqliteTx {
    async fn script(&mut self, sql: &'static str) -> Result<(), ViewError> {
        sqlx::raw_sql(sql)
            .execute(&mut *self.0)
            .await
            .map_err(failed("run a script"))?;
        Ok(())
    }

    async fn execute(
        &mut self,
        sql: Arc<str>,
        args: Vec<ColumnValue>,
        _kinds: &[Kind],
    ) -> Result<(), ViewError> {
        // Every SQL text is built from constants of this crate; values are bound.
        sqlx::query_with(AssertSqlSafe(sql), arguments(args)?)
            .execute(&mut *self.0)
            .await
            .map_err(failed("write"))?;
        Ok(())
    }

    async fn fetch(
        &mut self,
        sql: String,
        args: Vec<ColumnValue>,
        columns: &[Kind],
    ) -> Result<Vec<Vec<ColumnValue>>, ViewError> {
        sqlx::query_with(AssertSqlSafe(sql), arguments(args)?)
            .fetch_all(&mut *self.0)
            .await
            .and_then(|rows| rows.iter().map(|row| decode(row, columns)).collect())
            .map_err(failed("read"))
    }

    async fn commit(self) -> Result<(), ViewError> {
        self.0.commit().await.map_err(failed("commit"))
    }
}
