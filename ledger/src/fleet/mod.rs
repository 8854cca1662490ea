//! The worker aggregate: when one worker joined the fleet and left it. Pure.
//!
//! A session is one run of a worker's process. What a worker is doing is not recorded: signs of
//! presence say that, and this is decided from them.

mod decide;
mod state;

pub use decide::{FleetCommand, FleetRefusal, PRESENCE_SECONDS, decide};
pub use state::{IllegalWorkerEvent, WorkerState, evolve};

#[cfg(test)]
#[allow(clippy::unwrap_used, missing_docs)]
mod tests;
