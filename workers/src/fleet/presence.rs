//! Shows which workers are present and what they do. For display only:
//! [`membership`](super::membership) keeps the record.
//!
//! Each worker repeatedly writes one key in a bucket in memory; the key of a dead worker expires
//! after [`GONE_AFTER`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::kv::{Config, Store};
use async_nats::jetstream::stream::StorageType;
use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use futures::StreamExt;
use jiff::Timestamp;
use rollbook_ledger::clock::SharedClock;
use rollbook_ledger::fleet::PRESENCE_SECONDS;
use rollbook_ledger::ids::{LedgerId, subject_token};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::jetstream::{answered, unavailable};
use super::queue::QueueError;
use super::worker::WorkerConfig;

/// The bucket of the workers' presence.
pub const WORKERS_BUCKET: &str = "rollbook_workers";

/// A worker without a heartbeat for this long is gone.
pub const GONE_AFTER: Duration = Duration::from_secs(PRESENCE_SECONDS.unsigned_abs());

/// The interval between two heartbeats.
pub(super) const BEAT: Duration = Duration::from_secs(3);

/// How long a worker that stops tries to remove its key.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(3);

/// The number of heartbeats over which a rate is computed.
const RATE_BEATS: usize = 4;

/// Maximum number of workers listed.
const MAX_LISTED: usize = 10_000;

/// What a worker reports about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Its recorded name.
    pub name: String,
    /// Identifies this run of its process; empty if its version does not report it.
    #[serde(default)]
    pub session: String,
    /// Labels whose tasks it takes besides those for any worker.
    pub labels: Vec<String>,
    /// The version of its program.
    pub version: String,
    /// Maximum number of steps it runs at a time.
    pub concurrency: usize,
    /// Maximum number of shards it does at a time.
    pub threads: usize,
    /// Steps it is running.
    pub steps: u32,
    /// Shards it is doing.
    pub shards: u32,
    /// Deals it has computed or compared since it started.
    pub deals: u64,
    /// Recent deals per second.
    pub deals_per_second: u64,
    /// When it started.
    pub since: Timestamp,
    /// When it reported this.
    pub seen: Timestamp,
}

/// Counts what a worker is doing. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    steps: AtomicU32,
    shards: AtomicU32,
    deals: AtomicU64,
}

/// Counts as one item of work until dropped.
#[derive(Debug)]
pub(super) struct InWork {
    counts: Arc<Counts>,
    of: fn(&Counts) -> &AtomicU32,
}

impl Drop for InWork {
    fn drop(&mut self) {
        (self.of)(&self.counts).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activity {
    pub(super) fn step(&self) -> InWork {
        self.begin(|counts| &counts.steps)
    }

    pub(super) fn shard(&self) -> InWork {
        self.begin(|counts| &counts.shards)
    }

    pub(super) fn computed(&self, deals: u64) {
        self.0.deals.fetch_add(deals, Ordering::Relaxed);
    }

    fn begin(&self, of: fn(&Counts) -> &AtomicU32) -> InWork {
        let counts = Arc::clone(&self.0);
        of(&counts).fetch_add(1, Ordering::Relaxed);
        InWork { counts, of }
    }
}

async fn bucket(context: &Context) -> Result<Store, QueueError> {
    let config = Config {
        bucket: WORKERS_BUCKET.to_owned(),
        description: "Workers that are there".to_owned(),
        max_age: GONE_AFTER,
        storage: StorageType::Memory,
        ..Config::default()
    };
    super::jetstream::bucket(context, config).await
}

/// Announces that a worker is present until `stop`, then that it is gone.
pub async fn announce(
    client: Client,
    ledger: LedgerId,
    config: WorkerConfig,
    clock: SharedClock,
    stop: CancellationToken,
) {
    let context = jetstream::new(client);
    let key = format!("{ledger}.{}", subject_token(&config.name));
    let since = clock.now();
    let mut samples = VecDeque::with_capacity(RATE_BEATS + 1);
    loop {
        let counts = &config.activity.0;
        let deals = counts.deals.load(Ordering::Relaxed);
        samples.push_back((Instant::now(), deals));
        if samples.len() > RATE_BEATS {
            samples.pop_front();
        }
        let presence = Presence {
            name: config.name.clone(),
            session: config.session.clone(),
            labels: config.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            concurrency: config.concurrency,
            threads: config.shard_slots(),
            steps: counts.steps.load(Ordering::Relaxed),
            shards: counts.shards.load(Ordering::Relaxed),
            deals,
            deals_per_second: rate(&samples),
            since,
            seen: clock.now(),
        };
        let sign = async {
            if let Err(error) = put(&context, &key, &presence).await {
                tracing::debug!(%error, "heartbeat not sent");
            }
            tokio::time::sleep(BEAT).await;
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = sign => {}
        }
    }
    let last_word = async {
        if let Ok(store) = bucket(&context).await {
            let _ = store.purge(&key).await;
        }
    };
    // If this fails, the key expires by age.
    let _ = tokio::time::timeout(LAST_WORD_WITHIN, last_word).await;
}

fn rate(samples: &VecDeque<(Instant, u64)>) -> u64 {
    let (Some((begun, before)), Some((now, after))) = (samples.front(), samples.back()) else {
        return 0;
    };
    let millis = now.duration_since(*begun).as_millis().max(1);
    let deals = u128::from(after.saturating_sub(*before));
    u64::try_from(deals * 1000 / millis).unwrap_or(u64::MAX)
}

async fn put(context: &Context, key: &str, presence: &Presence) -> Result<(), QueueError> {
    let body = serde_json::to_vec(presence).map_err(unavailable)?;
    let store = bucket(context).await?;
    answered(store.put(key, body.into())).await.map(|_| ())
}

async fn next_key<E: std::fmt::Display>(
    keys: &mut (impl futures::Stream<Item = Result<String, E>> + Unpin),
) -> Result<Option<String>, QueueError> {
    answered(async { keys.next().await.transpose() }).await
}

/// The port through which a server sees which workers of its ledger are present.
#[async_trait]
pub trait FleetPresence: Send + Sync + std::fmt::Debug {
    /// The workers heard from within [`GONE_AFTER`], by name; at most 10,000.
    ///
    /// # Errors
    /// `Unavailable`: it is not known who is present.
    async fn workers(&self) -> Result<Vec<Presence>, QueueError>;
}

/// The port on NATS: the bucket that [`announce`] writes.
#[derive(Debug, Clone)]
pub struct NatsPresence {
    client: Client,
    ledger: LedgerId,
}

impl NatsPresence {
    /// Makes the presence of one ledger's workers.
    pub fn new(client: Client, ledger: LedgerId) -> Self {
        Self { client, ledger }
    }
}

#[async_trait]
impl FleetPresence for NatsPresence {
    async fn workers(&self) -> Result<Vec<Presence>, QueueError> {
        let store = bucket(&jetstream::new(self.client.clone())).await?;
        let mut keys = answered(store.keys()).await?.take(MAX_LISTED);
        let prefix = format!("{}.", self.ledger);
        let mut found = Vec::new();
        while let Some(key) = next_key(&mut keys).await? {
            if !key.starts_with(&prefix) {
                continue;
            }
            // The key has expired since it was listed, or another version wrote it.
            if let Some(body) = answered(store.get(key)).await?
                && let Ok(presence) = serde_json::from_slice::<Presence>(&body)
            {
                found.push(presence);
            }
        }
        found.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_work_is_counted_until_it_ends() {
        let activity = Activity::default();
        let step = activity.step();
        let shard = activity.clone().shard();
        assert_eq!(activity.0.steps.load(Ordering::Relaxed), 1);
        drop(shard);
        assert_eq!(activity.0.shards.load(Ordering::Relaxed), 0);
        drop(step);
        assert_eq!(activity.0.steps.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_rate_covers_the_time_between_the_samples() {
        let now = Instant::now();
        let samples = VecDeque::from([(now, 100), (now + Duration::from_secs(2), 300)]);
        assert_eq!(rate(&samples), 100);
        assert_eq!(rate(&VecDeque::new()), 0);
    }
}
