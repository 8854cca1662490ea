//! Which steps and phases are done.

use super::super::state::{RolloutState, StepState, StepStatus};
use crate::ids::{PhaseId, StepId};
use crate::runbook::Plan;
use crate::runbook::Step;
use crate::runbook::step::OnFail;

/// True if the step failed and the plan allows another automatic attempt. A partly executed step is
/// not retried without a person, unless it is idempotent.
pub(crate) fn will_retry(state: &StepState, step: &Step) -> bool {
    matches!(state.status, StepStatus::Failed | StepStatus::Errored)
        && !state.recheck
        && (!state.is_partial || step.idempotent)
        && step
            .retry
            .as_ref()
            .is_some_and(|retry| state.attempt < retry.attempts)
}

/// True if the step no longer holds up what follows: it passed, was left out with a reason, or
/// failed where the plan says that its failure does not block.
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

/// Returns the steps of the phase that are not done.
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

/// True if all steps of the phase are done and its gate, if any, has passed.
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

/// Returns the earlier phases that have not passed.
pub(crate) fn missing_phases(state: &RolloutState, plan: &Plan, phase: &PhaseId) -> Vec<PhaseId> {
    plan.needs_of_phase(phase)
        .unwrap_or_default()
        .into_iter()
        .filter(|need| !phase_passed(state, plan, need))
        .collect()
}

/// True if any attempt or undo is running.
pub(crate) fn anything_runs(state: &RolloutState) -> bool {
    state
        .steps
        .values()
        .any(|step| matches!(step.status, StepStatus::Running | StepStatus::Undoing))
}

/// Formats ids as a list for display.
pub(crate) fn list<I: ToString>(ids: impl IntoIterator<Item = I>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    ids.join(", ")
}
