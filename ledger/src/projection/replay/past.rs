//! The views as of earlier points, kept for the next questions about the same points.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::moment::Moment;
use super::single_flight::SingleFlight;
use super::{Until, replay_at};
use crate::error_code::Coded;
use crate::journal::integrity::{Damage, spot_check};
use crate::journal::{Journal, JournalError};
use crate::projection::projector::ProjectorError;
use crate::projection::store::ViewStore;

/// Commits read of a long journal to see that it still holds what kept views were replayed from; a
/// short one is read whole.
const SAMPLES: u64 = 16;

/// Times kept with the sequence that they stand for.
const MAX_MOMENTS: usize = 256;

/// What [`PastViews`] may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastBounds {
    /// Maximum number of views kept in memory.
    pub stores: usize,
    /// Maximum number of commits in all views kept together; a commit takes one to two kilobytes.
    /// Views of more commits are replayed for every question.
    pub commits: u64,
    /// Maximum number of replays at the same time.
    pub replays: usize,
    /// How long a replay waits until it may begin.
    pub begins_within: Duration,
}

impl Default for PastBounds {
    fn default() -> Self {
        Self {
            stores: 4,
            commits: 200_000,
            replays: 2,
            begins_within: Duration::from_secs(10),
        }
    }
}

/// Why there is no answer as of an earlier point.
#[derive(Debug, Clone, thiserror::Error, Coded)]
pub enum PastError {
    /// The replay failed.
    #[error(transparent)]
    Replay(Arc<ProjectorError>),
    /// The journal has lost what kept views were replayed from, or could not be asked.
    #[error(transparent)]
    Damage(Arc<Damage>),
    /// Too much is being replayed. Retryable.
    #[error(
        "RB-PROJECTOR-4: {replays} replays of the ledger are under way, and this one could not begin within {waited:?}; ask again in a moment"
    )]
    Busy {
        /// The replays under way.
        replays: usize,
        /// How long this one has waited.
        waited: Duration,
    },
}

impl PastError {
    /// True if the ledger is damaged: history is lost or cannot be decoded.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Replay(error) => error.is_damage(),
            Self::Damage(damage) => !damage.is_retryable(),
            Self::Busy { .. } => false,
        }
    }
}

impl From<ProjectorError> for PastError {
    fn from(error: ProjectorError) -> Self {
        Self::Replay(Arc::new(error))
    }
}

impl From<JournalError> for PastError {
    fn from(error: JournalError) -> Self {
        ProjectorError::from(error).into()
    }
}

type Views = Arc<dyn ViewStore>;

/// Answers as of earlier points of one journal. Each point is replayed once for all who ask for it
/// at the same time, and the views last used are kept. Clones share everything.
///
/// Kept views answer only after a look at the journal, as the health check takes it: damage of the
/// ledger is never hidden by what was read before.
#[derive(Debug, Clone)]
pub struct PastViews(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Arc<dyn Journal>,
    bounds: PastBounds,
    kept: Mutex<Kept>,
    by_sequence: SingleFlight<u64, Result<Views, PastError>>,
    /// By the time and the journal's last sequence: who asks after an append is answered with it.
    by_time: SingleFlight<(Timestamp, u64), Result<u64, PastError>>,
    turns: Semaphore,
    replays: AtomicU64,
}

/// What is kept; the last used is at the end.
#[derive(Debug, Default)]
struct Kept {
    stores: VecDeque<(u64, Views)>,
    moments: VecDeque<Moment>,
}

impl Kept {
    fn store(&mut self, sequence: u64) -> Option<Views> {
        let place = self.stores.iter().position(|(at, _)| *at == sequence)?;
        let found = self.stores.remove(place)?;
        let views = Arc::clone(&found.1);
        self.stores.push_back(found);
        Some(views)
    }

    fn keep(&mut self, sequence: u64, views: Views, bounds: PastBounds) {
        if sequence > bounds.commits {
            return;
        }
        self.stores.retain(|(at, _)| *at != sequence);
        self.stores.push_back((sequence, views));
        let commits = |stores: &VecDeque<(u64, Views)>| -> u64 {
            stores.iter().map(|(sequence, _)| *sequence).sum()
        };
        while self.stores.len() > bounds.stores || commits(&self.stores) > bounds.commits {
            self.stores.pop_front();
        }
    }

    fn keep_moment(&mut self, moment: Moment) {
        self.moments.push_back(moment);
        while self.moments.len() > MAX_MOMENTS {
            self.moments.pop_front();
        }
    }
}

impl PastViews {
    /// Keeps nothing yet.
    pub fn new(journal: Arc<dyn Journal>, bounds: PastBounds) -> Self {
        Self(Arc::new(Inner {
            journal,
            bounds,
            kept: Mutex::default(),
            by_sequence: SingleFlight::default(),
            by_time: SingleFlight::default(),
            turns: Semaphore::new(bounds.replays),
            replays: AtomicU64::new(0),
        }))
    }

    /// Returns the views as of `until`, as [`replay_at`] does; they must only be read.
    ///
    /// # Errors
    /// Those of the replay, which everybody gets who waits for it; `Damage`; `Busy` if too many
    /// replays are under way.
    pub async fn at(&self, until: Until) -> Result<Arc<dyn ViewStore>, PastError> {
        let last = self.0.journal.last_sequence().await?;
        let sequence = match until {
            Until::Sequence(sequence) => sequence.min(last),
            Until::Time(time) => self.sequence_at(time, last).await?,
        };
        let begin = || Arc::clone(&self.0).views(sequence).boxed();
        self.0.by_sequence.join(sequence, begin).await
    }

    /// Returns how many replays have begun.
    pub fn replays(&self) -> u64 {
        self.0.replays.load(Ordering::Relaxed)
    }

    async fn sequence_at(&self, time: Timestamp, last: u64) -> Result<u64, PastError> {
        let known = {
            let kept = self.0.kept();
            let mut moments = kept.moments.iter();
            let found = moments.find(|moment| moment.is_named_by(time, last));
            found.map(|moment| moment.sequence)
        };
        match known {
            Some(sequence) => Ok(sequence),
            None => {
                let begin = || Arc::clone(&self.0).moment(time).boxed();
                self.0.by_time.join((time, last), begin).await
            }
        }
    }
}

impl Inner {
    async fn views(self: Arc<Self>, sequence: u64) -> Result<Views, PastError> {
        let kept = self.kept().store(sequence);
        if let Some(views) = kept {
            let looked = spot_check(&*self.journal, SAMPLES).await;
            looked.map_err(|damage| PastError::Damage(Arc::new(damage)))?;
            return Ok(views);
        }
        let _turn = self.turn().await?;
        self.replays.fetch_add(1, Ordering::Relaxed);
        let views = replay_at(&self.journal, Until::Sequence(sequence)).await?;
        self.kept().keep(sequence, Arc::clone(&views), self.bounds);
        Ok(views)
    }

    async fn moment(self: Arc<Self>, time: Timestamp) -> Result<u64, PastError> {
        let _turn = self.turn().await?;
        let moment = Moment::of(&self.journal, time).await?;
        self.kept().keep_moment(moment);
        Ok(moment.sequence)
    }

    /// Waits, within bounds, until another reader of the whole journal may begin.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, PastError> {
        let waited = self.bounds.begins_within;
        let turn = tokio::time::timeout(waited, self.turns.acquire()).await;
        // Never closed.
        turn.ok().and_then(Result::ok).ok_or(PastError::Busy {
            replays: self.bounds.replays,
            waited,
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Consistent after every statement, so a panicked holder left nothing half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
