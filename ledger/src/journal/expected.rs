//! Waits for a commit that the journal must hold, and detects one that can no longer be read and
//! therefore never arrives.

use std::time::Duration;

use super::{Journal, JournalError};

/// How long to wait before asking the journal for the commit.
const ASKED_AFTER: Duration = Duration::from_secs(4);
/// How many times to wait again if the journal still holds it.
const TRIES: u32 = 3;

/// Waits for `next`, which must deliver the commit at `sequence`, a number that the journal has
/// already assigned.
///
/// # Errors
/// `Corrupt` if the journal no longer has the commit, `Unavailable` if it has it but `next` does
/// not deliver.
pub async fn expected<T>(
    journal: &dyn Journal,
    sequence: u64,
    next: impl Future<Output = T>,
) -> Result<T, JournalError> {
    expected_within(journal, sequence, next, ASKED_AFTER).await
}

async fn expected_within<T>(
    journal: &dyn Journal,
    sequence: u64,
    next: impl Future<Output = T>,
    asked_after: Duration,
) -> Result<T, JournalError> {
    tokio::pin!(next);
    for _ in 0..TRIES {
        if let Ok(came) = tokio::time::timeout(asked_after, &mut next).await {
            return Ok(came);
        }
        if journal.at(sequence).await?.is_none() {
            return Err(JournalError::Corrupt {
                sequence,
                reason: "it is missing".to_owned(),
            });
        }
    }
    Err(JournalError::Unavailable {
        reason: format!("sequence {sequence} is there but is not delivered"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::ids::LedgerId;
    use crate::journal::MemoryJournal;

    #[tokio::test]
    async fn a_commit_that_never_arrives_and_is_missing_is_damage() {
        let journal = MemoryJournal::new(LedgerId::new("main").unwrap());
        assert_eq!(expected(&journal, 1, ready(7)).await.unwrap(), 7);
        let soon = Duration::from_millis(1);
        let never = expected_within(&journal, 3, pending::<()>(), soon);
        let error = never.await.unwrap_err();
        assert!(error.is_damage(), "{error}");
        assert!(error.to_string().contains("sequence 3"), "{error}");
    }
}
