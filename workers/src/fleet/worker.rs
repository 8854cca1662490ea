//! Runs a worker: pulls tasks, executes a bounded number at a time, and shuts down in order.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollbook_ledger::rollout::TaskClass;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::attempt::{Attempts, Timeouts};
use super::changes::RolloutChanges;
use super::port::RolloutPort;
use super::presence::Activity;
use super::queue::{ANY_LABEL, QueueOptions, TaskFilter, TaskQueue};
use crate::executor::Tools;

/// The longest wait of a pull, so that a shutdown is noticed.
const PULL_WAIT: Duration = Duration::from_secs(2);

/// How long after the shutdown a pull may take before it is dropped.
const PULL_OVERDUE: Duration = Duration::from_secs(3);

/// How long to wait for stopped actions to end.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// The wait after a failed pull.
const PULL_RETRY: Duration = Duration::from_secs(1);

/// The configuration of a worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its recorded name: `host/pid`. It must differ between processes that run at the same time.
    pub name: String,
    /// Identifies this run of its process on the record.
    pub session: String,
    /// Labels whose tasks it takes besides those that any worker may take.
    pub labels: Vec<String>,
    /// Steps at a time, at least 1. Undos have their own slots.
    pub concurrency: usize,
    /// How long running actions may take to finish on shutdown; longer ones are stopped and left to
    /// the crash rules.
    pub drain: Duration,
    /// The interval between heartbeats to the queue; well below the queue's `ack_wait`.
    pub progress_every: Duration,
    /// How long an `idempotent` action may continue after a heartbeat that the queue confirmed:
    /// some seconds less than the queue's `ack_wait`, after which another worker starts it.
    pub lease: Duration,
    /// How often the rollout is checked while an action runs, in case a change was not told.
    pub look_every: Duration,
    /// How long recording a result is retried while the ledger is unavailable.
    pub result_patience: Duration,
    /// Shards at a time, and threads that compute them; `None`: one per core, at most 8 shards.
    pub threads: Option<usize>,
    /// Counts what the worker does, for [`super::presence`].
    pub activity: Activity,
}

/// How long before another worker may start an action it is ended here.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Maximum number of shards at a time unless configured: more connections would put a noticeable
/// load on the database.
const MAX_SHARD_SLOTS: usize = 8;

impl WorkerConfig {
    /// A configuration with the default times.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            session: uuid::Uuid::now_v7().to_string(),
            labels: Vec::new(),
            concurrency: 4,
            drain: Duration::from_secs(30),
            progress_every: Duration::from_secs(10),
            lease: QueueOptions::default().ack_wait - LEASE_MARGIN,
            look_every: Duration::from_secs(15),
            result_patience: Duration::from_secs(60 * 60),
            threads: None,
            activity: Activity::default(),
        }
    }

    /// The number of shards at a time.
    pub fn shard_slots(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        self.threads
            .unwrap_or_else(|| cores().min(MAX_SHARD_SLOTS))
            .max(1)
    }
}

/// How long recording an intent is retried before its task goes back to the queue.
const INTENT_PATIENCE: Duration = Duration::from_secs(60);

/// The delay before a task that could not be begun is redelivered.
const REDELIVER_AFTER: Duration = Duration::from_secs(5);

/// Returns some seconds after the shutdown, long enough for a pull to be answered: otherwise a task
/// on its way would wait until the queue redelivers it.
pub(super) async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(PULL_OVERDUE).await;
}

/// Waits for running work to end, within `drain`; then cancels `stop_now` and waits a further
/// bounded time, whatever queue and ledger do.
pub(super) async fn drained(running: &TaskTracker, drain: Duration, stop_now: &CancellationToken) {
    running.close();
    if tokio::time::timeout(drain, running.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(
        running = running.len(),
        "stopping actions that did not end in time"
    );
    stop_now.cancel();
    if tokio::time::timeout(STOPPED_WITHIN, running.wait())
        .await
        .is_err()
    {
        tracing::error!(running = running.len(), "what was stopped does not end");
    }
}

/// Works until `shutdown` is cancelled; then pulls no more, lets running actions finish within
/// `config.drain`, stops the rest, and returns. It returns in bounded time even if neither queue
/// nor ledger responds.
pub async fn run(
    config: WorkerConfig,
    queue: Arc<dyn TaskQueue>,
    port: Arc<dyn RolloutPort>,
    tools: Tools,
    shutdown: CancellationToken,
) {
    let stop_now = CancellationToken::new();
    let attempts = Attempts {
        worker: config.name.clone(),
        port,
        tools,
        in_work: Arc::new(Mutex::new(HashSet::new())),
        changes: RolloutChanges::default(),
        timeouts: Timeouts {
            progress_every: config.progress_every,
            look_every: config.look_every,
            intent_for: INTENT_PATIENCE,
            result_for: config.result_patience,
            redeliver_after: REDELIVER_AFTER,
            lease: config.lease,
        },
        stop_now: stop_now.clone(),
    };
    let mut labels = vec![ANY_LABEL.to_owned()];
    labels.extend(config.labels.iter().filter(|l| *l != ANY_LABEL).cloned());
    let running = TaskTracker::new();
    tracing::info!(worker = %config.name, ?labels, "worker started");
    let of = |class| {
        labels
            .iter()
            .map(|label| TaskFilter::new(class, label))
            .collect()
    };
    let puller = TaskPuller {
        config: &config,
        queue: &*queue,
        attempts: &attempts,
        running: &running,
        shutdown: &shutdown,
    };
    let changes = attempts.changes.clone();
    let following = AbortOnDropHandle::new(tokio::spawn(follow_changes(
        Arc::clone(&attempts.port),
        changes,
    )));
    tokio::join!(
        puller.take(of(TaskClass::Step), config.concurrency.max(1)),
        puller.take(of(TaskClass::Watch), MAX_WATCHES),
        puller.take(of(TaskClass::Undo), UNDO_SLOTS),
        // Any worker can write a flag, because it is written through the ledger.
        puller.take(
            vec![TaskFilter::new(TaskClass::Flag, ANY_LABEL)],
            FLAG_SLOTS
        ),
    );
    drained(&running, config.drain, &stop_now).await;
    drop(following);
    tracing::info!(worker = %config.name, "worker stopped");
}

/// Watches at a time. One that waits for its next sample uses some memory and no slot of a step;
/// [`SAMPLES`](crate::executor::context::SAMPLES) of them sample at a time.
const MAX_WATCHES: usize = 2_000;

/// Undos at a time, in addition to steps: an undo does not wait for a step to end.
const UNDO_SLOTS: usize = 4;

/// Tells of changes for as long as the worker runs.
async fn follow_changes(port: Arc<dyn RolloutPort>, changes: RolloutChanges) {
    let mut wait = FOLLOW_AGAIN.0;
    loop {
        let begun = Instant::now();
        if let Err(error) = port.follow_changes(&changes).await {
            tracing::warn!(%error, "cannot follow the ledger for changes of rollouts; retrying");
        }
        if begun.elapsed() > FOLLOW_AGAIN.1 {
            wait = FOLLOW_AGAIN.0;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(FOLLOW_AGAIN.1);
    }
}

/// The shortest and the longest wait after the ledger could not be followed.
const FOLLOW_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Undos of flags at a time, in addition to undos that may take long.
const FLAG_SLOTS: usize = 4;

/// Pulls tasks of some filters and runs up to a number of its own at a time.
struct TaskPuller<'a> {
    config: &'a WorkerConfig,
    queue: &'a dyn TaskQueue,
    attempts: &'a Attempts,
    running: &'a TaskTracker,
    shutdown: &'a CancellationToken,
}

impl TaskPuller<'_> {
    async fn take(&self, filters: Vec<TaskFilter>, slots: usize) {
        let shutdown = self.shutdown;
        let slots = Arc::new(Semaphore::new(slots));
        while !shutdown.is_cancelled() {
            // A free slot first: a task must not wait here while another worker is free.
            let slot = tokio::select! {
                () = shutdown.cancelled() => break,
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            let Ok(slot) = slot else { break };
            let pulled = tokio::select! {
                biased;
                pulled = self.queue.pull(&filters, PULL_WAIT) => pulled,
                () = overdue(shutdown) => break,
            };
            match pulled {
                Ok(Some(delivery)) if shutdown.is_cancelled() => {
                    let _ = delivery.redeliver(Duration::ZERO).await;
                }
                Ok(Some(delivery)) => {
                    let attempts = self.attempts.clone();
                    let in_work = self.config.activity.step();
                    self.running.spawn(async move {
                        attempts.perform(Arc::from(delivery)).await;
                        drop((slot, in_work));
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(worker = %self.config.name, %error, "no task could be pulled");
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(PULL_RETRY) => {}
                    }
                }
            }
        }
    }
}
