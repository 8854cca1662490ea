//! What a rollout needs next: a pure function of its state, its plan and the time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::StepId;

/// What a worker is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskAction {
    /// The step's action.
    Execute,
    /// The step's undo.
    Undo,
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
}

/// A notice that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotice {
    /// Its id in the plan.
    pub notice: String,
    /// When it should have gone out.
    pub due_at: Timestamp,
}

/// Why something does not move, and who can move it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// `step 1.6`, `gate 1`, `rollout`.
    pub what: String,
    /// The rule, with its numbers.
    pub why: String,
    /// Persons, roles or "time" that can unblock it.
    pub who: Vec<String>,
    /// The command that would, as typed.
    pub how: Option<String>,
    /// When it unblocks by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
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
}
