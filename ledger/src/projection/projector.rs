//! Projects the journal into a store in bounded batches, and lets callers wait for a sequence.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Span;

use super::store::{ViewError, ViewStore};
use super::views::AsOf;
use crate::error_code::Coded;
use crate::journal::{Journal, JournalError, ReadFrom, StoredCommit};
use crate::trace;

/// Maximum number of commits in one batch.
pub const MAX_BATCH_COMMITS: usize = 8_192;
/// Maximum encoded bytes of one batch; its last commit may exceed them.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long a batch waits for more commits while the store lags. Live commits never wait.
const LINGER: Duration = Duration::from_millis(20);
/// Minimum and maximum pause before a failed connection is retried.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often [`Projector::catch_up`] retries after a retryable failure.
const MAX_CATCH_UP_RETRIES: u32 = 5;

/// Why the projector stopped.
#[derive(Debug, thiserror::Error, Coded)]
pub enum ProjectorError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The store has applied more than the journal holds: it belongs to another journal, or the
    /// journal has lost history.
    #[error(
        "RB-PROJECTOR-1: the views stand at sequence {position}, the journal ends at {last}; they belong to another ledger or the ledger has lost history: verify the ledger, then rebuild the views"
    )]
    Ahead {
        /// The store's position.
        position: u64,
        /// The journal's last sequence.
        last: u64,
    },
    /// The journal stopped delivering. Retryable.
    #[error(
        "RB-PROJECTOR-2: the journal stopped delivering after sequence {after}; following again"
    )]
    Ended {
        /// The last applied sequence.
        after: u64,
    },
}

impl ProjectorError {
    /// True if the ledger is damaged: history is lost or cannot be decoded.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_damage(),
            Self::Ahead { .. } => true,
            _ => false,
        }
    }

    /// True if following again from the store's position may succeed without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_retryable(),
            Self::View(ViewError::Gap { .. }) => true,
            Self::View(error) => error.is_retryable(),
            Self::Ahead { .. } => false,
            Self::Ended { .. } => true,
        }
    }
}

/// The views did not reach a sequence in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Coded)]
#[error(
    "RB-PROJECTOR-3: the views have not reached sequence {sequence} in time, they stand at {applied}; ask again or look at the projector's log"
)]
pub struct WaitError {
    /// The sequence waited for.
    pub sequence: u64,
    /// The store's position.
    pub applied: u64,
}

/// Waits for this process's projector; cheap to clone, all clones share one channel.
#[derive(Debug, Clone)]
pub struct Waiter {
    applied: watch::Receiver<AsOf>,
}

impl Waiter {
    /// Returns the applied position, as far as this process knows.
    pub fn applied(&self) -> AsOf {
        *self.applied.borrow()
    }

    /// Waits, as long as it takes, until more than `sequence` is applied; `None` if the projector
    /// has ended.
    pub async fn beyond(&self, sequence: u64) -> Option<AsOf> {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|as_of| as_of.sequence > sequence).await;
        reached.ok().map(|as_of| *as_of)
    }

    /// Waits until `sequence` is applied, so that every later answer includes what the caller
    /// appended.
    pub async fn wait_for(&self, sequence: u64, timeout: Duration) -> Result<AsOf, WaitError> {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|as_of| as_of.sequence >= sequence);
        match tokio::time::timeout(timeout, reached).await {
            Ok(Ok(as_of)) => Ok(*as_of),
            // The projector has ended, or the time is up.
            Ok(Err(_)) | Err(_) => Err(WaitError {
                sequence,
                applied: self.applied().sequence,
            }),
        }
    }
}

/// Projects commits from a journal into a store.
#[derive(Debug)]
pub struct Projector {
    journal: Arc<dyn Journal>,
    store: Arc<dyn ViewStore>,
    applied: watch::Sender<AsOf>,
}

impl Projector {
    /// Creates a projector; it does not start yet.
    pub fn new(journal: Arc<dyn Journal>, store: Arc<dyn ViewStore>) -> Self {
        Self {
            journal,
            store,
            applied: watch::Sender::new(AsOf::default()),
        }
    }

    /// Returns a waiter for this projector.
    pub fn waiter(&self) -> Waiter {
        Waiter {
            applied: self.applied.subscribe(),
        }
    }

    /// Returns the applied position, as far as this process knows.
    pub fn applied(&self) -> AsOf {
        *self.applied.borrow()
    }

    /// Waits until `sequence` is applied; see [`Waiter::wait_for`].
    pub async fn wait_for(&self, sequence: u64, timeout: Duration) -> Result<AsOf, WaitError> {
        self.waiter().wait_for(sequence, timeout).await
    }

    /// Follows the journal from the store's position until `shutdown`. After a retryable failure it
    /// retries with growing pauses of up to five seconds; any other failure ends it with the error.
    /// A batch is applied as a whole or not at all, at shutdown too.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), ProjectorError> {
        let (first_pause, longest_pause) = RETRY_PAUSES;
        let mut pause = first_pause;
        loop {
            let before = self.applied().sequence;
            let pumped = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                pumped = self.pump(None) => pumped,
            };
            match pumped {
                Ok(()) => return Ok(()),
                Err(error) if error.is_retryable() => {
                    if self.applied().sequence > before {
                        pause = first_pause;
                    }
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "projector follows again");
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = pause.saturating_mul(2).min(longest_pause);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies everything the journal holds at the time of the call, and returns the position.
    pub async fn catch_up(&self) -> Result<AsOf, ProjectorError> {
        let target = self.journal.last_sequence().await?;
        let (mut pause, _) = RETRY_PAUSES;
        let mut retries = 0;
        loop {
            match self.pump(Some(target)).await {
                Ok(()) => return Ok(self.applied()),
                Err(error) if error.is_retryable() && retries < MAX_CATCH_UP_RETRIES => {
                    retries += 1;
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Empties the store and applies the whole journal again. Meanwhile queries answer as of the
    /// sequence reached so far. Another projector running at the same time, in any process, is
    /// harmless.
    pub async fn rebuild(&self) -> Result<AsOf, ProjectorError> {
        self.store.reset().await?;
        self.applied.send_replace(AsOf::default());
        self.catch_up().await
    }

    /// Follows until `until` is applied, or forever. Dropping it at any moment is safe: the batch
    /// in progress is then not applied.
    async fn pump(&self, until: Option<u64>) -> Result<(), ProjectorError> {
        let mut position = self.store.position().await?;
        self.applied.send_replace(position);
        let last = self.journal.last_sequence().await?;
        if position.sequence > last {
            return Err(ProjectorError::Ahead {
                position: position.sequence,
                last,
            });
        }
        let caught_up = until.map_or(last, |until| until.min(last));
        let mut is_indexed = position.sequence >= caught_up;
        if is_indexed {
            self.store.index().await?;
        }
        if until.is_some_and(|until| position.sequence >= until) {
            return Ok(());
        }
        let mut batches = Batches::follow(&self.journal, position.sequence, last).await?;
        loop {
            let Some(batch) = batches.next().await? else {
                return Err(ProjectorError::Ended {
                    after: position.sequence,
                });
            };
            let spans = spans_of(&batch, last);
            position = self.store.apply(&batch).await?;
            drop(spans);
            self.applied.send_replace(position);
            if !is_indexed && position.sequence >= caught_up {
                is_indexed = true;
                self.store.index().await?;
            }
            if until.is_some_and(|until| position.sequence >= until) {
                return Ok(());
            }
        }
    }
}

/// Creates a span for each traced commit of a batch, except for those the journal held when
/// following began, whose traces ended long ago.
fn spans_of(batch: &[StoredCommit], last: u64) -> Vec<Span> {
    let mut spans = Vec::new();
    for stored in batch {
        let commit = &stored.commit;
        if stored.sequence <= last || commit.traceparent.is_empty() {
            continue;
        }
        let span = tracing::info_span!(
            parent: None,
            "project",
            otel.kind = "consumer",
            commit = %commit.id,
            sequence = stored.sequence
        );
        if span.is_disabled() {
            break;
        }
        trace::continue_from(&span, &commit.traceparent);
        spans.push(span);
    }
    spans
}

/// A followed journal in bounded batches; reads and decodes one batch ahead of the consumer.
pub(super) struct Batches {
    ready: mpsc::Receiver<Result<Vec<StoredCommit>, JournalError>>,
    /// The reader; dropping it stops the reading.
    _reader: AbortOnDropHandle<()>,
}

impl Batches {
    /// Follows `journal` after a sequence; `known_last` is its last sequence at this moment.
    pub(super) async fn follow(
        journal: &Arc<dyn Journal>,
        after: u64,
        known_last: u64,
    ) -> Result<Self, JournalError> {
        let mut cutter = Cutter {
            stream: journal.follow(ReadFrom { after }).await?,
            known_last,
            failure: None,
        };
        let (sender, ready) = mpsc::channel(1);
        let reader = tokio::spawn(async move {
            while let Some(batch) = cutter.next().await.transpose() {
                let is_last = batch.is_err();
                if sender.send(batch).await.is_err() || is_last {
                    break;
                }
            }
        });
        Ok(Self {
            ready,
            _reader: AbortOnDropHandle::new(reader),
        })
    }

    /// Returns the next batch, never empty; `None` if the journal stopped delivering. Cancelling
    /// the call loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<StoredCommit>>, JournalError> {
        self.ready.recv().await.transpose()
    }
}

/// Groups a followed journal into bounded batches.
struct Cutter {
    stream: BoxStream<'static, Result<StoredCommit, JournalError>>,
    /// Commits up to this sequence are known to be on their way.
    known_last: u64,
    /// An error that arrived behind commits; reported after them.
    failure: Option<JournalError>,
}

impl Cutter {
    /// Returns the next batch, never empty; `None` if the stream has ended. It waits for the first
    /// commit, then takes what has arrived, waiting briefly while the journal is known to hold
    /// more.
    async fn next(&mut self) -> Result<Option<Vec<StoredCommit>>, JournalError> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let Some(first) = self.stream.next().await else {
            return Ok(None);
        };
        let mut batch = vec![first?];
        let mut bytes = 0_usize;
        let deadline = tokio::time::Instant::now() + LINGER;
        while let Some(newest) = batch.last() {
            bytes = bytes.saturating_add(newest.commit.encoded_len());
            if batch.len() >= MAX_BATCH_COMMITS || bytes >= MAX_BATCH_BYTES {
                break;
            }
            let is_behind = newest.sequence < self.known_last;
            let next = match self.stream.next().now_or_never() {
                Some(next) => next,
                None if is_behind => {
                    match tokio::time::timeout_at(deadline, self.stream.next()).await {
                        Ok(next) => next,
                        Err(_) => break,
                    }
                }
                None => break,
            };
            match next {
                Some(Ok(commit)) => batch.push(commit),
                Some(Err(error)) => {
                    self.failure = Some(error);
                    break;
                }
                // The next call sees the end again.
                None => break,
            }
        }
        Ok(Some(batch))
    }
}
