//! Drives the built `rollbook` as a user does: every test has its own directory, its own
//! nats-server and a port chosen by the system.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod authority;
mod bad_input;
mod calculators;
mod children;
mod collector;
mod command_ids;
mod compare;
mod concurrency;
mod connections;
mod crash;
mod damage;
mod data;
mod distributed;
mod distributed_shards;
mod doctor;
mod documents;
mod events;
mod events_restarts;
mod evidence_s3;
mod exact_numbers;
mod exit_codes;
mod failures;
mod figures;
mod fleet;
mod follow;
mod full_disk;
mod gates;
mod harness;
mod http;
mod https;
mod integrity;
mod interrupt;
mod journey;
mod model;
mod names;
mod notices;
mod openfeature;
mod orientation;
mod outage;
mod plans;
mod postgres_views;
mod quorum;
mod reading;
mod rollback;
mod said_once;
mod snapshot_rows;
mod sql_scripts;
mod status_watch;
mod subscribers;
mod suggestions;
mod terminal;
mod text_metrics;
mod traces;
mod undo;
mod virtual_time;
mod watches;
mod wrong_names;

// The servers that the ledger's tests start.
#[allow(unreachable_pub)]
#[path = "../../../ledger/tests/integration/postgres.rs"]
mod postgres;

#[allow(unreachable_pub, dead_code)]
#[path = "../../../ledger/tests/integration/nats.rs"]
mod cluster;

#[allow(unreachable_pub)]
#[path = "../../../ledger/tests/integration/s3.rs"]
mod s3;

#[allow(unreachable_pub)]
#[path = "../../../ledger/tests/integration/small_disk.rs"]
mod small_disk;
