//! What a NATS server says about itself and about a ledger's stream.

use std::time::Duration;

use async_nats::Client;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::JetStreamJournal;
use crate::journal::JournalError;
use crate::journal::report::{ReportSource, ServerReport, SyncKnown};

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

#[async_trait]
impl ReportSource for JetStreamJournal {
    async fn report(&self) -> Result<ServerReport, JournalError> {
        let info = self.leader.info().await?;
        let cluster = info.cluster.as_ref();
        let behind = cluster.map_or(0, |cluster| {
            let behind = cluster.replicas.iter().filter(|r| !r.current || r.offline);
            behind.count()
        });
        let copies = info.config.num_replicas;
        let has_leader = cluster.is_none_or(|c| c.leader.as_ref().is_some_and(|l| !l.is_empty()));
        Ok(ServerReport {
            version: self.client.server_info().version,
            cluster: cluster.and_then(|cluster| cluster.name.clone()),
            stream: self.leader.stream.clone(),
            replicas: copies,
            replicas_behind: behind,
            quorum: has_leader && copies.saturating_sub(behind) * 2 > copies,
            sync: self.sync,
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
            deleted: info.state.deleted_count.unwrap_or(0),
            bytes: info.state.bytes,
        })
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
    }
}
