//! What a rollout needs next: a pure function of its state, its plan and the time.

mod agenda;
mod authority;
mod blocked;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::block::Blocked;
use super::frontier::{Frontier, Look};
use super::rules::{progress, start};
use super::settle;
use super::state::RolloutState;
use crate::ids::StepId;
use crate::runbook::Plan;

/// The action requested from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskAction {
    /// Execute the step's action.
    Execute,
    /// Execute the step's undo.
    Undo,
    /// Verify that an undo done by hand removed the effect. This changes nothing and records no
    /// intent, because the person's undo already has one.
    VerifyUndo,
}

/// What kind of task it is. Workers reserve slots for each class, so that undos never wait behind
/// steps, flag undos never behind long undos, and watches hold no slot of a step.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskClass {
    /// Step actions.
    #[default]
    Step,
    /// Watches. They do little for a long time, so they use no slot of a step.
    Watch,
    /// Undos.
    Undo,
    /// Undos of flags; each is one write to the ledger.
    Flag,
}

/// A task for the work queue, identified by rollout/step/action/attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The step.
    pub step: StepId,
    /// What to do.
    pub action: TaskAction,
    /// The attempt that this task records.
    pub attempt: u32,
    /// Label required of the worker.
    pub runs_on: Option<String>,
    /// Its class. Messages of earlier versions call it `lane`.
    #[serde(default, alias = "lane")]
    pub class: TaskClass,
}

/// A notice that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotice {
    /// The notice's id in the plan.
    pub notice: String,
    /// When it became due.
    pub due_at: Timestamp,
}

/// What a rollout needs at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Next {
    /// Tasks that must be on the work queue now.
    pub tasks: Vec<Task>,
    /// Notices to send now.
    pub notices: Vec<DueNotice>,
    /// True if a `Settle` would record something.
    pub settle: bool,
    /// What is blocked, and why.
    pub blocked: Vec<Blocked>,
    /// When to look again even if nothing new is recorded.
    pub wake_at: Option<Timestamp>,
    /// The rollout is closed, nothing runs and nothing is to come: look again only after a new
    /// commit.
    pub over: bool,
}

impl Next {
    /// True if nothing more happens unless someone requests it.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Moves `wake_at` to `at` if that is in the future and earlier.
    fn wake(&mut self, at: Option<Timestamp>, now: Timestamp) {
        if let Some(at) = at.filter(|at| *at > now) {
            self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
        }
    }
}

/// Returns what the rollout needs now: tasks, notices and whether to settle, and why everything
/// else is blocked.
pub fn next(state: &RolloutState, plan: &Plan, now: Timestamp) -> Next {
    look(state, plan, &Frontier::of(state, plan), now)
}

/// Returns the same as [`next`], given a cached frontier of the state: steps behind and beyond the
/// frontier are not visited.
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

/// True if [`next`] would return this task; checks only that one.
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

/// Returns the notices that [`next`] would return.
#[must_use]
pub fn due_notices(state: &RolloutState, plan: &Plan, now: Timestamp) -> Vec<DueNotice> {
    let mut next = Next::default();
    agenda::notices(state, plan, now, &mut next);
    next.notices
}
