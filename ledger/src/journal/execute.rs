//! Running one command against one aggregate: read, fold, decide, append, and on a conflict
//! fold and decide again.
//!
//! ```text
//!   read ─▶ fold ─▶ decide ─▶ append ─▶ done
//!    ▲                          │ conflict
//!    └────── jittered wait ◀────┘   (at most MAX_ATTEMPTS times)
//! ```
//!
//! Applying a command twice is prevented by `decide`: it finds the command id in the state and
//! answers `None`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rollbook_proto::v1::Commit;

use super::{Journal, JournalError, StoredCommit};
use crate::clock::from_proto;
use crate::ids::Aggregate;

/// How often a command is decided before it gives up against other writers.
pub const MAX_ATTEMPTS: u32 = 16;

/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Why a command was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// The fold or the decision refused.
    #[error("{0}")]
    Rejected(R),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Other writers were faster every time. Retryable.
    #[error(
        "RB-JOURNAL-8: {aggregate} was changed by others {attempts} times while this command was decided; try again"
    )]
    Contended {
        /// Whose subject.
        aggregate: String,
        /// How often it was decided.
        attempts: u32,
    },
}

impl<R> ExecuteError<R> {
    /// Whether the same command may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Rejected(_) => false,
            Self::Journal(error) => error.is_retryable(),
            Self::Contended { .. } => true,
        }
    }
}

/// What executing a command did.
#[derive(Debug, Clone, PartialEq)]
pub struct Executed {
    /// The aggregate's last sequence: the new commit's, or, when there was nothing to do, the
    /// one the decision was made on.
    pub sequence: u64,
    /// The commit as appended, with its `previous_sequence`; `None`: nothing to do.
    pub commit: Option<Commit>,
    /// How often the command was decided.
    pub attempts: u32,
}

impl Executed {
    /// The new commit as a follower will see it, except that `stored_at`, which no state may
    /// depend on, is the time it was recorded at.
    fn stored(&self) -> Option<StoredCommit> {
        let commit = self.commit.clone()?;
        Some(StoredCommit {
            sequence: self.sequence,
            stored_at: from_proto(commit.recorded_at.as_ref()).unwrap_or_default(),
            commit,
        })
    }
}

/// Executes a command on a freshly read aggregate.
///
/// `fold` turns the whole history (empty for a new aggregate) into a state; `decide` turns the
/// state into a commit, into `None` (nothing to do, or already done), or refuses. Both may run
/// several times and must be pure. `previous_sequence` is filled in here.
///
/// **Durable on return** when `commit` is `Some`, as [`Journal::append`] promises.
pub async fn execute<S, R>(
    journal: &dyn Journal,
    aggregate: &Aggregate,
    fold: impl Fn(&[StoredCommit]) -> Result<S, R>,
    decide: impl Fn(&S) -> Result<Option<Commit>, R>,
) -> Result<Executed, ExecuteError<R>> {
    let mut history: Vec<StoredCommit> = Vec::new();
    for attempt in 1..=MAX_ATTEMPTS {
        let last = history.last().map_or(0, |stored| stored.sequence);
        history.extend(journal.read(aggregate, last).await?);
        let last = history.last().map_or(0, |stored| stored.sequence);
        let state = fold(&history).map_err(ExecuteError::Rejected)?;
        let decided = decide(&state).map_err(ExecuteError::Rejected)?;
        if let Some(done) = append(journal, aggregate, decided, last, attempt).await? {
            return Ok(done);
        }
        pause(attempt).await;
    }
    Err(contended(aggregate))
}

/// Executes a command on a cached aggregate: one round trip when nobody else has written.
///
/// `evolve` continues a state (`None`: before the first commit) with the commits after it. A
/// commit decided on a cached state is safe, the append checks it; a refusal or a `None` decided
/// on a cached state is not, so it only counts after a read from the leader found nothing new.
pub async fn execute_cached<S: Clone, R>(
    journal: &dyn Journal,
    aggregate: &Aggregate,
    cache: &AggregateCache<S>,
    evolve: impl Fn(Option<S>, &[StoredCommit]) -> Result<S, R>,
    decide: impl Fn(&S) -> Result<Option<Commit>, R>,
) -> Result<Executed, ExecuteError<R>> {
    let mut known = cache.get(aggregate);
    let mut fresh = false;
    let mut attempt = 1;
    while attempt <= MAX_ATTEMPTS {
        if known.is_none() || fresh {
            known = Some(catch_up(journal, aggregate, known.take(), &evolve).await?);
            fresh = true;
        }
        let Some((state, last)) = &known else {
            break;
        };
        let decided = match decide(state) {
            Ok(Some(commit)) => Ok(Some(commit)),
            Ok(None) | Err(_) if !fresh => {
                fresh = true;
                continue;
            }
            other => other.map_err(ExecuteError::Rejected),
        };
        if fresh {
            cache.put(aggregate.clone(), state.clone(), *last);
        }
        if let Some(done) = append(journal, aggregate, decided?, *last, attempt).await? {
            if let Some(stored) = done.stored() {
                // A state that cannot be continued is simply not cached.
                if let Ok(next) = evolve(Some(state.clone()), &[stored]) {
                    cache.put(aggregate.clone(), next, done.sequence);
                }
            }
            return Ok(done);
        }
        fresh = true;
        pause(attempt).await;
        attempt += 1;
    }
    Err(contended(aggregate))
}

/// Continues a known state with what was appended after it.
async fn catch_up<S: Clone, R>(
    journal: &dyn Journal,
    aggregate: &Aggregate,
    known: Option<(S, u64)>,
    evolve: impl Fn(Option<S>, &[StoredCommit]) -> Result<S, R>,
) -> Result<(S, u64), ExecuteError<R>> {
    let (state, last) = match known {
        Some((state, last)) => (Some(state), last),
        None => (None, 0),
    };
    let tail = journal.read(aggregate, last).await?;
    let last = tail.last().map_or(last, |stored| stored.sequence);
    match (state, tail.is_empty()) {
        (Some(state), true) => Ok((state, last)),
        (state, _) => {
            let state = evolve(state, &tail).map_err(ExecuteError::Rejected)?;
            Ok((state, last))
        }
    }
}

/// Appends what was decided; `None` means a conflict.
async fn append<R>(
    journal: &dyn Journal,
    aggregate: &Aggregate,
    decided: Option<Commit>,
    last: u64,
    attempts: u32,
) -> Result<Option<Executed>, ExecuteError<R>> {
    let Some(mut commit) = decided else {
        return Ok(Some(Executed {
            sequence: last,
            commit: None,
            attempts,
        }));
    };
    commit.previous_sequence = last;
    match journal.append(aggregate, commit.clone()).await {
        Ok(appended) => Ok(Some(Executed {
            sequence: appended.sequence,
            commit: Some(commit),
            attempts,
        })),
        Err(JournalError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn contended<R>(aggregate: &Aggregate) -> ExecuteError<R> {
    ExecuteError::Contended {
        aggregate: aggregate.to_string(),
        attempts: MAX_ATTEMPTS,
    }
}

/// Waits before the next attempt: nothing at first, then up to 1, 2, 4 … ms, jittered so that
/// writers who collided once do not collide again.
async fn pause(attempt: u32) {
    if attempt < 2 {
        return;
    }
    let ceiling = Duration::from_millis(1 << attempt.min(10)).min(MAX_WAIT);
    tokio::time::sleep(jitter(ceiling)).await;
}

/// A duration between half of `ceiling` and `ceiling`; the randomness is that of a UUIDv7.
pub(super) fn jitter(ceiling: Duration) -> Duration {
    let (_, low) = uuid::Uuid::now_v7().as_u64_pair();
    let half = ceiling / 2;
    half + half * u32::try_from(low & 0xff).unwrap_or(0) / 255
}

/// Folded aggregates by last sequence. Only a cache: every entry may be stale, and is then
/// found out by the append or by the read before a refusal. Bounded; when full it starts over.
#[derive(Debug)]
pub struct AggregateCache<S> {
    entries: Mutex<HashMap<Aggregate, (S, u64)>>,
    capacity: usize,
}

impl<S: Clone> AggregateCache<S> {
    /// A cache of at most `capacity` aggregates.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            capacity,
        }
    }

    /// The cached state and the sequence it includes.
    pub fn get(&self, aggregate: &Aggregate) -> Option<(S, u64)> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(aggregate)
            .cloned()
    }

    /// Keeps `state`, which includes everything up to `last`, unless a later one is kept.
    pub fn put(&self, aggregate: Aggregate, state: S, last: u64) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries
            .get(&aggregate)
            .is_some_and(|(_, kept)| *kept >= last)
        {
            return;
        }
        if entries.len() >= self.capacity && !entries.contains_key(&aggregate) {
            entries.clear();
        }
        if self.capacity > 0 {
            entries.insert(aggregate, (state, last));
        }
    }
}
