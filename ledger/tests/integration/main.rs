//! Integration tests of the ledger, one module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod domain_whole_runbook;
mod evidence;
mod evidence_contract;
mod evidence_s3;
mod handler;
mod journal_contract;
mod journal_damage;
mod journal_faults;
mod journal_full_disk;
mod journal_group;
mod journal_settings;
mod journal_shared;
mod long_texts;
mod nats;
mod nats_child;
mod nats_clock;
mod postgres;
mod projection_contract;
mod projection_history;
mod projection_past;
mod projection_positions;
mod projection_projector;
mod projection_proof;
mod projection_rebuild;
mod projection_refused;
mod projection_schema;
mod projection_story;
mod proxy;
mod recorded_ledgers;
mod runbook_files;
mod runbook_schema;
mod s3;
mod small_disk;
