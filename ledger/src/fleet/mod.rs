//! The worker aggregate: when one worker joined the fleet and left it. Pure.
//!
//! A session is one run of a worker's process. What a worker is doing is not recorded; its
//! heartbeats show that, and joining and leaving are decided from them.

mod decide;
mod state;

pub use decide::{FleetCommand, FleetRefusal, PRESENCE_SECONDS, decide};
pub use state::{IllegalWorkerEvent, WorkerState, evolve};

#[cfg(test)]
#[allow(clippy::unwrap_used, missing_docs)]
mod tests;
