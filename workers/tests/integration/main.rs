//! Integration tests of the workers, one module per subject.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit_types;
mod compare_snapshots;
mod snapshot_cluster;
mod snapshot_deals;
mod snapshot_postgres;
mod snapshot_sqlite;
