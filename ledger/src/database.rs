//! Addresses of databases: which dialect one speaks, how it is connected to, and what it says of a
//! failure.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// The SQL dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// The dialect of the database at a URL: `postgres://…`, `postgresql://…`, `sqlite:PATH` or
    /// `sqlite://PATH`. `None`: the URL names no database.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Some(Self::Postgres)
        } else if url.starts_with("sqlite:") {
            Some(Self::Sqlite)
        } else {
            None
        }
    }
}

/// The path in `sqlite:PATH` or `sqlite://PATH`; `None` for every other URL.
#[must_use]
pub fn sqlite_path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

/// How to connect to the PostgreSQL at a URL, under the name by which its administrator knows the
/// program. What else a connection needs (a schema, a cache, no log of statements) its user adds.
///
/// # Errors
/// The driver's, which may repeat the URL with its password: never show it as it is.
pub fn postgres(url: &str, application: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(PgConnectOptions::from_str(url)?.application_name(application))
}

/// Returns what a database or the network said, without the driver's announcement that it did.
pub fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_its_dialect() {
        for (url, dialect, path) in [
            ("postgres://h/db", Some(Dialect::Postgres), None),
            ("postgresql://h/db", Some(Dialect::Postgres), None),
            ("sqlite:a.db", Some(Dialect::Sqlite), Some("a.db")),
            ("sqlite:///a/b.db", Some(Dialect::Sqlite), Some("/a/b.db")),
            ("mysql://h/db", None, None),
            ("a.db", None, None),
        ] {
            assert_eq!(
                (Dialect::of(url), sqlite_path(url)),
                (dialect, path),
                "{url}"
            );
        }
    }
}
