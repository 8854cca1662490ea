//! Describes where deals come from: which database or file, and which of its deals.

use serde::{Deserialize, Serialize};

use super::database::SourceDatabase;

/// The table that holds the deals, and its columns. For a file only the names of columns or fields
/// matter, and `deleted_at` may be absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DealTable {
    /// Table, with its schema if needed: `public.deals`.
    pub table: String,
    /// The unique id, of a text or integer type.
    pub id: String,
    /// The deal type.
    pub deal_type: String,
    /// The inventory items of a deal as one JSON array, of type `json`, `jsonb` or text.
    pub inventory: String,
    /// Not NULL for deleted deals, which a snapshot leaves out. `None`: the table has no such
    /// column.
    pub deleted_at: Option<String>,
    /// The tenant a deal belongs to; read only when a source names a tenant.
    pub tenant_id: String,
}

impl Default for DealTable {
    fn default() -> Self {
        Self {
            table: "deals".to_owned(),
            id: "id".to_owned(),
            deal_type: "deal_type".to_owned(),
            inventory: "inventory".to_owned(),
            deleted_at: Some("deleted_at".to_owned()),
            tenant_id: "tenant_id".to_owned(),
        }
    }
}

/// Which deals to read, and where.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotSource {
    /// `postgres://…`, `sqlite:PATH`, `parquet:PATH` or `jsonl:PATH`. May hold a password:
    /// never printed, never stored.
    pub database: String,
    /// The table of the deals.
    #[serde(default)]
    pub table: DealTable,
    /// For inventories in a child table: a query whose two columns are the deal's id and one
    /// item as JSON. It replaces the inventory column. Items are taken in byte order of their
    /// text, so the order of the query does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_query: Option<String>,
    /// An SQL condition on the table of the deals; deals it excludes are not part of the snapshot.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only the deals of this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl SnapshotSource {
    /// A database with the default table and no conditions.
    pub fn new(database: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            table: DealTable::default(),
            inventory_query: None,
            filter: None,
            tenant: None,
        }
    }
}

impl std::fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let database = SourceDatabase::parse(&self.database).map_or_else(
            |_| "(unreadable URL)".to_owned(),
            |database| database.shown().to_owned(),
        );
        f.debug_struct("SnapshotSource")
            .field("database", &database)
            .field("table", &self.table)
            .field("inventory_query", &self.inventory_query)
            .field("filter", &self.filter)
            .field("tenant", &self.tenant)
            .finish()
    }
}

/// How it is ensured that all deals of a snapshot are from the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// One `REPEATABLE READ READ ONLY` snapshot of PostgreSQL, exported by the connection that
    /// planned and shared by all readers.
    #[serde(alias = "postgres-repeatable-read")]
    PostgresExportedSnapshot,
    /// One read transaction of SQLite, all of it on one connection.
    SqliteReadTransaction,
    /// One file, whose SHA-256 is in the manifest.
    FileDigest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_never_shows_its_password() {
        let source = SnapshotSource::new("postgres://u:hunter2@db/deals");
        assert!(!format!("{source:?}").contains("hunter2"));
        let broken = SnapshotSource::new("u:hunter2@db/deals");
        assert!(!format!("{broken:?}").contains("hunter2"));
    }
}
