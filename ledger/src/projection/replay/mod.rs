//! Views as of an earlier sequence or time, for audits.

mod moment;
mod past;
mod single_flight;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;

use super::projector::{Batches, ProjectorError};
use super::sqlite;
use super::store::ViewStore;
use super::words::time;
use crate::journal::{Journal, StoredCommit, expected};

pub use past::{PastBounds, PastError, PastViews};

/// The point up to which to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Up to and including the commit at this sequence.
    Sequence(u64),
    /// Up to, but excluding, the first commit recorded after this time. `recorded_at` is part of
    /// the commit and therefore of what is proven; the clocks of two writers may differ, so the
    /// answer's `as_of` names the sequence that was reached.
    Time(Timestamp),
}

impl Until {
    /// Parses a sequence or an RFC 3339 time. A time too close to the end of the representable
    /// range for arithmetic means the end of the journal.
    pub fn named(text: &str) -> Option<Self> {
        if let Ok(sequence) = text.parse() {
            return Some(Self::Sequence(sequence));
        }
        if let Ok(time) = text.parse() {
            return Some(Self::Time(time));
        }
        let pieces = Pieces::parse(text).ok()?;
        let is_late = pieces.date() >= Timestamp::MAX.to_zoned(TimeZone::UTC).date();
        (pieces.time().is_some() && pieces.offset().is_some() && is_late)
            .then_some(Self::Time(Timestamp::MAX))
    }

    fn includes(self, commit: &StoredCommit) -> bool {
        match self {
            Self::Sequence(last) => commit.sequence <= last,
            Self::Time(last) => {
                time(commit.commit.recorded_at.as_ref()).is_none_or(|recorded| recorded <= last)
            }
        }
    }
}

/// Replays the prefix of the journal up to `until` into in-memory views, which answer every query
/// as of that point. A point beyond the end means the journal's end at the time of the call. Needs
/// time and memory in proportion to the prefix.
///
/// # Errors
/// A missing or undecodable sequence is damage, and is named.
pub async fn replay_at(
    journal: &Arc<dyn Journal>,
    until: Until,
) -> Result<Arc<dyn ViewStore>, ProjectorError> {
    let store = sqlite::in_memory().await?;
    let end = match until {
        Until::Sequence(sequence) => sequence.min(journal.last_sequence().await?),
        Until::Time(_) => journal.last_sequence().await?,
    };
    let mut reached = 0;
    if end == 0 {
        return Ok(store);
    }
    let mut batches = Batches::follow(journal, 0, end).await?;
    while reached < end {
        let next = expected(&**journal, reached + 1, batches.next()).await?;
        let Some(mut batch) = next? else {
            return Err(ProjectorError::Ended { after: reached });
        };
        let delivered = batch.len();
        let kept = batch
            .iter()
            .take_while(|commit| commit.sequence <= end && until.includes(commit))
            .count();
        batch.truncate(kept);
        if let Some(last) = batch.last() {
            reached = last.sequence;
        }
        store.apply(&batch).await?;
        if kept < delivered {
            break;
        }
    }
    Ok(store)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_named_by_a_sequence_or_a_time() {
        assert_eq!(Until::named("120"), Some(Until::Sequence(120)));
        let time = "2026-01-02T03:04:05Z";
        assert_eq!(Until::named(time), Some(Until::Time(time.parse().unwrap())));
        for end in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-05:00"] {
            assert_eq!(
                Until::named(end),
                Some(Until::Time(Timestamp::MAX)),
                "{end}"
            );
        }
        for wrong in [
            "",
            "-1",
            "yesterday",
            "9999-12-31",
            "9999-12-31T23:59:59",
            "9999-13-31T00:00:00Z",
        ] {
            assert_eq!(Until::named(wrong), None, "{wrong}");
        }
    }
}
