//! What a worker asks of the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::ids::{EnvironmentId, RolloutId};
use rollbook_ledger::rollout::{Task, WorkerCommand};
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::trace::Cause;

use super::changes::Changes;
use crate::executor::{Facts, PortError};

/// How a task stands on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its attempt may begin: recording the intent would be accepted.
    Wanted,
    /// Its intent is recorded, its result is not.
    Running {
        /// Who recorded the intent.
        worker: String,
        /// When.
        started_at: Timestamp,
    },
    /// Its intent is recorded, and that its worker was lost; a person decides. A worker that was
    /// only cut off goes on: its result counts.
    Interrupted,
    /// Neither: done, overtaken, or not wanted now. Should it be wanted again, the orchestrator
    /// publishes it again.
    Stale(String),
}

/// A task with everything a worker needs to carry it out, as of one state of the rollout.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// The rollout's environment.
    pub environment: EnvironmentId,
    /// Effective parameters.
    pub params: BTreeMap<String, String>,
    /// How the task stands.
    pub standing: Standing,
    /// Why a running action must end early: the rollout was aborted, or is being rolled back.
    pub halted: Option<String>,
    /// What the rollout has recorded so far.
    pub facts: Facts,
}

/// The ledger, as far as a worker needs it.
#[async_trait]
pub trait RolloutPort: Send + Sync + std::fmt::Debug {
    /// How a task stands now. A task of a rollout or step that does not exist is stale.
    async fn look(&self, rollout: &RolloutId, task: &Task) -> Result<Assignment, PortError>;

    /// Tells of changes from now on, until the ledger can no longer be followed.
    async fn tell(&self, changes: &Changes) -> Result<(), PortError>;

    /// Records. Durable on return. The same `command_id` again records nothing more, so a
    /// request whose answer was lost can be repeated. `cause` is what led to the task.
    async fn record(
        &self,
        rollout: &RolloutId,
        command: WorkerCommand,
        command_id: &str,
        worker: &str,
        cause: &Cause,
    ) -> Result<(), PortError>;
}
