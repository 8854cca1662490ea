//! The environment aggregate: whether it is protected, and which roles may open rollouts, define
//! flags and switch them on in it. Pure.
//!
//! The first record is made by the person who sets the ledger up, or by the first rollout of a
//! runbook that declares the environment protected. From then on it changes like a plan: proposed
//! by one person with a role, accepted by another. A runbook can narrow what is recorded but never
//! widen it.

mod decide;
mod state;

pub use decide::{EnvironmentCommand, EnvironmentRefusal, decide, record};
pub use state::{
    EnvironmentState, IllegalEnvironmentEvent, PendingTerms, Terms, difference, evolve,
};

use std::collections::BTreeMap;
use std::sync::Arc;

/// The records of the environments that a decision involves.
#[derive(Debug, Clone, Default)]
pub struct Environments(BTreeMap<String, Arc<EnvironmentState>>);

impl Environments {
    /// No records.
    pub const NONE: &'static Self = &Self(BTreeMap::new());

    /// Adds a record.
    pub fn insert(&mut self, state: Arc<EnvironmentState>) {
        self.0.insert(state.name.to_string(), state);
    }

    /// Returns the record of an environment, if there is one.
    pub fn get(&self, name: &str) -> Option<&EnvironmentState> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// True if it is recorded as protected.
    pub fn protects(&self, name: &str) -> bool {
        self.get(name).is_some_and(|state| state.terms.protected)
    }

    /// Iterates over the environments recorded as protected.
    pub fn protected(&self) -> impl Iterator<Item = &EnvironmentState> {
        self.0
            .values()
            .map(AsRef::as_ref)
            .filter(|state| state.terms.protected)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, missing_docs)]
mod tests;
