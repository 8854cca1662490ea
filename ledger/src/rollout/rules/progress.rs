//! What is done.

use super::super::state::{RolloutState, StepState, StepStatus};
use crate::ids::{PhaseId, StepId};
use crate::runbook::Plan;
use crate::runbook::Step;
use crate::runbook::step::OnFail;

/// The step failed and the plan has another automatic attempt for it. What stopped half way is
/// not repeated without a person, unless the step may be run again as it is.
pub(crate) fn will_retry(state: &StepState, step: &Step) -> bool {
    matches!(state.status, StepStatus::Failed | StepStatus::Errored)
        && !state.recheck
        && (!state.is_partial || step.idempotent)
        && step
            .retry
            .as_ref()
            .is_some_and(|retry| state.attempt < retry.attempts)
}

/// What follows the step may go on: it passed, was left out with a reason, or failed where the
/// plan says that this blocks nothing.
pub(crate) fn is_done(state: &RolloutState, plan: &Plan, id: &StepId) -> bool {
    let (Some(at), Some((_, step))) = (state.step(id), plan.step(id)) else {
        return false;
    };
    match at.status {
        StepStatus::Succeeded => !at.recheck,
        StepStatus::Skipped | StepStatus::NotApplicable => true,
        StepStatus::Failed | StepStatus::Inconclusive | StepStatus::Errored => {
            !at.recheck
                && (!step.critical || step.on_fail == OnFail::Continue)
                && !will_retry(at, step)
        }
        StepStatus::Pending
        | StepStatus::Running
        | StepStatus::Interrupted
        | StepStatus::Undoing
        | StepStatus::Undone
        | StepStatus::UndoFailed => false,
    }
}

/// Steps of the phase that are not done.
pub(crate) fn open_steps<'s>(
    state: &'s RolloutState,
    plan: &Plan,
    phase: &PhaseId,
) -> Vec<(&'s StepId, &'s StepState)> {
    let Some(phase) = state.phases.get(phase) else {
        return Vec::new();
    };
    phase
        .steps
        .iter()
        .filter(|id| !is_done(state, plan, id))
        .filter_map(|id| state.steps.get_key_value(id))
        .map(|(id, at)| (id, at.as_ref()))
        .collect()
}

/// All steps of the phase are done and its gate, if it has one, has passed.
pub(crate) fn phase_passed(state: &RolloutState, plan: &Plan, phase: &PhaseId) -> bool {
    let gate_passed = state
        .gates
        .get(phase)
        .is_none_or(|gate| gate.passed_at.is_some());
    gate_passed
        && state
            .phases
            .get(phase)
            .is_some_and(|at| at.steps.iter().all(|id| is_done(state, plan, id)))
}

/// The phases before this one that have not passed.
pub(crate) fn missing_phases(state: &RolloutState, plan: &Plan, phase: &PhaseId) -> Vec<PhaseId> {
    plan.needs_of_phase(phase)
        .unwrap_or_default()
        .into_iter()
        .filter(|need| !phase_passed(state, plan, need))
        .collect()
}

/// Something runs: an attempt or an undo.
pub(crate) fn anything_runs(state: &RolloutState) -> bool {
    state
        .steps
        .values()
        .any(|step| matches!(step.status, StepStatus::Running | StepStatus::Undoing))
}

/// Ids as a list for people.
pub(crate) fn list<I: ToString>(ids: impl IntoIterator<Item = I>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    ids.join(", ")
}
