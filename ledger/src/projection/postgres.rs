//! The views in PostgreSQL, shared by any number of servers.
//!
//! They live in a schema of their own, so the database can hold other things too. Two projectors on
//! one store are harmless: each batch locks the position row and skips what the other has applied.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgPool, PgPoolOptions};
use sqlx::{Arguments, AssertSqlSafe, Connection, Postgres, Transaction};

use super::row::{ColumnValue, Kind};
use super::sql::{Database, SqlViews, Tx, decode};
use super::store::{ViewError, ViewStore};
use crate::database;

/// The schema used if none is named.
pub const DEFAULT_SCHEMA: &str = "rollbook";
/// Maximum time a query waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of connections per process.
const MAX_CONNECTIONS: u32 = 5;
/// Number of prepared statements cached per connection.
const STATEMENT_CACHE: usize = 400;

#[derive(Debug)]
struct PostgresDatabase {
    pool: PgPool,
}

/// Opens the views in `schema` of the database at `url`, creating the schema if needed; `schema`
/// may contain only letters, digits and `_`. Views of another version are emptied.
pub async fn open(url: &str, schema: &str) -> Result<Arc<dyn ViewStore>, ViewError> {
    let refused = |location: &str, reason: &str| ViewError::Location {
        location: location.to_owned(),
        reason: reason.to_owned(),
    };
    let is_name = !schema.is_empty()
        && schema.len() <= 63
        && schema
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_name {
        return Err(refused(
            schema,
            "a schema has 1 to 63 lower-case letters, digits and _",
        ));
    }
    // The parser's own message may repeat the URL, including the password.
    let options = database::postgres(url, "rollbook-views")
        .map_err(|_| refused("the database URL", "it is not a postgres:// URL"))?
        .statement_cache_capacity(STATEMENT_CACHE);
    let mut connection = sqlx::PgConnection::connect_with(&options)
        .await
        .map_err(failed("connect"))?;
    // If two processes create the schema at once, the second one finds it: the lock is held until
    // the first one's transaction has ended. Sent together, the statements would be one
    // transaction, and the lock would be released before its end.
    for statement in [
        format!("SELECT pg_advisory_lock({SCHEMA_LOCK})"),
        format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\""),
        format!("SELECT pg_advisory_unlock({SCHEMA_LOCK})"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .map_err(failed("create the schema"))?;
    }
    connection.close().await.map_err(failed("connect"))?;
    let pool = PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.options([("search_path", schema)]))
        .await
        .map_err(failed("connect"))?;
    Ok(Arc::new(SqlViews::open(PostgresDatabase { pool }).await?))
}

/// Key of the advisory lock for schema changes: the bytes of "RBVIEWS1".
const SCHEMA_LOCK: i64 = 0x5242_5649_4557_5331;

/// Classifies a failure as `Unavailable` if a retry may succeed.
fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> ViewError {
    move |error| {
        let reason = error.to_string();
        let is_retryable = match &error {
            // Retryable SQLSTATE classes: 08 connection, 40 rollback by conflict, 53 resources, 55
            // lock, 57 intervention (shutdown, starting up).
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                ["08", "40", "53", "55", "57"]
                    .iter()
                    .any(|class| code.starts_with(class))
            }),
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            _ => false,
        };
        // 22 data exception, 23 integrity, 54 program limit exceeded, such as a row too long for an
        // index.
        let is_value = match &error {
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                ["22", "23", "54"]
                    .iter()
                    .any(|class| code.starts_with(class))
            }),
            sqlx::Error::Encode(_) => true,
            _ => false,
        };
        if is_retryable {
            ViewError::Unavailable { reason }
        } else if is_value {
            ViewError::Value { reason }
        } else {
            ViewError::Database { action, reason }
        }
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    type Tx = PostgresTx;
    const LOCK_POSITION: &'static str =
        "SELECT sequence, recorded_at FROM view_position WHERE id = 1 FOR UPDATE";
    // The number is `SCHEMA_LOCK`.
    const LOCK_SCHEMA: Option<&'static str> =
        Some("SELECT pg_advisory_xact_lock(x'5242564945575331'::bigint)");
    const HAS_TABLES: &'static str = "SELECT count(*) FROM pg_catalog.pg_tables \
         WHERE schemaname = current_schema() AND tablename = 'view_position'";
    const DEPLOY: &'static str =
        include_str!("../../../migrations/ledger/postgres/001_views.deploy.sql");
    const STEP_PEOPLE: &'static str =
        include_str!("../../../migrations/ledger/postgres/004_step_people.deploy.sql");
    const VERIFY: &'static str =
        include_str!("../../../migrations/ledger/postgres/001_views.verify.sql");
    const REVERT: &'static str =
        include_str!("../../../migrations/ledger/postgres/001_views.revert.sql");
    const MAX_STATEMENT_ROWS: usize = 512;

    async fn read(&self) -> Result<PostgresTx, ViewError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let tx = self.pool.begin_with(begin).await.map_err(failed("begin"))?;
        Ok(PostgresTx(tx))
    }

    async fn close(&self) {
        self.pool.close().await;
    }

    async fn write(&self) -> Result<PostgresTx, ViewError> {
        // READ COMMITTED: once the position row is locked, the other writer's commits must be
        // visible.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        let tx = self.pool.begin_with(begin).await.map_err(failed("begin"))?;
        Ok(PostgresTx(tx))
    }
}

struct PostgresTx(Transaction<'static, Postgres>);

/// Rewrites `?` to `$1`, `$2` …; no SQL text of this crate has another question mark.
fn numbered(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len().saturating_mul(2));
    let mut number = 0_u32;
    for part in sql.split_inclusive('?') {
        match part.strip_suffix('?') {
            Some(before) => {
                number += 1;
                numbered.push_str(before);
                numbered.push('$');
                numbered.push_str(&number.to_string());
            }
            None => numbered.push_str(part),
        }
    }
    numbered
}

/// Binds values; `kinds` repeats for each row and gives a NULL its type.
fn arguments(args: Vec<ColumnValue>, kinds: &[Kind]) -> Result<PgArguments, ViewError> {
    let mut bound = PgArguments::default();
    bound.reserve(args.len(), 0);
    let mut kinds = kinds.iter().cycle();
    for arg in args {
        let kind = kinds.next().copied();
        let added = match (arg, kind) {
            (ColumnValue::Null, Some(Kind::Bool)) => bound.add(None::<bool>),
            (ColumnValue::Null, Some(Kind::Int)) => bound.add(None::<i64>),
            (ColumnValue::Null, Some(Kind::Real)) => bound.add(None::<f64>),
            (ColumnValue::Null, Some(Kind::Text) | None) => bound.add(None::<String>),
            (ColumnValue::Bool(value), _) => bound.add(value),
            (ColumnValue::Int(value), _) => bound.add(value),
            (ColumnValue::Real(value), _) => bound.add(value),
            (ColumnValue::Text(value), _) => bound.add(value),
        };
        added.map_err(|error| ViewError::Database {
            action: "bind a value",
            reason: error.to_string(),
        })?;
    }
    Ok(bound)
}

#[async_trait]
impl Tx for PostgresTx {
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
        kinds: &[Kind],
    ) -> Result<(), ViewError> {
        // Every SQL text is built from constants of this crate; values are bound.
        sqlx::query_with(AssertSqlSafe(numbered(&sql)), arguments(args, kinds)?)
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
        sqlx::query_with(AssertSqlSafe(numbered(&sql)), arguments(args, &[])?)
            .fetch_all(&mut *self.0)
            .await
            .and_then(|rows| rows.iter().map(|row| decode(row, columns)).collect())
            .map_err(failed("read"))
    }

    async fn commit(self) -> Result<(), ViewError> {
        self.0.commit().await.map_err(failed("commit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered() {
        assert_eq!(
            numbered("a = ? AND b IN (?, ?) x"),
            "a = $1 AND b IN ($2, $3) x"
        );
        assert_eq!(numbered("none"), "none");
        assert_eq!(SCHEMA_LOCK.to_be_bytes(), *b"RBVIEWS1");
    }
}
