//! The journal: the port through which commits are appended, read and followed.
//!
//! Positions in one journal:
//!
//! ```text
//!   sequence   1     2     3     4     5          (0 = nothing yet)
//!            [ c1 ][ c2 ][ c3 ][ c4 ][ c5 ]
//!              ^ first                ^ last
//!   a projection at `applied = 3` continues with `after = 3`
//! ```

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use rollbook_proto::v1::Commit;

use crate::error_code::Coded;
use crate::ids::Aggregate;

mod cache;
mod envelope;
pub mod execute;
mod expected;
pub mod integrity;
pub mod jetstream;
pub mod memory;
pub mod report;
pub mod shared;
pub mod tracked;

pub use cache::Cache;
pub use envelope::event_type;
pub use execute::{CommandDecision, Contended, ExecuteError, Executed, execute};
pub use expected::expected;
pub use integrity::{Damage, Extent, Position};
pub use jetstream::{GroupCommit, JetStreamJournal, JetStreamOptions};
pub use memory::MemoryJournal;
pub use report::{ReportSource, ServerReport, SyncKnown};
pub use shared::SharedJournal;
pub use tracked::{PositionFile, PositionStore, TrackedJournal};

/// Maximum size of an encoded commit in bytes: what one Merkle leaf can hold.
pub const MAX_COMMIT_BYTES: usize = 65_535;

/// A stored commit.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCommit {
    /// Position in the stream, from 1, without gaps.
    pub sequence: u64,
    /// When the server stored it; for display only, never compared.
    pub stored_at: jiff::Timestamp,
    /// The commit, as far as this build can decode it.
    pub commit: Commit,
    /// The stored bytes, including fields unknown to this build, so that a copy or a hash covers
    /// exactly what was written.
    pub payload: Bytes,
}

impl StoredCommit {
    /// Wraps a commit that this build has written at `sequence`.
    pub fn new(sequence: u64, stored_at: jiff::Timestamp, commit: Commit) -> Self {
        let payload = Bytes::from(commit.encode_to_vec());
        Self {
            sequence,
            stored_at,
            commit,
            payload,
        }
    }

    /// Decodes the bytes stored at `sequence`.
    ///
    /// # Errors
    /// `Corrupt` with the sequence if they are not a commit.
    pub fn read(
        sequence: u64,
        stored_at: jiff::Timestamp,
        payload: Bytes,
    ) -> Result<Self, JournalError> {
        Ok(Self {
            sequence,
            stored_at,
            commit: envelope::open(sequence, &payload)?,
            payload,
        })
    }
}

/// The position from which a follower reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadFrom {
    /// Deliver sequences greater than this.
    pub after: u64,
}

/// Why the journal refused or failed.
#[derive(Debug, thiserror::Error, Coded)]
pub enum JournalError {
    /// Another writer appended to the aggregate first; fold and decide again.
    #[error(
        "RB-JOURNAL-1: {aggregate} has moved on: expected its last sequence {expected}, found {actual}; read again and retry"
    )]
    Conflict {
        /// The aggregate.
        aggregate: String,
        /// The last sequence the writer expected.
        expected: u64,
        /// The actual last sequence.
        actual: u64,
    },
    /// The commit exceeds [`MAX_COMMIT_BYTES`]. Nothing was sent.
    #[error(
        "RB-JOURNAL-2: a commit for {aggregate} has {bytes} bytes, at most {MAX_COMMIT_BYTES} are allowed; put large data into the evidence store"
    )]
    TooLarge {
        /// The aggregate.
        aggregate: String,
        /// Encoded size in bytes.
        bytes: usize,
    },
    /// The commit is not well formed. Nothing was sent.
    #[error("RB-JOURNAL-3: a commit for {aggregate} is malformed: {reason}")]
    Malformed {
        /// The aggregate.
        aggregate: String,
        /// The problem.
        reason: String,
    },
    /// Stored bytes cannot be decoded: damage, or a newer writer.
    #[error(
        "RB-JOURNAL-4: sequence {sequence} cannot be decoded: {reason}; verify the ledger before going on"
    )]
    Corrupt {
        /// The sequence.
        sequence: u64,
        /// The decoder's message.
        reason: String,
    },
    /// A server or stream setting that could lose acknowledged history.
    #[error("RB-JOURNAL-5: refused: {setting} is {found}, must be {required}; {remedy}")]
    UnsafeSetting {
        /// The setting.
        setting: String,
        /// Its actual value.
        found: String,
        /// Its required value.
        required: String,
        /// How to fix it.
        remedy: String,
    },
    /// The ledger's name would collide with a stream that Rollbook uses itself.
    #[error(
        "RB-JOURNAL-9: the ledger cannot be called `{ledger}`: its stream would be {stream}, which holds something else; choose another name"
    )]
    Reserved {
        /// The refused name.
        ledger: String,
        /// The stream.
        stream: String,
    },
    /// The journal could not be reached or did not answer in time. Retryable. If the server could
    /// be asked, the commit was looked up and not found; a copy still in flight can be stored only
    /// while the aggregate has not moved. So append the *same* commit again (its id is recognised),
    /// or read before deciding anew; never assume that it is lost.
    #[error("RB-JOURNAL-6: the journal is unavailable: {reason}; check the server and try again")]
    Unavailable {
        /// The cause.
        reason: String,
    },
    /// The server refused to store the commit (disk full, stream limits). Not stored.
    #[error(
        "RB-JOURNAL-7: the server refused to store the commit: {reason}; nothing was stored, make room or lift the limit"
    )]
    Refused {
        /// The server's message.
        reason: String,
    },
}

impl JournalError {
    /// True if stored history has changed.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// True if the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The acknowledgement of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The commit's sequence.
    pub sequence: u64,
}

/// The append-only, totally ordered journal of one ledger.
#[async_trait]
pub trait Journal: Send + Sync + std::fmt::Debug {
    /// Appends one commit to its aggregate, whose last sequence must still be
    /// `commit.previous_sequence` (0: the aggregate is new).
    ///
    /// **Durable on return**: `Ok` means stored by the quorum, synced to disk, and in the total
    /// order at the returned sequence; it survives `kill -9` of this process and of the server.
    /// Appending a commit whose id is already the aggregate's last returns its sequence again.
    /// `Conflict` means nothing was stored. After `Unavailable` the same commit may be appended
    /// again: its id makes that safe.
    async fn append(&self, aggregate: &Aggregate, commit: Commit)
    -> Result<Appended, JournalError>;

    /// Reads all commits of one aggregate with a sequence greater than `after`, in order. The read
    /// is answered by the leader and includes everything acknowledged before the call.
    async fn read(
        &self,
        aggregate: &Aggregate,
        after: u64,
    ) -> Result<Vec<StoredCommit>, JournalError>;

    /// Streams every commit after `from.after` in order, then new ones as they are stored. It ends
    /// only by an error or by being dropped, and never skips a sequence: a gap is `Corrupt`.
    async fn follow(
        &self,
        from: ReadFrom,
    ) -> Result<BoxStream<'static, Result<StoredCommit, JournalError>>, JournalError>;

    /// Returns the sequence of the last stored commit; 0 if the journal is empty.
    async fn last_sequence(&self) -> Result<u64, JournalError>;

    /// Returns the commit stored at a sequence on the leader, if any.
    async fn at(&self, sequence: u64) -> Result<Option<StoredCommit>, JournalError> {
        let last = self.last_sequence().await?;
        if sequence == 0 || sequence > last {
            return Ok(None);
        }
        let after = sequence - 1;
        self.follow(ReadFrom { after })
            .await?
            .next()
            .await
            .transpose()
    }

    /// Returns which sequences the journal reports as stored.
    async fn extent(&self) -> Result<Extent, JournalError> {
        Ok(Extent::complete(self.last_sequence().await?))
    }

    /// Returns the subjects of all aggregates of a [kind](Aggregate::kind), in any order; `None` if
    /// there are more than `at_most`, or if the journal cannot tell.
    async fn subjects(
        &self,
        kind: &str,
        at_most: usize,
    ) -> Result<Option<Vec<String>>, JournalError> {
        let _ = (kind, at_most);
        Ok(None)
    }

    /// Returns whether an acknowledged commit is synced to disk, as far as is known.
    fn sync(&self) -> SyncKnown {
        SyncKnown::Unknown
    }
}

/// Maximum time an append waits for an acknowledgement before it looks up the commit's fate.
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(4);

/// Builds the error for a reader positioned beyond the end: its store belongs to another journal,
/// or the journal has lost its tail.
fn ahead(after: u64, last: u64) -> JournalError {
    JournalError::Corrupt {
        sequence: last.saturating_add(1),
        reason: format!(
            "the reader stands at {after} but the journal ends at {last}: it lost its tail, or is not the journal the reader was built from"
        ),
    }
}
