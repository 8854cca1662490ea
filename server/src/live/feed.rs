//! Pages of commits for all followers: from the newest commits, which are read once, or from the
//! journal.
//!
//! A follower has no buffer of its own: it asks for what follows its sequence when its client has
//! taken what came before. A client that reads too slowly is disconnected and resumes from its
//! sequence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use rollbook_ledger::error_code::Coded;
use rollbook_ledger::journal::{JournalError, SharedJournal, StoredCommit};
use rollbook_ledger::projection::projector::Waiter;
use rollbook_ledger::projection::store::ViewError;
use serde_json::json;
use tokio::sync::Semaphore;

/// The number of newest commits whose log lines are cached.
const MAX_LINES: usize = 1_024;
/// Page size when reading history from the journal.
const BACK_PAGE: usize = 2_048;
/// The most concurrent reads of history.
const BACK_READS: usize = 8;
/// How long a follower waits for its turn to read history, and for each commit of it.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// One commit as followers of the log get it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) commit: Arc<StoredCommit>,
    pub(crate) bytes: Bytes,
}

impl Line {
    fn of(stored: &Arc<StoredCommit>) -> Result<Self, serde_json::Error> {
        let value = json!({
            "sequence": stored.sequence,
            "stored_at": stored.stored_at.to_string(),
            "commit": stored.commit,
        });
        let mut text = serde_json::to_vec(&value)?;
        text.push(b'\n');
        Ok(Self {
            commit: Arc::clone(stored),
            bytes: text.into(),
        })
    }
}

/// Why a follower is disconnected.
#[derive(Debug, thiserror::Error, Coded)]
pub(crate) enum FeedError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(
        "RB-API-31: too many followers read old commits at the same time; follow again from sequence {after}"
    )]
    Busy { after: u64 },
    #[error(
        "RB-API-39: the environment of rollout {rollout} cannot be read; follow again from sequence {after}"
    )]
    Environment { rollout: String, after: u64 },
    #[error("RB-API-32: the server is stopping; follow again from sequence {after}")]
    Stopping { after: u64 },
    #[error("RB-API-33: sequence {sequence} cannot be written as JSON: {reason}")]
    Json { sequence: u64, reason: String },
    #[error(
        "RB-API-35: the events were read too slowly, and those after sequence {after} are no longer buffered; follow again from the last event that you have, and read faster or filter"
    )]
    Slow { after: u64 },
}

/// Commits in order, never empty.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) commits: Vec<Arc<StoredCommit>>,
    /// Whether they were in memory; otherwise they were read from the journal.
    pub(crate) at_hand: bool,
}

/// The newest commits in memory, and older ones from the journal. Clones share it.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: SharedJournal,
    lines: Mutex<BTreeMap<u64, Line>>,
    back: Semaphore,
}

impl Feed {
    /// A feed of what `journal` reads.
    pub fn new(journal: SharedJournal) -> Self {
        Self(Arc::new(Inner {
            journal,
            lines: Mutex::default(),
            back: Semaphore::new(BACK_READS),
        }))
    }

    /// The last sequence read; `None`: reading has not started.
    pub(crate) fn known(&self) -> Option<u64> {
        self.0.journal.known()
    }

    /// Waits until reading has started; returns the last sequence read.
    pub(crate) async fn begun(&self) -> u64 {
        self.0.journal.begun().await
    }

    /// The commits after a sequence, never empty; waits for them as long as it takes.
    pub(crate) async fn next(&self, after: u64) -> Result<Vec<Line>, FeedError> {
        let last = self.0.journal.beyond(after).await?;
        let page = self.page(after, last).await?;
        let lines = page.commits.iter().map(|commit| self.line(commit));
        lines.collect()
    }

    /// The same for commits that the views contain. `at_hand`: the previous page was in memory, and
    /// so must be this one, because a slow reader must not cost more than a fast one.
    pub(crate) async fn viewed(
        &self,
        after: u64,
        applied: &Waiter,
        at_hand: bool,
    ) -> Result<Page, FeedError> {
        if at_hand && self.0.journal.kept(after).is_none() {
            return Err(FeedError::Slow { after });
        }
        let last = self.0.journal.beyond(after).await?;
        let applied = applied.beyond(after).await;
        let applied = applied.ok_or(FeedError::Stopping { after })?;
        self.page(after, last.min(applied.sequence)).await
    }

    /// Waits until something is, or may have been, recorded of a rollout after a sequence.
    ///
    /// # Errors
    /// The journal is damaged, so nothing more is read.
    pub(crate) async fn changed(&self, rollout: &str, mut after: u64) -> Result<(), JournalError> {
        loop {
            self.0.journal.beyond(after).await?;
            let Some(commits) = self.0.journal.kept(after) else {
                return Ok(());
            };
            let is_of = |stored: &Arc<StoredCommit>| stored.commit.aggregate_id == rollout;
            if commits.iter().any(is_of) {
                return Ok(());
            }
            after = commits.last().map_or(after, |stored| stored.sequence);
        }
    }

    /// The commits after a sequence, up to one that has been read.
    async fn page(&self, after: u64, last: u64) -> Result<Page, FeedError> {
        match self.0.journal.kept(after) {
            Some(mut commits) if !commits.is_empty() => {
                commits.retain(|commit| commit.sequence <= last);
                Ok(Page {
                    commits,
                    at_hand: true,
                })
            }
            _ => Ok(Page {
                commits: self.further_back(after, last).await?,
                at_hand: false,
            }),
        }
    }

    /// A page that is not in memory.
    async fn further_back(
        &self,
        after: u64,
        last: u64,
    ) -> Result<Vec<Arc<StoredCommit>>, FeedError> {
        let busy = || FeedError::Busy { after };
        let turn = tokio::time::timeout(BACK_WITHIN, self.0.back.acquire());
        let _turn = turn.await.map_err(|_| busy())?.map_err(|_| busy())?;
        let wanted = usize::try_from(last.saturating_sub(after)).unwrap_or(usize::MAX);
        let mut commits = self
            .0
            .journal
            .history(after)
            .await?
            .take(wanted.min(BACK_PAGE));
        let mut page = Vec::new();
        while let Some(stored) = tokio::time::timeout(BACK_WITHIN, commits.next())
            .await
            .map_err(|_| busy())?
        {
            page.push(Arc::new(stored?));
        }
        if page.is_empty() {
            return Err(busy());
        }
        Ok(page)
    }

    /// The log line of a commit, encoded once for all followers of the newest commits.
    fn line(&self, stored: &Arc<StoredCommit>) -> Result<Line, FeedError> {
        let lines = || self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines().get(&stored.sequence) {
            return Ok(line.clone());
        }
        let line = line(stored)?;
        let mut lines = lines();
        lines.insert(stored.sequence, line.clone());
        while lines.len() > MAX_LINES {
            lines.pop_first();
        }
        Ok(line)
    }
}

/// The log line of a commit.
pub(crate) fn line(stored: &Arc<StoredCommit>) -> Result<Line, FeedError> {
    Line::of(stored).map_err(|error| FeedError::Json {
        sequence: stored.sequence,
        reason: error.to_string(),
    })
}
