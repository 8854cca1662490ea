//! Runs snapshots and comparisons whose shards all workers of the ledger share.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::error_code::Coded;
use rollbook_ledger::ids::RolloutId;
use rollbook_ledger::rollout::{Task, TaskAction, TaskClass};
use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::progress::{Counts, Reporter};
use crate::compare::{self, CompareError, Comparison, RangeReport, RangeTask, Rules};
use crate::snapshot::task::KeyRange;
use crate::snapshot::{
    Progress, ShardRead, ShardReport, ShardTask, Snapshot, SnapshotError, SnapshotPlan,
    SnapshotRequest, finish, plan, take_planned,
};

/// Maximum number of plans for a source whose consistent read is lost.
const MAX_PLANS: u32 = 3;

/// Which attempt of which step needs shards done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardJob {
    /// The rollout.
    pub rollout: RolloutId,
    /// The step's task; its label says which workers may do the shards.
    pub task: Task,
}

/// Comparisons of fewer deals than this run in the step's own process: that takes a second, about
/// as long as handing out their ranges.
pub const MIN_FLEET_DEALS: u64 = 1_000_000;

/// The work of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardWork {
    /// Read and compute deals.
    Snapshot(ShardTask),
    /// Merge a key range of two snapshots.
    Compare(RangeTask),
}

impl ShardWork {
    /// Its index in the plan, from 0.
    pub fn shard(&self) -> u32 {
        match self {
            Self::Snapshot(task) => task.shard,
            Self::Compare(task) => task.range,
        }
    }

    /// The range of its keys.
    pub fn keys(&self) -> &KeyRange {
        match self {
            Self::Snapshot(task) => &task.range,
            Self::Compare(task) => &task.keys,
        }
    }

    /// Whether this program can do it. A range of another version is for workers of that version;
    /// a shard of a snapshot is refused when it is done.
    pub fn is_of_this_version(&self) -> bool {
        match self {
            Self::Snapshot(_) => true,
            Self::Compare(task) => task.is_of_this_version(),
        }
    }

    /// Number of deals in it.
    pub fn deals(&self) -> u64 {
        match self {
            Self::Snapshot(task) => task.deals,
            Self::Compare(task) => task.deals,
        }
    }
}

/// The result of a shard. What it produced is in the evidence store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardResult {
    /// Deals were read and computed.
    Snapshot(ShardReport),
    /// A range was merged.
    Compare(RangeReport),
}

impl ShardResult {
    /// Number of deals done.
    pub fn deals(&self) -> u64 {
        match self {
            Self::Snapshot(report) => report.part.rows,
            Self::Compare(report) => report.deals,
        }
    }

    /// Deals done that have no figures.
    pub fn errors(&self) -> u64 {
        match self {
            Self::Snapshot(report) => report.part.errors,
            Self::Compare(report) => report.errors,
        }
    }
}

/// Maximum number of tries for a source that became unreachable midway.
const MAX_WAITS: u32 = 30;

/// The wait between these tries.
const WAIT: Duration = Duration::from_secs(2);

/// Why the shards of a plan were not all done.
#[derive(Debug, thiserror::Error, Coded)]
pub enum ShardsError {
    /// A shard failed and cannot be done by any worker.
    #[error(
        "RB-SHARDS-1: shard {shard} (deals {range}) failed: {reason}; remove the cause, then run the step again"
    )]
    Failed {
        /// Its index in the plan, from 0.
        shard: u32,
        /// The range of its keys.
        range: String,
        /// The last worker's error.
        reason: String,
    },
    /// The plan's consistent read has ended. A new plan may succeed.
    #[error(
        "RB-SHARDS-2: the consistent read ended before all shards were done: {reason}; run the step again"
    )]
    Over {
        /// Who noticed it, and how.
        reason: String,
    },
    /// The queue does not accept shards.
    #[error(
        "RB-SHARDS-3: the shards cannot be handed to the workers: {reason}; check the NATS server"
    )]
    Queue {
        /// What happened.
        reason: String,
    },
    /// Planning or finishing a snapshot failed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Planning or finishing a comparison failed.
    #[error(transparent)]
    Compare(#[from] CompareError),
}

impl ShardsError {
    fn needs_new_plan(&self) -> bool {
        match self {
            Self::Over { .. } => true,
            Self::Snapshot(error) => error.needs_new_plan(),
            Self::Failed { .. } | Self::Queue { .. } | Self::Compare(_) => false,
        }
    }
}

/// The port to the workers of a ledger that do shards.
#[async_trait]
pub trait ShardFleet: Send + Sync + std::fmt::Debug {
    /// Has shards done and returns their results in order; `held` is the consistent read that they
    /// belong to, if any.
    ///
    /// On return everything they produced is in the evidence store. If the call fails or is
    /// dropped, the workers are told to skip the remaining shards. `progress` is called at the
    /// beginning, about once a second, and at the end.
    async fn run(
        &self,
        job: &ShardJob,
        shards: Vec<ShardWork>,
        held: Option<&mut SnapshotPlan>,
        progress: &(dyn Fn(Counts) + Send + Sync),
    ) -> Result<Vec<ShardResult>, ShardsError>;
}

/// Takes a snapshot with a fleet. What only this process can read, or fits into one shard, is done
/// here. The manifest is the same either way.
pub async fn take(
    context: &StepContext,
    fleet: &dyn ShardFleet,
    request: &SnapshotRequest,
) -> Result<Snapshot, ShardsError> {
    let store = &context.tools.evidence;
    let reporter = Reporter::new(context);
    let job = job(context);
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
        match do_all(fleet, &job, &mut planned, &progress).await {
            Ok(reports) => return Ok(finish(&planned.summary, reports, store).await?),
            Err(error) if error.needs_new_plan() && plans < MAX_PLANS => {
                tracing::warn!(step = %context.step, %error, "the snapshot is planned anew");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Plans a source that has answered before and may be restarting.
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

/// Has the shards of a plan done by a fleet.
pub async fn do_all(
    fleet: &dyn ShardFleet,
    job: &ShardJob,
    plan: &mut SnapshotPlan,
    progress: &(dyn Fn(Counts) + Send + Sync),
) -> Result<Vec<ShardReport>, ShardsError> {
    let shards = std::mem::take(&mut plan.shards);
    let shards = shards.into_iter().map(ShardWork::Snapshot).collect();
    let results = fleet.run(job, shards, Some(plan), progress).await?;
    let reports = results.into_iter().filter_map(|result| match result {
        ShardResult::Snapshot(report) => Some(report),
        // A result of the wrong kind is dropped; finishing then reports the shard as missing.
        ShardResult::Compare(_) => None,
    });
    Ok(reports.collect())
}

/// Compares two snapshots with a fleet, or in this process if there is no fleet, if they have fewer
/// deals than `least`, or if a single range covers them. The result is byte for byte the same.
pub async fn compare(
    context: &StepContext,
    (before, after): (&Snapshot, &Snapshot),
    rules: &Rules,
    least: u64,
) -> Result<Comparison, ShardsError> {
    let store = &context.tools.evidence;
    let reporter = Reporter::new(context);
    let declared = context.tools.calculators.declaration();
    let deals = before.manifest.total.max(after.manifest.total);
    let fleet = context.tools.shards.as_ref().filter(|_| deals >= least);
    if let Some(fleet) = fleet {
        let tasks = compare::task::plan(before, after, rules, store).await?;
        if tasks.len() > 1 {
            let progress = |counts| reporter.counts(counts);
            let reports = merge_all(fleet.as_ref(), &job(context), &tasks, &progress).await?;
            let declared = declared.as_ref();
            let made =
                compare::task::finish(before, after, rules, declared, &tasks, reports, store);
            return Ok(made.await?);
        }
    }
    let progress = |now: Progress| reporter.alone(now.done, now.total, now.errors);
    let made = compare::compare_with(None, before, after, rules, &declared, store, &progress);
    Ok(made.await?)
}

/// Has the ranges of a comparison merged by a fleet.
pub async fn merge_all(
    fleet: &dyn ShardFleet,
    job: &ShardJob,
    tasks: &[RangeTask],
    progress: &(dyn Fn(Counts) + Send + Sync),
) -> Result<Vec<RangeReport>, ShardsError> {
    let shards = tasks.iter().cloned().map(ShardWork::Compare).collect();
    let results = fleet.run(job, shards, None, progress).await?;
    let reports = results.into_iter().filter_map(|result| match result {
        ShardResult::Compare(report) => Some(report),
        // A result of the wrong kind is dropped; finishing then reports the range as missing.
        ShardResult::Snapshot(_) => None,
    });
    Ok(reports.collect())
}

/// The job that the shards belong to.
fn job(context: &StepContext) -> ShardJob {
    let step = context.plan.step(&context.step);
    ShardJob {
        rollout: context.rollout.clone(),
        task: Task {
            step: context.step.clone(),
            action: TaskAction::Execute,
            attempt: context.attempt,
            runs_on: step.and_then(|(_, step)| step.runs_on.clone()),
            class: TaskClass::Step,
        },
    }
}
