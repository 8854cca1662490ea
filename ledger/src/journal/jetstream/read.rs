//! Reads one aggregate: its last commit from the leader, the earlier ones by batched direct get
//! (ADR-31) from the nearest server, checked against the chain of previous sequences.

use std::time::Duration;

use async_nats::Client;
use async_nats::header::{HeaderMap, NATS_SEQUENCE, NATS_TIME_STAMP};
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::wire::{Leader, answered};
use crate::journal::{JournalError, StoredCommit};

/// Maximum number of messages per direct get.
const BATCH: u64 = 512;
/// Maximum wait for one direct get.
const LIMIT: Duration = Duration::from_secs(5);
/// How often to ask a server that lags behind the leader before asking the leader itself.
const STALE_TRIES: u32 = 3;

/// Reads all commits of `subject` after `after`, as of now on the leader.
pub(super) async fn read(
    client: &Client,
    leader: &Leader,
    subject: &str,
    after: u64,
) -> Result<Vec<StoredCommit>, JournalError> {
    let Some(message) = leader.last(subject).await? else {
        return Ok(Vec::new());
    };
    let last = stored(message)?;
    if last.sequence <= after {
        return Ok(Vec::new());
    }
    let mut commits: Vec<StoredCommit> = Vec::new();
    let mut position = after;
    let mut tries = 0;
    // There is more to read until the predecessor named by the last commit is reached.
    while position < last.commit.previous_sequence {
        let chunk = if tries < STALE_TRIES {
            direct_get(client, &leader.stream, subject, position).await?
        } else {
            let next = leader.next(subject, position).await?;
            next.map(stored).into_iter().collect::<Result<_, _>>()?
        };
        let before = position;
        for commit in chunk.into_iter().filter(|c| c.sequence < last.sequence) {
            check_chain(&commit, commits.last(), after)?;
            position = commit.sequence;
            commits.push(commit);
        }
        if position > before {
            tries = 0;
            continue;
        }
        if tries == STALE_TRIES {
            return Err(JournalError::Corrupt {
                sequence: last.sequence,
                reason: format!(
                    "it follows sequence {} of its aggregate, which is not stored",
                    last.commit.previous_sequence
                ),
            });
        }
        tries += 1;
        sleep(Duration::from_millis(10) * tries).await;
    }
    check_chain(&last, commits.last(), after)?;
    commits.push(last);
    Ok(commits)
}

/// Checks that a commit names the sequence of its predecessor.
fn check_chain(
    commit: &StoredCommit,
    before: Option<&StoredCommit>,
    after: u64,
) -> Result<(), JournalError> {
    let previous = commit.commit.previous_sequence;
    let (fine, expected) = match before {
        Some(before) => (previous == before.sequence, before.sequence),
        // `after` may be any sequence, not only one of this aggregate.
        None => (previous <= after, after),
    };
    if fine {
        return Ok(());
    }
    Err(JournalError::Corrupt {
        sequence: commit.sequence,
        reason: format!("it follows sequence {previous} of its aggregate, found {expected}"),
    })
}

/// Does one direct get: returns up to `BATCH` commits of `subject` after `position` that the
/// answering server has; empty if it has none or did not answer.
async fn direct_get(
    client: &Client,
    stream: &str,
    subject: &str,
    position: u64,
) -> Result<Vec<StoredCommit>, JournalError> {
    let inbox = client.new_inbox();
    let mut answers = answered(client.subscribe(inbox.clone())).await?;
    let request = serde_json::json!({
        "batch": BATCH,
        "seq": position.saturating_add(1),
        "next_by_subj": subject,
    });
    let payload = Bytes::from(request.to_string());
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    answered(client.publish_with_reply(subject, inbox, payload)).await?;
    let end = Instant::now() + LIMIT;
    let mut commits = Vec::new();
    // A message without a status is a commit; a status (204 end of batch, 404 none, 408, 413, 503)
    // ends the answer.
    while let Ok(Some(answer)) = timeout_at(end, answers.next()).await {
        if answer.status.is_some() {
            break;
        }
        let headers = answer.headers.as_ref();
        let sequence = header(headers, NATS_SEQUENCE).and_then(|text| text.parse().ok());
        let time = header(headers, NATS_TIME_STAMP).and_then(|text| text.parse().ok());
        let (Some(sequence), Some(stored_at)) = (sequence, time) else {
            return Err(JournalError::Unavailable {
                reason: "a direct get was answered without sequence or time".to_owned(),
            });
        };
        commits.push(StoredCommit::read(sequence, stored_at, answer.payload)?);
    }
    Ok(commits)
}

fn header(headers: Option<&HeaderMap>, name: async_nats::header::HeaderName) -> Option<&str> {
    headers?.get(name).map(|value| value.as_str())
}

pub(super) fn stored(message: StreamMessage) -> Result<StoredCommit, JournalError> {
    let stored_at = jiff::Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
    StoredCommit::read(
        message.sequence,
        stored_at.unwrap_or_default(),
        message.payload,
    )
}
