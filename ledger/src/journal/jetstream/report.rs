//! What is known about the server behind a journal.

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

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
    /// Reads the setting from a server's `/varz` answer (from the monitoring port, or from
    /// `$SYS.REQ.SERVER.PING.VARZ` as the system account, which wraps it in `data`).
    pub fn from_varz(json: &[u8]) -> Self {
        let Ok(varz) = serde_json::from_slice::<serde_json::Value>(json) else {
            return Self::Unknown;
        };
        let varz = varz.get("data").unwrap_or(&varz);
        match varz.pointer("/jetstream/config") {
            None => Self::Unknown,
            Some(config) => match config.get("sync_always").and_then(|v| v.as_bool()) {
                Some(true) => Self::Always,
                // The server omits the field when it is false.
                _ => Self::NotAlways,
            },
        }
    }

    /// Combines what is known about several servers.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotAlways, _) | (_, Self::NotAlways) => Self::NotAlways,
            (Self::Always, Self::Always) => Self::Always,
            _ => Self::Unknown,
        }
    }
}

/// How long to wait for the answers of a cluster's servers.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Asks every server reachable from a connection of the system account.
pub(super) async fn ask_servers(system: &Client) -> SyncKnown {
    let inbox = system.new_inbox();
    let Ok(mut answers) = system.subscribe(inbox.clone()).await else {
        return SyncKnown::Unknown;
    };
    let asked = system.publish_with_reply("$SYS.REQ.SERVER.PING.VARZ", inbox, Bytes::new());
    if asked.await.is_err() {
        return SyncKnown::Unknown;
    }
    let end = Instant::now() + ANSWERS_WITHIN;
    let mut known: Option<SyncKnown> = None;
    while let Ok(Some(answer)) = timeout_at(end, answers.next()).await {
        let one = SyncKnown::from_varz(&answer.payload);
        known = Some(known.map_or(one, |known| known.and(one)));
    }
    known.unwrap_or_default()
}

/// The state of server and stream, for `doctor` and for the rules of protected environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerReport {
    /// nats-server version of the connected server.
    pub version: String,
    /// The name of the JetStream cluster; `None` for a single server.
    pub cluster: Option<String>,
    /// The stream's name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sync_setting_is_read_from_varz() {
        let always =
            br#"{"jetstream":{"config":{"sync_interval":120000000000,"sync_always":true}}}"#;
        let wrapped =
            br#"{"server":{},"data":{"jetstream":{"config":{"sync_interval":120000000000}}}}"#;
        assert_eq!(SyncKnown::from_varz(always), SyncKnown::Always);
        assert_eq!(SyncKnown::from_varz(wrapped), SyncKnown::NotAlways);
        assert_eq!(SyncKnown::from_varz(b"{}"), SyncKnown::Unknown);
        assert_eq!(SyncKnown::from_varz(b"not json"), SyncKnown::Unknown);
        assert_eq!(
            SyncKnown::Always.and(SyncKnown::NotAlways),
            SyncKnown::NotAlways
        );
        assert_eq!(
            SyncKnown::Always.and(SyncKnown::Unknown),
            SyncKnown::Unknown
        );
    }
}
