//! The work queue on JetStream.
//!
//! `ROLLBOOK_WORK` is a work-queue stream: it keeps a message until it is acknowledged. Each label
//! has one durable pull consumer. A message is published only if its subject is empty, so the
//! stream holds each task at most once, however many orchestrators publish it. `ROLLBOOK_DLQ` keeps
//! the advisories about messages that were given up.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull::Config as PullConfig};
use async_nats::jetstream::context::{GetStreamErrorKind, PublishError};
use async_nats::jetstream::kv::{Config as BucketConfig, Store};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, AckKind, Context, Message};
use async_nats::{Client, HeaderMap, HeaderValue};
use async_trait::async_trait;
use futures::StreamExt;
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::trace::{self, TRACEPARENT};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::Span;

use super::presence::WORKERS_BUCKET;
use super::progress::PROGRESS_BUCKET;
use super::pull;
use super::queue::{
    Delivery, Published, QueueError, QueueOptions, QueuedTask, TaskFilter, TaskQueue,
};
use super::shards::SHARD_STREAM;

/// The stream of tasks.
pub const WORK_STREAM: &str = "ROLLBOOK_WORK";

/// The stream of advisories about tasks that were given up.
pub const DEAD_LETTER_STREAM: &str = "ROLLBOOK_DLQ";

/// How long advisories are kept.
const DEAD_LETTER_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// "wrong last sequence": the subject already has a message. A replicated stream returns the second
/// code while the other message is still in flight (nats-server `errors.json`).
const CONFLICT_CODES: [u64; 2] = [10071, 10164];

/// "maximum messages exceeded".
const FULL_CODE: u64 = 10077;

/// How often consumers are polled when no task was announced.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A task is announced by its own publication, before it is stored. After an announcement, the first
/// and the longest interval of polls, which doubles: a store takes as long as the disk needs …
const ANNOUNCED_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(1), Duration::from_millis(20));

/// … and for how long to poll so.
const ANNOUNCED_FOR: Duration = Duration::from_millis(300);

/// The time limit of every exchange with the server: requests on a lost connection are never
/// answered, and a closed connection accepts no more.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The work queue of one ledger.
pub struct JetStreamQueue {
    context: Context,
    client: Client,
    ledger: LedgerId,
    options: QueueOptions,
    consumers: Mutex<HashMap<String, Source>>,
}

impl std::fmt::Debug for JetStreamQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JetStreamQueue({})", self.ledger)
    }
}

/// A label's consumer, and the announcements of its tasks.
#[derive(Clone)]
struct Source {
    consumer: PullConsumer,
    /// When a task was last announced; `None`: never.
    announced: watch::Receiver<Option<Instant>>,
    _listener: std::sync::Arc<AbortOnDropHandle<()>>,
}

pub(super) fn unavailable(error: impl std::fmt::Display) -> QueueError {
    QueueError::Unavailable {
        reason: error.to_string(),
    }
}

/// Waits for an exchange with the server, for at most [`ANSWER_WITHIN`].
pub(super) async fn answered<T, E: std::fmt::Display>(
    exchange: impl IntoFuture<Output = Result<T, E>>,
) -> Result<T, QueueError> {
    match tokio::time::timeout(ANSWER_WITHIN, exchange.into_future()).await {
        Ok(answer) => answer.map_err(unavailable),
        Err(_) => Err(unavailable(format!(
            "the NATS server did not answer within {} s",
            ANSWER_WITHIN.as_secs()
        ))),
    }
}

/// Opens a stream and returns its settings. It is created if missing, and gets more replicas if it
/// has too few.
pub(super) async fn open_stream(context: &Context, wanted: Config) -> Result<Config, QueueError> {
    let replicas = wanted.num_replicas;
    let stream = answered(context.get_or_create_stream(wanted)).await?;
    raise_replicas(context, stream.cached_info().config.clone(), replicas).await
}

/// Raises the replicas of a stream unless it has as many.
pub(super) async fn raise_replicas(
    context: &Context,
    found: Config,
    replicas: usize,
) -> Result<Config, QueueError> {
    if found.num_replicas >= replicas {
        return Ok(found);
    }
    let raised = Config {
        num_replicas: replicas,
        ..found
    };
    Ok(answered(context.update_stream(raised)).await?.config)
}

/// Whether a stream exists. If the server cannot tell, that is an error.
async fn is_there(context: &Context, stream: &str) -> Result<bool, QueueError> {
    answered(async {
        match context.get_stream(stream).await {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(e)
                    if e.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    })
    .await
}

/// Opens a bucket in memory; it is created if missing, with as many replicas as the work queue has,
/// so that one dead server does not lose it.
pub(super) async fn bucket(context: &Context, wanted: BucketConfig) -> Result<Store, QueueError> {
    if !is_there(context, &format!("KV_{}", wanted.bucket)).await? {
        let queue = match is_there(context, WORK_STREAM).await? {
            true => Some(answered(context.get_stream(WORK_STREAM)).await?),
            false => None,
        };
        let num_replicas = queue.map_or(1, |queue| queue.cached_info().config.num_replicas);
        let made = BucketConfig {
            num_replicas,
            ..wanted.clone()
        };
        if let Ok(store) = answered(context.create_key_value(made)).await {
            return Ok(store);
        }
        // Another process may have created it meanwhile.
    }
    answered(context.get_key_value(&wanted.bucket)).await
}

/// Raises the replicas of an existing bucket.
async fn raise_bucket(context: &Context, bucket: &str, replicas: usize) -> Result<(), QueueError> {
    let name = format!("KV_{bucket}");
    // A missing bucket is created with the right number.
    if !is_there(context, &name).await? {
        return Ok(());
    }
    let stream = answered(context.get_stream(name)).await?;
    raise_replicas(context, stream.cached_info().config.clone(), replicas).await?;
    Ok(())
}

impl JetStreamQueue {
    /// Opens the queue: creates missing streams and checks the settings of existing ones.
    pub async fn open(
        client: Client,
        ledger: LedgerId,
        options: QueueOptions,
    ) -> Result<Self, QueueError> {
        let context = jetstream::new(client.clone());
        let work = Config {
            name: WORK_STREAM.to_owned(),
            description: Some("Tasks of the worker fleet".to_owned()),
            subjects: vec!["work.>".to_owned()],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_messages: i64::from(options.max_tasks),
            num_replicas: options.replicas,
            ..Config::default()
        };
        let found = &open_stream(&context, work).await?;
        let wrong = |setting, found: String, required: &str| {
            Err(QueueError::Setting {
                what: format!("stream {WORK_STREAM}"),
                setting,
                found,
                required: required.to_owned(),
            })
        };
        if found.retention != RetentionPolicy::WorkQueue {
            return wrong("retention", format!("{:?}", found.retention), "WorkQueue");
        }
        if found.storage != StorageType::File {
            return wrong("storage", format!("{:?}", found.storage), "File");
        }
        if found.discard != DiscardPolicy::New {
            return wrong("discard", format!("{:?}", found.discard), "New");
        }
        if !found.max_age.is_zero() {
            return wrong("max_age", format!("{:?}", found.max_age), "0");
        }
        let advisories = ["MAX_DELIVERIES", "MSG_TERMINATED"]
            .map(|kind| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.{WORK_STREAM}.>"));
        let letters = Config {
            name: DEAD_LETTER_STREAM.to_owned(),
            description: Some("Advisories about tasks that were given up".to_owned()),
            subjects: advisories.to_vec(),
            storage: StorageType::File,
            max_age: DEAD_LETTER_AGE,
            num_replicas: options.replicas,
            ..Config::default()
        };
        open_stream(&context, letters).await?;
        for bucket in [WORKERS_BUCKET, PROGRESS_BUCKET] {
            raise_bucket(&context, bucket, options.replicas).await?;
        }
        Ok(Self {
            context,
            client,
            ledger,
            options,
            consumers: Mutex::new(HashMap::new()),
        })
    }

    /// Whether the streams exist that a server creates when it starts.
    pub async fn exists(client: &Client) -> Result<bool, QueueError> {
        let context = jetstream::new(client.clone());
        for stream in [WORK_STREAM, DEAD_LETTER_STREAM, SHARD_STREAM] {
            if !is_there(&context, stream).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The consumer of the tasks under `work.<ledger>.<token>`, created if missing.
    async fn source(&self, token: &str) -> Result<Source, QueueError> {
        let mut consumers = self.consumers.lock().await;
        if let Some(source) = consumers.get(token) {
            return Ok(source.clone());
        }
        let filter = format!("work.{}.{token}.>", self.ledger);
        let name = format!("{}_{token}", self.ledger);
        let wanted = PullConfig {
            durable_name: Some(name.clone()),
            filter_subject: filter.clone(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.options.ack_wait,
            max_deliver: i64::from(self.options.max_deliver),
            max_ack_pending: i64::from(self.options.max_tasks),
            ..PullConfig::default()
        };
        let stream = answered(self.context.get_stream_no_info(WORK_STREAM)).await?;
        let mut consumer: PullConsumer =
            answered(stream.get_or_create_consumer(&name, wanted.clone())).await?;
        // Created by an earlier version.
        if consumer.cached_info().config.max_deliver != wanted.max_deliver {
            consumer = answered(stream.create_consumer(wanted)).await?;
        }
        let config = &consumer.cached_info().config;
        if config.ack_policy != AckPolicy::Explicit || config.filter_subject != filter {
            return Err(QueueError::Setting {
                what: format!("consumer {name} of {WORK_STREAM}"),
                setting: "ack policy or filter",
                found: format!("{:?} {}", config.ack_policy, config.filter_subject),
                required: format!("Explicit {filter}"),
            });
        }
        let (announce, announced) = watch::channel(None);
        let mut hints = answered(self.client.subscribe(filter)).await?;
        let listener = AbortOnDropHandle::new(tokio::spawn(async move {
            while hints.next().await.is_some() {
                announce.send_replace(Some(Instant::now()));
            }
        }));
        let source = Source {
            consumer,
            announced,
            _listener: std::sync::Arc::new(listener),
        };
        consumers.insert(token.to_owned(), source.clone());
        Ok(source)
    }

    /// Polls a label's consumer once. After a failure the consumer is opened again, because its
    /// stream may have been lost with a server's disk.
    async fn poll(&self, token: &str) -> Result<Option<Message>, QueueError> {
        let source = self.source(token).await?;
        let polled = pull::poll(&source.consumer).await;
        if polled.is_err() {
            self.consumers.lock().await.remove(token);
        }
        polled
    }

    /// The next message under one of these tokens; waits up to `wait` for one.
    pub(super) async fn next(
        &self,
        tokens: &[String],
        wait: Duration,
    ) -> Result<Option<Message>, QueueError> {
        let mut sources = Vec::with_capacity(tokens.len());
        for token in tokens {
            sources.push(self.source(token).await?);
        }
        let last = Instant::now() + wait;
        // What was announced while an earlier call waited may not have been stored then.
        let mut announced: Vec<_> = sources.iter().map(|it| it.announced.clone()).collect();
        let heard = announced.iter_mut().flat_map(|it| *it.borrow_and_update());
        let mut announced_until =
            heard.fold(Instant::now(), |until, at| until.max(at + ANNOUNCED_FOR));
        let mut announced_interval = ANNOUNCED_INTERVAL.0;
        loop {
            for token in tokens {
                if let Some(message) = self.poll(token).await? {
                    return Ok(Some(message));
                }
            }
            let now = Instant::now();
            if now >= last {
                return Ok(None);
            }
            let interval = if now < announced_until {
                announced_interval
            } else {
                LOOK_INTERVAL
            };
            announced_interval = (announced_interval * 2).min(ANNOUNCED_INTERVAL.1);
            let announcements = announced.iter_mut().map(|source| {
                Box::pin(async {
                    // After the end of its listener only the clock wakes.
                    if source.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
            });
            let any = async {
                if sources.is_empty() {
                    std::future::pending::<()>().await;
                }
                futures::future::select_all(announcements).await;
            };
            tokio::select! {
                () = any => {
                    announced_until = Instant::now() + ANNOUNCED_FOR;
                    announced_interval = ANNOUNCED_INTERVAL.0;
                }
                () = tokio::time::sleep_until(last.min(now + interval)) => {}
            }
        }
    }

    /// Publishes a message on a subject that is empty, with the trace context of the current span as
    /// a header. Durable on return.
    pub(super) async fn put_once(
        &self,
        subject: String,
        body: Vec<u8>,
    ) -> Result<Published, QueueError> {
        let mut headers = HeaderMap::new();
        let traceparent = trace::context_of(&Span::current(), "");
        if !traceparent.is_empty() {
            headers.insert(TRACEPARENT, traceparent);
        }
        let message = PublishMessage::build()
            .payload(body.into())
            .headers(headers)
            .expected_last_subject_sequence(0);
        let acknowledged = async {
            let sent = self.context.send_publish(subject, message).await?;
            sent.await
        };
        let Ok(acknowledged) = tokio::time::timeout(ANSWER_WITHIN, acknowledged).await else {
            return Err(unavailable("the publication was not acknowledged in time"));
        };
        match acknowledged {
            Ok(_) => Ok(Published::New),
            Err(error) => match server_code(&error) {
                Some(code) if CONFLICT_CODES.contains(&code) => Ok(Published::Known),
                Some(FULL_CODE) => Err(QueueError::Full {
                    reason: error.to_string(),
                }),
                _ => Err(unavailable(error)),
            },
        }
    }

    /// The ledger that the queue belongs to.
    pub(super) fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// The connection.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream on the connection.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The number of replicas of the queue.
    pub(super) fn replicas(&self) -> usize {
        self.options.replicas
    }
}

/// A message delivered to a worker.
#[derive(Debug)]
pub(super) struct ReceivedMessage {
    message: Message,
    /// How often it has been delivered, including this time.
    pub(super) deliveries: u32,
}

impl ReceivedMessage {
    /// Parses a message. One that cannot be parsed is terminated and gives `None`.
    pub(super) async fn read<T: serde::de::DeserializeOwned>(
        message: Message,
    ) -> Result<Option<(Self, T)>, QueueError> {
        let body = serde_json::from_slice::<T>(&message.payload)
            .map_err(|error| format!("not a task: {error}"));
        let deliveries = message
            .info()
            .map(|info| u32::try_from(info.delivered).unwrap_or(u32::MAX))
            .map_err(|error| format!("no delivery information: {error}"));
        match (body, deliveries) {
            (Ok(body), Ok(deliveries)) => Ok(Some((
                Self {
                    message,
                    deliveries,
                },
                body,
            ))),
            (Err(reason), _) | (_, Err(reason)) => {
                tracing::error!(subject = %message.subject, %reason, "task given up");
                terminate(&message, &reason).await?;
                Ok(None)
            }
        }
    }

    /// The trace context that it came with; empty: none.
    pub(super) fn traceparent(&self) -> &str {
        let headers = self.message.headers.as_ref();
        headers
            .and_then(|headers| headers.get(TRACEPARENT))
            .map_or("", HeaderValue::as_str)
    }

    pub(super) async fn progress(&self) -> Result<(), QueueError> {
        answered(self.message.double_ack_with(AckKind::Progress)).await
    }

    pub(super) async fn done(&self) -> Result<(), QueueError> {
        answered(self.message.double_ack()).await
    }

    pub(super) async fn redeliver(&self, delay: Duration) -> Result<(), QueueError> {
        answered(self.message.ack_with(AckKind::Nak(Some(delay)))).await
    }
}

/// Sends `Term` with a reason, which the advisory repeats. The client library cannot send a reason.
async fn terminate(message: &Message, reason: &str) -> Result<(), QueueError> {
    let Some(reply) = message.reply.clone() else {
        return Ok(());
    };
    let reason: String = reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect();
    let client = message.context.client();
    answered(client.publish(reply, format!("+TERM {reason}").into())).await?;
    answered(client.flush()).await
}

#[async_trait]
impl TaskQueue for JetStreamQueue {
    async fn publish(&self, task: &QueuedTask) -> Result<Published, QueueError> {
        let body = serde_json::to_vec(task).map_err(unavailable)?;
        self.put_once(task.subject(&self.ledger), body).await
    }

    async fn pull(
        &self,
        filters: &[TaskFilter],
        wait: Duration,
    ) -> Result<Option<Box<dyn Delivery>>, QueueError> {
        let tokens: Vec<String> = filters.iter().map(TaskFilter::token).collect();
        while let Some(message) = self.next(&tokens, wait).await? {
            if let Some((taken, task)) = ReceivedMessage::read(message).await? {
                return Ok(Some(Box::new(JetStreamDelivery { taken, task })));
            }
        }
        Ok(None)
    }
}

/// The server's error code behind a failed publish.
fn server_code(error: &PublishError) -> Option<u64> {
    if error.kind() == jetstream::context::PublishErrorKind::WrongLastSequence {
        return CONFLICT_CODES.first().copied();
    }
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(server) = next.downcast_ref::<jetstream::Error>() {
            return Some(server.error_code().0);
        }
        cause = next.source();
    }
    None
}

#[derive(Debug)]
struct JetStreamDelivery {
    taken: ReceivedMessage,
    task: QueuedTask,
}

#[async_trait]
impl Delivery for JetStreamDelivery {
    fn task(&self) -> &QueuedTask {
        &self.task
    }

    fn deliveries(&self) -> u32 {
        self.taken.deliveries
    }

    async fn progress(&self) -> Result<(), QueueError> {
        self.taken.progress().await
    }

    async fn done(&self) -> Result<(), QueueError> {
        self.taken.done().await
    }

    async fn redeliver(&self, delay: Duration) -> Result<(), QueueError> {
        self.taken.redeliver(delay).await
    }

    async fn give_up(&self, reason: &str) -> Result<(), QueueError> {
        terminate(&self.taken.message, reason).await
    }
}
