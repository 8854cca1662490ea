//! PostgreSQL: scripts run through `EXECUTE` in a `DO` block, where the server's parser refuses
//! whatever would begin or end a transaction; queries run in a read-only transaction.

use rollbook_ledger::runbook::sql_text::{self, Dialect};
use sqlx::postgres::{PgConnection, PgDatabaseError, PgErrorPosition, PgRow};
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo, ValueRef, raw_sql};

use super::script::{ScriptProgress, SqlScript, advice};
use super::{Cell, Refusal};

/// Maximum number of parts a script is sent in: one statement per part where it has no more than
/// that.
const MOST_PARTS: usize = 500;

/// Appended to each part: `EXECUTE` checks the last statement and would refuse `SELECT … INTO`
/// there, only because PL/pgSQL gives it another meaning.
const TAIL: &str = "\n;SELECT";

/// Identifies the transaction: no later transaction has the same start.
const IDENTITY: &str =
    "pg_catalog.date_part('epoch'::pg_catalog.text, pg_catalog.transaction_timestamp())";

/// The open transaction is not the one that was begun.
const LOST_CODE: &str = "RB001";

/// A row is too long to be sent.
const LONG_CODE: &str = "RB002";

/// The longest first row that is read, in bytes of its text, to bound the worker's memory.
const MAX_ROW_BYTES: u32 = 16 * 1024 * 1024;

/// The name of the cursor over a query.
const CURSOR: &str = "rollbook_first_row";

/// SQLSTATE of a syntax error.
const SYNTAX_ERROR: &str = "42601";
/// SQLSTATE of "cannot open multi-query plan as cursor" and similar errors.
const INVALID_CURSOR: &str = "42P11";
/// SQLSTATE of a statement that cannot run inside a transaction block.
const ACTIVE_TRANSACTION: &str = "25001";

/// An open connection and the transaction begun on it.
pub(super) struct Postgres {
    pub(super) connection: Box<PgConnection>,
    transaction: Option<String>,
}

impl Postgres {
    pub(super) fn new(connection: PgConnection) -> Self {
        Self {
            connection: Box::new(connection),
            transaction: None,
        }
    }

    /// Runs one of Rollbook's own statements.
    pub(super) async fn own(&mut self, statement: String) -> Result<(), sqlx::Error> {
        raw_sql(AssertSqlSafe(statement))
            .execute(self.connection.as_mut())
            .await
            .map(drop)
    }

    pub(super) async fn begin(&mut self, read_only: bool) -> Result<(), sqlx::Error> {
        self.own(
            if read_only {
                "BEGIN READ ONLY"
            } else {
                "BEGIN"
            }
            .to_owned(),
        )
        .await?;
        self.transaction = Some(self.identity().await?);
        Ok(())
    }

    async fn identity(&mut self) -> Result<String, sqlx::Error> {
        let query = format!("SELECT {IDENTITY}::pg_catalog.text");
        let row = raw_sql(AssertSqlSafe(query))
            .fetch_one(self.connection.as_mut())
            .await?;
        row.try_get_unchecked(0)
    }

    /// Whether the open transaction is still the one that was begun.
    pub(super) async fn is_same(&mut self) -> Result<bool, sqlx::Error> {
        let now = self.identity().await?;
        Ok(self.transaction.as_deref() == Some(now.as_str()))
    }

    /// Runs a script inside the open transaction.
    ///
    /// The script is cut into parts where statements seem to end, so that an error has its line. If
    /// the database reports a syntax error in a part, it is given the whole script: its parser
    /// decides.
    pub(super) async fn run(&mut self, script: &SqlScript) -> Result<(), Refusal> {
        self.own("SAVEPOINT rollbook_script".to_owned())
            .await
            .map_err(|error| Refusal::plain(&error))?;
        let parts = parts(&script.text);
        let mut ran = Ok(());
        for part in &parts {
            ran = self.execute(script, part.clone()).await;
            if ran.is_err() {
                break;
            }
        }
        if let Err(refusal) = &ran
            && refusal.code == SYNTAX_ERROR
            && parts.len() > 1
            && self
                .own("ROLLBACK TO SAVEPOINT rollbook_script".to_owned())
                .await
                .is_ok()
        {
            ran = self.execute(script, 0..script.text.len()).await;
        }
        ran?;
        self.own("RELEASE SAVEPOINT rollbook_script".to_owned())
            .await
            .map_err(|error| Refusal::plain(&error))
    }

    async fn execute(
        &mut self,
        script: &SqlScript,
        part: std::ops::Range<usize>,
    ) -> Result<(), Refusal> {
        let text = script.text.get(part.clone()).unwrap_or_default();
        let sent = format!("{text}{TAIL}");
        let block = block(&sent, self.transaction.as_deref());
        let ran = self.own(block).await;
        ran.map_err(|error| refusal(&error, script, part.start, text, &sent))
    }

    /// Runs a script one statement at a time, each in its own transaction.
    pub(super) async fn run_alone(
        &mut self,
        script: &SqlScript,
        mut done: impl FnMut(ScriptProgress),
    ) -> Result<(), Refusal> {
        const DIALECT: Dialect = Dialect::Postgres;
        let statements = sql_text::statements(&script.text, DIALECT);
        for (statement, count) in statements.into_iter().zip(1_u32..) {
            let text = script.text.get(statement.range.clone()).unwrap_or_default();
            let from = statement.range.start;
            let failed = |error: &sqlx::Error| refusal(error, script, from, text, text);
            // The extended protocol accepts one statement only, so the server refuses a piece that
            // was cut too late before any of it runs.
            sqlx::query(AssertSqlSafe(text.to_owned()))
                .persistent(false)
                .execute(self.connection.as_mut())
                .await
                .map_err(|error| failed(&error))?;
            if self.is_inside().await.map_err(|error| failed(&error))? {
                let _ = self.own("ROLLBACK".to_owned()).await;
                return Err(Refusal {
                    reason: format!(
                        "{}: a step with `transaction: none` runs each statement by itself; put \
                         what belongs together into a step with a transaction",
                        script.statement(from, DIALECT)
                    ),
                    ..Refusal::default()
                });
            }
            done(ScriptProgress {
                statements: count,
                last: script.statement(from, DIALECT),
            });
        }
        Ok(())
    }

    /// Whether a transaction block is open: outside one, each statement begins its own transaction.
    async fn is_inside(&mut self) -> Result<bool, sqlx::Error> {
        let query = "SELECT (pg_catalog.transaction_timestamp() \
             OPERATOR(pg_catalog.<>) pg_catalog.statement_timestamp())::pg_catalog.text";
        let row = raw_sql(AssertSqlSafe(query))
            .fetch_one(self.connection.as_mut())
            .await?;
        let inside: String = row.try_get_unchecked(0)?;
        Ok(inside == "true")
    }

    /// Reads the first row of a query, in the read-only transaction that was begun.
    ///
    /// The server's own parser must first accept it as one statement that returns rows; only then
    /// does it run, and the server measures the row before sending any of it, because a message is
    /// read whole. The simple protocol returns every type as text, so that no type is unknown.
    pub(super) async fn first_row(
        &mut self,
        query: &SqlScript,
    ) -> Result<Option<Vec<Cell>>, Refusal> {
        let refused = |error: sqlx::Error| refusal(&error, query, 0, &query.text, &query.text);
        self.own(cursor(&query.text)).await.map_err(refused)?;
        let row = raw_sql(AssertSqlSafe(format!("FETCH NEXT FROM {CURSOR}")))
            .fetch_optional(self.connection.as_mut())
            .await
            .and_then(|row| row.map(|row| cells(&row)).transpose())
            .map_err(refused)?;
        self.own(format!("CLOSE {CURSOR}")).await.map_err(refused)?;
        Ok(row)
    }
}

/// Splits a script into complete statements, at most [`MOST_PARTS`] parts; text between statements
/// goes with the following one.
fn parts(text: &str) -> Vec<std::ops::Range<usize>> {
    let ends: Vec<usize> = sql_text::statements(text, Dialect::Postgres)
        .into_iter()
        .map(|statement| statement.range.end)
        .collect();
    let size = ends.len().div_ceil(MOST_PARTS).max(1);
    let mut from = 0;
    ends.chunks(size)
        .filter_map(|chunk| chunk.last())
        .map(|end| std::mem::replace(&mut from, *end)..*end)
        .collect()
}

/// A dollar-quote delimiter that does not occur in the text.
fn delimiter(stem: &str, text: &str) -> String {
    let mut tag = format!("${stem}$");
    let mut n = 0_u32;
    while text.contains(&tag) {
        n += 1;
        tag = format!("${stem}{n}$");
    }
    tag
}

/// Runs a text by `EXECUTE`, provided the open transaction is still the one that was begun.
fn block(sent: &str, transaction: Option<&str>) -> String {
    let (outer, inner) = (
        delimiter("rollbook_do", sent),
        delimiter("rollbook_script", sent),
    );
    let same = transaction.map_or_else(String::new, |identity| {
        format!(
            "IF {IDENTITY} OPERATOR(pg_catalog.<>) '{identity}'::pg_catalog.float8 THEN \
             RAISE EXCEPTION USING ERRCODE = '{LOST_CODE}', \
             MESSAGE = 'the transaction of the step had ended before'; END IF; "
        )
    });
    format!("DO LANGUAGE plpgsql {outer}BEGIN {same}EXECUTE {inner}{sent}{inner}; END{outer}")
}

/// Opens a cursor over a query and leaves it before the first row.
///
/// The server parses and plans the query and refuses several statements, a statement without rows,
/// and a first row that is too long to send. When the cursor moves back, the server keeps what is
/// expensive to compute; at most a scan has to find its first row again.
fn cursor(sent: &str) -> String {
    let (outer, inner) = (
        delimiter("rollbook_do", sent),
        delimiter("rollbook_query", sent),
    );
    format!(
        "DO LANGUAGE plpgsql {outer}DECLARE c pg_catalog.refcursor := '{CURSOR}'; \
         r record; n pg_catalog.int4; BEGIN \
         OPEN c SCROLL FOR EXECUTE {inner}{sent}{inner}; FETCH NEXT FROM c INTO r; \
         IF FOUND THEN n := pg_catalog.octet_length(r::pg_catalog.text); \
         IF n OPERATOR(pg_catalog.>) {MAX_ROW_BYTES} THEN \
         RAISE EXCEPTION USING ERRCODE = '{LONG_CODE}', MESSAGE = pg_catalog.format(\
         'the first row has %s bytes as text, at most {MAX_ROW_BYTES} are read; select less of it', n); \
         END IF; MOVE ABSOLUTE 0 FROM c; END IF; END{outer}"
    )
}

/// The server's message, with the position in the script and advice.
fn refusal(
    error: &sqlx::Error,
    script: &SqlScript,
    from: usize,
    text: &str,
    sent: &str,
) -> Refusal {
    const DIALECT: Dialect = Dialect::Postgres;
    let mut refused = Refusal::plain(error);
    let sqlx::Error::Database(inner) = error else {
        return refused;
    };
    let position = inner
        .try_downcast_ref::<PgDatabaseError>()
        .and_then(PgDatabaseError::position);
    // A position in characters, from 1, in the text that was sent.
    let characters = match position {
        Some(PgErrorPosition::Original(at)) if sent == text => Some(at),
        Some(PgErrorPosition::Internal { position, query }) if query == sent => Some(position),
        _ => None,
    };
    let at = characters.and_then(|at| {
        let (byte, _) = sent.char_indices().nth(at.saturating_sub(1))?;
        Some(byte.min(text.len()))
    });
    let mut of = sql_text::statements(text, DIALECT);
    if let Some(at) = at {
        of.retain(|statement| statement.range.end > at);
    }
    let statement = of.first().map(|statement| statement.range.clone());
    let words = statement
        .clone()
        .and_then(|range| text.get(range))
        .unwrap_or_default();
    let place = match (at, &statement) {
        (Some(at), Some(_)) => {
            format!(
                "{}, `{}`",
                script.place(from + at),
                super::script::shown(words)
            )
        }
        (Some(at), None) => script.place(from + at),
        (None, _) if of.len() > 1 => format!(
            "between {} and {}",
            script.statement(from, DIALECT),
            script.place(from + of.last().map_or(0, |last| last.range.end))
        ),
        (None, _) => script.statement(from, DIALECT),
    };
    let todo = match refused.code.as_str() {
        INVALID_CURSOR => {
            Some("a query is one statement that gives rows and changes nothing".to_owned())
        }
        SYNTAX_ERROR => advice(text.get(at.unwrap_or(0)..).unwrap_or_default(), DIALECT)
            .or_else(|| advice(words, DIALECT)),
        ACTIVE_TRANSACTION => Some(advice(words, DIALECT).unwrap_or_else(|| {
            "a statement that no transaction holds goes into a step of its own with \
             `transaction: none`"
                .to_owned()
        })),
        "0A000" => advice(words, DIALECT),
        _ => None,
    };
    refused.reason = match todo {
        Some(todo) => format!("{place}: {}; {todo}", refused.reason),
        None => format!("{place}: {}", refused.reason),
    };
    refused.transaction_lost = refused.code == LOST_CODE;
    refused
}

fn cells(row: &PgRow) -> Result<Vec<Cell>, sqlx::Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_not_in_the_text() {
        assert_eq!(delimiter("a", "x"), "$a$");
        assert_eq!(delimiter("a", "$a$ $a1$"), "$a2$");
    }

    #[test]
    fn parts_cover_the_statements_and_are_bounded() {
        let text = "-- a\nSELECT 1; /* b */ SELECT 2;\n-- end";
        let cut = parts(text);
        let shown: Vec<_> = cut
            .iter()
            .filter_map(|part| text.get(part.clone()))
            .collect();
        assert_eq!(shown, ["-- a\nSELECT 1;", " /* b */ SELECT 2;"]);
        let many = "SELECT 1;".repeat(1_201);
        let cut = parts(&many);
        assert!(cut.len() <= MOST_PARTS, "{}", cut.len());
        assert_eq!(cut.last().map(|part| part.end), Some(many.len()));
    }
}
