//! Effects in place that can be undone, and in which order.

use super::super::state::{Effect, RolloutState, StepStatus};
use crate::ids::StepId;
use crate::runbook::RollbackLevel;
use crate::runbook::plan::{EffectiveUndo, has_effect};
use crate::runbook::{Plan, Step};

/// True if the step has an effect in place that the plan can undo.
pub(crate) fn has_undoable_effect(state: &RolloutState, plan: &Plan, id: &StepId) -> bool {
    let (Some(at), Some((_, step)), Some(undo)) = (state.step(id), plan.step(id), plan.undo(id))
    else {
        return false;
    };
    let effect = match at.effect {
        Effect::None => false,
        Effect::Unknown => has_effect(step),
        Effect::Made => true,
    };
    effect && undo.is_possible()
}

/// Returns the steps to undo at a level, latest effect first.
pub(crate) fn to_undo(
    state: &RolloutState,
    plan: &Plan,
    level: RollbackLevel,
    named: &[StepId],
) -> Vec<StepId> {
    let selector = level.selector(named);
    state
        .effects
        .iter()
        .rev()
        .filter(|id| has_undoable_effect(state, plan, id))
        .filter(|id| {
            plan.step(id)
                .is_some_and(|(_, step)| selector.takes(id, step))
        })
        .cloned()
        .collect()
}

/// Returns the effects that the plan declares irreversible or not in need of undo.
pub(crate) fn beyond_undo(state: &RolloutState, plan: &Plan) -> Vec<StepId> {
    state
        .effects
        .iter()
        .filter(|id| {
            matches!(
                plan.undo(id),
                Some(EffectiveUndo::None | EffectiveUndo::Irreversible)
            ) && plan.step(id).is_some_and(|(_, step)| has_effect(step))
        })
        .cloned()
        .collect()
}

/// Returns the steps that the rollback in progress has yet to undo, next one first, including
/// effects made after its start by a step that was still running.
pub(crate) fn queue(state: &RolloutState, plan: &Plan) -> Vec<StepId> {
    let Some(rollback) = state.current_rollback() else {
        return Vec::new();
    };
    to_undo(state, plan, rollback.level, &rollback.steps)
        .into_iter()
        .filter(|id| state.step(id).is_some_and(|step| !step.undo.left))
        .collect()
}

/// Returns the running steps within the rollback's level, which may still make an effect.
pub(crate) fn running(state: &RolloutState, plan: &Plan) -> Vec<StepId> {
    let Some(rollback) = state.current_rollback() else {
        return Vec::new();
    };
    state
        .steps
        .iter()
        .filter(|(_, at)| at.status == StepStatus::Running && !at.recheck)
        .filter(|(id, _)| {
            plan.step(id)
                .is_some_and(|(_, step)| has_effect(step) && rollback.selector().takes(id, step))
        })
        .map(|(id, _)| id.clone())
        .collect()
}

/// True if the rollback in progress stops this running step because it undoes the step's effect.
/// Steps outside its level run to their end.
#[must_use]
pub fn is_stopped(state: &RolloutState, plan: &Plan, id: &StepId) -> bool {
    let (Some(rollback), Some(at), Some((_, step))) =
        (state.current_rollback(), state.step(id), plan.step(id))
    else {
        return false;
    };
    !at.recheck && rollback.selector().takes(id, step)
}

/// Returns the running steps that the next undo must wait for, because their effects are later. The
/// undo of a flag never waits.
pub(crate) fn waits_for(state: &RolloutState, plan: &Plan, id: &StepId) -> Vec<StepId> {
    match plan.step(id) {
        Some((_, step)) if step.action.kind().flag().is_none() => running(state, plan),
        _ => Vec::new(),
    }
}

/// Returns the steps with effects in place that name this one in `needs` and would lose their
/// basis.
pub(crate) fn dependents(state: &RolloutState, plan: &Plan, id: &StepId) -> Vec<StepId> {
    plan.steps()
        .filter(|planned| {
            plan.needs(planned.id)
                .is_some_and(|needs| needs.steps.contains(id))
                && has_undoable_effect(state, plan, planned.id)
        })
        .map(|planned| planned.id.clone())
        .collect()
}

/// True if the step changes nothing, so that running it again proves something and does no harm.
pub(crate) fn is_check(step: &Step) -> bool {
    !has_effect(step) && step.action.kind().is_check()
}
