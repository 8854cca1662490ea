//! Carries shards to workers and their answers back, on JetStream.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Stream};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::jetstream::{
    JetStreamQueue, ReceivedMessage, WORK_STREAM, answered, open_stream, unavailable,
};
use super::super::queue::{Published, QueueError};
use super::{QueuedShard, ShardAnswer, ShardRun, shard_token};

/// The stream of answers.
pub const SHARD_STREAM: &str = "ROLLBOOK_SHARDS";

/// How long answers are kept if their coordinator died; other answers are purged at the end of
/// their run.
const ANSWER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum number of answers in the stream.
const MAX_ANSWERS: i64 = 2_000_000;

/// A reader that receives no answer for this long starts again from the beginning: after a crash of
/// the server its consumer may be gone.
const QUIET: Duration = Duration::from_secs(10);

/// The wait after a failed read of answers.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Maximum number of answers waiting for the coordinator.
const WAITING_ANSWERS: usize = 64;

/// Shards on the work queue of a ledger, and their answers.
#[derive(Debug, Clone)]
pub struct ShardQueue {
    queue: std::sync::Arc<JetStreamQueue>,
    answers: Stream<()>,
}

/// A shard delivered to a worker.
#[derive(Debug)]
pub(super) struct ShardDelivery {
    pub(super) taken: ReceivedMessage,
    pub(super) queued: QueuedShard,
}

impl ShardQueue {
    /// Opens the shards of a queue and creates the stream of answers if it is missing.
    pub async fn open(queue: std::sync::Arc<JetStreamQueue>) -> Result<Self, QueueError> {
        let config = Config {
            name: SHARD_STREAM.to_owned(),
            description: Some("Answers to shards".to_owned()),
            subjects: vec!["shard.>".to_owned()],
            discard: DiscardPolicy::New,
            max_messages: MAX_ANSWERS,
            max_age: ANSWER_AGE,
            allow_direct: true,
            num_replicas: queue.replicas(),
            ..Config::default()
        };
        let context = queue.context();
        open_stream(context, config).await?;
        let answers = answered(context.get_stream_no_info(SHARD_STREAM)).await?;
        Ok(Self { queue, answers })
    }

    /// Puts a shard on the queue unless it is there already. Durable on return.
    pub(super) async fn publish(&self, queued: &QueuedShard) -> Result<Published, QueueError> {
        let subject = queued
            .run
            .shard_subject(self.queue.ledger(), queued.work.shard());
        let body = serde_json::to_vec(queued).map_err(unavailable)?;
        self.queue.put_once(subject, body).await
    }

    /// The next shard for a worker with these labels.
    pub(super) async fn pull(
        &self,
        labels: &[String],
        wait: Duration,
    ) -> Result<Option<ShardDelivery>, QueueError> {
        let tokens: Vec<String> = labels.iter().map(|label| shard_token(label)).collect();
        while let Some(message) = self.queue.next(&tokens, wait).await? {
            if let Some((taken, queued)) = ReceivedMessage::read(message).await? {
                return Ok(Some(ShardDelivery { taken, queued }));
            }
        }
        Ok(None)
    }

    /// Records the answer to a shard. Durable on return. The first answer counts: a shard done
    /// twice gives the same report.
    pub(in crate::fleet) async fn answer(
        &self,
        queued: &QueuedShard,
        answer: &ShardAnswer,
    ) -> Result<(), QueueError> {
        let subject = queued
            .run
            .answer_subject(self.queue.ledger(), queued.work.shard());
        let body = serde_json::to_vec(answer).map_err(unavailable)?;
        self.queue.put_once(subject, body).await.map(|_| ())
    }

    /// Streams the answers of a run from the first, each at least once, until the receiver is
    /// dropped.
    pub(super) fn answers(
        &self,
        run: &ShardRun,
    ) -> (mpsc::Receiver<(u32, ShardAnswer)>, AbortOnDropHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING_ANSWERS);
        let filter = run.answer_subject(self.queue.ledger(), "*");
        let queue = self.clone();
        let reader = tokio::spawn(async move {
            while !sender.is_closed() {
                if let Err(error) = queue.read_answers(&filter, &sender).await {
                    tracing::warn!(%error, "answers of shards cannot be read; trying again");
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        });
        (receiver, AbortOnDropHandle::new(reader))
    }

    async fn read_answers(
        &self,
        filter: &str,
        sender: &mpsc::Sender<(u32, ShardAnswer)>,
    ) -> Result<(), QueueError> {
        let config = OrderedConfig {
            filter_subject: filter.to_owned(),
            ..OrderedConfig::default()
        };
        let consumer = answered(self.answers.create_consumer(config)).await?;
        let mut messages = answered(consumer.messages()).await?;
        while let Ok(Some(message)) = tokio::time::timeout(QUIET, messages.next()).await {
            let message = message.map_err(unavailable)?;
            let Some(Ok(shard)) = message.subject.rsplit('.').next().map(str::parse) else {
                continue;
            };
            let answer = serde_json::from_slice(&message.payload).unwrap_or_else(|error| {
                ShardAnswer::Failed {
                    reason: format!("its answer cannot be read: {error}; update the workers"),
                    new_plan: false,
                }
            });
            if sender.send((shard, answer)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns a token that is cancelled when the run is over; it works as long as the handle
    /// lives.
    pub(super) async fn watch_over(
        &self,
        run: &ShardRun,
    ) -> Result<(CancellationToken, AbortOnDropHandle<()>), QueueError> {
        let subject = run.answer_subject(self.queue.ledger(), "over");
        let client = self.queue.client();
        let mut told = answered(client.subscribe(subject.clone())).await?;
        answered(client.flush()).await?;
        let over = CancellationToken::new();
        let stored = answered(self.answers.direct_get_last_for_subject(subject)).await;
        if stored.is_ok() {
            over.cancel();
        }
        let tell = over.clone();
        let listener = tokio::spawn(async move {
            if told.next().await.is_some() {
                tell.cancel();
            }
        });
        Ok((over, AbortOnDropHandle::new(listener)))
    }

    /// Removes the shards of all earlier runs of a step from the queue.
    pub(super) async fn forget_earlier(&self, run: &ShardRun) -> Result<(), QueueError> {
        let filter = format!("{}.>", run.step_subject(self.queue.ledger()));
        self.purge(WORK_STREAM, filter).await
    }

    /// Ends a run: workers skip its shards, and its messages are purged.
    pub(super) async fn end(&self, run: &ShardRun) -> Result<(), QueueError> {
        let ledger = self.queue.ledger();
        let over = run.answer_subject(ledger, "over");
        self.queue.put_once(over, Vec::new()).await?;
        self.purge(WORK_STREAM, run.shard_subject_filter(ledger))
            .await?;
        // Keep only the message that the run is over, for late workers.
        let answers = run.answer_subject(ledger, "*");
        answered(self.answers.purge().filter(answers).keep(1)).await?;
        Ok(())
    }

    async fn purge(&self, stream: &str, filter: String) -> Result<(), QueueError> {
        let stream = answered(self.queue.context().get_stream_no_info(stream)).await?;
        answered(stream.purge().filter(filter)).await?;
        Ok(())
    }
}
