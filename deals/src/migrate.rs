//! Adapter: migrates a target database up to a migration of `migrations/deals`.
//!
//! The scripts are the same files that an operator reads and that a rollout's `sql` steps run; they
//! are compiled in, so that generating deals needs no checkout.

use rollbook_ledger::database;
pub use rollbook_ledger::database::Dialect;
use rollbook_ledger::error_code::Coded;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// One migration of the target schema. Each script is its own transaction and is safe even with a
/// client that continues after an error; after an error the connection must be rolled back or
/// closed.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The name of its folder, such as `004_deal_type`.
    pub id: &'static str,
    /// Makes the change, or refuses and changes nothing.
    pub deploy: &'static str,
    /// Raises an error if the change is not in place. Changes nothing.
    pub verify: &'static str,
    /// Undoes the change, including its data, or refuses and changes nothing.
    pub revert: &'static str,
}

macro_rules! migration {
    ($dialect:literal, $id:literal) => {
        Migration {
            id: $id,
            deploy: include_str!(concat!(
                "../../migrations/deals/",
                $dialect,
                "/",
                $id,
                "/deploy.sql"
            )),
            verify: include_str!(concat!(
                "../../migrations/deals/",
                $dialect,
                "/",
                $id,
                "/verify.sql"
            )),
            revert: include_str!(concat!(
                "../../migrations/deals/",
                $dialect,
                "/",
                $id,
                "/revert.sql"
            )),
        }
    };
}

const POSTGRES: [Migration; 4] = [
    migration!("postgres", "001_deals"),
    migration!("postgres", "002_lifecycle"),
    migration!("postgres", "003_counters"),
    migration!("postgres", "004_deal_type"),
];

const SQLITE: [Migration; 4] = [
    migration!("sqlite", "001_deals"),
    migration!("sqlite", "002_lifecycle"),
    migration!("sqlite", "003_counters"),
    migration!("sqlite", "004_deal_type"),
];

/// The migrations in order.
#[must_use]
pub const fn migrations(dialect: Dialect) -> &'static [Migration] {
    match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::Sqlite => &SQLITE,
    }
}

/// The script that only creates and fills `deal_type_alias`, for mapping unknown deal types before
/// migration 004. Running it again changes nothing.
#[must_use]
pub const fn alias_script(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            include_str!("../../migrations/deals/postgres/004_deal_type/aliases.sql")
        }
        Dialect::Sqlite => {
            include_str!("../../migrations/deals/sqlite/004_deal_type/aliases.sql")
        }
    }
}

/// Why a target database could not be migrated or filled.
#[derive(Debug, thiserror::Error, Coded)]
pub enum TargetError {
    /// The address does not name a supported database. Terminal.
    #[error(
        "RB-TARGET-1: the database address does not start with postgres://, postgresql:// or \
         sqlite:; use one of them"
    )]
    UnknownScheme,
    /// No migration has this name. Terminal.
    #[error("RB-TARGET-2: there is no migration {wanted:?}; use 001, 002, 003 or 004")]
    UnknownMigration {
        /// The requested name.
        wanted: String,
    },
    /// The connection failed. Retryable: nothing was done.
    #[error("RB-TARGET-3: cannot connect to the target database: {}", database::words(.0))]
    Connect(#[source] sqlx::Error),
    /// A script refused or failed; its own transaction was rolled back. Terminal.
    #[error("RB-TARGET-4: migration {id}, {script}: {}", database::words(source))]
    Script {
        /// The migration.
        id: &'static str,
        /// `deploy` or `verify`.
        script: &'static str,
        /// The database's error.
        source: sqlx::Error,
    },
    /// Deals could not be written; none were. Terminal, unless the cause is temporary.
    #[error("RB-TARGET-5: cannot load deals, nothing was loaded: {}", database::words(.0))]
    Load(#[source] sqlx::Error),
}

impl TargetError {
    /// Whether a retry without any change may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// Whether the address is wrong: it is malformed, or names a database or directory that does
    /// not exist.
    #[must_use]
    pub fn is_wrong_address(&self) -> bool {
        match self {
            Self::UnknownScheme | Self::UnknownMigration { .. } => true,
            Self::Connect(sqlx::Error::Configuration(_)) => true,
            // 3D000: no such database; 14, SQLITE_CANTOPEN: no such directory.
            Self::Connect(sqlx::Error::Database(error)) => {
                matches!(error.code().as_deref(), Some("3D000" | "14"))
            }
            _ => false,
        }
    }

    /// Whether the database responded and refused, by a rule of the schema or of a script.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let (Self::Script { source, .. } | Self::Load(source)) = self else {
            return false;
        };
        // SQLite gives a script no way to fail under a code of its own, only with a text.
        source.as_database_error().is_some_and(|error| {
            error.message().contains("RB-MIGRATE-") || error.kind() != sqlx::error::ErrorKind::Other
        })
    }
}

/// A connection to a target database of either kind.
pub(super) enum Target {
    Postgres(Box<PgConnection>),
    Sqlite(Box<SqliteConnection>),
}

impl Target {
    /// Connects; a SQLite file that does not exist is created.
    pub(super) async fn connect(database_url: &str) -> Result<Self, TargetError> {
        match dialect(database_url)? {
            Dialect::Postgres => {
                let options = database::postgres(database_url, "rollbook-deals")
                    .map_err(TargetError::Connect)?;
                let connection = options.connect().await;
                Ok(Self::Postgres(Box::new(
                    connection.map_err(TargetError::Connect)?,
                )))
            }
            Dialect::Sqlite => {
                let options: SqliteConnectOptions =
                    database_url.parse().map_err(TargetError::Connect)?;
                let connection = options.create_if_missing(true).connect().await;
                Ok(Self::Sqlite(Box::new(
                    connection.map_err(TargetError::Connect)?,
                )))
            }
        }
    }

    async fn run(&mut self, script: &'static str) -> Result<(), sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(script));
        match self {
            Self::Postgres(connection) => query.execute(&mut **connection).await.map(drop),
            Self::Sqlite(connection) => query.execute(&mut **connection).await.map(drop),
        }
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        }
    }
}

/// The kind of database that an address names.
///
/// # Errors
/// [`TargetError::UnknownScheme`]; the address is not repeated, as it may hold a password.
pub fn dialect(database_url: &str) -> Result<Dialect, TargetError> {
    Dialect::of(database_url).ok_or(TargetError::UnknownScheme)
}

/// Deploys and verifies, in order, every migration up to and including `upto` (`"003"` or
/// `"003_counters"`) that is not in place yet, and returns the ids of those deployed. On return
/// they are committed.
///
/// # Errors
/// A [`TargetError`]; migrations before the failing one stay deployed, the failing one does not.
pub async fn apply(database_url: &str, upto: &str) -> Result<Vec<&'static str>, TargetError> {
    let all = migrations(dialect(database_url)?);
    let named = |migration: &Migration| {
        migration.id == upto || migration.id.split('_').next() == Some(upto)
    };
    let Some(last) = all.iter().position(named) else {
        return Err(TargetError::UnknownMigration {
            wanted: upto.chars().take(64).collect(),
        });
    };
    let mut deployed = Vec::new();
    for migration in all.iter().take(last + 1) {
        if run_alone(database_url, migration.verify).await?.is_ok() {
            continue;
        }
        for (script, text) in [("deploy", migration.deploy), ("verify", migration.verify)] {
            let outcome = run_alone(database_url, text).await?;
            outcome.map_err(|source| TargetError::Script {
                id: migration.id,
                script,
                source,
            })?;
        }
        deployed.push(migration.id);
    }
    Ok(deployed)
}

/// Runs one script on its own connection: dropping that connection rolls a failed script back.
async fn run_alone(
    database_url: &str,
    script: &'static str,
) -> Result<Result<(), sqlx::Error>, TargetError> {
    let mut target = Target::connect(database_url).await?;
    let outcome = target.run(script).await;
    let closed = target.close().await;
    Ok(outcome.and(closed))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The content of a script between its BEGIN and its COMMIT.
    fn body(script: &str) -> &str {
        let (_, rest) = script.split_once("BEGIN").unwrap();
        let (_, rest) = rest.split_once(";\n").unwrap();
        rest.split_once("COMMIT;").unwrap().0.trim()
    }

    /// SQL has no include that every client supports, and 004 is one transaction: the table and its
    /// rows are maintained in `aliases.sql`, and `deploy.sql` repeats them word for word.
    #[test]
    fn deploy_carries_the_alias_table_of_its_one_source() {
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            let deploy = migrations(dialect)[3].deploy;
            let aliases = body(alias_script(dialect));
            assert!(aliases.contains("INSERT INTO deal_type_alias"));
            assert!(
                deploy.contains(aliases),
                "{dialect:?}: copy aliases.sql into deploy.sql between its BEGIN and COMMIT"
            );
            assert_eq!(
                deploy.matches("INTO deal_type_alias").count(),
                1,
                "{dialect:?}: the rows come from aliases.sql alone"
            );
        }
    }

    #[test]
    fn both_dialects_seed_the_same_aliases() {
        let rows = |dialect| -> Vec<String> {
            let script = alias_script(dialect);
            let (_, rows) = script.split_once("VALUES").unwrap();
            let rows = rows.split_once("ON CONFLICT").unwrap().0;
            rows.lines()
                .filter_map(|row| row.trim().rsplit_once(", "))
                .map(|(names, _built_in)| names.to_owned())
                .collect()
        };
        assert_eq!(rows(Dialect::Postgres).len(), 15);
        assert_eq!(rows(Dialect::Postgres), rows(Dialect::Sqlite));
    }
}
