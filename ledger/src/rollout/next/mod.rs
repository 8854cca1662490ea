//! What a rollout needs next: a pure function of its state, its plan and the time.

mod agenda;
mod authority;
mod blocked;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::frontier::{Frontier, Look};
use super::hold::Blocked;
use super::rules::{progress, start};
use super::settle;
use super::state::RolloutState;
use crate::ids::StepId;
use crate::runbook::Plan;

/// What a worker is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskAction {
    /// The step's action.
    Execute,
    /// The step's undo.
    Undo,
    /// A look whether an undo by hand took the effect back. It changes nothing and records no
    /// intent: the undo's own is the person's.
    VerifyUndo,
}

/// Which line a task waits in. Going back has lines of its own, so that it never waits behind
/// steps; flags have another, so that they never wait behind long undos.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Actions of steps.
    #[default]
    Step,
    /// Watches, which take little and last long: they hold no place of a step.
    Watch,
    /// Undos.
    Undo,
    /// Undos of flags: one write to the ledger each.
    Flag,
}

/// One task for the work queue. Its message id is rollout/step/action/attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Which step.
    pub step: StepId,
    /// Do or undo.
    pub action: TaskAction,
    /// Attempt that this task will record.
    pub attempt: u32,
    /// Label of the workers that may take it.
    pub runs_on: Option<String>,
    /// The line it waits in.
    #[serde(default)]
    pub lane: Lane,
}

/// A notice that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotice {
    /// Its id in the plan.
    pub notice: String,
    /// When it should have gone out.
    pub due_at: Timestamp,
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Next {
    /// Tasks that must be on the work queue now.
    pub tasks: Vec<Task>,
    /// Notices to send now.
    pub notices: Vec<DueNotice>,
    /// A `Settle` would record something.
    pub settle: bool,
    /// What stands still, and why.
    pub blocked: Vec<Blocked>,
    /// When to look again though nothing is recorded before.
    pub wake_at: Option<Timestamp>,
    /// Closed, nothing runs and nothing is to come: look again only after a new commit.
    pub over: bool,
}

impl Next {
    /// Nothing is to come unless someone asks for it.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Looks again at `at`, if that is earlier.
    fn wake(&mut self, at: Option<Timestamp>, now: Timestamp) {
        if let Some(at) = at.filter(|at| *at > now) {
            self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
        }
    }
}

/// What the rollout needs now: tasks for the queue, notices, a settling; and why everything
/// else stands still.
pub fn next(state: &RolloutState, plan: &Plan, now: Timestamp) -> Next {
    look(state, plan, &Frontier::of(state, plan), now)
}

/// The same for whoever keeps the frontier of the state: what the rollout has behind it and what
/// waits for other steps is not visited.
pub fn look(state: &RolloutState, plan: &Plan, frontier: &Frontier, now: Timestamp) -> Next {
    let at = Look {
        state,
        plan,
        frontier,
        now,
    };
    let mut next = Next::default();
    agenda::steps(at, &mut next);
    next.tasks.extend(agenda::undo(state, plan));
    let notices_to_come = agenda::notices(state, plan, now, &mut next);
    next.settle = settle::is_due(at);
    blocked::rollout(state, plan, &mut next);
    let reviews_to_come = authority::waiting(state, plan, now, &mut next);
    blocked::steps(at, &mut next);
    blocked::gates(at, &mut next);
    next.over = state.status.is_closed()
        && !notices_to_come
        && !reviews_to_come
        && !next.settle
        && next.tasks.is_empty()
        && !progress::anything_runs(state);
    next
}

/// The task is among those that [`next`] names, asked for that one alone.
#[must_use]
pub fn is_wanted(state: &RolloutState, plan: &Plan, task: &Task, now: Timestamp) -> bool {
    if task.action != TaskAction::Execute {
        return agenda::undo(state, plan).contains(task);
    }
    let (Some((_, step)), Ok(attempt)) = (
        plan.step(&task.step),
        start::check(state, plan, &task.step, now),
    ) else {
        return false;
    };
    agenda::task_of(&task.step, step, attempt).as_ref() == Some(task)
}

/// The notices that [`next`] names.
#[must_use]
pub fn due_notices(state: &RolloutState, plan: &Plan, now: Timestamp) -> Vec<DueNotice> {
    let mut next = Next::default();
    agenda::notices(state, plan, now, &mut next);
    next.notices
}
