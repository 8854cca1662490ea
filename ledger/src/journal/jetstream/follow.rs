//! Follows the whole stream with an ordered push consumer: the fastest reader, with flow control to
//! bound its buffer. A failed consumer is replaced, and gaps are detected.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::ReplayPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::sleep;

use super::wire::{Leader, unavailable};
use crate::journal::execute::jitter;
use crate::journal::{JournalError, StoredCommit, ahead, envelope};

/// Time after which a missing consumer is created again.
const CONSUMER_WITHIN: Duration = Duration::from_secs(10);
/// Maximum wait before a failed consumer is replaced.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Follows everything after `after`. The first consumer is created before this returns, so that a
/// journal that cannot be followed is reported at once.
pub(super) async fn follow(
    leader: Leader,
    after: u64,
) -> Result<BoxStream<'static, Result<StoredCommit, JournalError>>, JournalError> {
    let messages = consumer(&leader, after).await?;
    // Boxed because it is moved with every commit.
    let follower = Box::new(Follower {
        leader,
        last: after,
        last_id: String::new(),
        consumer: String::new(),
        messages: Some(messages),
        failures: 0,
    });
    let commits = stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(commit) => Some((Ok(commit), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(commits.boxed())
}

struct Follower {
    leader: Leader,
    /// The last sequence delivered.
    last: u64,
    /// The id of the commit at `last`; empty before the first delivery.
    last_id: String,
    /// The consumer that delivered last; consumers recreate themselves after an outage.
    consumer: String,
    messages: Option<Ordered>,
    /// Number of consumers that failed since the last message.
    failures: u32,
}

impl Follower {
    /// Waits for the next commit as long as it takes; an error is permanent.
    async fn next(&mut self) -> Result<StoredCommit, JournalError> {
        loop {
            let Some(messages) = &mut self.messages else {
                self.replace().await?;
                continue;
            };
            match messages.next().await {
                Some(Ok(message)) => {
                    if let Some(commit) = self.accept(&message).await? {
                        self.failures = 0;
                        return Ok(commit);
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, last = self.last, "a follower starts over");
                    self.messages = None;
                }
                None => self.messages = None,
            }
        }
    }

    /// Checks the order; returns `None` for a commit already delivered (a replaced consumer may
    /// start earlier).
    async fn accept(&mut self, message: &Message) -> Result<Option<StoredCommit>, JournalError> {
        let Ok(info) = message.info() else {
            self.messages = None;
            return Ok(None);
        };
        let sequence = info.stream_sequence;
        if info.consumer != self.consumer {
            if !self.last_id.is_empty() {
                match check_same(&self.leader, self.last, &self.last_id).await {
                    Err(error) if error.is_retryable() => {
                        self.messages = None;
                        return Ok(None);
                    }
                    checked => checked?,
                }
            }
            info.consumer.clone_into(&mut self.consumer);
        }
        if sequence <= self.last {
            // Either a repetition, or the journal lost its tail and reused the number.
            check_end(&self.leader, self.last).await?;
            return Ok(None);
        }
        if sequence != self.last + 1 {
            return Err(JournalError::Corrupt {
                sequence: self.last + 1,
                reason: format!("it is missing; the next stored sequence is {sequence}"),
            });
        }
        let stored_at = jiff::Timestamp::from_nanosecond(info.published.unix_timestamp_nanos());
        let stored = StoredCommit::read(
            sequence,
            stored_at.unwrap_or_default(),
            message.payload.clone(),
        )?;
        self.last = sequence;
        self.last_id.clone_from(&stored.commit.id);
        Ok(Some(stored))
    }

    /// Waits a little and creates a new consumer; leaves `None` if that fails.
    async fn replace(&mut self) -> Result<(), JournalError> {
        if self.failures > 0 {
            let wait = Duration::from_millis(20) * (1 << self.failures.min(7));
            sleep(jitter(wait.min(MAX_WAIT))).await;
        }
        self.failures = self.failures.saturating_add(1);
        match consumer(&self.leader, self.last).await {
            Ok(messages) => {
                self.messages = Some(messages);
                Ok(())
            }
            Err(error) if error.is_retryable() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Fails if the commit at `last` is no longer `id`: after an outage the stream may be a different
/// one, and what follows would not continue what was delivered.
async fn check_same(leader: &Leader, last: u64, id: &str) -> Result<(), JournalError> {
    match leader.at(last).await? {
        Some(found) => {
            let found = envelope::open(last, &found.payload)?.id;
            if found == id {
                return Ok(());
            }
            Err(JournalError::Corrupt {
                sequence: last,
                reason: format!(
                    "commit {id} stood there, and now {found}: the journal lost its tail, or was replaced"
                ),
            })
        }
        None => Err(JournalError::Corrupt {
            sequence: last,
            reason: format!("commit {id} stood there, and now none"),
        }),
    }
}

/// Fails if the journal ends before `last`.
async fn check_end(leader: &Leader, last: u64) -> Result<(), JournalError> {
    match leader.info().await {
        Ok(info) if info.state.last_sequence < last => Err(ahead(last, info.state.last_sequence)),
        // Unreachable: let the consumer find out.
        _ => Ok(()),
    }
}

/// Creates a consumer of everything after `after`.
async fn consumer(leader: &Leader, after: u64) -> Result<Ordered, JournalError> {
    tokio::time::timeout(CONSUMER_WITHIN, open_consumer(leader, after))
        .await
        .unwrap_or_else(|_| {
            Err(JournalError::Unavailable {
                reason: format!("no consumer within {} s", CONSUMER_WITHIN.as_secs()),
            })
        })
}

async fn open_consumer(leader: &Leader, after: u64) -> Result<Ordered, JournalError> {
    let stream = match leader.context.get_stream(&leader.stream).await {
        Ok(stream) => stream,
        Err(error) => {
            use async_nats::jetstream::context::GetStreamErrorKind::JetStream;
            return Err(match error.kind() {
                JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => ahead(after, 0),
                _ => unavailable(error),
            });
        }
    };
    let last = stream.cached_info().state.last_sequence;
    if last < after {
        return Err(ahead(after, last));
    }
    let consumer = stream
        .create_consumer(OrderedConfig {
            deliver_subject: leader.context.client().new_inbox(),
            deliver_policy: match after {
                0 => DeliverPolicy::All,
                _ => DeliverPolicy::ByStartSequence {
                    start_sequence: after.saturating_add(1),
                },
            },
            replay_policy: ReplayPolicy::Instant,
            ..OrderedConfig::default()
        })
        .await
        .map_err(unavailable)?;
    consumer.messages().await.map_err(unavailable)
}
