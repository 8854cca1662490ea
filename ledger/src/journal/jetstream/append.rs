//! Appends one commit: publish, and when in doubt ask the leader what became of it.

use std::time::Duration;

use async_nats::Client;
use async_nats::header::NATS_MESSAGE_ID;
use tokio::time::{Instant, sleep};

use super::wire::{Answer, Leader, OutgoingCommit, publish};
use crate::journal::execute::jitter;
use crate::journal::{JournalError, envelope};

/// Minimum and maximum wait between two tries.
const WAIT: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Sends commits, each until its fate is known.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) leader: Leader,
    /// Maximum wait for one acknowledgement.
    pub(super) ack_timeout: Duration,
    /// Total time after which an append gives up.
    pub(super) give_up_after: Duration,
}

/// The fate of a commit, according to the leader.
#[derive(Debug, PartialEq)]
pub(super) enum AppendOutcome {
    /// Stored at this sequence.
    Stored(u64),
    /// Another commit took its place; holds the aggregate's last sequence.
    Overtaken(u64),
    /// Not stored, and the aggregate is unchanged.
    Absent,
}

impl Sender {
    /// Sends one commit until it is stored, refused, overtaken, or time is up. Resending is safe:
    /// only one copy can match the expected sequence.
    pub(super) async fn send(&self, mut outgoing: OutgoingCommit) -> Result<u64, JournalError> {
        let end = Instant::now() + self.give_up_after;
        let mut wait = WAIT.0;
        loop {
            let answer = publish(
                &self.client,
                outgoing.subject.clone(),
                outgoing.headers()?,
                outgoing.payload.clone(),
                self.ack_timeout
                    .min(end.saturating_duration_since(Instant::now())),
            )
            .await;
            let reason = match answer {
                Answer::Ack(ack) if !ack.duplicate => return Ok(ack.sequence),
                Answer::Ack(_) => match self.fate(&outgoing).await {
                    Ok(AppendOutcome::Stored(sequence)) => return Ok(sequence),
                    Ok(_) => {
                        return Err(JournalError::Malformed {
                            aggregate: outgoing.aggregate.to_string(),
                            reason: format!("its id {} was used by another commit", outgoing.id),
                        });
                    }
                    Err(error) => error.to_string(),
                },
                Answer::Doubt(reason) => match self.fate(&outgoing).await {
                    Ok(AppendOutcome::Stored(sequence)) => return Ok(sequence),
                    Ok(AppendOutcome::Overtaken(actual)) => return Err(outgoing.conflict(actual)),
                    Ok(AppendOutcome::Absent) => reason,
                    Err(error) => format!("{reason}; {error}"),
                },
                // With a full disk nats-server 2.15 still answers reads, but not writes.
                Answer::Silence(reason) => match self.fate(&outgoing).await {
                    Ok(AppendOutcome::Stored(sequence)) => return Ok(sequence),
                    Ok(AppendOutcome::Overtaken(actual)) => return Err(outgoing.conflict(actual)),
                    Ok(AppendOutcome::Absent) => format!(
                        "{reason} from a server that answers reads; its disk may be full or failing: see its log, make room, restart it"
                    ),
                    Err(error) => format!("{reason}; {error}"),
                },
                Answer::Later(reason) => reason,
                Answer::Refused(reason) => return Err(JournalError::Refused { reason }),
            };
            if Instant::now() + wait >= end {
                return Err(JournalError::Unavailable { reason });
            }
            sleep(jitter(wait)).await;
            wait = (wait * 2).min(WAIT.1);
        }
    }

    /// Looks up a commit after the sequence it expected: the first one there is either this commit
    /// or the one that overtook it.
    pub(super) async fn fate(
        &self,
        outgoing: &OutgoingCommit,
    ) -> Result<AppendOutcome, JournalError> {
        let Some(last) = self.leader.last(&outgoing.subject).await? else {
            return Ok(match outgoing.expected {
                0 => AppendOutcome::Absent,
                _ => AppendOutcome::Overtaken(0),
            });
        };
        let is_ours = |headers: &async_nats::HeaderMap| {
            headers
                .get(NATS_MESSAGE_ID)
                .is_some_and(|id| id.as_str() == outgoing.id)
        };
        if is_ours(&last.headers) {
            return Ok(AppendOutcome::Stored(last.sequence));
        }
        if last.sequence == outgoing.expected {
            return Ok(AppendOutcome::Absent);
        }
        let previous = envelope::open(last.sequence, &last.payload)?.previous_sequence;
        if last.sequence < outgoing.expected || previous <= outgoing.expected {
            return Ok(AppendOutcome::Overtaken(last.sequence));
        }
        Ok(
            match self
                .leader
                .next(&outgoing.subject, outgoing.expected)
                .await?
            {
                Some(next) if is_ours(&next.headers) => AppendOutcome::Stored(next.sequence),
                _ => AppendOutcome::Overtaken(last.sequence),
            },
        )
    }
}
