//! Prepares a script of the plan for a database, and finds positions in it for messages.

use rollbook_ledger::runbook::script::Script;
use rollbook_ledger::runbook::sql_text::{self, Dialect, Ending};

use crate::executor::error::ExecutorError;

/// Maximum characters of a statement in a message.
const SHOWN_CHARS: usize = 80;

/// A script and its name for messages.
#[derive(Debug, Clone)]
pub struct SqlScript {
    /// `deploy`, `verify`, `revert` or `query`.
    pub name: &'static str,
    /// Its file, if it has one.
    file: Option<String>,
    /// The text sent to the database. Lines and columns match those of the file.
    pub text: String,
}

impl SqlScript {
    /// Makes a script of the plan, without byte order mark and without a transaction around the
    /// whole.
    pub fn of_plan(
        script: &Script,
        name: &'static str,
        dialect: Dialect,
        ending: Ending,
    ) -> Result<Self, ExecutorError> {
        let text = script.text().ok_or_else(|| ExecutorError::Plan {
            reason: format!("the {name} script's file was not inlined when the plan was made"),
        })?;
        let file = match script {
            Script::File { file, .. } => Some(file.clone()),
            Script::Text(_) => None,
        };
        let mut made = Self::query(text, name)?;
        made.text = sql_text::without_transaction(&made.text, dialect, ending);
        made.file = file;
        Ok(made)
    }

    /// Makes a query of the plan, unchanged.
    pub fn query(text: &str, name: &'static str) -> Result<Self, ExecutorError> {
        if text.contains('\0') {
            return Err(ExecutorError::Plan {
                reason: format!(
                    "the {name} contains a NUL character, where databases stop reading"
                ),
            });
        }
        Ok(Self {
            name,
            file: None,
            text: sql_text::without_mark(text).to_owned(),
        })
    }

    /// The line of a byte offset, as a person would look it up.
    pub fn place(&self, at: usize) -> String {
        let line = sql_text::line_of(&self.text, at);
        match &self.file {
            Some(file) => format!("{file}:{line}"),
            None => format!("line {line}"),
        }
    }

    /// The position and beginning of the statement at or after a byte offset.
    pub fn statement(&self, from: usize, dialect: Dialect) -> String {
        let rest = self.text.get(from..).unwrap_or_default();
        let Some(first) = sql_text::first(rest, dialect) else {
            return self.place(from);
        };
        let words = rest.get(first.range.clone()).unwrap_or_default();
        format!(
            "{}, `{}`",
            self.place(from + first.range.start),
            shown(words)
        )
    }
}

/// The beginning of a statement on one line, without its `;`.
pub(super) fn shown(statement: &str) -> String {
    let mut line = statement
        .trim_end_matches(|c: char| c == ';' || c.is_whitespace())
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if line.chars().count() > SHOWN_CHARS {
        line = line.chars().take(SHOWN_CHARS).collect();
        line.push('…');
    }
    line
}

/// Advice about a statement that cannot run in a step's transaction, going by its text.
pub(super) fn advice(statement: &str, dialect: Dialect) -> Option<String> {
    let first = sql_text::first(statement, dialect)?;
    if first.is_transaction_control() {
        return Some(
            "the script runs in the step's own transaction and cannot begin, end or mark one; \
             leave the statement out, or split the script into two steps"
                .to_owned(),
        );
    }
    if let Some(name) = first.outside_transactions() {
        return Some(format!(
            "no transaction holds {name}; give it to a step of its own with `transaction: none`"
        ));
    }
    match first.keyword() {
        "COPY" => Some(
            "a script has no client that could send or take the data; use INSERT, or a `run` step with psql"
                .to_owned(),
        ),
        "" if statement.trim_start().starts_with('\\') || statement.trim_start().starts_with('.') => {
            Some(
                "commands of a database's shell are not SQL; use SQL, or a `run` step with the shell"
                    .to_owned(),
            )
        }
        _ => None,
    }
}

/// Why a script failed, and what that means for its transaction.
#[derive(Debug)]
pub struct Failure {
    /// Whether a constraint, trigger or privilege refused it, so that the statement itself is in
    /// order.
    pub is_constraint: bool,
    /// Whether the step's transaction had already ended: what was done until then may persist.
    pub transaction_lost: bool,
    /// The error.
    pub error: ExecutorError,
}

/// How far a script without a transaction got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScriptProgress {
    /// Number of statements that succeeded.
    pub statements: u32,
    /// The last of them, with its position.
    pub last: String,
}
