//! Which steps measure what a gate's check reads.

use super::super::state::RolloutState;
use super::measures;
use crate::ids::{PhaseId, StepId};
use crate::runbook::plan::has_effect;
use crate::runbook::{Expr, Plan, Step, recorded};

/// Returns the repeatable steps that measure the inputs of a gate's check: those that recorded the
/// last measurements, or, if there are none, those up to the gate's phase that can record them.
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
        let measured: Vec<StepId> = match measures::reading(state, plan, name).source {
            Some(step) => vec![step.clone()],
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
