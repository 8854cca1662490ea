//! A worker: pulls tasks, carries out a bounded number at a time, and ends in order.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollbook_ledger::rollout::Lane;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::attempt::{Attempts, Patience};
use super::changes::Changes;
use super::port::RolloutPort;
use super::presence::Activity;
use super::queue::{ANY_LABEL, Line, QueueOptions, TaskQueue};
use crate::executor::Tools;

/// A pull waits at most this long, so that a shutdown is noticed.
const PULL_WAIT: Duration = Duration::from_secs(2);

/// A pull that has not ended so long after the shutdown is given up.
const PULL_OVERDUE: Duration = Duration::from_secs(3);

/// After the actions have been stopped, what is left of them is waited for this long.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// After a failed pull.
const PULL_RETRY: Duration = Duration::from_secs(1);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name on the record: `host/pid`. Must differ between processes that run at the same
    /// time.
    pub name: String,
    /// This run of its process, on the record.
    pub session: String,
    /// Labels whose tasks it takes, besides those that any worker may take.
    pub labels: Vec<String>,
    /// Steps at a time, at least 1. Undos have room of their own.
    pub concurrency: usize,
    /// On shutdown, running actions are given this long; those that take longer are stopped and
    /// left to the crash rules.
    pub drain: Duration,
    /// Between signs of life for the queue; well below the queue's `ack_wait`.
    pub progress_every: Duration,
    /// How long after a sign of life that the queue confirmed an `idempotent` action may go on:
    /// some seconds less than the queue's `ack_wait`, after which another worker begins it.
    pub lease: Duration,
    /// Between looks at the rollout while an action runs, should what it is told be lost.
    pub look_every: Duration,
    /// How long a result is tried to be recorded while the ledger is unavailable.
    pub result_patience: Duration,
    /// Shards of snapshots at a time, and threads that compute them; `None`: one per core, at
    /// most 8 shards.
    pub threads: Option<usize>,
    /// Counts what it does, for [`super::presence`].
    pub activity: Activity,
}

/// An action is ended so long before another worker may begin it.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Shards at a time unless told: more connections than this, and the database notices.
const MAX_SHARD_SLOTS: usize = 8;

impl WorkerConfig {
    /// The usual times.
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

    /// Shards of snapshots at a time.
    pub fn shard_slots(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        self.threads
            .unwrap_or_else(|| cores().min(MAX_SHARD_SLOTS))
            .max(1)
    }
}

/// An intent is tried to be recorded for this long before its task goes back to the queue.
const INTENT_PATIENCE: Duration = Duration::from_secs(60);

/// A task that could not be begun is delivered again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Returns some seconds after the shutdown, time enough for a pull that is answered: a task that is
/// on its way would else be nobody's until the queue delivers it again.
pub(super) async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(PULL_OVERDUE).await;
}

/// Waits for the end of what runs, within `drain`; then gives `stop_now` and waits a bounded time
/// more, whatever queue and ledger do.
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

/// Works until `shutdown` is given; then pulls nothing more, lets running actions finish within
/// `config.drain`, stops the rest, and returns. It returns in bounded time even when neither queue
/// nor ledger answers.
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
        changes: Changes::default(),
        patience: Patience {
            progress_every: config.progress_every,
            look_every: config.look_every,
            intent_for: INTENT_PATIENCE,
            result_for: config.result_patience,
            again_after: AGAIN_AFTER,
            lease: config.lease,
        },
        stop_now: stop_now.clone(),
    };
    let mut labels = vec![ANY_LABEL.to_owned()];
    labels.extend(config.labels.iter().filter(|l| *l != ANY_LABEL).cloned());
    let running = TaskTracker::new();
    tracing::info!(worker = %config.name, ?labels, "worker started");
    let of = |lane| labels.iter().map(|label| Line::new(lane, label)).collect();
    let hand = Hand {
        config: &config,
        queue: &*queue,
        attempts: &attempts,
        running: &running,
        shutdown: &shutdown,
    };
    let changes = attempts.changes.clone();
    let telling = AbortOnDropHandle::new(tokio::spawn(tell(Arc::clone(&attempts.port), changes)));
    tokio::join!(
        hand.take(of(Lane::Step), config.concurrency.max(1)),
        hand.take(of(Lane::Watch), MAX_WATCHES),
        hand.take(of(Lane::Undo), UNDO_SLOTS),
        // A flag is written through the ledger, which every worker can.
        hand.take(vec![Line::new(Lane::Flag, ANY_LABEL)], FLAG_SLOTS),
    );
    drained(&running, config.drain, &stop_now).await;
    drop(telling);
    tracing::info!(worker = %config.name, "worker stopped");
}

/// Watches at a time. One that waits for its next sample costs some memory and no slot of a step;
/// [`SAMPLES`](crate::executor::context::SAMPLES) of them sample at a time.
const MAX_WATCHES: usize = 2_000;

/// Undos at a time, beside steps: going back does not wait for a step to end.
const UNDO_SLOTS: usize = 4;

/// Tells of changes for as long as the worker runs.
async fn tell(port: Arc<dyn RolloutPort>, changes: Changes) {
    loop {
        if let Err(error) = port.tell(&changes).await {
            tracing::warn!(%error, "changes of rollouts are not followed; following again");
        }
        tokio::time::sleep(FOLLOW_AGAIN).await;
        // Nobody knows what was missed.
        changes.tell_all();
    }
}

/// After the ledger could not be followed.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// Undos of flags at a time, beside undos that may take long.
const FLAG_SLOTS: usize = 4;

/// What takes tasks of some lines, up to a number of its own at a time.
struct Hand<'a> {
    config: &'a WorkerConfig,
    queue: &'a dyn TaskQueue,
    attempts: &'a Attempts,
    running: &'a TaskTracker,
    shutdown: &'a CancellationToken,
}

impl Hand<'_> {
    async fn take(&self, lines: Vec<Line>, slots: usize) {
        let shutdown = self.shutdown;
        let slots = Arc::new(Semaphore::new(slots));
        while !shutdown.is_cancelled() {
            // A free slot first: a task is never pulled to wait here while another worker is free.
            let slot = tokio::select! {
                () = shutdown.cancelled() => break,
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            let Ok(slot) = slot else { break };
            let pulled = tokio::select! {
                biased;
                pulled = self.queue.pull(&lines, PULL_WAIT) => pulled,
                () = overdue(shutdown) => break,
            };
            match pulled {
                Ok(Some(delivery)) if shutdown.is_cancelled() => {
                    let _ = delivery.again(Duration::ZERO).await;
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
