//! The port through which the store behind a journal is reported on: whether it is complete, has a
//! quorum and syncs.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::JournalError;

/// Whether the server syncs every write to disk before it acknowledges it. With NATS's default (a
/// sync every two minutes) a power failure loses acknowledged commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncKnown {
    /// `sync_interval: always` on every server asked.
    Always,
    /// At least one server acknowledges before it syncs.
    NotAlways,
    /// Not known: a client of an ordinary account cannot see the setting.
    #[default]
    Unknown,
}

impl SyncKnown {
    /// Combines what is known about several servers.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotAlways, _) | (_, Self::NotAlways) => Self::NotAlways,
            (Self::Always, Self::Always) => Self::Always,
            _ => Self::Unknown,
        }
    }
}

/// The state of server and stream, for `doctor` and for the rules of protected environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerReport {
    /// Version of the connected nats-server; for a journal in memory, of this program.
    pub version: String,
    /// The name of the JetStream cluster; `None` for a single server.
    pub cluster: Option<String>,
    /// The stream's name; for a journal in memory, that of the ledger.
    pub stream: String,
    /// Number of replicas.
    pub replicas: usize,
    /// Number of replicas that lag or are offline.
    pub replicas_behind: usize,
    /// True if more than half of the replicas are present, including a leader.
    pub quorum: bool,
    /// Whether an acknowledged commit is synced to disk.
    pub sync: SyncKnown,
    /// The first sequence still stored; more than 1 means that history is missing.
    pub first_sequence: u64,
    /// The last sequence.
    pub last_sequence: u64,
    /// Number of missing sequences; more than 0 means that history is missing.
    pub deleted: u64,
    /// Size of the stream in bytes.
    pub bytes: u64,
}

impl ServerReport {
    /// True if every sequence from 1 to the last is present.
    pub fn is_complete(&self) -> bool {
        self.deleted == 0 && (self.last_sequence == 0 || self.first_sequence == 1)
    }
}

/// The port. Its adapters are the adapters of the [journal](super::Journal).
#[async_trait]
pub trait ReportSource: Send + Sync + std::fmt::Debug {
    /// Returns the current state of the store. Its `sync` is that of
    /// [`Journal::sync`](super::Journal::sync).
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    async fn report(&self) -> Result<ServerReport, JournalError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_that_does_not_sync_is_enough() {
        use SyncKnown::{Always, NotAlways, Unknown};
        assert_eq!(Always.and(Always), Always);
        assert_eq!(Always.and(NotAlways), NotAlways);
        assert_eq!(Unknown.and(NotAlways), NotAlways);
        assert_eq!(Always.and(Unknown), Unknown);
    }
}
