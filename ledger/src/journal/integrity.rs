//! Checks whether a journal still holds everything it has acknowledged: compares it with remembered
//! positions, and scans it for gaps and broken chains.
//!
//! ```text
//! remembered:            sequence 4 is commit c4
//! stream  [ c1 ][ c2 ][ c3 ]          ends too early: c4 is lost
//! stream  [ c1 ][ c2 ][ c3 ][ x ]     sequence 4 was reused: c4 is lost
//! stream  [ c1 ][    ][ c3 ][ c4 ]    a gap: 2 is lost
//! stream  [ c1 ][ c2 ][ c3 ][    ]    the tail is torn off, but its number is not reused
//! ```

use std::collections::HashMap;
use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{Journal, JournalError, ReadFrom, StoredCommit, expected};
use crate::error_code::Coded;
use crate::ids::LedgerId;

/// A journal of at most this many commits is inspected as a whole. Of a longer one, this many
/// commits at its end are inspected, and samples of the rest.
pub const WHOLE_COMMITS: u64 = 5_000;
/// Number of commits sampled from a longer journal, evenly spread, each with its predecessor.
pub const SAMPLES: u64 = 64;
/// Number of samples read concurrently.
const SAMPLING: usize = 8;
/// Maximum number of missing ranges named in a message.
const MAX_NAMED: usize = 20;

/// A position in a ledger, identified by the commit stored there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The ledger; empty at sequence 0.
    pub ledger: String,
    /// The sequence; 0 is the position before the first commit.
    pub sequence: u64,
    /// The id of the commit stored there; empty at sequence 0.
    pub commit_id: String,
}

impl Position {
    /// Returns the position of a stored commit.
    pub fn of(stored: &StoredCommit) -> Self {
        Self {
            ledger: stored.commit.ledger.clone(),
            sequence: stored.sequence,
            commit_id: stored.commit.id.clone(),
        }
    }
}

/// The range of sequences that a journal reports as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extent {
    /// The first sequence still stored; 0 if the journal is empty.
    pub first: u64,
    /// The last sequence ever assigned.
    pub last: u64,
    /// Number of commits stored.
    pub commits: u64,
    /// Sequences between first and last that are known to be missing, in order.
    pub missing: Vec<u64>,
}

impl Extent {
    /// Returns the extent of a journal that holds everything from 1 to `last`.
    pub fn complete(last: u64) -> Self {
        Self {
            first: last.min(1),
            last,
            commits: last,
            missing: Vec::new(),
        }
    }

    /// True if every sequence from 1 to the last is stored.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.commits == self.last && self.first <= 1
    }

    /// Returns the last stored sequence if everything after it, and nothing else, is missing: the
    /// tail is torn off.
    pub fn torn_after(&self) -> Option<u64> {
        let after = self.commits;
        let missing = after.saturating_add(1)..=self.last;
        let is_end = after > 0 && self.first == 1 && self.missing.iter().copied().eq(missing);
        (is_end && after < self.last).then_some(after)
    }

    /// Returns the missing sequences.
    fn lost(&self) -> Sequences {
        let before = 1..self.first.max(1).min(self.last.saturating_add(1));
        let mut lost: Vec<(u64, u64)> = Vec::new();
        if !before.is_empty() {
            lost.push((1, before.end - 1));
        }
        for sequence in &self.missing {
            match lost.last_mut() {
                Some((_, end)) if *end + 1 == *sequence => *end = *sequence,
                _ => lost.push((*sequence, *sequence)),
            }
        }
        Sequences(lost)
    }
}

/// Ranges of sequences, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequences(Vec<(u64, u64)>);

impl fmt::Display for Sequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(the server does not say which)");
        }
        for (place, (first, last)) in self.0.iter().take(MAX_NAMED).enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first} to {last}")?;
            }
        }
        match self.0.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more ranges"),
        }
    }
}

/// How a journal differs from what it has acknowledged. A damaged journal must not be appended to.
#[derive(Debug, thiserror::Error, Coded)]
pub enum Damage {
    /// The journal ends before a remembered position.
    #[error(
        "RB-INTEGRITY-1: {who} at sequence {sequence}, but the ledger ends at {last}: acknowledged and missing: {missing}; keep everything as it is and restore the ledger from its backup, or accept the loss with --accept-loss {sequence}"
    )]
    Short {
        /// Who remembers the position; begins the message.
        who: &'static str,
        /// The remembered sequence.
        sequence: u64,
        /// The journal's last sequence.
        last: u64,
        /// The missing sequences.
        missing: Sequences,
    },
    /// Another commit is stored at a remembered position.
    #[error(
        "RB-INTEGRITY-2: {who} at sequence {sequence} as commit {expected}, but the ledger holds {found} there: it belongs to another ledger, or commits up to {sequence} were lost and their numbers used again; name the right ledger, or keep everything as it is and restore the backup, or accept the loss with --accept-loss {sequence}"
    )]
    Replaced {
        /// Who remembers the position; begins the message.
        who: &'static str,
        /// The sequence.
        sequence: u64,
        /// The remembered commit.
        expected: String,
        /// The commit found there.
        found: String,
    },
    /// The position belongs to another ledger.
    #[error(
        "RB-INTEGRITY-3: {who} of ledger `{theirs}`, and this is `{ours}`; name the data directory or database that belongs to it"
    )]
    Foreign {
        /// Who remembers the position; begins the message.
        who: &'static str,
        /// The ledger of the position.
        theirs: String,
        /// The ledger that was opened.
        ours: LedgerId,
    },
    /// Sequences within the stream are missing.
    #[error(
        "RB-INTEGRITY-4: the ledger holds {commits} commits though it ends at sequence {last}: missing: {missing}; keep everything as it is and restore the ledger from its backup"
    )]
    Holes {
        /// Number of commits stored.
        commits: u64,
        /// The journal's last sequence.
        last: u64,
        /// The missing sequences.
        missing: Sequences,
    },
    /// A commit names a previous sequence that is not its predecessor.
    #[error(
        "RB-INTEGRITY-5: sequence {sequence} says that it follows sequence {previous} of {aggregate}, but {found}; keep everything as it is and restore the ledger from its backup"
    )]
    Chain {
        /// Sequence of the commit.
        sequence: u64,
        /// The previous sequence that it names.
        previous: u64,
        /// Its aggregate.
        aggregate: String,
        /// What was found instead.
        found: String,
    },
    /// The last sequences were assigned but are not stored.
    #[error(
        "RB-INTEGRITY-7: the ledger ends at {last}, though nats-server has given the numbers up to {sequence}: acknowledged and missing: {missing}; keep everything as it is and restore the ledger from its backup, or accept the loss: `rollbook up --accept-loss {sequence}` lets its nats-server forget those numbers; one that you run yourself must be made to, see docs/operators.md"
    )]
    Torn {
        /// The last sequence assigned.
        sequence: u64,
        /// The last commit stored.
        last: u64,
        /// The missing sequences.
        missing: Sequences,
    },
    /// The journal failed, or a commit cannot be decoded.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Damage {
    /// True if the journal just could not be asked, so that checking again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Journal(error) if error.is_retryable())
    }

    /// Returns the sequence whose loss a person may accept; `None` if the damage cannot be
    /// accepted.
    pub fn acceptable(&self) -> Option<u64> {
        match self {
            Self::Short { sequence, .. }
            | Self::Replaced { sequence, .. }
            | Self::Torn { sequence, .. } => Some(*sequence),
            _ => None,
        }
    }
}

/// Compares a remembered position with what the journal holds there. `who` begins the message, for
/// example "the views stand".
///
/// # Errors
/// `Short`, `Replaced` or `Foreign`; a position at sequence 0 agrees with every journal.
pub async fn compare(
    journal: &dyn Journal,
    ledger: &LedgerId,
    position: &Position,
    who: &'static str,
) -> Result<(), Damage> {
    if position.sequence == 0 {
        return Ok(());
    }
    if position.ledger != ledger.as_str() {
        return Err(Damage::Foreign {
            who,
            theirs: position.ledger.clone(),
            ours: ledger.clone(),
        });
    }
    let last = journal.last_sequence().await?;
    let sequence = position.sequence;
    if last < sequence {
        return Err(Damage::Short {
            who,
            sequence,
            last,
            missing: Sequences(vec![(last + 1, sequence)]),
        });
    }
    let found = match journal.at(sequence).await? {
        Some(stored) if stored.commit.id == position.commit_id => return Ok(()),
        Some(stored) => format!("commit {}", stored.commit.id),
        None => "nothing".to_owned(),
    };
    Err(Damage::Replaced {
        who,
        sequence,
        expected: position.commit_id.clone(),
        found,
    })
}

/// Inspects a journal at bounded cost: which sequences it reports as stored, then each aggregate's
/// chain of previous sequences, over the whole of a short journal, or over the end and samples of a
/// long one.
///
/// # Errors
/// `Torn`, `Holes`, `Chain`, or the error of a commit that cannot be decoded.
pub async fn inspect(journal: &dyn Journal) -> Result<Extent, Damage> {
    let extent = journal.extent().await?;
    if !extent.is_complete() {
        return Err(holes(&extent));
    }
    let after = extent.last.saturating_sub(WHOLE_COMMITS);
    read_through(journal, after, extent.last).await?;
    sample(journal, after, SAMPLES).await?;
    Ok(extent)
}

/// Checks which sequences a journal reports as stored and reads a short journal whole, of a longer
/// one `samples` commits spread evenly: cheap enough for a server to repeat regularly.
///
/// # Errors
/// As [`inspect`].
pub async fn spot_check(journal: &dyn Journal, samples: u64) -> Result<Extent, Damage> {
    let extent = journal.extent().await?;
    if !extent.is_complete() {
        return Err(holes(&extent));
    }
    if extent.last <= WHOLE_COMMITS {
        read_through(journal, 0, extent.last).await?;
    } else {
        sample(journal, extent.last, samples).await?;
    }
    Ok(extent)
}

fn holes(extent: &Extent) -> Damage {
    if let Some(last) = extent.torn_after() {
        return Damage::Torn {
            sequence: extent.last,
            last,
            missing: extent.lost(),
        };
    }
    Damage::Holes {
        commits: extent.commits,
        last: extent.last,
        missing: extent.lost(),
    }
}

/// Checks the chain of every aggregate between two sequences.
async fn read_through(journal: &dyn Journal, after: u64, last: u64) -> Result<(), Damage> {
    if after >= last {
        return Ok(());
    }
    let mut commits = journal.follow(ReadFrom { after }).await?;
    let mut ends: HashMap<(String, String), u64> = HashMap::new();
    let mut position = after;
    while position < last {
        let next = expected(journal, position + 1, commits.next()).await?;
        let Some(stored) = next.transpose()? else {
            return Err(Damage::Journal(JournalError::Unavailable {
                reason: format!("nothing was delivered after sequence {position}"),
            }));
        };
        position = stored.sequence;
        let previous = stored.commit.previous_sequence;
        let aggregate = (
            stored.commit.aggregate.clone(),
            stored.commit.aggregate_id.clone(),
        );
        let wrong = match ends.get(&aggregate) {
            Some(end) if *end != previous => Some(format!("its last one before is {end}")),
            // Its predecessor is at or before the position where reading began.
            None if previous > after => Some("that is none of its commits".to_owned()),
            _ => None,
        };
        if let Some(found) = wrong {
            return Err(broken(&stored, found));
        }
        ends.insert(aggregate, position);
    }
    Ok(())
}

/// Checks `samples` commits spread evenly up to `last`, each with its predecessor.
async fn sample(journal: &dyn Journal, last: u64, samples: u64) -> Result<(), Damage> {
    let samples = samples.min(last);
    // Spread evenly from the first sequence to the last.
    let place =
        |number: u64| 1 + number * last.saturating_sub(1) / samples.saturating_sub(1).max(1);
    stream::iter((0..samples).map(place))
        .map(|sequence| sampled(journal, sequence))
        .buffer_unordered(SAMPLING)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await
}

async fn sampled(journal: &dyn Journal, sequence: u64) -> Result<(), Damage> {
    let Some(stored) = journal.at(sequence).await? else {
        return Err(Damage::Journal(JournalError::Corrupt {
            sequence,
            reason: "it is missing".to_owned(),
        }));
    };
    let previous = stored.commit.previous_sequence;
    if previous == 0 {
        return Ok(());
    }
    if previous >= sequence {
        return Err(broken(&stored, "that does not come before it".to_owned()));
    }
    match journal.at(previous).await? {
        Some(before)
            if before.commit.aggregate == stored.commit.aggregate
                && before.commit.aggregate_id == stored.commit.aggregate_id =>
        {
            Ok(())
        }
        Some(_) => Err(broken(&stored, "that is none of its commits".to_owned())),
        None => Err(broken(&stored, "that is not stored".to_owned())),
    }
}

fn broken(stored: &StoredCommit, found: String) -> Damage {
    let commit = &stored.commit;
    Damage::Chain {
        sequence: stored.sequence,
        previous: commit.previous_sequence,
        aggregate: format!("{} {}", commit.aggregate, commit.aggregate_id),
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_sequences_are_named_in_ranges() {
        assert!(Extent::complete(0).is_complete());
        assert!(Extent::complete(7).is_complete());
        let holes = Extent {
            first: 3,
            last: 12,
            commits: 7,
            missing: vec![5, 6, 7, 10],
        };
        assert!(!holes.is_complete());
        assert_eq!(holes.lost().to_string(), "1 to 2, 5 to 7, 10");
        let purged = Extent {
            first: 13,
            last: 12,
            commits: 0,
            missing: Vec::new(),
        };
        assert_eq!(purged.lost().to_string(), "1 to 12");
        let unknown = Extent {
            commits: 1,
            ..Extent::complete(3)
        };
        assert!(!unknown.is_complete());
        assert!(unknown.lost().to_string().contains("does not say"));
    }

    #[test]
    fn only_a_torn_end_can_be_accepted() {
        let extent = |first, commits, missing| Extent {
            first,
            last: 7,
            commits,
            missing,
        };
        let torn = holes(&extent(1, 5, vec![6, 7]));
        assert_eq!(torn.acceptable(), Some(7));
        let text = torn.to_string();
        assert!(text.starts_with("RB-INTEGRITY-7"), "{text}");
        assert!(text.contains("missing: 6 to 7;"), "{text}");
        for (first, commits, missing) in [
            (1, 6, vec![6]),
            (1, 5, vec![3, 7]),
            (2, 5, vec![7]),
            (1, 5, vec![7]),
            (8, 0, Vec::new()),
        ] {
            let found = holes(&extent(first, commits, missing));
            assert_eq!(found.acceptable(), None, "{found}");
        }
    }
}
