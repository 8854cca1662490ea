//! Handles dead letters, the tasks that were delivered too often: records the failure on the
//! rollout and removes the task from the queue, so that its step fails with a reason instead of
//! waiting forever.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Message};
use futures::StreamExt;
use rollbook_ledger::error_code::Coded;
use rollbook_ledger::handler::{Caller, Handler, HandlerError};
use rollbook_ledger::ids::{LedgerId, RolloutId};
use rollbook_ledger::rollout::{Request, SystemCommand};
use rollbook_proto::v1;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::jetstream::{DEAD_LETTER_STREAM, WORK_STREAM, answered, unavailable};
use super::notices::QueuedNotice;
use super::queue::{QueueError, QueuedTask};
use super::shards::{QueuedShard, ShardAnswer, ShardQueue};

/// The wait after a failure of the NATS server or the ledger.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The delay before an advisory is redelivered after its handling failed.
const REDELIVER_AFTER: Duration = Duration::from_secs(5);

/// The server's advisory about a message that was delivered too often, or terminated by a worker.
#[derive(Debug, Deserialize)]
struct Advisory {
    stream_seq: u64,
    #[serde(default)]
    deliveries: u64,
    #[serde(default)]
    reason: String,
}

impl Advisory {
    fn reason(&self) -> String {
        if self.reason.is_empty() {
            let deliveries = self.deliveries;
            format!("no worker could carry it out in {deliveries} deliveries")
        } else {
            self.reason.clone()
        }
    }
}

/// Why an advisory was not handled.
#[derive(Debug, thiserror::Error, Coded)]
enum DeadLetterError {
    #[error(transparent)]
    Ledger(#[from] HandlerError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Reads the dead letters of one ledger. Any number of readers may run; each advisory goes to one.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    context: jetstream::Context,
    ledger: LedgerId,
    handler: Handler,
    shards: ShardQueue,
}

impl DeadLetters {
    /// Makes a reader; the queue's streams must exist.
    pub fn new(
        client: async_nats::Client,
        ledger: LedgerId,
        handler: Handler,
        shards: ShardQueue,
    ) -> Self {
        Self {
            context: jetstream::new(client),
            ledger,
            handler,
            shards,
        }
    }

    /// Reads until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.read() => ended,
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "dead letters cannot be read; trying again");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
    }

    async fn read(&self) -> Result<(), QueueError> {
        let work = answered(self.context.get_stream(WORK_STREAM)).await?;
        let letters = answered(self.context.get_stream(DEAD_LETTER_STREAM)).await?;
        let name = format!("{}_dead_letters", self.ledger);
        let config = pull::Config {
            durable_name: Some(name.clone()),
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        let consumer: PullConsumer =
            answered(letters.get_or_create_consumer(&name, config)).await?;
        // Missing heartbeats end the stream when the server is lost, and it is opened again.
        let mut messages = answered(consumer.messages()).await?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(unavailable)?;
            if let Err(error) = self.handle(&work, &message).await {
                tracing::warn!(%error, "a dead letter was not handled; it is redelivered");
                let again = jetstream::AckKind::Nak(Some(REDELIVER_AFTER));
                answered(message.ack_with(again)).await?;
            } else {
                answered(message.ack()).await?;
            }
        }
        Ok(())
    }

    /// Records the failure, then deletes the message. After a crash in between it is recorded
    /// again, which the rollout refuses harmlessly.
    async fn handle(&self, work: &Stream, message: &Message) -> Result<(), DeadLetterError> {
        let Ok(advisory) = serde_json::from_slice::<Advisory>(&message.payload) else {
            tracing::error!(subject = %message.subject, "an advisory cannot be read");
            return Ok(());
        };
        // A terminated message is already gone from the queue; the worker logged the reason.
        let stored = answered(async {
            match work.get_raw_message(advisory.stream_seq).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        });
        let Some(stored) = stored.await? else {
            return Ok(());
        };
        if !stored
            .subject
            .as_str()
            .starts_with(&format!("work.{}.", self.ledger))
        {
            return Ok(());
        }
        if let Ok(task) = serde_json::from_slice::<QueuedTask>(&stored.payload) {
            self.give_up(&task, &advisory).await?;
        } else if let Ok(shard) = serde_json::from_slice::<QueuedShard>(&stored.payload) {
            self.give_up_shard(&shard, &advisory).await?;
        } else if let Ok(notice) = serde_json::from_slice::<QueuedNotice>(&stored.payload) {
            self.give_up_notice(&notice, &advisory).await?;
        }
        if let Err(error) = answered(work.delete_message(advisory.stream_seq)).await {
            tracing::debug!(%error, "a dead letter's task was gone already");
        }
        Ok(())
    }

    /// Records that a notice was not sent: no server managed to record what became of it.
    async fn give_up_notice(
        &self,
        notice: &QueuedNotice,
        advisory: &Advisory,
    ) -> Result<(), DeadLetterError> {
        let loaded = match self.handler.rollout(&notice.rollout).await {
            Ok(loaded) => loaded,
            Err(HandlerError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut planned = loaded.plan.runbook().notices.iter();
        let Some(planned) = planned.find(|planned| planned.id == notice.notice) else {
            return Ok(());
        };
        let sent = v1::NoticeSent {
            notice_id: planned.id.clone(),
            channel: planned.channel.clone(),
            verdict: v1::Verdict::Error.into(),
            message: advisory.reason(),
        };
        let request = Request::System(SystemCommand::RecordNotice { sent });
        self.record(&notice.rollout, &request).await
    }

    async fn record(&self, rollout: &RolloutId, request: &Request) -> Result<(), DeadLetterError> {
        let caller = Caller::process("orchestrator", v1::ActorKind::Orchestrator);
        match self.handler.request(rollout, request, &caller).await {
            Ok(_) => Ok(()),
            // The rollout has moved on: the notice is no longer open.
            Err(HandlerError::Refused(_) | HandlerError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers for a shard whose workers died or stopped responding: its run fails with the reason.
    async fn give_up_shard(
        &self,
        shard: &QueuedShard,
        advisory: &Advisory,
    ) -> Result<(), DeadLetterError> {
        let answer = ShardAnswer::Failed {
            reason: advisory.reason(),
            new_plan: false,
        };
        Ok(self.shards.answer(shard, &answer).await?)
    }

    async fn give_up(
        &self,
        queued: &QueuedTask,
        advisory: &Advisory,
    ) -> Result<(), DeadLetterError> {
        let request = Request::System(SystemCommand::GiveUp {
            step: queued.task.step.clone(),
            attempt: queued.task.attempt,
            reason: advisory.reason(),
        });
        self.record(&queued.rollout, &request).await
    }
}
