//! Reads the databases of views and creates an empty one to rebuild.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::JudgeError;
use super::case::Views;
use super::collect::missing;

/// The scheme of a PostgreSQL URL.
const POSTGRES: &str = "postgres://";
/// The schema of the views in PostgreSQL.
const SCHEMA: &str = "rollbook";
/// The name of the database to rebuild.
const REBUILT: &str = "rebuilt";

/// Creates an empty database of the same kind as `like`.
pub(super) async fn empty(into: &Path, like: Option<&String>) -> Result<String, JudgeError> {
    let Some(like) = like.filter(|database| database.starts_with(POSTGRES)) else {
        return Ok(format!("sqlite:{}", into.join("rebuilt.db").display()));
    };
    let failed = missing("the PostgreSQL of the views");
    let pool = PgPool::connect(like).await.map_err(&failed)?;
    for statement in [
        format!("DROP DATABASE IF EXISTS {REBUILT}"),
        format!("CREATE DATABASE {REBUILT}"),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .map_err(&failed)?;
    }
    pool.close().await;
    let server = like.rsplit_once('/').map_or("", |(server, _)| server);
    Ok(format!("{server}/{REBUILT}"))
}

/// Whether a table holds views. Positions are compared separately, and what a server has
/// acknowledged or noted for itself is not a view.
fn is_view(table: &str) -> bool {
    !matches!(table, "view_position" | "acknowledged" | "rollouts_over")
}

/// All rows of a database of views, as texts in a fixed order.
pub(super) async fn dump(database: &str, rebuilt: bool) -> Result<Views, JudgeError> {
    if database.starts_with(POSTGRES) {
        return dump_postgres(database, rebuilt).await;
    }
    let path = PathBuf::from(database.strip_prefix("sqlite:").unwrap_or(database));
    let failed = missing("a database of views");
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path))
        .await
        .map_err(&failed)?;
    let names: Vec<(String,)> = sqlx::query_as(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
         AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY name",
    )
    .fetch_all(&pool)
    .await
    .map_err(&failed)?;
    let (sequence,): (i64,) = sqlx::query_as("SELECT max(sequence) FROM view_position")
        .fetch_one(&pool)
        .await
        .map_err(&failed)?;
    let mut tables = BTreeMap::new();
    for (table,) in names {
        if !is_view(&table) {
            continue;
        }
        let columns: Vec<(String,)> =
            sqlx::query_as("SELECT name FROM pragma_table_info(?) ORDER BY name")
                .bind(&table)
                .fetch_all(&pool)
                .await
                .map_err(&failed)?;
        let literals: Vec<String> = columns
            .iter()
            .map(|(name,)| format!("'{name}=' || quote(\"{name}\")"))
            .collect();
        let query = format!("SELECT {} FROM \"{table}\"", literals.join(" || ' ' || "));
        let mut rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_all(&pool)
            .await
            .map_err(&failed)?;
        rows.sort();
        tables.insert(table, rows);
    }
    pool.close().await;
    Ok(Views {
        name: path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        rebuilt,
        sequence: u64::try_from(sequence).unwrap_or(0),
        tables,
    })
}

async fn dump_postgres(database: &str, rebuilt: bool) -> Result<Views, JudgeError> {
    let failed = missing("the PostgreSQL of the views");
    let pool = PgPool::connect(database).await.map_err(&failed)?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = $1 ORDER BY 1",
    )
    .bind(SCHEMA)
    .fetch_all(&pool)
    .await
    .map_err(&failed)?;
    let of_position = format!("SELECT max(sequence) FROM {SCHEMA}.view_position");
    let sequence: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(of_position))
        .fetch_one(&pool)
        .await
        .map_err(&failed)?;
    let mut tables = BTreeMap::new();
    for table in names.into_iter().filter(|table| is_view(table)) {
        let query = format!("SELECT to_jsonb(t)::text FROM {SCHEMA}.\"{table}\" t");
        let mut rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_all(&pool)
            .await
            .map_err(&failed)?;
        rows.sort();
        tables.insert(table, rows);
    }
    pool.close().await;
    let name = database.rsplit_once('/').map_or("", |(_, name)| name);
    Ok(Views {
        name: name.to_owned(),
        rebuilt,
        sequence: u64::try_from(sequence).unwrap_or(0),
        tables,
    })
}
