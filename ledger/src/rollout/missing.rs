//! Refusals of names that a rollout does not have, with those that may be meant.

use super::refusal::Refusal;
use super::rules::progress;
use super::state::RolloutState;
use crate::ids::{PhaseId, StepId};
use crate::suggestion::did_you_mean;

/// The most characters of a wrong name that are repeated.
const SHOWN: usize = 200;

impl Refusal {
    /// A step that the rollout does not have.
    pub fn no_such_step(state: &RolloutState, step: &str) -> Self {
        let step: String = step.chars().take(SHOWN).collect();
        let meant = did_you_mean(&step, state.steps.keys().map(StepId::as_str));
        Self::NoSuchStep {
            rollout: state.id.clone(),
            step,
            meant,
        }
    }

    /// A gate that the rollout does not have.
    pub fn no_such_gate(state: &RolloutState, gate: &PhaseId) -> Self {
        let known = state.gates.keys();
        Self::NoSuchGate {
            gate: gate.to_string(),
            known: progress::list(known.clone()),
            meant: did_you_mean(gate.as_str(), known.map(PhaseId::as_str)),
        }
    }
}
