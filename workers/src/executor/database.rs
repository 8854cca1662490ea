//! A database of the plan: connecting, scripts in one transaction, the first row of a query.

use std::str::FromStr;
use std::time::Duration;

use rollbook_ledger::runbook::model::SourceKind;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Row, TypeInfo, ValueRef, raw_sql};

use super::context::StepContext;
use super::error::ExecutorError;
use super::secret::{ResolvedSource, resolve_source, without_password};
use super::sql_text::Dialect;

/// Connecting takes at most this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A statement waits at most this long for another writer of a SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// An open connection, used by one action and closed with it.
pub struct Database {
    connection: Either,
    name: String,
    redactor: super::redact::Redactor,
}

enum Either {
    Postgres(Box<PgConnection>),
    Sqlite(Box<SqliteConnection>),
}

/// One column of a row: its name and its value as text; `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Column name.
    pub name: String,
    /// Text form of the value; booleans are `1` and `0`.
    pub text: Option<String>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.name)
    }
}

/// A statement that failed.
#[derive(Debug)]
pub struct Failure {
    /// A constraint, trigger or privilege refused it; the statement itself is in order.
    pub is_constraint: bool,
    /// The error.
    pub error: ExecutorError,
}

macro_rules! on {
    ($self:expr, $connection:ident => $body:expr) => {
        match &mut $self.connection {
            Either::Postgres($connection) => {
                let $connection = $connection.as_mut();
                $body
            }
            Either::Sqlite($connection) => {
                let $connection = $connection.as_mut();
                $body
            }
        }
    };
}

impl Database {
    /// Connects to a source of the plan in the step's environment.
    pub async fn connect(context: &StepContext, source: &str) -> Result<Self, ExecutorError> {
        let resolved = resolve_source(
            context.plan.runbook(),
            source,
            context.environment.as_str(),
            context.tools.secrets.as_ref(),
        )?;
        let shown = context.redactor.text(&without_password(&resolved.url));
        let failed = |reason: String| ExecutorError::Database {
            source_name: format!("`{source}` ({shown})"),
            reason: context.redactor.text(&reason),
        };
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, open(&resolved));
        let connection = match connecting.await {
            Ok(Ok(connection)) => connection,
            Ok(Err(reason)) => return Err(failed(reason)),
            Err(_) => {
                return Err(failed(format!(
                    "no connection within {} s; check host, port and firewall",
                    CONNECT_TIMEOUT.as_secs()
                )));
            }
        };
        Ok(Self {
            connection,
            name: format!("`{source}`"),
            redactor: context.redactor.clone(),
        })
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self.connection {
            Either::Postgres(_) => Dialect::Postgres,
            Either::Sqlite(_) => Dialect::Sqlite,
        }
    }

    fn failed(&self, what: &str, error: &sqlx::Error) -> ExecutorError {
        ExecutorError::Statement {
            what: what.to_owned(),
            source_name: self.name.clone(),
            reason: self.redactor.text(&words(error)),
        }
    }

    /// Lets the server itself end statements that take longer: a client that gives up does not
    /// stop them. SQLite has no such setting; dropping the connection ends its transaction.
    pub async fn limit_statements(&mut self, limit: Duration) -> Result<(), ExecutorError> {
        if self.dialect() == Dialect::Postgres {
            let millis = limit.as_millis().max(1);
            self.run(
                "the statement timeout",
                format!("SET statement_timeout = {millis}"),
            )
            .await?;
        }
        Ok(())
    }

    /// Refuses writes from here on.
    pub async fn read_only(&mut self) -> Result<(), ExecutorError> {
        let statement = match self.dialect() {
            Dialect::Postgres => "SET default_transaction_read_only = on",
            Dialect::Sqlite => "PRAGMA query_only = on",
        };
        self.run("the read-only setting", statement.to_owned())
            .await
    }

    /// Begins a transaction. It is rolled back when the connection is dropped.
    pub async fn begin(&mut self) -> Result<(), ExecutorError> {
        // SQLite: take the write lock now, not in the middle of the script, where waiting for
        // it could end in a deadlock.
        let statement = match self.dialect() {
            Dialect::Postgres => "BEGIN",
            Dialect::Sqlite => "BEGIN IMMEDIATE",
        };
        self.run("BEGIN", statement.to_owned()).await
    }

    /// Commits.
    pub async fn commit(&mut self) -> Result<(), ExecutorError> {
        self.run("COMMIT", "COMMIT".to_owned()).await
    }

    /// Rolls back.
    pub async fn rollback(&mut self) -> Result<(), ExecutorError> {
        self.run("ROLLBACK", "ROLLBACK".to_owned()).await
    }

    /// Runs a script of any number of statements. Rows are read and dropped.
    pub async fn run(&mut self, what: &str, script: String) -> Result<(), ExecutorError> {
        let ran = on!(self, connection => raw_sql(AssertSqlSafe(script)).execute(connection).await.map(|_| ()));
        ran.map_err(|error| self.failed(what, &error))
    }

    /// Runs a script and tells a refusal by a constraint from a statement that is wrong.
    pub async fn run_checked(&mut self, what: &str, script: String) -> Result<(), Failure> {
        let ran = on!(self, connection => raw_sql(AssertSqlSafe(script)).execute(connection).await.map(|_| ()));
        ran.map_err(|error| Failure {
            is_constraint: is_constraint(&error),
            error: self.failed(what, &error),
        })
    }

    /// The first row of a query. The simple protocol gives every type as text, so that no
    /// type is unknown.
    pub async fn first_row(
        &mut self,
        what: &str,
        query: String,
    ) -> Result<Option<Vec<Cell>>, ExecutorError> {
        let query = raw_sql(AssertSqlSafe(query));
        let row = match &mut self.connection {
            Either::Postgres(connection) => query
                .fetch_optional(connection.as_mut())
                .await
                .and_then(|row| row.map(|row| postgres_cells(&row)).transpose()),
            Either::Sqlite(connection) => query
                .fetch_optional(connection.as_mut())
                .await
                .and_then(|row| row.map(|row| sqlite_cells(&row)).transpose()),
        };
        row.map_err(|error| self.failed(what, &error))
    }

    /// Closes the connection in order; errors no longer matter.
    pub async fn close(self) {
        let _ = match self.connection {
            Either::Postgres(connection) => connection.close().await,
            Either::Sqlite(connection) => connection.close().await,
        };
    }
}

async fn open(source: &ResolvedSource) -> Result<Either, String> {
    let url = source.url.as_str();
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let is_sqlite = url.starts_with("sqlite:");
    match source.kind {
        SourceKind::Http => return Err("it is an HTTP source, not a database".to_owned()),
        SourceKind::Postgres if !is_postgres => {
            return Err("its URL does not begin with postgres://".to_owned());
        }
        SourceKind::Database if !is_postgres && !is_sqlite => {
            return Err("its URL begins neither with postgres:// nor with sqlite:".to_owned());
        }
        SourceKind::Sqlite if is_postgres => {
            return Err("its URL is not that of a SQLite file".to_owned());
        }
        _ => {}
    }
    if is_postgres {
        // The parser's error may quote the URL.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| {
                "its URL cannot be read; write postgres://user@host:port/database".to_owned()
            })?
            .application_name("rollbook-worker")
            .disable_statement_logging();
        let connection = PgConnection::connect_with(&options)
            .await
            .map_err(|error| connect_words(&error))?;
        return Ok(Either::Postgres(Box::new(connection)));
    }
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let connection = SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| {
            let words = words(&error);
            if std::path::Path::new(path).exists() {
                words
            } else {
                format!("there is no file {path}: {words}")
            }
        })?;
    Ok(Either::Sqlite(Box::new(connection)))
}

/// What PostgreSQL's error says, and what to do about the usual ones.
/// Codes: PostgreSQL documentation, appendix A.
fn connect_words(error: &sqlx::Error) -> String {
    let words = words(error);
    match error {
        sqlx::Error::Database(inner) => match inner.code().as_deref() {
            Some("28P01" | "28000") => format!("{words}; check user and password"),
            Some("3D000") => format!("{words}; create the database or correct its name"),
            Some("53300") => format!("{words}; free connections or raise max_connections"),
            _ => words,
        },
        sqlx::Error::Io(_) => format!("{words}; is the server running, and host and port right?"),
        _ => words,
    }
}

/// PostgreSQL: class 22 (a value its type refuses, such as an unknown enum label), 23
/// (constraints), 44 (a view's check option), P0001 (raised by a trigger), 42501 (privilege);
/// SQLite: primary result code 19, SQLITE_CONSTRAINT.
fn is_constraint(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(inner) = error else {
        return false;
    };
    let code = inner.code().unwrap_or_default();
    if inner
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some()
    {
        return code.starts_with("22")
            || code.starts_with("23")
            || code.starts_with("44")
            || matches!(code.as_ref(), "P0001" | "42501");
    }
    code.parse::<u32>().is_ok_and(|code| code & 0xff == 19)
}

fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(inner) => {
            let code = inner.code().unwrap_or_default();
            let place = inner
                .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                .and_then(|pg| pg.detail())
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            format!("{}{place} [{code}]", inner.message())
        }
        other => other.to_string(),
    }
}

fn postgres_cells(row: &PgRow) -> Result<Vec<Cell>, sqlx::Error> {
    row.columns()
        .iter()
        .map(|column| {
            let value = row.try_get_raw(column.ordinal())?;
            let text = if value.is_null() {
                None
            } else {
                let text = value.as_str().map_err(sqlx::Error::Decode)?;
                Some(match (value.type_info().name(), text) {
                    ("BOOL", "t") => "1".to_owned(),
                    ("BOOL", "f") => "0".to_owned(),
                    (_, text) => text.to_owned(),
                })
            };
            Ok(Cell {
                name: column.name().to_owned(),
                text,
            })
        })
        .collect()
}

fn sqlite_cells(row: &SqliteRow) -> Result<Vec<Cell>, sqlx::Error> {
    row.columns()
        .iter()
        .map(|column| {
            let at = column.ordinal();
            let value = row.try_get_raw(at)?;
            let kind = value.type_info().name().to_owned();
            let text = if value.is_null() {
                None
            } else {
                Some(match kind.as_str() {
                    "INTEGER" => row.try_get_unchecked::<i64, _>(at)?.to_string(),
                    "REAL" => row.try_get_unchecked::<f64, _>(at)?.to_string(),
                    "BLOB" => hex::encode(row.try_get_unchecked::<Vec<u8>, _>(at)?),
                    _ => row.try_get_unchecked::<String, _>(at)?,
                })
            };
            Ok(Cell {
                name: column.name().to_owned(),
                text,
            })
        })
        .collect()
}
