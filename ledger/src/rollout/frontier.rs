//! The frontier of a rollout: the steps and phases that can change now, which are the only ones
//! [`look`](super::look) needs to visit. Passed nodes are behind the frontier and nodes that wait
//! for other steps are beyond it; neither can change before something on the frontier does.
//!
//! It is derived from state and plan alone. A cached frontier is updated by visiting only the steps
//! that changed, so the cost of a look does not grow with the plan, except for one pointer
//! comparison per step.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::rules::reruns::Redone;
use super::rules::{effects, progress};
use super::state::{RolloutState, StepState, StepStatus};
use crate::ids::{PhaseId, StepId};
use crate::runbook::plan::PlannedStep;
use crate::runbook::{Plan, Step};

/// A step with its id, state and definition, as the rules need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtStep<'a> {
    /// Its node number in the plan's order.
    pub(crate) node: usize,
    pub(crate) id: &'a StepId,
    pub(crate) at: &'a StepState,
    pub(crate) step: &'a Step,
}

/// The inputs of one look at a rollout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) state: &'a RolloutState,
    pub(crate) plan: &'a Plan,
    /// The frontier of `state`.
    pub(crate) frontier: &'a Frontier,
    pub(crate) now: Timestamp,
}

impl<'a> Look<'a> {
    /// Iterates over the steps on the frontier.
    pub(crate) fn steps(self) -> impl Iterator<Item = AtStep<'a>> {
        self.frontier.steps(self.state, self.plan)
    }
}

/// The steps and phases that a look at a rollout has to visit. Node numbers follow the plan's
/// order: first the steps, then the phases.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    plan: String,
    steps: usize,
    /// Each step's state at the last update.
    seen: Vec<Option<Arc<StepState>>>,
    /// Per node: the step is done, or the phase has passed.
    done: Vec<bool>,
    /// Per node: how many of its direct predecessors are not done.
    open: Vec<usize>,
    /// Per node: the step has left `Pending`, or the phase has passed.
    moved: Vec<bool>,
    /// Steps that may act now or wait for a person or worker.
    watched: BTreeSet<usize>,
    /// Phases that have been reached and have not passed.
    current: BTreeSet<usize>,
    /// How many nodes moved before their direct predecessors were done.
    out_of_order: usize,
    /// Some results may rest on a step that has since been run again.
    is_doubtful: bool,
    /// Checks whose result is older than a step before them, each with that step.
    stale: Vec<(usize, StepId)>,
}

/// Returns the number of the result's event if the step has passed and its result counts.
fn passed(at: Option<&Arc<StepState>>) -> Option<u64> {
    at.filter(|at| at.status == StepStatus::Succeeded && !at.recheck)
        .map(|at| at.finished_event)
}

impl Frontier {
    /// Builds the frontier of a state; visits every step.
    pub fn of(state: &RolloutState, plan: &Plan) -> Self {
        let mut frontier = Self::default();
        frontier.advance(state, plan);
        frontier
    }

    /// Updates the frontier to another state of the same rollout, earlier or later, and to the plan
    /// in force. The result equals [`Frontier::of`].
    pub fn advance(&mut self, state: &RolloutState, plan: &Plan) {
        if self.plan != plan.digest() {
            self.begin(plan);
        }
        let changed: Vec<usize> = (0..self.steps)
            .filter(|node| {
                let now = state.steps.get_index(*node).map(|(_, at)| at);
                match (now, self.seen.get(*node).and_then(Option::as_ref)) {
                    (Some(now), Some(seen)) => !Arc::ptr_eq(now, seen),
                    (None, None) => false,
                    _ => true,
                }
            })
            .collect();
        for node in changed {
            self.step_changed(state, plan, node);
        }
        self.phases_changed(state, plan);
        self.is_doubtful |= self.out_of_order > 0;
        self.stale = if self.is_doubtful {
            self.done_again(state, plan)
        } else {
            Vec::new()
        };
        self.is_doubtful = self.out_of_order > 0 || !self.stale.is_empty();
    }

    /// Resets the frontier to a plan of which no step has been seen.
    fn begin(&mut self, plan: &Plan) {
        let order = plan.order();
        let steps = plan.step_count();
        let nodes = order.len();
        *self = Self {
            plan: plan.digest().to_owned(),
            steps,
            seen: vec![None; steps],
            done: vec![false; nodes],
            open: (0..nodes).map(|node| order.before(node).len()).collect(),
            moved: vec![false; nodes],
            is_doubtful: true,
            ..Self::default()
        };
    }

    /// Builds a frontier that leaves nothing out, from the rules alone; a look with any other
    /// frontier must give the same answer.
    #[cfg(test)]
    pub(super) fn whole(state: &RolloutState, plan: &Plan) -> Self {
        let mut whole = Self::default();
        whole.begin(plan);
        whole.seen = state.steps.values().cloned().map(Some).collect();
        whole.watched = (0..whole.steps).collect();
        for node in whole.steps..whole.done.len() {
            let id = plan.phase_at(node).unwrap();
            whole.done[node] = progress::phase_passed(state, plan, id);
            whole.open[node] = progress::open_steps(state, plan, id).len();
        }
        whole.phases_reached(plan);
        whole.stale = whole.done_again(state, plan);
        whole
    }

    fn is_done(&self, node: usize) -> bool {
        self.done.get(node).copied().unwrap_or_default()
    }

    fn has_moved(&self, node: usize) -> bool {
        self.moved.get(node).copied().unwrap_or_default()
    }

    /// True if everything before the phase has passed.
    fn is_reached(&self, plan: &Plan, phase: usize) -> bool {
        let needs = plan.phase_nodes_before(phase);
        needs.iter().all(|need| self.is_done(*need))
    }

    fn step_changed(&mut self, state: &RolloutState, plan: &Plan, node: usize) {
        let Some((id, now)) = state.steps.get_index(node) else {
            return;
        };
        let before = match self.seen.get_mut(node) {
            Some(seen) => seen.replace(Arc::clone(now)),
            None => return,
        };
        let passes = passed(Some(now));
        if passes.is_some() && passes != passed(before.as_ref()) {
            let after = plan.order().after(node);
            self.is_doubtful |= after.iter().any(|next| self.has_moved(*next));
        }
        self.set_moved(node, now.status != StepStatus::Pending);
        self.set_done(plan, node, progress::is_done(state, plan, id));
        self.place(node);
    }

    /// Updates which phases have passed; a gate can pass or close again without any step changing.
    fn phases_changed(&mut self, state: &RolloutState, plan: &Plan) {
        let nodes = self.done.len();
        for node in self.steps..nodes {
            let gate = plan.phase_at(node).and_then(|id| state.gates.get(id));
            let has_passed =
                self.open.get(node) == Some(&0) && gate.is_none_or(|gate| gate.passed_at.is_some());
            self.set_moved(node, has_passed);
            self.set_done(plan, node, has_passed);
        }
        self.phases_reached(plan);
    }

    /// Updates which phases have been reached; requires up-to-date passed phases.
    fn phases_reached(&mut self, plan: &Plan) {
        self.current = (self.steps..self.done.len())
            .filter(|phase| !self.is_done(*phase) && self.is_reached(plan, *phase))
            .collect();
    }

    /// Sets whether a node has moved, and updates the count of nodes that moved out of order.
    fn set_moved(&mut self, node: usize, moved: bool) {
        let Some(known) = self.moved.get_mut(node).filter(|known| **known != moved) else {
            return;
        };
        *known = moved;
        let open = self.open.get(node).copied().unwrap_or_default();
        self.out_of_order = if moved {
            self.out_of_order.saturating_add(open)
        } else {
            self.out_of_order.saturating_sub(open)
        };
    }

    fn set_done(&mut self, plan: &Plan, node: usize, done: bool) {
        let Some(known) = self.done.get_mut(node).filter(|known| **known != done) else {
            return;
        };
        *known = done;
        for next in plan.order().after(node) {
            let Some(open) = self.open.get_mut(*next) else {
                continue;
            };
            *open = if done {
                open.saturating_sub(1)
            } else {
                open.saturating_add(1)
            };
            if self.has_moved(*next) {
                self.out_of_order = if done {
                    self.out_of_order.saturating_sub(1)
                } else {
                    self.out_of_order.saturating_add(1)
                };
            }
            self.place(*next);
        }
    }

    /// Adds a step to the watched set, or removes it.
    fn place(&mut self, node: usize) {
        let Some(at) = self.seen.get(node).and_then(Option::as_ref) else {
            return;
        };
        let is_watched = match at.status {
            StepStatus::Pending => {
                at.recheck || at.proposal.is_some() || self.open.get(node) == Some(&0)
            }
            StepStatus::Succeeded => at.recheck,
            StepStatus::Skipped | StepStatus::NotApplicable => false,
            _ => true,
        };
        if is_watched {
            self.watched.insert(node);
        } else {
            self.watched.remove(&node);
        }
    }

    /// Finds checks whose result has been invalidated by a later run of a step before them.
    fn done_again(&self, state: &RolloutState, plan: &Plan) -> Vec<(usize, StepId)> {
        let redone = Redone::of(state, plan);
        let stale = |(node, planned): (usize, PlannedStep<'_>)| {
            let at = state.step(planned.id)?;
            let has_result = at.status == StepStatus::Succeeded || at.status.is_failure();
            if at.recheck || !has_result || !effects::is_check(planned.step) {
                return None;
            }
            let later = redone.before(planned.id, at.finished_event)?;
            Some((node, later.clone()))
        };
        plan.steps().enumerate().filter_map(stale).collect()
    }

    fn at<'a>(state: &'a RolloutState, plan: &'a Plan, node: usize) -> Option<AtStep<'a>> {
        let planned = plan.step_at(node)?;
        Some(AtStep {
            node,
            id: planned.id,
            at: state.step(planned.id)?,
            step: planned.step,
        })
    }

    /// Iterates, in plan order, over the steps that a look visits: all except those that are
    /// finally done and those that only wait for other steps.
    pub(crate) fn steps<'a>(
        &'a self,
        state: &'a RolloutState,
        plan: &'a Plan,
    ) -> impl Iterator<Item = AtStep<'a>> {
        self.watched
            .iter()
            .filter_map(move |node| Self::at(state, plan, *node))
    }

    /// Returns the first check whose result is older than a step before it, with that step.
    pub(crate) fn stale<'a>(
        &'a self,
        state: &'a RolloutState,
        plan: &'a Plan,
    ) -> Option<(AtStep<'a>, &'a StepId)> {
        let (node, later) = self.stale.first()?;
        Some((Self::at(state, plan, *node)?, later))
    }

    /// Iterates in order over the phases that have been reached and have not passed; the flag is
    /// true while some of the phase's steps are not done.
    pub(crate) fn phases<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> impl Iterator<Item = (&'a PhaseId, bool)> {
        self.current.iter().filter_map(move |node| {
            let id = plan.phase_at(*node)?;
            Some((id, self.open.get(*node) != Some(&0)))
        })
    }

    /// Iterates in order over the phases whose gates must be evaluated: everything before them is
    /// done, or one of their steps has failed.
    pub(crate) fn gates<'a>(
        &'a self,
        state: &'a RolloutState,
        plan: &'a Plan,
    ) -> impl Iterator<Item = &'a PhaseId> {
        let failed: BTreeSet<&PhaseId> = self
            .steps(state, plan)
            .filter(|step| step.at.status == StepStatus::Interrupted || step.at.status.is_failure())
            .map(|step| &step.at.phase)
            .collect();
        self.phases(plan)
            .filter(move |(id, is_open)| !is_open || failed.contains(id))
            .map(|(id, _)| id)
    }

    /// True if every phase has passed.
    pub(crate) fn is_passed(&self) -> bool {
        let phases = self.done.get(self.steps..).unwrap_or_default();
        phases.iter().all(|passed| *passed)
    }
}
