//! A script of the plan, fit to be given to a database, and places in it to show.

use rollbook_ledger::runbook::sql_text::{self, Dialect, Ending};
use rollbook_ledger::runbook::step::Script;

use crate::executor::error::ExecutorError;

/// A statement is shown up to so many characters.
const SHOWN_CHARS: usize = 80;

/// A script and how its lines are called.
#[derive(Debug, Clone)]
pub struct SqlScript {
    /// `deploy`, `verify`, `revert` or `query`.
    pub name: &'static str,
    /// Its file, when it has one.
    file: Option<String>,
    /// What the database is given. Lines and columns are those of the file.
    pub text: String,
}

impl SqlScript {
    /// A script of the plan without byte order mark and without a transaction around all of it.
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

    /// A query of the plan, as it stands.
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

    /// Line of a byte, as people look it up.
    pub fn place(&self, at: usize) -> String {
        let line = sql_text::line_of(&self.text, at);
        match &self.file {
            Some(file) => format!("{file}:{line}"),
            None => format!("line {line}"),
        }
    }

    /// Place and beginning of the statement that begins at or after a byte.
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

/// What to do about a statement that a step's transaction cannot hold, by what it reads as.
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

/// What a failed script came to.
#[derive(Debug)]
pub struct Failure {
    /// A constraint, trigger or privilege refused it; the statement itself is in order.
    pub is_constraint: bool,
    /// The step's transaction had ended before: what was done until then may stand.
    pub transaction_lost: bool,
    /// The error.
    pub error: ExecutorError,
}

/// How far a script without a transaction came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Statements done.
    pub statements: u32,
    /// The last of them, with its place.
    pub last: String,
}
