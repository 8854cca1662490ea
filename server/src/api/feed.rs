//! New commits for all who follow the log: read once, kept for a while, handed to each follower by
//! the sequence it stands at.
//!
//! ```text
//!   journal ──one reader──▶ newest lines (bounded) ──▶ follower at 17, at 17, at 16 …
//!        └──── a page at a time, a few at once ──────▶ a follower that stands further back
//! ```
//!
//! A follower holds no buffer of its own: it asks for what comes after its sequence when its reader
//! has taken what came before. One that reads too slowly is closed, and goes on from its sequence.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use rollbook_ledger::journal::{Journal, JournalError, ReadFrom, StoredCommit};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Lines kept.
const MAX_LINES: usize = 8_192;
/// Bytes of lines kept; the newest line is kept whatever its size.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Lines handed out at a time.
const MAX_PAGE: usize = 256;
/// Commits read for a follower that stands further back, at a time.
const BACK_PAGE: usize = 2_048;
/// Such reads at the same time.
const BACK_READS: usize = 8;
/// A follower waits this long for its turn to read further back, and for each commit of it.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// After a failure of the journal.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// One commit as followers get it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) sequence: u64,
    pub(super) aggregate_id: Arc<str>,
    pub(super) bytes: Bytes,
}

impl Line {
    pub(super) fn of(stored: &StoredCommit) -> Result<Self, serde_json::Error> {
        let value = json!({
            "sequence": stored.sequence,
            "stored_at": stored.stored_at.to_string(),
            "commit": stored.commit,
        });
        let mut text = serde_json::to_vec(&value)?;
        text.push(b'\n');
        Ok(Self {
            sequence: stored.sequence,
            aggregate_id: stored.commit.aggregate_id.as_str().into(),
            bytes: text.into(),
        })
    }
}

/// Why a follower is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(
        "RB-API-31: too many followers read old commits at the same time; follow again from sequence {after}"
    )]
    Busy { after: u64 },
    #[error("RB-API-32: the server is stopping; follow again from sequence {after}")]
    Stopping { after: u64 },
    #[error("RB-API-33: sequence {sequence} cannot be written as JSON: {reason}")]
    Json { sequence: u64, reason: String },
}

/// The newest commits. Clones share them.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Arc<dyn Journal>,
    kept: Mutex<Kept>,
    /// The last sequence read; readers wait on it.
    last: watch::Sender<u64>,
    back: Semaphore,
}

#[derive(Debug, Default)]
struct Kept {
    /// Without gaps, up to `last`.
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Whole after every statement, so a panicked holder left nothing half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, line: Line) {
        self.bytes += line.bytes.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || (self.bytes > MAX_BYTES && self.lines.len() > 1) {
            if let Some(oldest) = self.lines.pop_front() {
                self.bytes -= oldest.bytes.len();
            }
        }
    }

    /// Lines after a sequence; `None`: the first of them is not kept any more.
    fn after(&self, after: u64) -> Option<Vec<Line>> {
        let first = self.lines.front()?.sequence;
        let skip = after.saturating_add(1).checked_sub(first)?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let lines = self.lines.iter().skip(skip).take(MAX_PAGE);
        Some(lines.cloned().collect())
    }
}

impl Feed {
    /// A feed that reads nothing yet.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self(Arc::new(Inner {
            journal,
            kept: Mutex::default(),
            last: watch::Sender::new(0),
            back: Semaphore::new(BACK_READS),
        }))
    }

    /// Reads what is appended from now on, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.read() => {}
        }
    }

    async fn read(&self) {
        loop {
            if let Err(error) = self.read_on().await {
                tracing::warn!(%error, "followers of the log wait: it cannot be read");
            }
            tokio::time::sleep(READ_AGAIN).await;
        }
    }

    async fn read_on(&self) -> Result<(), FeedError> {
        let known = *self.0.last.borrow();
        let after = match known {
            0 => self.0.journal.last_sequence().await?,
            known => known,
        };
        self.0.last.send_replace(after);
        let mut commits = self.0.journal.follow(ReadFrom { after }).await?;
        while let Some(stored) = commits.next().await {
            let line = line(&stored?)?;
            let sequence = line.sequence;
            self.0.lock().push(line);
            self.0.last.send_replace(sequence);
        }
        Ok(())
    }

    /// What comes after a sequence, never empty; waits for it as long as it takes.
    pub(super) async fn next(&self, after: u64) -> Result<Vec<Line>, FeedError> {
        let mut last = self.0.last.subscribe();
        let reached = last.wait_for(|last| *last > after).await;
        let last = *reached.map_err(|_| FeedError::Stopping { after })?;
        let kept = self.0.lock().after(after);
        match kept {
            Some(lines) if !lines.is_empty() => Ok(lines),
            _ => self.further_back(after, last).await,
        }
    }

    /// A page that is not kept, from the journal.
    async fn further_back(&self, after: u64, last: u64) -> Result<Vec<Line>, FeedError> {
        let busy = || FeedError::Busy { after };
        let turn = tokio::time::timeout(BACK_WITHIN, self.0.back.acquire());
        let _turn = turn.await.map_err(|_| busy())?.map_err(|_| busy())?;
        let wanted = usize::try_from(last - after).unwrap_or(usize::MAX);
        let mut commits = self
            .0
            .journal
            .follow(ReadFrom { after })
            .await?
            .take(wanted.min(BACK_PAGE));
        let mut lines = Vec::new();
        while let Some(stored) = tokio::time::timeout(BACK_WITHIN, commits.next())
            .await
            .map_err(|_| busy())?
        {
            lines.push(line(&stored?)?);
        }
        if lines.is_empty() {
            return Err(busy());
        }
        Ok(lines)
    }
}

/// The line of a commit.
pub(super) fn line(stored: &StoredCommit) -> Result<Line, FeedError> {
    Line::of(stored).map_err(|error| FeedError::Json {
        sequence: stored.sequence,
        reason: error.to_string(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plain(sequence: u64, size: usize) -> Line {
        Line {
            sequence,
            aggregate_id: "r".into(),
            bytes: vec![b'x'; size].into(),
        }
    }

    #[test]
    fn lines_are_handed_out_by_sequence_while_they_are_kept() {
        let mut kept = Kept::default();
        assert!(kept.after(0).is_none());
        for sequence in 5..=7 {
            kept.push(plain(sequence, 1));
        }
        let after = |after| {
            let lines = kept.after(after)?;
            Some(lines.iter().map(|line| line.sequence).collect::<Vec<_>>())
        };
        assert_eq!(after(3), None);
        assert_eq!(after(4), Some(vec![5, 6, 7]));
        assert_eq!(after(6), Some(vec![7]));
        assert_eq!(after(7), Some(vec![]));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        for sequence in 1..=(MAX_LINES as u64 + 10) {
            kept.push(plain(sequence, 1));
        }
        assert_eq!(kept.lines.len(), MAX_LINES);
        assert_eq!(kept.bytes, MAX_LINES);
        kept.push(plain(MAX_LINES as u64 + 11, MAX_BYTES));
        assert_eq!(kept.lines.len(), 1);
    }
}
