//! Commits in the form sent to clients of the live feed: one block of server-sent events per event,
//! encoded once for all clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use rollbook_ledger::ids::Aggregate;
use rollbook_ledger::journal::{StoredCommit, event_type};
use rollbook_proto::Timestamp;
use rollbook_proto::v1::{Actor, Event, event::Kind};
use serde::Serialize;

use super::environments::EnvironmentCache;
use super::feed::FeedError;

/// The number of newest commits whose blocks are cached.
const MAX_CACHED_COMMITS: usize = 1_024;

/// The subject of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) rollout: Option<String>,
    pub(crate) environment: Option<String>,
}

/// One encoded event.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) index: u32,
    pub(crate) name: &'static str,
    pub(crate) about: About,
    /// With `id`, `event`, `data` and the empty line that ends it.
    pub(crate) bytes: Bytes,
}

/// The `data` of an event: `event` as in the log, and the subject it belongs to.
#[derive(Debug, Serialize)]
struct Data<'a> {
    sequence: u64,
    index: u32,
    #[serde(rename = "type")]
    name: &'static str,
    rollout: Option<&'a str>,
    environment: Option<&'a str>,
    aggregate: &'a str,
    aggregate_id: &'a str,
    commit: &'a str,
    actor: Option<&'a Actor>,
    recorded_at: Option<&'a Timestamp>,
    event: &'a Event,
}

/// The cached blocks of the newest commits. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockCache(Arc<Mutex<BTreeMap<u64, Arc<Vec<Block>>>>>);

impl BlockCache {
    /// The blocks of a commit that the views contain.
    pub(crate) async fn blocks(
        &self,
        stored: &StoredCommit,
        environments: &EnvironmentCache,
    ) -> Result<Arc<Vec<Block>>, FeedError> {
        let sequence = stored.sequence;
        let kept = |cached: &Self| {
            let cached = cached.0.lock().unwrap_or_else(PoisonError::into_inner);
            cached.get(&sequence).cloned()
        };
        if let Some(blocks) = kept(self) {
            return Ok(blocks);
        }
        let mut blocks = Vec::with_capacity(stored.commit.events.len());
        for (index, event) in (0..).zip(&stored.commit.events) {
            let about = about(stored, event, environments).await?;
            blocks.push(block(stored, index, event, about)?);
        }
        let blocks = Arc::new(blocks);
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.insert(sequence, Arc::clone(&blocks));
        while cached.len() > MAX_CACHED_COMMITS {
            cached.pop_first();
        }
        Ok(blocks)
    }
}

/// The rollout and the environment that an event of a commit is about.
pub(crate) async fn about(
    stored: &StoredCommit,
    event: &Event,
    environments: &EnvironmentCache,
) -> Result<About, FeedError> {
    let commit = &stored.commit;
    let about = match Aggregate::of(&commit.aggregate, &commit.aggregate_id) {
        Some(Aggregate::Rollout(rollout)) => {
            if let Some(Kind::RolloutOpened(opened)) = &event.kind {
                environments.learn(rollout.as_str(), &opened.environment);
            }
            let environment = environments.of(rollout.as_str()).await?;
            About {
                rollout: Some(rollout.into()),
                environment,
            }
        }
        Some(Aggregate::Flag(environment, _)) => About {
            rollout: match &event.kind {
                Some(Kind::FlagChanged(change)) => Some(change.rollout_id.clone()),
                _ => None,
            }
            .filter(|rollout| !rollout.is_empty()),
            environment: Some(environment.into()),
        },
        Some(Aggregate::Environment(name)) => About {
            rollout: None,
            environment: Some(name.into()),
        },
        Some(Aggregate::Worker(_)) | None => About::default(),
    };
    Ok(about)
}

fn block(
    stored: &StoredCommit,
    index: u32,
    event: &Event,
    about: About,
) -> Result<Block, FeedError> {
    let (commit, sequence) = (&stored.commit, stored.sequence);
    let name = event_type(event);
    let data = Data {
        sequence,
        index,
        name,
        rollout: about.rollout.as_deref(),
        environment: about.environment.as_deref(),
        aggregate: &commit.aggregate,
        aggregate_id: &commit.aggregate_id,
        commit: &commit.id,
        actor: commit.actor.as_ref(),
        recorded_at: commit.recorded_at.as_ref(),
        event,
    };
    let head = format!("id: {sequence}.{index}\nevent: {name}\ndata: ");
    let mut bytes = head.into_bytes();
    // JSON contains no raw line breaks, which would end `data`.
    serde_json::to_writer(&mut bytes, &data).map_err(|error| FeedError::Json {
        sequence,
        reason: error.to_string(),
    })?;
    bytes.extend_from_slice(b"\n\n");
    Ok(Block {
        index,
        name,
        about,
        bytes: bytes.into(),
    })
}
