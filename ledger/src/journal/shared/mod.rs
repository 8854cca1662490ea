//! A journal whose new commits are read once and shared by all followers.
//!
//! ```text
//!   journal ──one reader──▶ newest commits (bounded) ──▶ projector, orchestrator, live clients …
//!        └──── history ─────────────────────────────▶ a follower that is further behind,
//!                                                     until the newest commits reach back to it
//! ```
//!
//! A follower is only a sequence, not a buffer: a slow one costs no memory and delays nobody.

mod ring;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use rollbook_proto::v1::Commit;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::integrity::Extent;
use super::{Appended, Journal, JournalError, ReadFrom, StoredCommit, SyncKnown};
use crate::ids::Aggregate;

pub use ring::Bounds;
use ring::Ring;

/// Number of commits handed to a follower at a time.
const MAX_TAKEN: usize = 256;
/// Wait before reading again after the journal failed.
const READ_AGAIN: Duration = Duration::from_secs(1);

type Commits = BoxStream<'static, Result<StoredCommit, JournalError>>;

/// The shared journal. Clones share its reader, which [`SharedJournal::run`] drives; until that
/// begins, every follower reads the journal itself.
#[derive(Debug, Clone)]
pub struct SharedJournal {
    inner: Arc<dyn Journal>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// The reader's progress; its changes wake followers.
    reader: watch::Sender<Reader>,
}

/// The reader's progress.
#[derive(Debug, Clone, Default)]
struct Reader {
    /// The last sequence read, or the one after which reading begins.
    last: Option<u64>,
    /// The sequence at which stored history is damaged, and why; nothing is read after that.
    damage: Option<(u64, String)>,
}

impl SharedJournal {
    /// Wraps `inner` with default bounds; nothing is read yet.
    pub fn new(inner: Arc<dyn Journal>) -> Self {
        Self::with_bounds(inner, Bounds::default())
    }

    /// Wraps `inner`, keeping as many commits as `bounds` allow.
    pub fn with_bounds(inner: Arc<dyn Journal>, bounds: Bounds) -> Self {
        Self {
            inner,
            shared: Arc::new(Shared {
                ring: Mutex::new(Ring::new(bounds)),
                reader: watch::Sender::default(),
            }),
        }
    }

    /// Reads new commits until `shutdown`. After damage it stops reading, and followers end with
    /// that error.
    pub async fn run(self, shutdown: CancellationToken) {
        let read = async {
            loop {
                match self.read().await {
                    Err(JournalError::Corrupt { sequence, reason }) => {
                        tracing::error!(sequence, reason, "the ledger cannot be followed any more");
                        let damage = Some((sequence, reason));
                        self.shared
                            .reader
                            .send_modify(|reader| reader.damage = damage);
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "followers wait: the ledger cannot be read");
                    }
                    Ok(()) => {}
                }
                tokio::time::sleep(READ_AGAIN).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = read => {}
        }
        shutdown.cancelled().await;
    }

    async fn read(&self) -> Result<(), JournalError> {
        let known = self.known();
        let after = match known {
            Some(known) => known,
            None => self.inner.last_sequence().await?,
        };
        let mut commits = self.inner.follow(ReadFrom { after }).await?;
        if known.is_none() {
            self.ring().begin(after);
            self.set_last(after);
        }
        while let Some(stored) = commits.next().await {
            let stored = Arc::new(stored?);
            let sequence = stored.sequence;
            self.ring().push(stored);
            self.set_last(sequence);
        }
        Ok(())
    }

    fn set_last(&self, last: u64) {
        self.shared
            .reader
            .send_modify(|reader| reader.last = Some(last));
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Every statement leaves the ring consistent, so a panic of another holder does no harm.
        let ring = self.shared.ring.lock();
        ring.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last sequence read; `None` if reading has not begun.
    pub fn known(&self) -> Option<u64> {
        self.ring().last()
    }

    /// Waits until reading has begun; returns the last sequence read.
    pub async fn begun(&self) -> u64 {
        let mut reader = self.shared.reader.subscribe();
        loop {
            if let Some(last) = reader.borrow_and_update().last {
                return last;
            }
            if reader.changed().await.is_err() {
                // Unreachable: this journal holds the sender.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits, as long as it takes, until a sequence beyond `after` has been read; returns the last
    /// one read.
    ///
    /// # Errors
    /// `Corrupt` if nothing more will be read.
    pub async fn beyond(&self, after: u64) -> Result<u64, JournalError> {
        let mut reader = self.shared.reader.subscribe();
        loop {
            {
                let reader = reader.borrow_and_update();
                if let Some(last) = reader.last.filter(|last| *last > after) {
                    return Ok(last);
                }
                if let Some((sequence, reason)) = &reader.damage {
                    return Err(JournalError::Corrupt {
                        sequence: *sequence,
                        reason: reason.clone(),
                    });
                }
            }
            if reader.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns buffered commits after a sequence, at most 256; empty at the end. `None` if the
    /// first of them is no longer buffered, or reading has not begun.
    pub fn kept(&self, after: u64) -> Option<Vec<Arc<StoredCommit>>> {
        self.ring().after(after, MAX_TAKEN)
    }

    /// Reads commits after a sequence from the journal, with a separate reader.
    pub async fn history(&self, after: u64) -> Result<Commits, JournalError> {
        self.inner.follow(ReadFrom { after }).await
    }
}

/// A follower; it reads from the journal while it is behind the buffered commits.
struct Follower {
    journal: SharedJournal,
    /// The last sequence delivered.
    at: u64,
    taken: VecDeque<Arc<StoredCommit>>,
    history: Option<Commits>,
}

impl Follower {
    async fn next(&mut self) -> Result<StoredCommit, JournalError> {
        loop {
            if let Some(next) = self.taken.pop_front() {
                self.at = next.sequence;
                return Ok(Arc::unwrap_or_clone(next));
            }
            match self.journal.kept(self.at) {
                Some(kept) if kept.is_empty() => {
                    self.history = None;
                    self.journal.beyond(self.at).await?;
                }
                Some(kept) => {
                    self.history = None;
                    self.taken = kept.into();
                }
                None => {
                    if let Some(next) = self.next_from_history().await? {
                        self.at = next.sequence;
                        return Ok(next);
                    }
                }
            }
        }
    }

    /// Returns the next commit of the journal; `None` if the shared reader has begun meanwhile.
    async fn next_from_history(&mut self) -> Result<Option<StoredCommit>, JournalError> {
        let history = match &mut self.history {
            Some(history) => history,
            None => {
                let history = self.journal.history(self.at).await?;
                self.history.insert(history)
            }
        };
        let has_begun = self.journal.known().is_some();
        tokio::select! {
            biased;
            next = history.next() => match next {
                Some(next) => next.map(Some),
                None => Err(JournalError::Unavailable {
                    reason: format!("it stopped delivering after sequence {}", self.at),
                }),
            },
            _ = self.journal.begun(), if !has_begun => Ok(None),
        }
    }
}

#[async_trait]
impl Journal for SharedJournal {
    async fn append(
        &self,
        aggregate: &Aggregate,
        commit: Commit,
    ) -> Result<Appended, JournalError> {
        self.inner.append(aggregate, commit).await
    }

    async fn read(
        &self,
        aggregate: &Aggregate,
        after: u64,
    ) -> Result<Vec<StoredCommit>, JournalError> {
        self.inner.read(aggregate, after).await
    }

    async fn follow(&self, from: ReadFrom) -> Result<Commits, JournalError> {
        let after = from.after;
        // Report at once if the journal cannot be followed, and let it judge a position beyond the
        // end.
        let is_kept = self.known().is_some_and(|last| after <= last) && self.kept(after).is_some();
        let history = if is_kept {
            None
        } else {
            Some(self.history(after).await?)
        };
        // Boxed because it is moved with every commit.
        let follower = Box::new(Follower {
            journal: self.clone(),
            at: after,
            taken: VecDeque::new(),
            history,
        });
        let commits = stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(commit) => Some((Ok(commit), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(commits.boxed())
    }

    async fn last_sequence(&self) -> Result<u64, JournalError> {
        self.inner.last_sequence().await
    }

    async fn at(&self, sequence: u64) -> Result<Option<StoredCommit>, JournalError> {
        self.inner.at(sequence).await
    }

    async fn extent(&self) -> Result<Extent, JournalError> {
        self.inner.extent().await
    }

    async fn subjects(
        &self,
        kind: &str,
        at_most: usize,
    ) -> Result<Option<Vec<String>>, JournalError> {
        self.inner.subjects(kind, at_most).await
    }

    fn sync(&self) -> SyncKnown {
        self.inner.sync()
    }
}
