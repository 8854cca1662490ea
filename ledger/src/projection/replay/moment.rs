//! Which commits a time includes.

use std::sync::Arc;

use jiff::Timestamp;

use crate::journal::{Journal, expected};
use crate::projection::projector::{Batches, ProjectorError};
use crate::projection::words::time;

/// The times that include the commits up to one sequence and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The last commit included.
    pub(super) sequence: u64,
    /// The latest time at which one of them was recorded.
    from: Timestamp,
    /// When the next commit was recorded; `None` if the journal ended there.
    before: Option<Timestamp>,
}

impl Moment {
    /// Whether a time includes just these commits of a journal that ends at `last`.
    pub(super) fn is_named_by(&self, time: Timestamp, last: u64) -> bool {
        let is_before_next = match self.before {
            Some(before) => time < before,
            None => self.sequence == last,
        };
        self.from <= time && is_before_next
    }

    /// Reads the journal up to, but excluding, the first commit recorded after a time.
    ///
    /// # Errors
    /// A missing or undecodable sequence is damage, and is named.
    pub(super) async fn of(
        journal: &Arc<dyn Journal>,
        until: Timestamp,
    ) -> Result<Self, ProjectorError> {
        let end = journal.last_sequence().await?;
        let mut moment = Self {
            sequence: 0,
            from: Timestamp::MIN,
            before: None,
        };
        if end == 0 {
            return Ok(moment);
        }
        let mut batches = Batches::follow(journal, 0, end).await?;
        while moment.sequence < end {
            let after = moment.sequence;
            let next = expected(&**journal, after + 1, batches.next()).await?;
            let batch = next?.ok_or(ProjectorError::Ended { after })?;
            for stored in batch {
                if let Some(recorded) = time(stored.commit.recorded_at.as_ref()) {
                    if recorded > until {
                        moment.before = Some(recorded);
                        return Ok(moment);
                    }
                    moment.from = moment.from.max(recorded);
                }
                moment.sequence = stored.sequence;
            }
        }
        Ok(moment)
    }
}
