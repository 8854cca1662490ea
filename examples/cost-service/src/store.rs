//! The deals database: PostgreSQL or SQLite, in the schema of `migrations/deals`.

use std::str::FromStr;
use std::time::Duration;

use rollbook_deals::DealType;
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{PgPool, SqlitePool};

use crate::error::Error;

/// Connections at most; more requests wait for one, at most [`ACQUIRE_TIMEOUT`].
const CONNECTIONS: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the list of deals shows.
#[derive(Debug, Serialize)]
pub(crate) struct DealSummary {
    /// The deal's id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// The stored type, exactly as stored: NULL before the migration.
    pub(crate) deal_type: Option<String>,
}

/// What costs are computed from.
#[derive(Debug)]
pub(crate) struct StoredDeal {
    /// The stored type, exactly as stored.
    pub(crate) deal_type: Option<String>,
    /// The inventory items as one JSON array; NULL counts as none.
    pub(crate) inventory: Option<String>,
}

/// A valid new deal.
#[derive(Debug)]
pub(crate) struct NewDeal {
    /// A fresh id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// The company that is bought or sold.
    pub(crate) target_name: String,
    /// Its type.
    pub(crate) deal_type: DealType,
    /// A JSON array.
    pub(crate) inventory: String,
}

/// An open database. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Store {
    /// PostgreSQL.
    Postgres(PgPool),
    /// SQLite.
    Sqlite(SqlitePool),
}

/// Runs one expression against whichever pool is there, and names what failed.
macro_rules! on {
    ($store:expr, $doing:literal, $pool:ident => $query:expr) => {
        match $store {
            Store::Postgres($pool) => $query.await,
            Store::Sqlite($pool) => $query.await,
        }
        .map_err(|source| Error::Database {
            doing: $doing,
            source,
        })
    };
}

const LIST: &str =
    "SELECT id, name, deal_type FROM deals WHERE deleted_at IS NULL ORDER BY id LIMIT $1";
const COUNT: &str = "SELECT count(*) FROM deals WHERE deleted_at IS NULL";
const DEAL: &str = "SELECT deal_type, CAST(inventory AS text) AS inventory FROM deals WHERE id = $1 AND deleted_at IS NULL";
const INSERT_POSTGRES: &str = "INSERT INTO deals (id, tenant_id, owner_id, name, target_name, deal_type, inventory) \
     VALUES ($1, 'cost-service', 'cost-service', $2, $3, $4, CAST($5 AS jsonb))";
const INSERT_SQLITE: &str = "INSERT INTO deals (id, tenant_id, owner_id, name, target_name, deal_type, inventory) \
     VALUES ($1, 'cost-service', 'cost-service', $2, $3, $4, $5)";
const DELETE_POSTGRES: &str =
    "UPDATE deals SET deleted_at = CURRENT_TIMESTAMP WHERE id = $1 AND deleted_at IS NULL";
// The schema keeps SQLite times in RFC 3339.
const DELETE_SQLITE: &str = "UPDATE deals SET deleted_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') \
     WHERE id = $1 AND deleted_at IS NULL";
const PURGE: &str = "DELETE FROM deals WHERE id = $1";

impl Store {
    /// Opens the database of `url` and proves that it answers.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        let failed = |source| Error::Database {
            doing: "connect",
            source,
        };
        // Only the scheme is repeated in the error: the rest may hold a password.
        let scheme = url.split(':').next().unwrap_or_default();
        let store = match scheme {
            "postgres" | "postgresql" => {
                let options = PgConnectOptions::from_str(url)
                    .map_err(failed)?
                    .application_name("cost-service");
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT);
                Store::Postgres(pool.connect_with(options).await.map_err(failed)?)
            }
            "sqlite" => {
                let options = SqliteConnectOptions::from_str(url)
                    .map_err(failed)?
                    .journal_mode(SqliteJournalMode::Wal)
                    .busy_timeout(ACQUIRE_TIMEOUT);
                let pool = SqlitePoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT);
                Store::Sqlite(pool.connect_with(options).await.map_err(failed)?)
            }
            other => return Err(Error::DatabaseUrl(other.to_owned())),
        };
        Ok(store)
    }

    /// Deals that are not deleted.
    pub(crate) async fn count(&self) -> Result<i64, Error> {
        on!(self, "count deals", pool => sqlx::query_scalar(COUNT).fetch_one(pool))
    }

    /// The first `limit` deals by id.
    pub(crate) async fn list(&self, limit: i64) -> Result<Vec<DealSummary>, Error> {
        let rows: Vec<(String, String, Option<String>)> =
            on!(self, "list deals", pool => sqlx::query_as(LIST).bind(limit).fetch_all(pool))?;
        Ok(rows
            .into_iter()
            .map(|(id, name, deal_type)| DealSummary {
                id,
                name,
                deal_type,
            })
            .collect())
    }

    /// A deal that is not deleted.
    pub(crate) async fn deal(&self, id: &str) -> Result<Option<StoredDeal>, Error> {
        let row: Option<(Option<String>, Option<String>)> =
            on!(self, "read a deal", pool => sqlx::query_as(DEAL).bind(id).fetch_optional(pool))?;
        Ok(row.map(|(deal_type, inventory)| StoredDeal {
            deal_type,
            inventory,
        }))
    }

    /// Stores a deal; it is durable on return.
    pub(crate) async fn insert(&self, deal: &NewDeal) -> Result<(), Error> {
        let NewDeal {
            id,
            name,
            target_name,
            deal_type,
            inventory,
        } = deal;
        let stored = match self {
            Store::Postgres(pool) => {
                let query = sqlx::query(INSERT_POSTGRES)
                    .bind(id)
                    .bind(name)
                    .bind(target_name);
                query
                    .bind(deal_type.as_str())
                    .bind(inventory)
                    .execute(pool)
                    .await
                    .map(|_| ())
            }
            Store::Sqlite(pool) => {
                let query = sqlx::query(INSERT_SQLITE)
                    .bind(id)
                    .bind(name)
                    .bind(target_name);
                query
                    .bind(deal_type.as_str())
                    .bind(inventory)
                    .execute(pool)
                    .await
                    .map(|_| ())
            }
        };
        stored.map_err(|source| Error::Database {
            doing: "store a deal",
            source,
        })
    }

    /// Marks a deal as deleted, or with `purge` removes its row; false if there is none.
    pub(crate) async fn delete(&self, id: &str, purge: bool) -> Result<bool, Error> {
        let rows = match self {
            Store::Postgres(pool) => {
                let query = if purge { PURGE } else { DELETE_POSTGRES };
                let done = sqlx::query(query).bind(id).execute(pool).await;
                done.map(|done| done.rows_affected())
            }
            Store::Sqlite(pool) => {
                let query = if purge { PURGE } else { DELETE_SQLITE };
                let done = sqlx::query(query).bind(id).execute(pool).await;
                done.map(|done| done.rows_affected())
            }
        };
        rows.map(|rows| rows > 0).map_err(|source| Error::Database {
            doing: "delete a deal",
            source,
        })
    }
}
