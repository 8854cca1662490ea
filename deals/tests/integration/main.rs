//! Integration tests of the deals, one module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod audit_types;
mod bad_input;
mod calculators;
mod comparison;
mod figure_lines;
mod load;
mod migration_failures;
mod migration_step;
mod migrations;
mod on_postgres;
mod on_sqlite;
mod rollout;
mod target;

// The deals, databases and step fixture that the workers' tests use as well.
#[allow(dead_code)]
#[path = "../../../workers/tests/integration/executor_fixture.rs"]
mod executor_fixture;
#[allow(dead_code)]
#[path = "../../../workers/tests/integration/snapshot_cluster.rs"]
mod snapshot_cluster;
#[path = "../../../workers/tests/integration/snapshot_database.rs"]
mod snapshot_database;
#[path = "../../../workers/tests/integration/snapshot_deals.rs"]
mod snapshot_deals;

// The servers that the ledger's tests use as well.
#[allow(dead_code)]
#[path = "../../../ledger/tests/integration/nats.rs"]
mod nats;
#[allow(dead_code)]
#[path = "../../../ledger/tests/integration/postgres.rs"]
mod postgres;
