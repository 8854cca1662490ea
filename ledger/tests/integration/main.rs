//! Integration tests of the ledger, one module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod evidence;
mod journal_contract;
mod journal_faults;
mod nats;
mod nats_child;
mod proxy;
mod runbook_files;
mod runbook_schema;
