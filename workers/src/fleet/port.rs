//! The port through which a worker uses the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::ids::{EnvironmentId, RolloutId};
use rollbook_ledger::rollout::{Task, WorkerCommand};
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::trace::Cause;

use super::changes::RolloutChanges;
use crate::executor::{Facts, PortError};

/// The state of a task on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Its attempt may begin: recording the intent would be accepted.
    Wanted,
    /// Its intent is recorded, its result is not.
    Running {
        /// The worker that recorded the intent.
        worker: String,
        /// When the intent was recorded.
        started_at: Timestamp,
    },
    /// Its intent is recorded, and so is the loss of its worker; a person decides. A worker that
    /// was only cut off may continue: its result counts.
    Interrupted,
    /// None of these: done, overtaken, or not due. If it becomes due again, the orchestrator
    /// publishes it again.
    Stale(String),
}

/// A task with everything a worker needs to execute it, as of one state of the rollout.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// The rollout's environment.
    pub environment: EnvironmentId,
    /// The effective parameters of the rollout.
    pub params: BTreeMap<String, String>,
    /// The state of the task.
    pub state: TaskState,
    /// Why a running action must end early: the rollout was aborted or is being rolled back.
    pub halted: Option<String>,
    /// What the rollout has recorded so far.
    pub facts: Facts,
}

/// The port to the ledger, as far as a worker needs it.
#[async_trait]
pub trait RolloutPort: Send + Sync + std::fmt::Debug {
    /// Reads the current state of a task. A task of a rollout or step that does not exist is stale.
    async fn read_task(&self, rollout: &RolloutId, task: &Task) -> Result<Assignment, PortError>;

    /// Follows the ledger from now on and tells of changes. Returns when it can no longer follow.
    async fn follow_changes(&self, changes: &RolloutChanges) -> Result<(), PortError>;

    /// Records a command. Durable on return. Repeating the same `command_id` records nothing more,
    /// so a request whose answer was lost can be retried. `cause` is what led to the task.
    async fn record(
        &self,
        rollout: &RolloutId,
        command: WorkerCommand,
        command_id: &str,
        worker: &str,
        cause: &Cause,
    ) -> Result<(), PortError>;
}
