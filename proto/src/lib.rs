//! The events of the ledger: protobuf types generated from `rollbook/v1/*.proto`,
//! with proto3 JSON through serde.
//!
//! A [`v1::Commit`] is one message of the stream. Its encoding is the ledger's source of truth:
//! fields are only ever added, and numbers are never reused.

/// Version 1 of the wire format.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/rollbook.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/rollbook.v1.serde.rs"));
}

include!(concat!(env!("OUT_DIR"), "/event_names.rs"));

pub use pbjson_types::{Duration, Timestamp};

/// The schema version written into every commit.
pub const SCHEMA_VERSION: u32 = 1;
