//! Group commit: waiting commits of different aggregates are published as one atomic batch
//! (ADR-50).
//!
//! With `sync_interval: always` one server syncs every single commit (about 5,000/s on the
//! reference machine), but a batch of any size with four syncs. A batch therefore pays off from
//! about 16 commits on. A lone writer never waits: with no other append in progress its commit is
//! published at once, from its own task.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_nats::HeaderValue;
use async_nats::header::{
    NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::append::Sender;
use super::wire::{Answer, OutgoingCommit, doubt, publish};
use crate::journal::JournalError;

/// Maximum number of commits in flight; further appends wait.
const MAX_IN_FLIGHT: usize = 4096;
/// Minimum number of commits that makes a batch worth its syncs.
const MIN_BATCH: usize = 16;
/// Maximum number of messages the server accepts in one batch (ADR-50).
const MAX_BATCH: usize = 1000;
/// Maximum payload bytes in one batch.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Maximum number of queued commits published singly at the same time while fewer than `MIN_BATCH`
/// are waiting. Beyond that they collect until they form a batch.
const MAX_SINGLES: usize = 8;
/// How often the collector yields to other tasks before it counts the waiting commits, so that
/// writers that were just answered can submit their next one.
const GATHER_TURNS: usize = 16;

type Verdict = Result<u64, JournalError>;

#[derive(Debug)]
struct Waiting {
    outgoing: OutgoingCommit,
    answer: oneshot::Sender<Verdict>,
}

/// How appends were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupCounts {
    /// Commits published singly.
    pub singles: u64,
    /// Batches the server accepted.
    pub batches: u64,
    /// Commits in those batches.
    pub batched: u64,
    /// Batches the server refused; their commits were then published singly.
    pub fallbacks: u64,
}

#[derive(Debug, Default)]
struct Counters {
    singles: AtomicU64,
    batches: AtomicU64,
    batched: AtomicU64,
    fallbacks: AtomicU64,
}

/// Sends all commits of one journal, singly or in batches.
#[derive(Debug, Clone)]
pub(super) struct Group {
    sender: Arc<Sender>,
    counters: Arc<Counters>,
    room: Arc<Semaphore>,
    under_way: Arc<AtomicUsize>,
    /// The batch queue; `None` means every commit is published singly.
    queue: Option<mpsc::Sender<Waiting>>,
}

/// Counts one append as in progress until dropped.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Group {
    /// Starts the collector if `batches`; it ends when the last clone is dropped.
    pub(super) fn start(sender: Sender, batches: bool) -> Self {
        let sender = Arc::new(sender);
        let counters = Arc::new(Counters::default());
        let queue = batches.then(|| {
            let (queue, waiting) = mpsc::channel(MAX_IN_FLIGHT);
            let collector = Collector {
                sender: sender.clone(),
                counters: counters.clone(),
                singles: Arc::new(Semaphore::new(MAX_SINGLES)),
            };
            tokio::spawn(collector.run(waiting));
            queue
        });
        Self {
            sender,
            counters,
            room: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            under_way: Arc::new(AtomicUsize::new(0)),
            queue,
        }
    }

    pub(super) fn counts(&self) -> GroupCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GroupCounts {
            singles: read(&self.counters.singles),
            batches: read(&self.counters.batches),
            batched: read(&self.counters.batched),
            fallbacks: read(&self.counters.fallbacks),
        }
    }

    /// Sends one commit, singly or in a batch. Dropping the future does not recall a commit that
    /// was handed over.
    pub(super) async fn append(&self, outgoing: OutgoingCommit) -> Verdict {
        let closed = || JournalError::Unavailable {
            reason: "this journal is shutting down".to_owned(),
        };
        let _room = self.room.acquire().await.map_err(|_| closed())?;
        let others = self.under_way.fetch_add(1, Ordering::AcqRel);
        let _under_way = UnderWay(&self.under_way);
        match &self.queue {
            Some(queue) if others > 0 => {
                let (answer, verdict) = oneshot::channel();
                let waiting = Waiting { outgoing, answer };
                queue.send(waiting).await.map_err(|_| closed())?;
                verdict.await.map_err(|_| closed())?
            }
            _ => {
                self.counters.singles.fetch_add(1, Ordering::Relaxed);
                self.sender.send(outgoing).await
            }
        }
    }
}

/// The task that takes waiting commits and sends them.
struct Collector {
    sender: Arc<Sender>,
    counters: Arc<Counters>,
    singles: Arc<Semaphore>,
}

impl Collector {
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting: Vec<Waiting> = Vec::new();
        loop {
            if waiting.is_empty() && queue.recv_many(&mut waiting, MAX_BATCH).await == 0 {
                return;
            }
            self.gather(&mut queue, &mut waiting).await;
            if waiting.len() >= MIN_BATCH {
                let batch = take_batch(&mut waiting);
                if batch.len() >= MIN_BATCH {
                    self.send_together(batch).await;
                } else {
                    // Many commits of few aggregates cannot share a batch.
                    for one in batch {
                        self.send_alone(one).await;
                    }
                }
                continue;
            }
            // Too few for a batch: send one singly as soon as a permit is free, or wait for more
            // commits, whichever comes first.
            tokio::select! {
                biased;
                permit = self.singles.clone().acquire_owned() => match (permit, waiting.pop()) {
                    (Ok(permit), Some(one)) => self.spawn_single(one, Some(permit)),
                    _ => return,
                },
                more = queue.recv_many(&mut waiting, MAX_BATCH) => if more == 0 {
                    for one in waiting.drain(..) {
                        self.send_alone(one).await;
                    }
                    return;
                },
            }
        }
    }

    /// Collects everything that is ready to be sent, yielding a few times so that writers can catch
    /// up.
    async fn gather(&self, queue: &mut mpsc::Receiver<Waiting>, waiting: &mut Vec<Waiting>) {
        for _ in 0..GATHER_TURNS {
            while waiting.len() < MAX_BATCH {
                match queue.try_recv() {
                    Ok(one) => waiting.push(one),
                    Err(_) => break,
                }
            }
            if waiting.len() >= MAX_BATCH
                || self.singles.available_permits() == MAX_SINGLES && waiting.len() < 2
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits for a permit and sends a commit singly.
    async fn send_alone(&self, one: Waiting) {
        if let Ok(permit) = self.singles.clone().acquire_owned().await {
            self.spawn_single(one, Some(permit));
        }
    }

    fn spawn_single(&self, one: Waiting, permit: Option<OwnedSemaphorePermit>) {
        let sender = self.sender.clone();
        self.counters.singles.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            // The writer may be gone; the commit is sent anyway.
            let _ = one.answer.send(sender.send(one.outgoing).await);
            drop(permit);
        });
    }

    /// Sends one atomic batch; if it is not stored as a whole, sends every commit singly.
    async fn send_together(&self, mut batch: Vec<Waiting>) {
        let count = batch.len() as u64;
        match self.publish_batch(&mut batch).await {
            Some(last) if last >= count => {
                self.counters.batches.fetch_add(1, Ordering::Relaxed);
                self.counters.batched.fetch_add(count, Ordering::Relaxed);
                for (sequence, one) in (last - count + 1..).zip(batch) {
                    let _ = one.answer.send(Ok(sequence));
                }
            }
            _ => {
                // One stale expectation refuses the whole batch; after a lost acknowledgement all
                // may be stored. Sent singly, each commit learns its own fate.
                self.counters.fallbacks.fetch_add(1, Ordering::Relaxed);
                for one in batch {
                    self.spawn_single(one, None);
                }
            }
        }
    }

    /// Publishes a batch and returns the sequence of its last message; `None` if it is not known to
    /// be stored.
    async fn publish_batch(&self, batch: &mut [Waiting]) -> Option<u64> {
        let client = &self.sender.client;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let connects = client.statistics().connects.load(Ordering::Relaxed);
        let count = batch.len();
        let (last, rest) = batch.split_last_mut()?;
        let headers = |outgoing: &mut OutgoingCommit, index: usize| {
            let mut headers = outgoing.headers().ok()?;
            headers.insert(NATS_BATCH_ID, id.as_str());
            headers.insert(NATS_BATCH_SEQUENCE, HeaderValue::from(index));
            Some(headers)
        };
        let send = async {
            for (index, one) in (1..).zip(rest) {
                let outgoing = &mut one.outgoing;
                let headers = headers(outgoing, index)?;
                client
                    .publish_with_headers(
                        outgoing.subject.clone(),
                        headers,
                        outgoing.payload.clone(),
                    )
                    .await
                    .ok()?;
            }
            Some(())
        };
        tokio::select! {
            sent = send => sent?,
            _ = doubt(client, connects, self.sender.ack_timeout) => return None,
        }
        let outgoing = &mut last.outgoing;
        let mut headers = headers(outgoing, count)?;
        headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
        let answer = publish(
            client,
            outgoing.subject.clone(),
            headers,
            outgoing.payload.clone(),
            self.sender.ack_timeout,
        );
        match answer.await {
            Answer::Ack(ack) if ack.batch_size == Some(count as u64) => Some(ack.sequence),
            other => {
                tracing::debug!(?other, commits = count, "a batch was not stored");
                None
            }
        }
    }
}

/// Takes one batch from the waiting commits: at most one per aggregate, because the server accepts
/// only one expectation per subject in a batch, and within the byte limit.
fn take_batch(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    let mut subjects = HashSet::new();
    let mut bytes = 0;
    let mut batch = Vec::new();
    let mut left = Vec::new();
    for one in waiting.drain(..) {
        let fits = batch.len() < MAX_BATCH && bytes + one.outgoing.payload.len() <= MAX_BATCH_BYTES;
        if fits && subjects.insert(one.outgoing.subject.clone()) {
            bytes += one.outgoing.payload.len();
            batch.push(one);
        } else {
            left.push(one);
        }
    }
    *waiting = left;
    batch
}
