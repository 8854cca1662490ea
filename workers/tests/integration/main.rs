//! Integration tests of the workers, one module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod calculators;
mod compare_snapshots;
mod executor_fixture;
mod executor_http;
mod executor_notify;
mod executor_run;
mod executor_sql;
mod executor_sql_control;
mod executor_watch;
mod fleet_calculators;
mod fleet_compare;
mod fleet_dead_letter;
mod fleet_fixture;
mod fleet_ledger;
mod fleet_progress;
mod fleet_queue;
mod fleet_shards;
mod fleet_worker;
mod snapshot_cluster;
mod snapshot_database;
mod snapshot_deals;
mod snapshot_exec;
mod snapshot_files;
mod snapshot_pages;
mod snapshot_postgres;
mod snapshot_query;
mod snapshot_shards;
mod snapshot_sqlite;

// The servers that the ledger's tests use as well.
#[allow(dead_code)]
#[path = "../../../ledger/tests/integration/nats.rs"]
mod nats;
#[allow(dead_code)]
#[path = "../../../ledger/tests/integration/postgres.rs"]
mod postgres;
