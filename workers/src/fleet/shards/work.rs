//! The workers' side of a run: does shards one after another in a number of slots.

use std::sync::{Arc, Weak};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::trace;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::super::port::{Assignment, RolloutPort, TaskState};
use super::super::presence::Activity;
use super::super::queue::{ANY_LABEL, QueueError};
use super::super::worker::{self, WorkerConfig};
use super::processor::{Failure, ShardProcessor, Source};
use super::queue::ShardDelivery;
use super::{QueuedShard, ShardAnswer, ShardQueue, ShardRun};
use crate::compare::{RangeTask, RangeWorker};
use crate::executor::secret::resolve_source;
use crate::executor::{PortError, ShardWork, StepScope, Tools, calculator, redactor_for};
use crate::snapshot::calculator::StopOnDrop;
use crate::snapshot::{ShardContext, ShardTask, ShardWorker};

/// The longest wait of a pull; after it, a session with the source that is no longer needed is
/// closed.
const PULL_WAIT: Duration = Duration::from_secs(2);

/// The wait after a failed pull.
const PULL_RETRY: Duration = Duration::from_secs(1);

/// A shard delivered more often than this is not done: it may be what crashes its workers.
const MAX_DELIVERIES: u32 = 20;

/// Maximum tries of a shard that fails for a temporary reason. It is lower than the delivery limit,
/// so that the reason is reported.
const MAX_TRIES: u32 = 4;

/// The wait between two tries, multiplied by the number of tries so far.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// From this delivery on, a worker of another version takes a shard off the queue without an answer.
/// The coordinator puts it there again, with its deliveries counted anew, so that they never reach
/// [`MAX_DELIVERIES`] only because workers of two versions share the queue.
const MAX_OTHER_VERSION: u32 = MAX_DELIVERIES / 2;

/// How long ledger and queue are retried before a shard goes back to the queue.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest wait between two such retries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Does shards until `shutdown` is cancelled; then pulls no more, lets running ones finish within
/// `config.drain`, and hands the rest back.
pub async fn work(
    config: WorkerConfig,
    shards: ShardQueue,
    port: Arc<dyn RolloutPort>,
    tools: Tools,
    shutdown: CancellationToken,
) {
    let stop_now = CancellationToken::new();
    let mut labels = vec![ANY_LABEL.to_owned()];
    labels.extend(config.labels.iter().filter(|l| *l != ANY_LABEL).cloned());
    let state = Arc::new(ShardWorkerState {
        worker: config.name.clone(),
        shards,
        port,
        tools,
        labels,
        progress_every: config.progress_every,
        threads: config.threads,
        activity: config.activity.clone(),
        shared: Mutex::new(None),
        compared: Mutex::new(None),
        stop_now: stop_now.clone(),
    });
    let slots = config.shard_slots();
    let running = TaskTracker::new();
    for _ in 0..slots {
        running.spawn(Arc::clone(&state).slot(shutdown.clone()));
    }
    shutdown.cancelled().await;
    worker::drained(&running, config.drain, &stop_now).await;
}

/// What all slots of a worker share.
#[derive(Debug)]
struct ShardWorkerState {
    worker: String,
    shards: ShardQueue,
    port: Arc<dyn RolloutPort>,
    tools: Tools,
    labels: Vec<String>,
    progress_every: Duration,
    threads: Option<usize>,
    activity: Activity,
    /// The source of the latest run, while any slot has a session with it: all slots share one
    /// memory bound and one calculator.
    shared: Mutex<Option<(ShardRun, Weak<Source>)>>,
    /// The worker for the latest comparison.
    compared: Mutex<Option<RangeWorker>>,
    stop_now: CancellationToken,
}

/// What a slot has opened for a run, such as a session with its source.
///
/// It is closed as soon as the run is over, because its transaction would keep the table from being
/// altered.
struct OpenRun {
    run: ShardRun,
    over: CancellationToken,
    processor: Arc<Mutex<Option<ShardProcessor>>>,
    _listener: AbortOnDropHandle<()>,
    _closer: AbortOnDropHandle<()>,
}

/// What to tell the queue about the delivery.
#[derive(Debug, PartialEq, Eq)]
enum Disposition {
    Done,
    Redeliver(Duration),
}

impl Disposition {
    /// Leaves a shard of another version to a worker of that version.
    fn of_other_version(deliveries: u32) -> Self {
        if deliveries < MAX_OTHER_VERSION {
            Self::Redeliver(TRY_AGAIN)
        } else {
            Self::Done
        }
    }
}

impl ShardWorkerState {
    async fn slot(self: Arc<Self>, shutdown: CancellationToken) {
        let mut kept: Option<OpenRun> = None;
        while !shutdown.is_cancelled() {
            let pulled = tokio::select! {
                biased;
                pulled = self.shards.pull(&self.labels, PULL_WAIT) => pulled,
                () = worker::overdue(&shutdown) => return,
            };
            match pulled {
                Ok(Some(delivery)) if shutdown.is_cancelled() => {
                    let _ = delivery.taken.redeliver(Duration::ZERO).await;
                }
                Ok(Some(delivery)) => self.perform(delivery, &mut kept).await,
                Ok(None) => kept = None,
                Err(error) => {
                    kept = None;
                    tracing::warn!(%error, "no shard could be pulled");
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(PULL_RETRY) => {}
                    }
                }
            }
        }
    }

    async fn perform(&self, delivery: ShardDelivery, kept: &mut Option<OpenRun>) {
        let ShardDelivery { taken, queued } = delivery;
        let _in_work = self.activity.shard();
        let (run, shard) = (queued.run.run.clone(), queued.work.shard());
        let disposition = {
            let span =
                tracing::info_span!(parent: None, "shard", otel.kind = "consumer", %run, shard);
            trace::continue_from(&span, taken.traceparent());
            let work = self.carry_out(&queued, taken.deliveries, kept);
            let work = work.instrument(span);
            let alive = async {
                loop {
                    tokio::time::sleep(self.progress_every).await;
                    if let Err(error) = taken.progress().await {
                        tracing::warn!(%run, shard, %error, "heartbeat not sent");
                    }
                }
            };
            tokio::select! {
                biased;
                disposition = work => disposition,
                () = self.stop_now.cancelled() => Disposition::Redeliver(Duration::ZERO),
                () = alive => Disposition::Redeliver(Duration::ZERO),
            }
        };
        let acknowledged = match disposition {
            Disposition::Done => taken.done().await,
            Disposition::Redeliver(delay) => taken.redeliver(delay).await,
        };
        if let Err(error) = acknowledged {
            // It will be redelivered and find its answer.
            tracing::warn!(%run, shard, %error, "the shard was not acknowledged");
        }
    }

    async fn carry_out(
        &self,
        queued: &QueuedShard,
        deliveries: u32,
        kept: &mut Option<OpenRun>,
    ) -> Disposition {
        if kept.as_ref().is_none_or(|kept| kept.run != queued.run) {
            *kept = None;
            match self.shards.watch_over(&queued.run).await {
                Ok((over, listener)) => *kept = Some(OpenRun::new(&queued.run, over, listener)),
                Err(error) => {
                    tracing::warn!(%error, "whether the run is over is not known");
                    return Disposition::Redeliver(TRY_AGAIN);
                }
            }
        }
        let Some(current) = kept.as_ref() else {
            return Disposition::Redeliver(TRY_AGAIN);
        };
        let shard = async {
            if !queued.work.is_of_this_version() {
                return Err(Stop::OtherVersion);
            }
            if deliveries > MAX_DELIVERIES {
                let reason = format!("no worker could carry it out in {MAX_DELIVERIES} deliveries");
                return Err(Stop::Impossible(reason));
            }
            self.shard(queued, &current.processor).await
        };
        let done = tokio::select! {
            biased;
            () = current.over.cancelled() => return Disposition::Done,
            done = shard => done,
        };
        let answer = match done {
            Ok(answer) => {
                if let ShardAnswer::Done { result, .. } = &answer {
                    self.activity.computed(result.deals());
                }
                answer
            }
            Err(Stop::Unwanted(reason)) => {
                tracing::debug!(run = %queued.run.run, %reason, "shard dropped");
                *kept = None;
                return Disposition::Done;
            }
            Err(Stop::Later(reason)) => {
                tracing::warn!(run = %queued.run.run, %reason, "the shard waits");
                *kept = None;
                return Disposition::Redeliver(TRY_AGAIN);
            }
            Err(Stop::OtherVersion) => {
                tracing::warn!(run = %queued.run.run, shard = queued.work.shard(), "the shard is of another version and waits for a worker of that version; update the workers");
                *kept = None;
                return Disposition::of_other_version(deliveries);
            }
            Err(Stop::Failed(failure)) => {
                *kept = None;
                if failure.is_retryable && !failure.needs_new_plan && deliveries < MAX_TRIES {
                    tracing::warn!(run = %queued.run.run, shard = queued.work.shard(), reason = failure.reason, "the shard is tried again");
                    return Disposition::Redeliver(TRY_AGAIN * deliveries);
                }
                ShardAnswer::Failed {
                    new_plan: failure.needs_new_plan,
                    reason: failure.reason,
                }
            }
            Err(Stop::Impossible(reason)) => ShardAnswer::Failed {
                new_plan: false,
                reason,
            },
        };
        let stored = (|| self.shards.answer(queued, &answer))
            .retry(patience())
            .when(QueueError::is_retryable)
            .await;
        match stored {
            Ok(()) => Disposition::Done,
            Err(error) => {
                tracing::warn!(%error, "the answer was not stored; the shard is done again");
                Disposition::Redeliver(TRY_AGAIN)
            }
        }
    }

    /// Does a shard if its step still needs it.
    async fn shard(
        &self,
        queued: &QueuedShard,
        processor: &Mutex<Option<ShardProcessor>>,
    ) -> Result<ShardAnswer, Stop> {
        let run = &queued.run;
        let looked = (|| self.port.read_task(&run.rollout, &run.task))
            .retry(patience())
            .when(|error: &PortError| matches!(error, PortError::Unavailable { .. }))
            .await;
        let assignment = looked.map_err(|error| match error {
            PortError::Refused { reason } => Stop::Unwanted(reason),
            PortError::Unavailable { reason } => Stop::Later(reason),
        })?;
        if let Some(reason) = assignment.halted {
            return Err(Stop::Unwanted(reason));
        }
        if !matches!(assignment.state, TaskState::Running { .. }) {
            return Err(Stop::Unwanted("its step does not run".to_owned()));
        }
        let mut processor = processor.lock().await;
        if processor.is_none() {
            *processor = Some(match &queued.work {
                ShardWork::Snapshot(task) => {
                    let source = self.source(queued, task, &assignment).await?;
                    let worker = ShardWorker::new(source.context.clone(), &source.url)?;
                    ShardProcessor::Snapshot {
                        worker,
                        _source: source,
                    }
                }
                ShardWork::Compare(task) => {
                    ShardProcessor::Compare(self.ranges(queued, task, &assignment.plan).await?)
                }
            });
        }
        match processor.as_mut() {
            Some(processor) => processor
                .run(&queued.work)
                .await
                .map(|result| ShardAnswer::Done {
                    worker: self.worker.clone(),
                    result,
                })
                .map_err(Stop::Failed),
            None => Err(Stop::Later("no session".to_owned())),
        }
    }

    /// Builds the source and the calculator of a run from the pinned plan: a shard on the queue
    /// holds no credentials.
    async fn source(
        &self,
        queued: &QueuedShard,
        task: &ShardTask,
        assignment: &Assignment,
    ) -> Result<Arc<Source>, Stop> {
        let mut shared = self.shared.lock().await;
        if let Some((run, source)) = shared.as_ref()
            && *run == queued.run
            && let Some(source) = source.upgrade()
        {
            return Ok(source);
        }
        let (run, plan) = (&queued.run, &assignment.plan);
        let runbook = plan.runbook();
        let secrets = self.tools.secrets.as_ref();
        let redactor = redactor_for(runbook, secrets).map_err(|_| {
            Stop::Impossible("the secrets cannot be redacted on this worker".to_owned())
        })?;
        // A resolver may quote what it read.
        let impossible = |reason: String| Stop::Impossible(redactor.text(&reason));
        let Some((_, step)) = plan.step(&run.task.step) else {
            return Err(Stop::Unwanted("the plan has no such step".to_owned()));
        };
        let Some(snapshot) = step.action.kind().capture() else {
            return Err(Stop::Unwanted("its step takes no snapshot".to_owned()));
        };
        let Some(spec) = runbook.snapshots.get(&snapshot.of) else {
            return Err(Stop::Unwanted("its snapshot is not declared".to_owned()));
        };
        let environment = plan.environment_of(step, &assignment.environment);
        let url = resolve_source(runbook, &spec.source, environment, secrets)
            .map_err(|error| impossible(error.to_string()))?
            .url;
        let aware = task.calculator.deal_type_awareness;
        let scope = StepScope {
            plan,
            rollout: &run.rollout,
            step: &run.task.step,
            attempt: run.task.attempt,
            environment,
            params: &assignment.params,
            secrets,
            redactor: &redactor,
        };
        let calculator =
            calculator::calculator(&scope, self.tools.calculators.as_ref(), spec, aware)
                .map_err(|error| impossible(error.to_string()))?;
        let stop = StopOnDrop(Arc::clone(&calculator));
        let store = self.tools.evidence.clone();
        let context = ShardContext::new(calculator, store, self.threads)?;
        let source = Arc::new(Source {
            context,
            url,
            _stop: stop,
        });
        *shared = Some((run.clone(), Arc::downgrade(&source)));
        Ok(source)
    }

    /// Opens the worker for a comparison; manifests and rules are read once for all slots.
    async fn ranges(
        &self,
        queued: &QueuedShard,
        task: &RangeTask,
        plan: &Plan,
    ) -> Result<RangeWorker, Stop> {
        let step = plan.step(&queued.run.task.step);
        if step.is_none_or(|(_, step)| step.action.kind().comparison().is_none()) {
            return Err(Stop::Unwanted("its step compares nothing".to_owned()));
        }
        let mut compared = self.compared.lock().await;
        if let Some(worker) = compared.as_ref().filter(|worker| worker.is_for(task)) {
            return Ok(worker.clone());
        }
        let declared = self.tools.calculators.declaration();
        let worker = RangeWorker::open(task, &declared, &self.tools.evidence, self.threads).await?;
        *compared = Some(worker.clone());
        Ok(worker)
    }
}

/// Why a shard was not done.
enum Stop {
    /// The step no longer needs it.
    Unwanted(String),
    /// It cannot be done yet.
    Later(String),
    /// Only a worker of another version can do it.
    OtherVersion,
    /// Doing it failed.
    Failed(Failure),
    /// No worker configured like this one can do it.
    Impossible(String),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl OpenRun {
    fn new(run: &ShardRun, over: CancellationToken, listener: AbortOnDropHandle<()>) -> Self {
        let processor: Arc<Mutex<Option<ShardProcessor>>> = Arc::default();
        let (close, told) = (Arc::clone(&processor), over.clone());
        let closer = tokio::spawn(async move {
            told.cancelled().await;
            close.lock().await.take();
        });
        Self {
            run: run.clone(),
            over,
            processor,
            _listener: listener,
            _closer: AbortOnDropHandle::new(closer),
        }
    }
}

fn patience() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times()
        .with_total_delay(Some(PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_of_another_version_never_wears_out_its_deliveries() {
        assert_eq!(
            Disposition::of_other_version(1),
            Disposition::Redeliver(TRY_AGAIN)
        );
        for deliveries in [MAX_OTHER_VERSION, MAX_DELIVERIES, u32::MAX] {
            assert_eq!(Disposition::of_other_version(deliveries), Disposition::Done);
        }
    }
}
