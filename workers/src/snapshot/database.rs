//! Opens the deals' database read-only and never shows a password.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rollbook_ledger::database;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::SnapshotError;

/// How long to wait for a connection, in seconds.
const CONNECT_TIMEOUT_S: u64 = 15;

/// A parsed database URL.
#[derive(Clone)]
pub struct SourceDatabase {
    kind: Kind,
    shown: String,
    secret: Option<String>,
}

#[derive(Clone)]
enum Kind {
    Postgres(Box<PgConnectOptions>),
    Sqlite(SqliteConnectOptions),
    File(FileKind, PathBuf),
}

/// The file formats a source may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// One JSON object per line.
    JsonLines,
    /// One row per deal.
    Parquet,
}

/// An open connection.
pub enum Opened {
    /// PostgreSQL.
    Postgres(Box<PgConnection>),
    /// SQLite, opened read-only.
    Sqlite(Box<SqliteConnection>),
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Postgres(_) => "Postgres",
            Self::Sqlite(_) => "Sqlite",
        })
    }
}

impl std::fmt::Debug for SourceDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl SourceDatabase {
    /// Parses `postgres://…`, `postgresql://…`, `sqlite:PATH`, `sqlite://PATH`, `parquet:PATH` and
    /// `jsonl:PATH`.
    pub fn parse(url: &str) -> Result<Self, SnapshotError> {
        let url = url.trim();
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        let scheme = scheme.to_ascii_lowercase();
        let scheme = scheme.as_str();
        match scheme {
            "postgres" | "postgresql" => {
                let secret = password_of(rest);
                let options = database::postgres(url, "rollbook")
                    .map_err(|error| SnapshotError::Url {
                        database: format!("{scheme}://…"),
                        reason: scrub(&error.to_string(), secret.as_deref()),
                    })?
                    .disable_statement_logging();
                let shown = format!(
                    "postgres://{}@{}:{}/{}",
                    options.get_username(),
                    options.get_socket().map_or_else(
                        || options.get_host().to_owned(),
                        |p| p.display().to_string()
                    ),
                    options.get_port(),
                    options.get_database().unwrap_or_default(),
                );
                Ok(Self {
                    kind: Kind::Postgres(Box::new(options)),
                    shown,
                    secret,
                })
            }
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                let path = path.split_once('?').map_or(path, |(path, _)| path);
                if path.is_empty() {
                    return Err(SnapshotError::Url {
                        database: "sqlite:".to_owned(),
                        reason: "it names no file; write sqlite:PATH".to_owned(),
                    });
                }
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(false)
                    .read_only(true)
                    .busy_timeout(Duration::from_secs(CONNECT_TIMEOUT_S))
                    .disable_statement_logging();
                Ok(Self {
                    kind: Kind::Sqlite(options),
                    shown: format!("sqlite:{path}"),
                    secret: None,
                })
            }
            "jsonl" | "parquet" => {
                let kind = match scheme {
                    "jsonl" => FileKind::JsonLines,
                    _ => FileKind::Parquet,
                };
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    return Err(SnapshotError::Url {
                        database: format!("{scheme}:"),
                        reason: format!("it names no file; write {scheme}:PATH"),
                    });
                }
                Ok(Self {
                    kind: Kind::File(kind, PathBuf::from(path)),
                    shown: format!("{scheme}:{path}"),
                    secret: None,
                })
            }
            _ => Err(SnapshotError::Url {
                database: if url.contains("://") && !scheme.is_empty() {
                    format!("{scheme}://…")
                } else {
                    "…".to_owned()
                },
                reason: "it must start with postgres://, sqlite:, parquet: or jsonl:".to_owned(),
            }),
        }
    }

    /// The URL without password and options.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The file's format and path, if the source is a file.
    pub fn file(&self) -> Option<(FileKind, &Path)> {
        match &self.kind {
            Kind::File(kind, path) => Some((*kind, path)),
            Kind::Postgres(_) | Kind::Sqlite(_) => None,
        }
    }

    /// Connects. A file cannot be connected to and gives [`SnapshotError::Url`].
    pub async fn connect(&self) -> Result<Opened, SnapshotError> {
        if self.file().is_some() {
            return Err(SnapshotError::Url {
                database: self.shown.clone(),
                reason: "this needs a database: postgres:// or sqlite:".to_owned(),
            });
        }
        let connecting = async {
            match &self.kind {
                Kind::Postgres(options) => PgConnection::connect_with(options)
                    .await
                    .map(|c| Opened::Postgres(Box::new(c))),
                Kind::Sqlite(options) => SqliteConnection::connect_with(options)
                    .await
                    .map(|c| Opened::Sqlite(Box::new(c))),
                Kind::File(..) => Err(sqlx::Error::WorkerCrashed),
            }
        };
        match tokio::time::timeout(Duration::from_secs(CONNECT_TIMEOUT_S), connecting).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => Err(self.connect_error(&error)),
            Err(_) => Err(SnapshotError::Unreachable {
                database: self.shown.clone(),
                reason: format!("no answer within {CONNECT_TIMEOUT_S} s"),
            }),
        }
    }

    fn connect_error(&self, error: &sqlx::Error) -> SnapshotError {
        let database = self.shown.clone();
        let reason = self.words(error);
        let code = code_of(error);
        // SQLSTATE class 28: invalid authorization; 42501: insufficient privilege.
        if code.starts_with("28") || code == "42501" {
            return SnapshotError::Denied { database, reason };
        }
        match (error, &self.kind) {
            (sqlx::Error::Database(_), Kind::Postgres(_)) if code == "3D000" => {
                SnapshotError::Url { database, reason }
            }
            (sqlx::Error::Configuration(_), _) => SnapshotError::Url { database, reason },
            // SQLITE_CANTOPEN: retrying does not make the file appear.
            (sqlx::Error::Database(_), Kind::Sqlite(_)) if code == "14" => SnapshotError::Url {
                database,
                reason: format!("{reason}; check that the file exists"),
            },
            _ => SnapshotError::Unreachable { database, reason },
        }
    }

    /// Classifies the error of a statement on `table` that failed after `rows` rows.
    pub fn query_error(&self, table: &str, rows: u64, error: &sqlx::Error) -> SnapshotError {
        let database = self.shown.clone();
        let reason = self.words(error);
        let code = code_of(error);
        if code == "42501" || code.starts_with("28") {
            return SnapshotError::Denied { database, reason };
        }
        // Classes 08 connection, 40 rollback, 53 resources, 57 operator intervention,
        // 58 system; SQLite 5 busy, 6 locked, 10 I/O.
        let transient = ["08", "40", "53", "57", "58"]
            .iter()
            .any(|class| code.len() == 5 && code.starts_with(class))
            || (matches!(self.kind, Kind::Sqlite(_))
                && code
                    .parse::<u32>()
                    .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10)));
        match error {
            sqlx::Error::Database(_) if !transient => SnapshotError::Query {
                database,
                table: table.to_owned(),
                reason,
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::InvalidArgument(_) => SnapshotError::Query {
                database,
                table: table.to_owned(),
                reason,
            },
            _ => SnapshotError::Interrupted {
                database,
                rows,
                reason,
            },
        }
    }

    fn words(&self, error: &sqlx::Error) -> String {
        scrub(&database::words(error), self.secret.as_deref())
    }
}

fn code_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
        _ => String::new(),
    }
}

/// The password in what follows the scheme, as written there.
fn password_of(rest: &str) -> Option<String> {
    let in_query = rest
        .split_once('?')
        .and_then(|(_, query)| query.split('&').find_map(|p| p.strip_prefix("password=")));
    let authority = rest.strip_prefix("//")?;
    let in_authority = authority
        .rsplit_once('@')
        .and_then(|(credentials, _)| credentials.split_once(':'))
        .map(|(_, password)| password);
    in_query
        .or(in_authority)
        .filter(|password| !password.is_empty())
        .map(str::to_owned)
}

/// Removes the password from a driver's text; drivers do not print it, but nothing guarantees that.
fn scrub(text: &str, secret: Option<&str>) -> String {
    match secret {
        Some(secret) => text.replace(secret, "***"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let database =
            SourceDatabase::parse("postgres://user:h%40nter2@db.example:5433/deals?sslmode=prefer")
                .unwrap();
        assert_eq!(database.shown(), "postgres://user@db.example:5433/deals");
        assert_eq!(
            format!("{database:?}"),
            "postgres://user@db.example:5433/deals"
        );
        for bad in [
            "postgres://user:hunter2@db:notaport/deals",
            "postgres://user:hunter2@[::/deals?password=hunter2",
            "mysql://user:hunter2@db/deals",
            "user:hunter2@db",
            "hunter2",
            "",
        ] {
            let error = SourceDatabase::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("RB-SNAPSHOT-1: "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn sqlite_urls_name_a_file() {
        for (url, shown) in [
            ("sqlite:deals.db", "sqlite:deals.db"),
            ("sqlite:///var/deals.db", "sqlite:/var/deals.db"),
            ("sqlite:/var/deals.db?mode=ro", "sqlite:/var/deals.db"),
        ] {
            assert_eq!(SourceDatabase::parse(url).unwrap().shown(), shown);
        }
        assert!(SourceDatabase::parse("sqlite:").is_err());
    }
}
