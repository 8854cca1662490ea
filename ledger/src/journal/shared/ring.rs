//! A bounded buffer of a journal's newest commits, read by sequence.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::journal::StoredCommit;

/// The limits of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of commits.
    pub commits: usize,
    /// Maximum size in encoded bytes; the newest commit is kept whatever its size.
    pub bytes: usize,
}

impl Default for Bounds {
    /// Small defaults, because a decoded commit takes several times its encoded size.
    fn default() -> Self {
        Self {
            commits: 8_192,
            bytes: 8 * 1024 * 1024,
        }
    }
}

/// The newest commits, without gaps, up to the last one read.
#[derive(Debug)]
pub(super) struct Ring {
    bounds: Bounds,
    /// The commits with their encoded sizes.
    commits: VecDeque<(Arc<StoredCommit>, usize)>,
    bytes: usize,
    /// The last sequence read, or the one after which reading begins; `None` if not known yet.
    last: Option<u64>,
}

impl Ring {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            commits: VecDeque::new(),
            bytes: 0,
            last: None,
        }
    }

    /// Returns the last sequence read, or the one after which reading begins.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// Sets the sequence after which reading begins.
    pub(super) fn begin(&mut self, after: u64) {
        self.last = Some(after);
    }

    /// Adds the next commit and evicts the oldest ones beyond the bounds.
    pub(super) fn push(&mut self, commit: Arc<StoredCommit>) {
        let bytes = commit.payload.len();
        self.last = Some(commit.sequence);
        self.bytes += bytes;
        self.commits.push_back((commit, bytes));
        while self.commits.len() > self.bounds.commits
            || (self.bytes > self.bounds.bytes && self.commits.len() > 1)
        {
            if let Some((_, bytes)) = self.commits.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    /// Returns up to `at_most` commits after a sequence; empty at the end. `None` if the first of
    /// them is no longer buffered, or reading has not begun.
    pub(super) fn after(&self, after: u64, at_most: usize) -> Option<Vec<Arc<StoredCommit>>> {
        let last = self.last?;
        if after >= last {
            return Some(Vec::new());
        }
        let first = self.commits.front()?.0.sequence;
        let skip = after.saturating_add(1).checked_sub(first)?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let commits = self.commits.iter().skip(skip).take(at_most);
        Some(commits.map(|(commit, _)| Arc::clone(commit)).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rollbook_proto::v1::Commit;

    use super::*;

    fn commit(sequence: u64, size: usize) -> Arc<StoredCommit> {
        let commit = Commit {
            id: "x".repeat(size),
            ..Commit::default()
        };
        Arc::new(StoredCommit::new(
            sequence,
            jiff::Timestamp::UNIX_EPOCH,
            commit,
        ))
    }

    fn sequences(ring: &Ring, after: u64) -> Option<Vec<u64>> {
        let commits = ring.after(after, 3)?;
        Some(commits.iter().map(|commit| commit.sequence).collect())
    }

    #[test]
    fn commits_are_handed_out_by_sequence_while_they_are_kept() {
        let mut ring = Ring::new(Bounds::default());
        assert_eq!(sequences(&ring, 0), None);
        ring.begin(4);
        assert_eq!(sequences(&ring, 4), Some(vec![]));
        assert_eq!(sequences(&ring, 9), Some(vec![]));
        assert_eq!(sequences(&ring, 3), None);
        for sequence in 5..=8 {
            ring.push(commit(sequence, 1));
        }
        assert_eq!(sequences(&ring, 3), None);
        assert_eq!(sequences(&ring, 4), Some(vec![5, 6, 7]));
        assert_eq!(sequences(&ring, 7), Some(vec![8]));
        assert_eq!(sequences(&ring, 8), Some(vec![]));
    }

    #[test]
    fn kept_commits_are_bounded() {
        let mut ring = Ring::new(Bounds {
            commits: 10,
            bytes: 1_000,
        });
        ring.begin(0);
        for sequence in 1..=15 {
            ring.push(commit(sequence, 1));
        }
        assert_eq!((ring.commits.len(), ring.bytes), (10, 30));
        ring.push(commit(16, 990));
        assert_eq!(ring.commits.len(), 3);
        ring.push(commit(17, 5_000));
        assert_eq!(ring.commits.len(), 1);
        assert_eq!(sequences(&ring, 16), Some(vec![17]));
    }
}
