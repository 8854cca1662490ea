//! The core of Rollbook: runbooks; the rollout, flag, environment and worker aggregates; the
//! journal that records them, the projections built from it, and the evidence store beside it.
//!
//! `rollout`, `flag`, `environment`, `authority`, `fleet`, `runbook`, `decimal`, `counter`,
//! `sampled`, `suggestion` and `measurement` are pure: no I/O, no clock, no logging, no randomness. Only adapters
//! (`journal::jetstream`, `projection::{sqlite, postgres}`, `evidence`) perform I/O.

// The derive macro of `error_code` names this crate by its name, here too.
extern crate self as rollbook_ledger;

pub mod authority;
pub mod cause;
pub mod clock;
pub mod command_ids;
pub mod counter;
pub mod database;
pub mod decimal;
pub mod environment;
pub mod error_code;
pub mod evidence;
pub mod flag;
pub mod fleet;
pub mod handler;
pub mod ids;
pub mod journal;
pub mod measurement;
pub mod nats;
pub mod person;
pub mod projection;
pub mod redacted;
pub mod rollout;
pub mod runbook;
pub mod sampled;
pub mod suggestion;
pub mod trace;

pub use rollbook_proto as proto;
