//! The views: everything shown is a projection of the events, and none of it is the source of
//! truth.
//!
//! ```text
//!   journal ──follow──▶ projector ──batch──▶ ViewStore::apply ─┬─ project()  pure: commit → rows
//!                          │                 one transaction   └─ rows + position
//!                          └─ waiters (`wait_for(sequence)`)
//! ```
//!
//! * [`rows`]: one struct per table; its columns are derived from its fields.
//! * [`views`]: filters and answers of queries; every answer says as of which sequence.
//! * [`change`]: the pure step from a commit to changed rows, total over any history.
//! * [`health`]: the score of a rollout and its named deductions, computed from rows.
//! * [`store`]: the port. [`sqlite`] and [`postgres`] are its adapters.
//! * [`proof`]: checks stored rows against the ledger.
//! * [`projector`]: follows the journal into a store. [`replay`]: any view as of an earlier time.
//!
//! A store can be emptied at any time; replay rebuilds it, row for row the same.

pub mod acknowledged;
pub mod change;
pub mod health;
pub mod postgres;
pub mod projector;
pub mod proof;
pub mod replay;
pub mod row;
pub mod rows;
mod sql;
pub mod sqlite;
pub mod state;
pub mod store;
pub mod views;
pub mod words;
