//! Snapshots and comparisons whose shards are done by all workers of the ledger.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::ids::RolloutId;
use rollbook_ledger::rollout::{Lane, Task, TaskAction};
use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::progress::{Counts, Reporter};
use crate::compare::{self, CompareError, Comparison, RangeReport, RangeTask, Rules};
use crate::snapshot::task::KeyRange;
use crate::snapshot::{
    Progress, ShardRead, ShardReport, ShardTask, Snapshot, SnapshotError, SnapshotPlan,
    SnapshotRequest, finish, plan, take_planned,
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

/// Comparisons of fewer deals than this are done where the step runs: that takes a second, about
/// as long as handing them out.
pub const MIN_FLEET_DEALS: u64 = 1_000_000;

/// What a shard asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardWork {
    /// Deals to be read and computed.
    Snapshot(ShardTask),
    /// A range of two snapshots to be merged.
    Compare(RangeTask),
}

impl ShardWork {
    /// Its place in the plan, from 0.
    pub fn shard(&self) -> u32 {
        match self {
            Self::Snapshot(task) => task.shard,
            Self::Compare(task) => task.range,
        }
    }

    /// Its keys.
    pub fn keys(&self) -> &KeyRange {
        match self {
            Self::Snapshot(task) => &task.range,
            Self::Compare(task) => &task.keys,
        }
    }

    /// Deals in it.
    pub fn deals(&self) -> u64 {
        match self {
            Self::Snapshot(task) => task.deals,
            Self::Compare(task) => task.deals,
        }
    }
}

/// What a shard came to. What it made is in the evidence store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardResult {
    /// Deals were read and computed.
    Snapshot(ShardReport),
    /// A range was merged.
    Compare(RangeReport),
}

impl ShardResult {
    /// Deals done.
    pub fn deals(&self) -> u64 {
        match self {
            Self::Snapshot(report) => report.part.rows,
            Self::Compare(report) => report.deals,
        }
    }

    /// Of these: without figures.
    pub fn errors(&self) -> u64 {
        match self {
            Self::Snapshot(report) => report.part.errors,
            Self::Compare(report) => report.errors,
        }
    }
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

/// Whoever does shards: the workers of a ledger.
#[async_trait]
pub trait ShardFleet: Send + Sync + std::fmt::Debug {
    /// Has shards done and gives their results, in their order; `held` is the consistent read
    /// that they belong to, if they belong to one.
    ///
    /// What they made is in the evidence store on return. Dropped or failed, it tells the workers
    /// to leave the rest. `progress` is called about once a second, at the beginning and at the
    /// end.
    async fn run(
        &self,
        job: &ShardJob,
        shards: Vec<ShardWork>,
        held: Option<&mut SnapshotPlan>,
        progress: &(dyn Fn(Counts) + Send + Sync),
    ) -> Result<Vec<ShardResult>, ShardsError>;
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
        // Finishing misses it.
        ShardResult::Compare(_) => None,
    });
    Ok(reports.collect())
}

/// Compares two snapshots with a fleet; here, where there is none, where they have fewer deals
/// than `least`, or where one range holds them all. The result is the same, byte for byte.
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
        // Finishing misses it.
        ShardResult::Snapshot(_) => None,
    });
    Ok(reports.collect())
}

/// The task whose shards they are.
fn job(context: &StepContext) -> ShardJob {
    let step = context.plan.step(&context.step);
    ShardJob {
        rollout: context.rollout.clone(),
        task: Task {
            step: context.step.clone(),
            action: TaskAction::Execute,
            attempt: context.attempt,
            runs_on: step.and_then(|(_, step)| step.runs_on.clone()),
            lane: Lane::Step,
        },
    }
}
