//! Which passed steps may run again. A result that passed stands, unless a gate stands shut on
//! it: then measuring anew is the way on. Checks of a rollback are another matter, see
//! [`super::effects::is_check`].

use jiff::Timestamp;

use super::super::state::RolloutState;
use super::{gates, measures};
use crate::ids::{PhaseId, StepId};
use crate::runbook::plan::has_effect;
use crate::runbook::{Action, Expr, Plan, Step, recorded};

/// The second compares what the first captures.
pub(crate) fn feeds(first: &Step, second: &Step) -> bool {
    match (&first.action, &second.action) {
        (Action::Snapshot(taken), Action::Compare(compared)) => {
            taken.of == compared.of
                && (taken.label == compared.before || taken.label == compared.after)
        }
        _ => false,
    }
}

/// A gate stands shut and the passed step, which changes nothing, can move it: someone refused
/// the gate and the step belongs to its phase, or a check of the gate does not hold and the step
/// measured what it asks for.
pub(crate) fn moves_a_gate(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    step: &Step,
    now: Timestamp,
) -> bool {
    if has_effect(step) {
        return false;
    }
    let own_phase = state.step(id).map(|at| &at.phase);
    state.gates.iter().any(|(gate, at)| {
        let Some(answer) = gates::standing(state, plan, gate, now) else {
            return false;
        };
        !at.refusals.is_empty() && own_phase == Some(gate)
            || answer.again.contains(id)
            || answer
                .again
                .iter()
                .any(|source| captures_anew(plan, step, source))
    })
}

/// The step takes the later of the two captures that `source` compares.
fn captures_anew(plan: &Plan, step: &Step, source: &StepId) -> bool {
    let Some((_, source)) = plan.step(source) else {
        return false;
    };
    match (&step.action, &source.action) {
        (Action::Snapshot(taken), Action::Compare(compared)) => {
            taken.of == compared.of && taken.label == compared.after
        }
        _ => false,
    }
}

/// The steps that measure what a gate's check asks for and that may be repeated: those whose
/// measurements are the last ones, or where there is none, those of the phases up to the gate's
/// that can record it.
pub(crate) fn sources(
    state: &RolloutState,
    plan: &Plan,
    gate: &PhaseId,
    text: &str,
) -> Vec<StepId> {
    let Ok(expr) = Expr::parse(text) else {
        return Vec::new();
    };
    let mut found: Vec<StepId> = Vec::new();
    for name in expr.variables() {
        let measured: Vec<StepId> = match measures::last(state, plan, name) {
            Some(measured) => vec![measured.step.clone()],
            None => recorders(state, plan, gate, name),
        };
        for id in measured {
            let repeatable = plan.step(&id).is_some_and(|(_, step)| !has_effect(step));
            if repeatable && !found.contains(&id) {
                found.push(id);
            }
        }
    }
    found
}

fn recorders(state: &RolloutState, plan: &Plan, gate: &PhaseId, name: &str) -> Vec<StepId> {
    let metrics = &plan.runbook().metrics;
    let name = metrics
        .get(name)
        .and_then(|metric| metric.step.as_deref())
        .unwrap_or(name);
    let records = |step: &Step| {
        recorded::of_step(step).contains(&name)
            || recorded::records_columns(step)
                .is_some_and(|query| recorded::query_mentions(query, name))
    };
    let last = state.phases.get_index_of(gate).unwrap_or_default();
    let mut found = Vec::new();
    for phase in state.phases.values().take(last + 1) {
        found.extend(
            phase
                .steps
                .iter()
                .filter(|id| plan.step(id).is_some_and(|(_, step)| records(step))),
        );
    }
    found.into_iter().cloned().collect()
}
