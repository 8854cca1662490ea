//! Which passed steps may run again. A passed result stands unless a gate is blocked on it: then
//! measuring again is the way forward. Checks of a rollback follow [`super::effects::is_check`]
//! instead.

use jiff::Timestamp;

use std::collections::{HashMap, HashSet};

use super::super::state::{RolloutState, StepStatus};
use super::gates;
use crate::ids::StepId;
use crate::runbook::plan::has_effect;
use crate::runbook::{Plan, Step};

/// For each step, the latest passed step before it that changes something or captures what it
/// compares. Built in one walk in plan order, however long the chains are.
#[derive(Debug)]
pub(crate) struct Redone<'p> {
    latest: HashMap<&'p StepId, Done<'p>>,
}

/// A passed step, with the number of its result's event.
type Done<'p> = (u64, &'p StepId);

impl<'p> Redone<'p> {
    pub(crate) fn of(state: &RolloutState, plan: &'p Plan) -> Self {
        let passed = |id: &StepId| {
            state
                .step(id)
                .filter(|at| at.status == StepStatus::Succeeded && !at.recheck)
                .map(|at| at.finished_event)
        };
        let changed = |id: &'p StepId| {
            let (_, step) = plan.step(id)?;
            has_effect(step).then(|| passed(id)).flatten()
        };
        let baselines = baselines(plan);
        let mut latest: HashMap<&StepId, Done<'p>> = HashMap::new();
        for (id, before) in plan.latest_before(changed) {
            if baselines.contains(id) {
                continue;
            }
            let fed = plan
                .feeds(id)
                .iter()
                .filter_map(|feed| Some((passed(feed)?, feed)))
                .max();
            if let Some(done) = before.max(fed) {
                latest.insert(id, done);
            }
        }
        Self { latest }
    }

    /// Returns the latest passed step before this one, if its result is later than event number
    /// `event`.
    pub(crate) fn before(&self, id: &StepId, event: u64) -> Option<&'p StepId> {
        let (done, by) = self.latest.get(id)?;
        (*done > event).then_some(*by)
    }
}

/// Returns the snapshots used as the "before" side of a comparison. Taken again after a change,
/// they would be compared with themselves.
fn baselines(plan: &Plan) -> HashSet<&StepId> {
    let compared: HashSet<(&str, &str)> = plan
        .steps()
        .filter_map(|planned| planned.step.action.kind().comparison())
        .map(|compared| (compared.of.as_str(), compared.before.as_str()))
        .collect();
    plan.steps()
        .filter(|planned| {
            let taken = planned.step.action.kind().capture();
            taken.is_some_and(|it| compared.contains(&(it.of.as_str(), it.label.as_str())))
        })
        .map(|planned| planned.id)
        .collect()
}

/// True if a gate is blocked and running this passed, effect-free step again can help: a person
/// rejected the gate of its phase, or a gate check does not hold and the step measured its input.
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
        let Some(answer) = gates::evaluate_if_reached(state, plan, gate, now) else {
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

/// True if the step takes the later of the two captures that `source` compares.
fn captures_anew(plan: &Plan, step: &Step, source: &StepId) -> bool {
    let Some((_, source)) = plan.step(source) else {
        return false;
    };
    match (
        step.action.kind().capture(),
        source.action.kind().comparison(),
    ) {
        (Some(taken), Some(compared)) => taken.of == compared.of && taken.label == compared.after,
        _ => false,
    }
}
