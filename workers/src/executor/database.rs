//! Uses a database of the plan: connects, runs scripts in one transaction or without one, and reads
//! the first row of a query.
//!
//! The database's own parser decides what may run: see `postgres` and `sqlite`.

mod authorizer;
mod foreign_keys;
mod postgres;
mod script;
mod sqlite;

use std::path::PathBuf;
use std::time::Duration;

use rollbook_ledger::database::{self, Dialect};
use rollbook_ledger::runbook::model::SourceKind;
use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::{ConnectOptions, Connection};

use super::context::StepContext;
use super::error::ExecutorError;
use super::secret::{ResolvedSource, resolve_source, without_password};
use postgres::Postgres;
pub use script::{Failure, ScriptProgress, SqlScript};
use sqlite::Sqlite;

/// The longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection will be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The database itself refuses every write.
    Read,
    /// For scripts, which may write.
    Write,
}

/// An open connection, used by one action and closed with it.
pub struct Database {
    connection: Either,
    name: String,
    access: Access,
    redactor: super::redact::Redactor,
}

enum Either {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

/// One column of a row: its name and its value as text; `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Column name.
    pub name: String,
    /// The value as text; booleans are `1` and `0`.
    pub text: Option<String>,
}

/// The longest value a query may return, in bytes of its text.
const MAX_CELL_BYTES: usize = 64 * 1024;

/// Refuses a value that would have to be cut: a cut value is not a measurement.
fn small(cells: Vec<Cell>) -> Result<Vec<Cell>, Refusal> {
    let bytes = |cell: &Cell| cell.text.as_ref().map_or(0, String::len);
    match cells.iter().find(|cell| bytes(cell) > MAX_CELL_BYTES) {
        None => Ok(cells),
        Some(long) => Err(Refusal {
            reason: format!(
                "column `{}` has a value of {} bytes, at most {MAX_CELL_BYTES} are kept; select less of it",
                long.name,
                bytes(long)
            ),
            ..Refusal::default()
        }),
    }
}

/// Why a database refused; not yet redacted.
#[derive(Debug, Default)]
struct Refusal {
    /// PostgreSQL's SQLSTATE.
    code: String,
    is_constraint: bool,
    transaction_lost: bool,
    reason: String,
}

impl Refusal {
    fn plain(error: &sqlx::Error) -> Self {
        let code = match error {
            sqlx::Error::Database(inner) => inner.code().unwrap_or_default().into_owned(),
            _ => String::new(),
        };
        Self {
            is_constraint: is_constraint(&code),
            transaction_lost: code == NO_TRANSACTION,
            reason: words(error),
            code,
        }
    }

    fn of_sqlite(error: &rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|inner| inner.extended_code);
        let words = match error {
            rusqlite::Error::SqliteFailure(_, Some(words)) => words.clone(),
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            other => other.to_string(),
        };
        Self {
            // Primary result code 19, SQLITE_CONSTRAINT.
            is_constraint: code.is_some_and(|code| code & 0xff == 19),
            reason: match code {
                Some(code) => format!("{words} [{code}]"),
                None => words,
            },
            ..Self::default()
        }
    }
}

/// SQLSTATE of a statement that needs a transaction when none is open.
const NO_TRANSACTION: &str = "25P01";

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.name)
    }
}

impl Database {
    /// Connects to a source of the plan in the step's environment.
    pub async fn connect(
        context: &StepContext,
        source: &str,
        access: Access,
    ) -> Result<Self, ExecutorError> {
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
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, open(&resolved, access));
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
            access,
            redactor: context.redactor.clone(),
        })
    }

    /// The SQL dialect of the database.
    pub fn dialect(&self) -> Dialect {
        match self.connection {
            Either::Postgres(_) => Dialect::Postgres,
            Either::Sqlite(_) => Dialect::Sqlite,
        }
    }

    fn failed(&self, what: &str, refusal: Refusal) -> Failure {
        Failure {
            is_constraint: refusal.is_constraint,
            transaction_lost: refusal.transaction_lost,
            error: ExecutorError::Statement {
                what: what.to_owned(),
                source_name: self.name.clone(),
                reason: self.redactor.text(&refusal.reason),
            },
        }
    }

    /// Makes the server end statements that take longer, since a client that stops waiting does not
    /// stop them. SQLite's are interrupted when the action is dropped.
    pub async fn limit_statements(&mut self, limit: Duration) -> Result<(), ExecutorError> {
        if let Either::Postgres(postgres) = &mut self.connection {
            let millis = limit.as_millis().max(1);
            let set = postgres.own(format!("SET statement_timeout = {millis}"));
            if let Err(error) = set.await {
                let failure = self.failed("the statement timeout", Refusal::plain(&error));
                return Err(failure.error);
            }
        }
        Ok(())
    }

    /// Begins a transaction, read-only if the access is. It is rolled back when the connection is
    /// dropped.
    pub async fn begin(&mut self) -> Result<(), ExecutorError> {
        let read_only = self.access == Access::Read;
        let begun = match &mut self.connection {
            Either::Postgres(postgres) => {
                let begun = postgres.begin(read_only).await;
                begun.map_err(|error| Refusal::plain(&error))
            }
            Either::Sqlite(sqlite) => sqlite.begin(read_only).await,
        };
        begun.map_err(|refusal| self.failed("BEGIN", refusal).error)
    }

    /// Commits, if the open transaction is still the one that was begun.
    pub async fn commit(&mut self) -> Result<(), CommitError> {
        let committed = match &mut self.connection {
            Either::Postgres(postgres) => commit(postgres).await,
            Either::Sqlite(sqlite) => match sqlite.is_inside().await {
                Ok(true) => sqlite.commit().await.map_err(Uncommitted::Refused),
                Ok(false) => Err(Uncommitted::Refused(lost())),
                Err(refusal) => Err(Uncommitted::Refused(refusal)),
            },
        };
        match committed {
            Ok(()) => Ok(()),
            Err(Uncommitted::Refused(refusal)) => {
                Err(CommitError::Refused(self.failed("COMMIT", refusal)))
            }
            Err(Uncommitted::Unknown(refusal)) => {
                Err(CommitError::Unknown(self.failed("COMMIT", refusal).error))
            }
        }
    }

    /// Rolls the transaction back.
    pub async fn rollback(&mut self) -> Result<(), ExecutorError> {
        self.own("ROLLBACK").await
    }

    /// Sets the savepoint that [`Self::forget_verify`] rolls back to.
    pub async fn mark_verify(&mut self) -> Result<(), ExecutorError> {
        self.own("SAVEPOINT rollbook_verify").await
    }

    /// Undoes everything since [`Self::mark_verify`].
    pub async fn forget_verify(&mut self) -> Result<(), ExecutorError> {
        self.own("ROLLBACK TO SAVEPOINT rollbook_verify").await
    }

    async fn own(&mut self, statement: &'static str) -> Result<(), ExecutorError> {
        let ran = match &mut self.connection {
            Either::Postgres(postgres) => {
                let ran = postgres.own(statement.to_owned()).await;
                ran.map_err(|error| Refusal::plain(&error))
            }
            Either::Sqlite(sqlite) => sqlite.own(statement).await,
        };
        ran.map_err(|refusal| self.failed(statement, refusal).error)
    }

    /// Runs a script of any number of statements in the open transaction. Rows are read and
    /// discarded.
    pub async fn run(&mut self, script: &SqlScript) -> Result<(), Failure> {
        let ran = match &mut self.connection {
            Either::Postgres(postgres) => postgres.run(script).await,
            Either::Sqlite(sqlite) => sqlite.run(script).await,
        };
        ran.map_err(|refusal| self.failed(script.name, refusal))
    }

    /// Runs a script one statement at a time, each in its own transaction; `done` is called after
    /// each that succeeded.
    pub async fn run_alone(
        &mut self,
        script: &SqlScript,
        done: impl FnMut(ScriptProgress) + Send + 'static,
    ) -> Result<(), Failure> {
        let ran = match &mut self.connection {
            Either::Postgres(postgres) => postgres.run_alone(script, done).await,
            Either::Sqlite(sqlite) => sqlite.run_alone(script, done).await,
        };
        ran.map_err(|refusal| self.failed(script.name, refusal))
    }

    /// Reads the first row of a query that must be a single statement.
    pub async fn first_row(
        &mut self,
        query: &SqlScript,
    ) -> Result<Option<Vec<Cell>>, ExecutorError> {
        let row = match &mut self.connection {
            Either::Postgres(postgres) => postgres.first_row(query).await,
            Either::Sqlite(sqlite) => sqlite.first_row(query).await,
        };
        row.and_then(|row| row.map(small).transpose())
            .map_err(|refusal| self.failed(query.name, refusal).error)
    }

    /// Closes the connection; errors are ignored.
    pub async fn close(self) {
        match self.connection {
            Either::Postgres(postgres) => {
                let _ = postgres.connection.close().await;
            }
            Either::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}

/// Why a commit did not succeed.
#[derive(Debug)]
pub enum CommitError {
    /// The database refused it. Nothing of the transaction remains, unless the failure says that
    /// the transaction was lost before.
    Refused(Failure),
    /// No answer arrived: it may have been committed.
    Unknown(ExecutorError),
}

enum Uncommitted {
    Refused(Refusal),
    Unknown(Refusal),
}

fn lost() -> Refusal {
    Refusal {
        transaction_lost: true,
        reason: "the transaction of the step had ended before".to_owned(),
        ..Refusal::default()
    }
}

async fn commit(postgres: &mut Postgres) -> Result<(), Uncommitted> {
    let refused = |error: &sqlx::Error| Uncommitted::Refused(Refusal::plain(error));
    if !postgres.is_same().await.map_err(|error| refused(&error))? {
        return Err(Uncommitted::Refused(lost()));
    }
    match postgres.own("COMMIT".to_owned()).await {
        Ok(()) => Ok(()),
        // A deferred constraint failed: the server has rolled back.
        Err(error @ sqlx::Error::Database(_)) => Err(refused(&error)),
        Err(error) => Err(Uncommitted::Unknown(Refusal::plain(&error))),
    }
}

async fn open(source: &ResolvedSource, access: Access) -> Result<Either, String> {
    let url = source.url.as_str();
    let dialect = Dialect::of(url);
    match source.kind {
        SourceKind::Http => return Err("it is an HTTP source, not a database".to_owned()),
        SourceKind::Postgres if dialect != Some(Dialect::Postgres) => {
            return Err("its URL does not begin with postgres://".to_owned());
        }
        SourceKind::Database if dialect.is_none() => {
            return Err("its URL begins neither with postgres:// nor with sqlite:".to_owned());
        }
        SourceKind::Sqlite if dialect == Some(Dialect::Postgres) => {
            return Err("its URL is not that of a SQLite file".to_owned());
        }
        _ => {}
    }
    if dialect == Some(Dialect::Postgres) {
        // The parser's error may quote the URL.
        let options = database::postgres(url, "rollbook-worker")
            .map_err(|_| {
                "its URL cannot be read; write postgres://user@host:port/database".to_owned()
            })?
            .disable_statement_logging();
        let connection = PgConnection::connect_with(&options)
            .await
            .map_err(|error| connect_words(&error))?;
        return Ok(Either::Postgres(Postgres::new(connection)));
    }
    let path = PathBuf::from(database::sqlite_path(url).unwrap_or(url));
    let opened = Sqlite::open(path.clone(), access == Access::Read).await;
    let sqlite = opened.map_err(|words| {
        // A file in a directory that may not be searched may well exist.
        match path.try_exists() {
            Ok(false) => format!("there is no file {}", path.display()),
            _ => words,
        }
    })?;
    Ok(Either::Sqlite(sqlite))
}

/// What PostgreSQL's error says, and how to fix the common ones. Codes: PostgreSQL documentation,
/// appendix A.
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

/// Class 22 (a value that its type refuses, such as an unknown enum label), 23 (constraints), 44 (a
/// view's check option), P0001 (raised by a trigger), 42501 (privilege).
fn is_constraint(code: &str) -> bool {
    ["22", "23", "44"]
        .iter()
        .any(|class| code.starts_with(class))
        || matches!(code, "P0001" | "42501")
}

fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(inner) => {
            let code = inner.code().unwrap_or_default();
            let place = inner
                .try_downcast_ref::<PgDatabaseError>()
                .and_then(|pg| pg.detail())
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            format!("{}{place} [{code}]", inner.message())
        }
        other => database::words(other),
    }
}
