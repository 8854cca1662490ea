//! The environment aggregate: whether it is protected, and whose roles may open rollouts, define
//! flags and switch them on in it. Pure.
//!
//! The first record is made by whoever sets the ledger up, or by the first rollout of a runbook that
//! declares the environment protected. From then on it changes as a plan does: proposed by one
//! person of its roles, accepted by another. A runbook narrows what is recorded and never widens it.

mod decide;
mod state;

pub use decide::{EnvironmentCommand, EnvironmentRefusal, decide, record};
pub use state::{
    EnvironmentState, IllegalEnvironmentEvent, PendingTerms, Terms, difference, evolve,
};

use std::collections::BTreeMap;
use std::sync::Arc;

/// What the ledger says about the environments that a decision touches.
#[derive(Debug, Clone, Default)]
pub struct Environments(BTreeMap<String, Arc<EnvironmentState>>);

impl Environments {
    /// Nothing is recorded.
    pub const NONE: &'static Self = &Self(BTreeMap::new());

    /// Adds one.
    pub fn insert(&mut self, state: Arc<EnvironmentState>) {
        self.0.insert(state.name.to_string(), state);
    }

    /// What is recorded of an environment.
    pub fn get(&self, name: &str) -> Option<&EnvironmentState> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// Whether it is recorded as protected.
    pub fn protects(&self, name: &str) -> bool {
        self.get(name).is_some_and(|state| state.terms.protected)
    }

    /// Those recorded as protected.
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
