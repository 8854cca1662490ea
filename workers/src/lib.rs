//! The worker fleet: step executors, the deal model, snapshot, comparison and audit.
//!
//! `deal` and `compare::rules` are pure: integer cents in, integer cents out.

pub mod audit;
pub mod calculators;
pub mod child;
pub mod compare;
pub mod deal;
pub mod executor;
pub mod fleet;
pub mod snapshot;
