//! The frontier of a rollout: the steps and phases that a look has to visit. What has passed lies
//! behind it, what waits for other steps lies beyond it; neither moves before something else does.
//!
//! It follows from state and plan alone. Kept beside them, it is brought up to date by visiting
//! what has changed since, so that a look costs the same however long the plan is: what remains
//! linear is one comparison of pointers for each step.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::rules::again::Redone;
use super::rules::{effects, progress};
use super::state::{RolloutState, StepState, StepStatus};
use crate::ids::{PhaseId, StepId};
use crate::runbook::plan::PlannedStep;
use crate::runbook::{Plan, Step};

/// A step as the rules ask for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtStep<'a> {
    /// Its place in the plan.
    pub(crate) node: usize,
    pub(crate) id: &'a StepId,
    pub(crate) at: &'a StepState,
    pub(crate) step: &'a Step,
}

/// What a look goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) state: &'a RolloutState,
    pub(crate) plan: &'a Plan,
    /// Of this state.
    pub(crate) frontier: &'a Frontier,
    pub(crate) now: Timestamp,
}

impl<'a> Look<'a> {
    /// The steps to visit.
    pub(crate) fn steps(self) -> impl Iterator<Item = AtStep<'a>> {
        self.frontier.steps(self.state, self.plan)
    }
}

/// What a look at a rollout has to visit. Nodes are those of the plan's order: its steps, then its
/// phases.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    plan: String,
    steps: usize,
    /// Each step as it was seen last.
    seen: Vec<Option<Arc<StepState>>>,
    /// The step is done, or the phase has passed.
    done: Vec<bool>,
    /// How many nodes directly before each are not done.
    open: Vec<usize>,
    /// The step has left `Pending`, or the phase has passed.
    moved: Vec<bool>,
    /// Steps that may do something now or wait for somebody.
    watched: BTreeSet<usize>,
    /// Phases that have been reached and have not passed.
    current: BTreeSet<usize>,
    /// How often something moved before what comes directly before it was done.
    out_of_order: usize,
    /// Results may rest on something that was done again.
    is_doubtful: bool,
    /// Checks whose result is older than something before them, and by what.
    stale: Vec<(usize, StepId)>,
}

/// What a step must be for its result to count: passed, and at which event.
fn passed(at: Option<&Arc<StepState>>) -> Option<u64> {
    at.filter(|at| at.status == StepStatus::Succeeded && !at.recheck)
        .map(|at| at.finished_event)
}

impl Frontier {
    /// The frontier of a state. Visits every step.
    pub fn of(state: &RolloutState, plan: &Plan) -> Self {
        let mut frontier = Self::default();
        frontier.advance(state, plan);
        frontier
    }

    /// Brings it up to date with a state of the same rollout, earlier or later, and the plan in
    /// force. Afterwards it is what [`Frontier::of`] gives.
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

    /// Forgets everything: nothing of the plan has been seen.
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

    /// A frontier that leaves nothing out, by the rules alone: what a look with any other must
    /// agree with.
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

    /// Everything before the phase has passed.
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

    /// Which phases have passed. A gate passes and is shut again with no change of a step.
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

    /// Which phases have been reached, once it is known which have passed.
    fn phases_reached(&mut self, plan: &Plan) {
        self.current = (self.steps..self.done.len())
            .filter(|phase| !self.is_done(*phase) && self.is_reached(plan, *phase))
            .collect();
    }

    /// Counts what moved too early, as a node moves or is to move again.
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

    /// Puts a step among those to be visited, or takes it from there.
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

    /// Checks whose result no longer speaks for what is there.
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

    /// The steps that a look visits, in the order of the plan: all but those that are done for
    /// good, and those that wait for other steps and nothing else.
    pub(crate) fn steps<'a>(
        &'a self,
        state: &'a RolloutState,
        plan: &'a Plan,
    ) -> impl Iterator<Item = AtStep<'a>> {
        self.watched
            .iter()
            .filter_map(move |node| Self::at(state, plan, *node))
    }

    /// The first check whose result is older than something before it, with what was done again.
    pub(crate) fn stale<'a>(
        &'a self,
        state: &'a RolloutState,
        plan: &'a Plan,
    ) -> Option<(AtStep<'a>, &'a StepId)> {
        let (node, later) = self.stale.first()?;
        Some((Self::at(state, plan, *node)?, later))
    }

    /// The phases that have been reached and have not passed, in order; whether steps of it are
    /// not done.
    pub(crate) fn phases<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> impl Iterator<Item = (&'a PhaseId, bool)> {
        self.current.iter().filter_map(move |node| {
            let id = plan.phase_at(*node)?;
            Some((id, self.open.get(*node) != Some(&0)))
        })
    }

    /// The phases whose gates are to be judged: all before them is done, or a step of theirs has
    /// failed, in order.
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

    /// Every phase has passed.
    pub(crate) fn is_passed(&self) -> bool {
        let phases = self.done.get(self.steps..).unwrap_or_default();
        phases.iter().all(|passed| *passed)
    }
}
