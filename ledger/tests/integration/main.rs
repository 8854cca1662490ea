//! Integration tests of the ledger, one module per subject.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod evidence;
mod journal_contract;
mod journal_faults;
mod nats;
mod nats_child;
mod proxy;
