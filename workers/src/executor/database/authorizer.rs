//! Decides what SQLite may compile for a script or a query.
//!
//! SQLite asks about every action of a statement before it runs; the answer depends on what SQLite
//! parsed, not on the text.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// The prefix of Rollbook's own savepoints.
const OWN_SAVEPOINTS: &str = "rollbook_";

/// Pragmas that set limits of the whole process or the location of its temporary files.
const PROCESS_WIDE: [&str; 4] = [
    "hard_heap_limit",
    "soft_heap_limit",
    "temp_store_directory",
    "data_store_directory",
];

/// What kind of SQL is being compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Policy {
    /// Rollbook's own statements.
    #[default]
    Own,
    /// A script inside the step's transaction.
    Transaction,
    /// A script in which each statement is its own transaction.
    Alone,
    /// A query on a connection that SQLite opened read-only.
    Query,
}

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// `BEGIN`, `COMMIT`, `ROLLBACK`.
    #[error(
        "the script runs in the step's own transaction and cannot begin or end one; leave the \
         statement out, or split the script into two steps"
    )]
    Transaction,
    /// A transaction in a script whose statements run one by one.
    #[error(
        "a step with `transaction: none` runs each statement by itself; put what belongs together \
         into a step with a transaction"
    )]
    Alone,
    /// Beginning or ending a transaction in a query.
    #[error("a query changes nothing and has no transaction of its own")]
    Query,
    /// A setting that could make the transaction impossible to roll back.
    #[error(
        "`PRAGMA {0}` inside a transaction could prevent its rollback; give it to a step \
         of its own with `transaction: none`"
    )]
    Journal(String),
    /// A setting of the whole worker process.
    #[error("`PRAGMA {0}` changes the whole worker, not this database; leave it out")]
    ProcessWide(String),
    /// Another database file.
    #[error("a query reads its own database only; name another file as a source of its own")]
    Attach,
}

/// What was observed while one statement was compiled.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first refusal.
    pub(super) refused: Option<Refused>,
    /// Tables the statement drops: schema and name.
    pub(super) dropped: Vec<(String, String)>,
    /// Whether the statement switches off the enforcement of foreign keys.
    pub(super) switches_keys_off: bool,
}

/// The policy in force on a connection, and what it has observed.
#[derive(Debug, Default)]
pub(super) struct Rules {
    policy: Policy,
    seen: Seen,
}

impl Rules {
    /// From here on, statements of the plan are compiled.
    pub(super) fn look(&mut self, policy: Policy) {
        self.policy = policy;
        self.seen = Seen::default();
    }

    /// From here on, Rollbook's own statements are compiled; returns what was observed.
    pub(super) fn rest(&mut self) -> Seen {
        self.policy = Policy::Own;
        std::mem::take(&mut self.seen)
    }

    /// Answers SQLite's question about one action.
    pub(super) fn judge(&mut self, context: &AuthContext<'_>) -> Authorization {
        if self.policy == Policy::Own {
            return Authorization::Allow;
        }
        let refused = match context.action {
            AuthAction::Transaction { .. } => Some(self.control()),
            AuthAction::Savepoint { savepoint_name, .. } => {
                let own = savepoint_name
                    .to_ascii_lowercase()
                    .starts_with(OWN_SAVEPOINTS);
                (own || self.policy != Policy::Transaction).then(|| self.control())
            }
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => self.pragma(pragma_name, pragma_value),
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
                (self.policy == Policy::Query).then_some(Refused::Attach)
            }
            AuthAction::DropTable { table_name } => {
                let schema = context.database_name.unwrap_or("main");
                self.seen
                    .dropped
                    .push((schema.to_owned(), table_name.to_owned()));
                None
            }
            _ => None,
        };
        match refused {
            Some(refused) => {
                self.seen.refused.get_or_insert(refused);
                Authorization::Deny
            }
            None => Authorization::Allow,
        }
    }

    fn control(&self) -> Refused {
        match self.policy {
            Policy::Alone => Refused::Alone,
            Policy::Query => Refused::Query,
            Policy::Own | Policy::Transaction => Refused::Transaction,
        }
    }

    fn pragma(&mut self, name: &str, value: Option<&str>) -> Option<Refused> {
        let name = name.to_ascii_lowercase();
        if PROCESS_WIDE.contains(&name.as_str()) {
            return Some(Refused::ProcessWide(name));
        }
        let value = value?;
        match name.as_str() {
            "journal_mode" if self.policy == Policy::Transaction => Some(Refused::Journal(name)),
            "foreign_keys" => {
                self.seen.switches_keys_off = !is_on(value);
                None
            }
            _ => None,
        }
    }
}

/// Whether SQLite reads a value as switching on.
fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match value.parse::<i64>() {
        Ok(number) => number != 0,
        Err(_) => matches!(value.as_str(), "on" | "yes" | "true"),
    }
}
