//! SQLite: its own parser cuts a script into statements, and its authorizer says what each of them
//! does before it runs.
//!
//! Calls block, so each runs on a blocking thread with the connection moved there. Dropping a call
//! interrupts its statement and drops the connection together with its transaction.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollbook_ledger::runbook::sql_text::{self, Dialect};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode, InterruptHandle, OpenFlags, Statement};

use super::authorizer::{Policy, Refused, Rules};
use super::foreign_keys;
use super::script::{ScriptProgress, SqlScript, advice};
use super::{Cell, Refusal};

const DIALECT: Dialect = Dialect::Sqlite;

/// How long a statement waits for another writer of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest value a query may produce on its way, in bytes, to bound the worker's memory.
const MAX_VALUE_BYTES: i32 = 16 * 1024 * 1024;

/// An open connection; `None` once a call on it was dropped.
pub(super) struct Sqlite {
    session: Option<Session>,
    interrupt: Arc<InterruptHandle>,
    stop: Arc<AtomicBool>,
}

/// The state a call works with.
pub(super) struct Session {
    pub(super) connection: Connection,
    rules: Arc<Mutex<Rules>>,
    stop: Arc<AtomicBool>,
    /// Rows without a parent before the script; set when enforcement was switched off for it.
    orphans_before: Option<foreign_keys::Orphans>,
    /// Whether no script has run in this transaction yet, so that it can begin anew.
    is_fresh: bool,
}

/// Interrupts the call when dropped.
struct GiveUp {
    interrupt: Arc<InterruptHandle>,
    stop: Arc<AtomicBool>,
    is_over: bool,
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        if !self.is_over {
            self.stop.store(true, Ordering::SeqCst);
            self.interrupt.interrupt();
        }
    }
}

impl Sqlite {
    /// Opens an existing file; with `read_only`, SQLite itself refuses every write.
    pub(super) async fn open(path: PathBuf, read_only: bool) -> Result<Self, String> {
        let opened = tokio::task::spawn_blocking(move || open(&path, read_only)).await;
        let connection = opened
            .map_err(|error| error.to_string())?
            .map_err(|error| Refusal::of_sqlite(&error).reason)?;
        let interrupt = Arc::new(connection.get_interrupt_handle());
        let stop = Arc::new(AtomicBool::new(false));
        let rules = Arc::new(Mutex::new(Rules::default()));
        let seen = Arc::clone(&rules);
        connection
            .authorizer(Some(move |context: rusqlite::hooks::AuthContext<'_>| {
                lock(&seen).judge(&context)
            }))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            session: Some(Session {
                connection,
                rules,
                stop: Arc::clone(&stop),
                orphans_before: None,
                is_fresh: false,
            }),
            interrupt,
            stop,
        })
    }

    async fn call<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Session) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let gone = || Refusal {
            reason: "the connection was lost".to_owned(),
            ..Refusal::default()
        };
        let mut session = self.session.take().ok_or_else(gone)?;
        let mut give_up = GiveUp {
            interrupt: Arc::clone(&self.interrupt),
            stop: Arc::clone(&self.stop),
            is_over: false,
        };
        let called = tokio::task::spawn_blocking(move || {
            let done = work(&mut session);
            (session, done)
        })
        .await;
        give_up.is_over = true;
        let (session, done) = called.map_err(|_| gone())?;
        self.session = Some(session);
        done
    }

    /// Begins a transaction with the write lock, because waiting for it in the middle of a script
    /// could end in a deadlock.
    pub(super) async fn begin(&mut self, read_only: bool) -> Result<(), Refusal> {
        self.call(move |session| {
            session.is_fresh = true;
            session.own(if read_only {
                "BEGIN"
            } else {
                "BEGIN IMMEDIATE"
            })
        })
        .await
    }

    pub(super) async fn own(&mut self, statement: &'static str) -> Result<(), Refusal> {
        self.call(move |session| session.own(statement)).await
    }

    /// Commits; if enforcement of foreign keys was off, they are checked first.
    pub(super) async fn commit(&mut self) -> Result<(), Refusal> {
        self.call(|session| {
            if let Some(before) = session.orphans_before.take() {
                foreign_keys::refuse_new(&session.connection, &before)?;
            }
            session.own("COMMIT")
        })
        .await
    }

    /// Whether a transaction is open.
    pub(super) async fn is_inside(&mut self) -> Result<bool, Refusal> {
        self.call(|session| Ok(!session.connection.is_autocommit()))
            .await
    }

    /// Runs a script inside the open transaction.
    pub(super) async fn run(&mut self, script: &SqlScript) -> Result<(), Refusal> {
        let script = script.clone();
        self.call(move |session| session.run(&script)).await
    }

    /// Runs a script one statement at a time, each in its own transaction.
    pub(super) async fn run_alone(
        &mut self,
        script: &SqlScript,
        done: impl FnMut(ScriptProgress) + Send + 'static,
    ) -> Result<(), Refusal> {
        let script = script.clone();
        self.call(move |session| {
            session
                .statements(&script, Policy::Alone, done)
                .map_err(Ended::into_refusal)
        })
        .await
    }

    /// Reads the first row of a query that must be a single statement.
    pub(super) async fn first_row(
        &mut self,
        query: &SqlScript,
    ) -> Result<Option<Vec<Cell>>, Refusal> {
        let query = query.clone();
        self.call(move |session| session.first_row(&query)).await
    }

    pub(super) async fn close(self) {
        // Closing may sync the write-ahead log.
        let _ = tokio::task::spawn_blocking(move || drop(self.session)).await;
    }
}

fn open(path: &std::path::Path, read_only: bool) -> rusqlite::Result<Connection> {
    let mode = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if read_only {
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
    }
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    // SQLite opens the file at the first read.
    match first_read(&connection) {
        // Only a writer may recover what a crashed process left half written.
        Err(error) if read_only && needs_recovery(&error) => {
            let writer = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            writer.busy_timeout(BUSY_TIMEOUT)?;
            first_read(&writer)?;
            drop(writer);
            first_read(&connection)?;
        }
        read => read?,
    }
    Ok(connection)
}

fn first_read(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn needs_recovery(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error_code()
        .is_some_and(|code| matches!(code, ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

pub(super) fn lock(rules: &Mutex<Rules>) -> MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a script stopped early.
enum Ended {
    Refused(Refusal),
    /// It rebuilds a table that other rows refer to: they are kept only with enforcement off, which
    /// cannot be switched inside a transaction.
    NeedsKeysOff {
        refusal: Refusal,
    },
}

impl Ended {
    fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) | Self::NeedsKeysOff { refusal } => refusal,
        }
    }
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Session {
    fn own(&self, statement: &str) -> Result<(), Refusal> {
        self.connection
            .execute_batch(statement)
            .map_err(|error| Refusal::of_sqlite(&error))
    }

    fn run(&mut self, script: &SqlScript) -> Result<(), Refusal> {
        let may_begin_anew = std::mem::take(&mut self.is_fresh) && self.orphans_before.is_none();
        let ended = self.statements(script, Policy::Transaction, |_| ());
        match ended {
            Err(Ended::NeedsKeysOff { .. }) if may_begin_anew => {
                // Nothing has been committed: restart the script with enforcement off, as its
                // author intended.
                self.own("ROLLBACK")?;
                self.own("PRAGMA foreign_keys = OFF")?;
                self.own("BEGIN IMMEDIATE")?;
                self.orphans_before = Some(foreign_keys::orphans(&self.connection)?);
                self.statements(script, Policy::Transaction, |_| ())
                    .map_err(Ended::into_refusal)
            }
            ended => ended.map_err(Ended::into_refusal),
        }
    }

    fn statements(
        &self,
        script: &SqlScript,
        policy: Policy,
        mut done: impl FnMut(ScriptProgress),
    ) -> Result<(), Ended> {
        let mut batch = Batch::new(&self.connection, &script.text);
        let mut at = 0;
        let mut count = 0;
        loop {
            self.go_on(script, at)?;
            let enforced = foreign_keys::are_enforced(&self.connection)?;
            lock(&self.rules).look(policy);
            let next = batch.next();
            let seen = lock(&self.rules).rest();
            let mut statement = match next {
                Ok(Some(statement)) => statement,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.refusal(&error, script, at, seen.refused).into()),
            };
            let range = own_text(&statement, script, at);
            let shown = || script.statement(range.start, DIALECT);
            if statement.parameter_count() > 0 {
                return Err(refused(format!(
                    "{}: it has a parameter, and a script has nothing to fill it with",
                    shown()
                ))
                .into());
            }
            if enforced {
                let referring = foreign_keys::referring(&self.connection, &seen.dropped)?;
                if seen.switches_keys_off || !referring.is_empty() {
                    let refusal = refused(format!(
                        "{}: with foreign keys enforced it would take rows of {} along; \
                         write `PRAGMA foreign_keys = OFF;` as the script's first statement",
                        shown(),
                        referring.join(", ")
                    ));
                    match policy {
                        Policy::Transaction => return Err(Ended::NeedsKeysOff { refusal }),
                        _ if !referring.is_empty() => return Err(refusal.into()),
                        _ => {}
                    }
                }
            }
            // The authorizer has already decided on this statement. VACUUM compiles a transaction
            // of its own while it runs.
            if let Err(error) = self.exhaust(&mut statement) {
                return Err(self.refusal(&error, script, range.start, None).into());
            }
            at = range.end;
            if policy == Policy::Transaction && self.connection.is_autocommit() {
                return Err(Ended::Refused(Refusal {
                    transaction_lost: true,
                    ..refused(format!("{}: it ended the transaction of the step", shown()))
                }));
            }
            count += 1;
            if policy == Policy::Alone {
                done(ScriptProgress {
                    statements: count,
                    last: shown(),
                });
            }
        }
    }

    fn exhaust(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
        }
        Ok(())
    }

    /// Checks for an interrupt, which would have no effect between two statements.
    fn go_on(&self, script: &SqlScript, at: usize) -> Result<(), Refusal> {
        if self.stop.load(Ordering::SeqCst) {
            return Err(refused(format!("{}: given up", script.place(at))));
        }
        Ok(())
    }

    fn first_row(&self, query: &SqlScript) -> Result<Option<Vec<Cell>>, Refusal> {
        let mut batch = Batch::new(&self.connection, &query.text);
        lock(&self.rules).look(Policy::Query);
        let (first, second) = (batch.next(), batch.next());
        let seen = lock(&self.rules).rest();
        let failed = |error: &rusqlite::Error, refused| self.refusal(error, query, 0, refused);
        let mut statement = first
            .map_err(|error| failed(&error, seen.refused))?
            .ok_or_else(|| refused("the query is empty".to_owned()))?;
        // A second statement counts even if it cannot be compiled.
        if !matches!(second, Ok(None)) {
            return Err(refused(
                "a query is one statement that gives rows and changes nothing; this one has more"
                    .to_owned(),
            ));
        }
        // VACUUM INTO attaches its file only while it runs.
        lock(&self.rules).look(Policy::Query);
        let row = first_cells(&mut statement);
        let seen = lock(&self.rules).rest();
        row.map_err(|error| failed(&error, seen.refused))
    }

    /// SQLite's message, with the position in the script and advice.
    fn refusal(
        &self,
        error: &rusqlite::Error,
        script: &SqlScript,
        from: usize,
        seen: Option<Refused>,
    ) -> Refusal {
        let mut refusal = Refusal::of_sqlite(error);
        let shown = script.statement(from, DIALECT);
        let rest = script.text.get(from..).unwrap_or_default();
        let place = match error {
            // The position of a token is more precise than that of its statement.
            rusqlite::Error::SqlInputError { offset, .. } if *offset > 0 => {
                let at = script.place(from + usize::try_from(*offset).unwrap_or_default());
                if shown.starts_with(&format!("{at},")) {
                    shown
                } else {
                    format!("{shown}, at {at}")
                }
            }
            _ => shown,
        };
        let todo = match seen {
            Some(seen) => Some(seen.to_string()),
            None => advice(rest, DIALECT),
        };
        refusal.reason = match todo {
            Some(todo) => format!("{place}: {}; {todo}", refusal.reason),
            None => format!("{place}: {}", refusal.reason),
        };
        refusal
    }
}

fn refused(reason: String) -> Refusal {
    Refusal {
        reason,
        ..Refusal::default()
    }
}

/// The range of the script that SQLite compiled, found by the statement's text.
fn own_text(statement: &Statement<'_>, script: &SqlScript, at: usize) -> std::ops::Range<usize> {
    let own = statement.expanded_sql().unwrap_or_default();
    let rest = script.text.get(at..).unwrap_or_default();
    let found = rest.find(own.as_str()).map_or(at, |n| at + n);
    let end = (found + own.len()).min(script.text.len());
    let first = sql_text::first(&own, DIALECT).map_or(0, |statement| statement.range.start);
    (found + first).min(end)..end
}

fn first_cells(statement: &mut Statement<'_>) -> rusqlite::Result<Option<Vec<Cell>>> {
    let names: Vec<String> = statement
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut rows = statement.raw_query();
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut cells = Vec::with_capacity(names.len());
    for (at, name) in names.into_iter().enumerate() {
        let text = match row.get_ref(at)? {
            ValueRef::Null => None,
            ValueRef::Integer(value) => Some(value.to_string()),
            ValueRef::Real(value) => Some(value.to_string()),
            ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            ValueRef::Blob(bytes) => Some(hex::encode(bytes)),
        };
        cells.push(Cell { name, text });
    }
    Ok(Some(cells))
}
