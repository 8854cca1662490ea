//! A snapshot whose shards are done by all workers of the ledger.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::ids::RolloutId;
use rollbook_ledger::rollout::{Task, TaskAction};

use super::context::StepContext;
use super::progress::{Counts, Reporter};
use crate::snapshot::{
    Progress, ShardRead, ShardReport, Snapshot, SnapshotError, SnapshotPlan, SnapshotRequest,
    finish, plan, take_planned,
};

/// A source whose consistent read ends is planned anew at most this often.
const MAX_PLANS: u32 = 3;

/// Which attempt of which step wants shards done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardJob {
    /// The rollout.
    pub rollout: RolloutId,
    /// The step's task; its label says whose workers may do the shards.
    pub task: Task,
}

/// A source that went away in the middle is waited for: so many tries…
const MAX_WAITS: u32 = 30;

/// …with this long between them.
const WAIT: Duration = Duration::from_secs(2);

/// Why the shards of a plan were not done.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// A shard cannot be done, here or elsewhere.
    #[error(
        "RB-SHARDS-1: shard {shard} (deals {range}) failed: {reason}; remove the cause, then run the step again"
    )]
    Failed {
        /// Its place in the plan, from 0.
        shard: u32,
        /// Its keys.
        range: String,
        /// The last worker's words.
        reason: String,
    },
    /// The consistent read that the shards belong to has ended. A new plan may succeed.
    #[error(
        "RB-SHARDS-2: the consistent read ended before all shards were done: {reason}; run the step again"
    )]
    Over {
        /// Who noticed, and how.
        reason: String,
    },
    /// The queue does not take shards.
    #[error(
        "RB-SHARDS-3: the shards cannot be handed to the workers: {reason}; check the NATS server"
    )]
    Queue {
        /// What happened.
        reason: String,
    },
    /// Planning or finishing failed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl ShardsError {
    fn needs_new_plan(&self) -> bool {
        match self {
            Self::Over { .. } => true,
            Self::Snapshot(error) => error.needs_new_plan(),
            Self::Failed { .. } | Self::Queue { .. } => false,
        }
    }
}

/// Whoever does shards: the workers of a ledger.
#[async_trait]
pub trait ShardFleet: Send + Sync + std::fmt::Debug {
    /// Has every shard of a plan done and gives their reports.
    ///
    /// The parts are in the evidence store on return. Dropped or failed, it tells the workers
    /// to leave the rest. `progress` is called about once a second, at the beginning and at the
    /// end.
    async fn run(
        &self,
        job: &ShardJob,
        plan: &mut SnapshotPlan,
        progress: &(dyn Fn(Counts) + Send + Sync),
    ) -> Result<Vec<ShardReport>, ShardsError>;
}

/// Takes a snapshot with a fleet. What only this process can read, and what is one shard, is
/// done here. The manifest is the same.
pub async fn take(
    context: &StepContext,
    fleet: &dyn ShardFleet,
    request: &SnapshotRequest,
) -> Result<Snapshot, ShardsError> {
    let store = &context.tools.evidence;
    let reporter = Reporter::new(context);
    let step = context.plan.step(&context.step);
    let job = ShardJob {
        rollout: context.rollout.clone(),
        task: Task {
            step: context.step.clone(),
            action: TaskAction::Execute,
            attempt: context.attempt,
            runs_on: step.and_then(|(_, step)| step.runs_on.clone()),
        },
    };
    let mut plans = 0;
    loop {
        let mut planned = if plans == 0 {
            plan(request).await?
        } else {
            plan_again(request).await?
        };
        plans += 1;
        let travels = |read: &ShardRead| matches!(read, ShardRead::Postgres { .. });
        if planned.shards.len() < 2 || !planned.shards.iter().all(|shard| travels(&shard.read)) {
            let progress = |now: Progress| reporter.alone(now.done, now.total, now.errors);
            return Ok(take_planned(request, planned, store, &progress).await?);
        }
        let progress = |counts| reporter.counts(counts);
        match fleet.run(&job, &mut planned, &progress).await {
            Ok(reports) => return Ok(finish(&planned.summary, reports, store).await?),
            Err(error) if error.needs_new_plan() && plans < MAX_PLANS => {
                tracing::warn!(step = %context.step, %error, "the snapshot is planned anew");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Plans a source that has answered before, and may be restarting.
async fn plan_again(request: &SnapshotRequest) -> Result<SnapshotPlan, SnapshotError> {
    let mut waits = 0;
    loop {
        match plan(request).await {
            Err(error) if error.is_retryable() && waits < MAX_WAITS => {
                waits += 1;
                tokio::time::sleep(WAIT).await;
            }
            planned => return planned,
        }
    }
}
