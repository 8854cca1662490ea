//! Publishes the progress of running steps on JetStream: in memory, with one message kept per step,
//! so that a dashboard that joins midway sees the latest state at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::kv::{Config, Entry, Operation, Store};
use async_nats::jetstream::stream::StorageType;
use async_nats::jetstream::{self, Context};
use futures::{Stream, StreamExt};
use rollbook_ledger::ids::{LedgerId, RolloutId, StepId, subject_token};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::jetstream::{answered, unavailable};
use super::queue::QueueError;
use crate::executor::progress::{ProgressSink, StepProgress};

/// The bucket of progress.
pub const PROGRESS_BUCKET: &str = "rollbook_progress";

/// How long the last state of a step is kept.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// Maximum size of the bucket, in bytes; a state takes some hundred bytes, that of a large fleet
/// some thousand.
const MAX_BYTES: i64 = 64 * 1024 * 1024;

/// Publishes progress from its own task, so that a step never waits for a reader. A state that has
/// not been published when the next state of the same step arrives is replaced by it.
#[derive(Debug, Clone)]
pub struct NatsProgress {
    waiting: Arc<Waiting>,
    _sender: Arc<AbortOnDropHandle<()>>,
}

/// The states waiting to be published, by key; never more than there are running steps.
#[derive(Debug, Default)]
struct Waiting {
    states: Mutex<BTreeMap<String, StepProgress>>,
    more: Notify,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, StepProgress>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(rollout: &RolloutId, step: &StepId) -> String {
    let tokens = [rollout.as_str(), step.as_str()].map(subject_token);
    tokens.join(".")
}

impl NatsProgress {
    /// Starts publishing for a ledger. Must be called inside a tokio runtime.
    pub fn start(client: Client, ledger: LedgerId) -> Self {
        let waiting = Arc::new(Waiting::default());
        let source = Arc::clone(&waiting);
        let context = jetstream::new(client);
        let sender = tokio::spawn(async move {
            let mut kept = None;
            loop {
                let next = source.lock().pop_first();
                let Some((key, progress)) = next else {
                    source.more.notified().await;
                    continue;
                };
                let key = format!("{ledger}.{key}");
                if let Err(error) = put(&context, &mut kept, &key, &progress).await {
                    tracing::debug!(%error, "progress was not published");
                    kept = None;
                }
            }
        });
        Self {
            waiting,
            _sender: Arc::new(AbortOnDropHandle::new(sender)),
        }
    }
}

impl ProgressSink for NatsProgress {
    fn report(&self, progress: StepProgress) {
        let key = key(&progress.rollout, &progress.step);
        self.waiting.lock().insert(key, progress);
        self.waiting.more.notify_one();
    }
}

async fn put(
    context: &Context,
    kept: &mut Option<Store>,
    key: &str,
    progress: &StepProgress,
) -> Result<(), QueueError> {
    let body = serde_json::to_vec(progress).map_err(unavailable)?;
    let store = match kept.take() {
        Some(store) => store,
        None => bucket(context).await?,
    };
    answered(store.put(key, body.into())).await?;
    *kept = Some(store);
    Ok(())
}

async fn bucket(context: &Context) -> Result<Store, QueueError> {
    let config = Config {
        bucket: PROGRESS_BUCKET.to_owned(),
        description: "How far running steps are".to_owned(),
        history: 1,
        max_age: KEPT_FOR,
        max_bytes: MAX_BYTES,
        storage: StorageType::Memory,
        ..Config::default()
    };
    super::jetstream::bucket(context, config).await
}

/// Checks that the NATS servers acknowledge a write, which they do not without a quorum.
pub(super) async fn probe(client: &Client, ledger: &LedgerId) -> Result<(), QueueError> {
    let store = bucket(&jetstream::new(client.clone())).await?;
    // The token of a rollout or step never begins with `=`.
    let key = format!("{ledger}.=probe");
    answered(store.put(key, Vec::new().into()))
        .await
        .map(|_| ())
}

/// Streams the latest states of a rollout's steps, then each new one. Ends with the connection.
pub async fn follow(
    client: &Client,
    ledger: &LedgerId,
    rollout: &RolloutId,
) -> Result<impl Stream<Item = StepProgress> + Send + use<>, QueueError> {
    let store = bucket(&jetstream::new(client.clone())).await?;
    let steps = format!("{ledger}.{}.*", subject_token(rollout.as_str()));
    let entries = answered(store.watch_with_history(steps)).await?;
    Ok(entries.filter_map(|entry| std::future::ready(entry.ok().as_ref().and_then(state))))
}

/// Streams each new state of every step of the ledger. Ends when something may have been missed.
pub(super) async fn follow_all(
    client: &Client,
    ledger: &LedgerId,
) -> Result<impl Stream<Item = StepProgress> + Send + use<>, QueueError> {
    let store = bucket(&jetstream::new(client.clone())).await?;
    let entries = answered(store.watch(format!("{ledger}.>"))).await?;
    Ok(entries
        .take_while(|entry| std::future::ready(entry.is_ok()))
        .filter_map(|entry| std::future::ready(entry.ok().as_ref().and_then(state))))
}

fn state(entry: &Entry) -> Option<StepProgress> {
    // Another version may have written it.
    let put = entry.operation == Operation::Put;
    put.then(|| serde_json::from_slice(&entry.value).ok())?
}

/// The latest states of these steps, if reported within the last hour.
pub async fn latest(
    client: &Client,
    ledger: &LedgerId,
    rollout: &RolloutId,
    steps: &[StepId],
) -> Result<Vec<StepProgress>, QueueError> {
    let store = bucket(&jetstream::new(client.clone())).await?;
    let mut states = Vec::with_capacity(steps.len());
    for step in steps {
        let key = format!("{ledger}.{}", key(rollout, step));
        let body = answered(store.get(key)).await?;
        states.extend(body.and_then(|body| serde_json::from_slice::<StepProgress>(&body).ok()));
    }
    Ok(states)
}
