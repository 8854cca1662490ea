//! Executes one command against one aggregate: fold, decide, append; after a conflict read on, fold
//! and decide again. This is the only such loop.
//!
//! ```text
//!   cached? ──yes──▶ decide ──▶ append ──▶ done
//!      │ no            │ ▲         │ conflict
//!      │       refusal │ │ fold    ▼
//!      └─────────────▶ read ◀── jittered wait   (at most MAX_ATTEMPTS decisions)
//! ```
//!
//! `decide` keeps a command from being applied twice: it finds the command id in the state and
//! returns `Repeated`, and the caller gets the first commit.

use std::future::Future;
use std::time::Duration;

use rollbook_proto::v1::Commit;
use tracing::Instrument;
use tracing::field::Empty;

use super::{Cache, Journal, JournalError, StoredCommit};
use crate::clock::from_proto;
use crate::error_code::Coded;
use crate::ids::Aggregate;
use crate::trace;

/// How often a command is decided before it gives up because of concurrent writers.
pub const MAX_ATTEMPTS: u32 = 32;

/// Maximum wait between two attempts.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Maximum number of commits folded while holding the cache's lock.
const SHORT_TAIL: usize = 16;

/// Concurrent writers won every time; nothing was stored. Retryable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
#[error(
    "RB-JOURNAL-8: {aggregate} was changed by others {attempts} times while this command was decided; try again"
)]
pub struct Contended {
    /// The contended aggregate.
    pub aggregate: String,
    /// How often it was decided.
    pub attempts: u32,
}

/// Why a command was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// The fold or the decision refused.
    #[error("{0}")]
    Rejected(R),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Concurrent writers won every time.
    #[error(transparent)]
    Contended(#[from] Contended),
}

/// The decision on a state.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandDecision {
    /// Append this commit; `execute` fills in its `previous_sequence`.
    Record(Commit),
    /// Nothing to do: the state is already as requested.
    Nothing,
    /// The same command was applied before, as the commit at this sequence.
    Repeated {
        /// Sequence of that commit.
        sequence: u64,
    },
}

/// The result of executing a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Executed {
    /// Sequence of the command's commit, new or repeated; if there was nothing to do, the
    /// aggregate's last sequence at the decision.
    pub sequence: u64,
    /// The commit as stored, with its `previous_sequence`; `None` if there was nothing to do.
    pub commit: Option<Commit>,
    /// The command had been applied before; the commit is the first one.
    pub repeated: bool,
    /// How often the command was decided.
    pub attempts: u32,
}

impl Executed {
    /// Returns the new commit as a follower will see it, except that `stored_at` is the time it was
    /// recorded at. No state may depend on `stored_at`.
    fn stored(&self) -> Option<StoredCommit> {
        let commit = self.commit.clone()?;
        let recorded_at = from_proto(commit.recorded_at.as_ref()).unwrap_or_default();
        Some(StoredCommit::new(self.sequence, recorded_at, commit))
    }
}

/// Executes a command: one round trip if the aggregate is cached and nobody else has written.
///
/// `evolve` advances a state by the commits that follow it; before the first commit the state is
/// `S::default()`. `decide` turns the state into a decision, or refuses. Both may run several times
/// and must have no side effects. A commit decided on a cached state is safe, because the append
/// checks it; `Repeated` is too, because an applied command stays applied. A refusal or `Nothing`
/// on a cached state is not, so it counts only after a read from the leader.
///
/// **Durable on return** if `commit` is `Some`, as [`Journal::append`] promises.
pub async fn execute<S, R, D>(
    journal: &dyn Journal,
    aggregate: &Aggregate,
    cache: &Cache<Aggregate, S>,
    evolve: impl Fn(S, &[StoredCommit]) -> Result<S, R>,
    decide: impl Fn(S) -> D,
) -> Result<Executed, ExecuteError<R>>
where
    S: Clone + Default,
    D: Future<Output = Result<CommandDecision, R>>,
{
    let mut known = cache.get(aggregate);
    let mut fresh = false;
    let mut attempt = 1;
    while attempt <= MAX_ATTEMPTS {
        let (state, last) = match known.take() {
            Some(known) if !fresh => known,
            stale => {
                fresh = true;
                continued(journal, aggregate, cache, stale, &evolve).await?
            }
        };
        let span = tracing::info_span!("decide", %aggregate, attempt);
        let decided = match decide(state.clone()).instrument(span).await {
            Ok(CommandDecision::Record(commit)) => Some(commit),
            Ok(CommandDecision::Repeated { sequence }) => {
                return Ok(Executed {
                    sequence,
                    commit: Some(first_time(journal, aggregate, sequence).await?),
                    repeated: true,
                    attempts: attempt,
                });
            }
            Ok(CommandDecision::Nothing) | Err(_) if !fresh => {
                fresh = true;
                known = Some((state, last));
                continue;
            }
            Ok(CommandDecision::Nothing) => None,
            Err(refusal) => return Err(ExecuteError::Rejected(refusal)),
        };
        if let Some(done) = append(journal, aggregate, decided, last, attempt).await? {
            if let Some(stored) = done.stored() {
                // If the state cannot be advanced, just do not cache it.
                let next = |state| evolve(state, &[stored]);
                let _ = cache.continued(aggregate.clone(), state, last, done.sequence, next);
            }
            return Ok(done);
        }
        known = Some((state, last));
        fresh = true;
        pause(attempt).await;
        attempt += 1;
    }
    Err(ExecuteError::Contended(Contended {
        aggregate: aggregate.to_string(),
        attempts: MAX_ATTEMPTS,
    }))
}

/// Returns an aggregate's state with everything acknowledged before the call, and its last
/// sequence; `S::default()` and 0 if it has no commits.
pub async fn load<S: Clone + Default, R>(
    journal: &dyn Journal,
    aggregate: &Aggregate,
    cache: &Cache<Aggregate, S>,
    evolve: impl Fn(S, &[StoredCommit]) -> Result<S, R>,
) -> Result<(S, u64), ExecuteError<R>> {
    continued(journal, aggregate, cache, cache.get(aggregate), &evolve).await
}

/// Advances a known state by the commits appended after it.
async fn continued<S: Clone + Default, R>(
    journal: &dyn Journal,
    aggregate: &Aggregate,
    cache: &Cache<Aggregate, S>,
    known: Option<(S, u64)>,
    evolve: &impl Fn(S, &[StoredCommit]) -> Result<S, R>,
) -> Result<(S, u64), ExecuteError<R>> {
    let (state, last) = known.unwrap_or_default();
    let tail = journal.read(aggregate, last).await?;
    let Some(newest) = tail.last().map(|stored| stored.sequence) else {
        return Ok((state, last));
    };
    let next = |state| evolve(state, &tail);
    if tail.len() <= SHORT_TAIL {
        let continued = cache.continued(aggregate.clone(), state, last, newest, next);
        return Ok((continued.map_err(ExecuteError::Rejected)?, newest));
    }
    let state = next(state).map_err(ExecuteError::Rejected)?;
    cache.put(aggregate.clone(), state.clone(), newest);
    Ok((state, newest))
}

/// Returns the aggregate's commit at a sequence that its state names.
async fn first_time(
    journal: &dyn Journal,
    aggregate: &Aggregate,
    sequence: u64,
) -> Result<Commit, JournalError> {
    let tail = journal.read(aggregate, sequence.saturating_sub(1)).await?;
    match tail.into_iter().next() {
        Some(stored) if stored.sequence == sequence => Ok(stored.commit),
        _ => Err(JournalError::Corrupt {
            sequence,
            reason: format!("{aggregate} has a commit there, and it is gone"),
        }),
    }
}

/// Appends the decided commit; returns `None` on a conflict.
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
            repeated: false,
            attempts,
        }));
    };
    commit.previous_sequence = last;
    let span = tracing::info_span!(
        "append",
        otel.kind = "producer",
        %aggregate,
        commit = %commit.id,
        sequence = Empty
    );
    // Make the append the parent span of everything that the commit causes.
    commit.traceparent = trace::context_of(&span, &commit.traceparent);
    let appending = journal.append(aggregate, commit.clone());
    match appending.instrument(span.clone()).await {
        Ok(appended) => {
            span.record("sequence", appended.sequence);
            Ok(Some(Executed {
                sequence: appended.sequence,
                commit: Some(commit),
                repeated: false,
                attempts,
            }))
        }
        Err(JournalError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits before the next attempt, with jitter so that colliding writers do not collide again.
async fn pause(attempt: u32) {
    tokio::time::sleep(jitter(longest_wait(attempt))).await;
}

/// Returns the maximum wait after a lost attempt: none after the first, then 4, 8, 16 … ms.
fn longest_wait(attempt: u32) -> Duration {
    match attempt {
        ..2 => Duration::ZERO,
        _ => Duration::from_millis(1 << attempt.min(10)).min(MAX_WAIT),
    }
}

/// Returns a duration between half of `ceiling` and `ceiling`, with randomness from a UUIDv7.
pub(super) fn jitter(ceiling: Duration) -> Duration {
    let (_, low) = uuid::Uuid::now_v7().as_u64_pair();
    let half = ceiling / 2;
    half + half * u32::try_from(low & 0xff).unwrap_or(0) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_are_jittered() {
        let longest: Vec<u128> = (1..=9).map(|n| longest_wait(n).as_millis()).collect();
        assert_eq!(longest, [0, 4, 8, 16, 32, 64, 100, 100, 100]);
        assert_eq!(longest_wait(u32::MAX), MAX_WAIT);
        let waits: Vec<Duration> = (0..1_000).map(|_| jitter(MAX_WAIT)).collect();
        assert!(waits.iter().all(|w| (MAX_WAIT / 2..=MAX_WAIT).contains(w)));
        assert!(waits.iter().any(|w| *w < MAX_WAIT * 6 / 10));
        assert!(waits.iter().any(|w| *w > MAX_WAIT * 9 / 10));
    }
}
