//! The wire format, byte for byte.
//!
//! `v1/<event>.hex` is a commit with one such event, every field filled, as its first writer
//! encoded it; `v1/<event>.json` is the same commit as proto3 JSON; `v1/fields.txt` lists every
//! field and enum value. Existing ledgers contain what these files contain: never edit them.
//!
//! * A new event: build it in `authority.rs`, `lifecycle.rs`, `steps.rs`, `gates.rs`,
//!   `outcomes.rs`, `flags.rs` or `workers.rs`, name it in `examples.rs`, then write its files with
//!   `ROLLBOOK_BLESS=1 cargo test -p rollbook-proto --test golden`.
//! * A new field of an existing event: leave it empty in the existing example, so that its bytes
//!   stay the same, and add a second example named `<event>-2` that fills it; bless as above.
//!
//! Blessing writes what is missing and never overwrites: a changed encoding remains a failing test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authority;
mod compatibility;
mod encoding;
mod examples;
mod fields;
mod files;
mod flags;
mod gates;
mod lifecycle;
mod outcomes;
mod steps;
mod values;
mod workers;
