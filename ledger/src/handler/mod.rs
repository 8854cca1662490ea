//! Carries requests to their aggregate: fold, decide, append with the expected sequence, and
//! on a conflict fold and decide again. The one place where rules meet the journal.

mod cache;
mod error;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use rollbook_proto::v1;
use uuid::Uuid;

pub use error::HandlerError;

use crate::clock::{SharedClock, to_proto};
use crate::evidence::EvidenceStore;
use crate::flag::{self, FlagCommand, FlagState};
use crate::ids::{Aggregate, EnvironmentId, FlagKey, LedgerId, RolloutId};
use crate::journal::{Journal, JournalError};
use crate::rollout::{self, Command, Context, Open, Request, RolloutState};
use crate::runbook::Plan;
use cache::Cache;

/// How often a command is decided again after losing a race before it is given up.
const MAX_DECISIONS: u32 = 32;

/// Folded rollouts and flags kept in memory; a cache only, any entry may be dropped.
const MAX_CACHED: usize = 1_000;

/// Who asks, and what led to it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who, and how that was established.
    pub actor: v1::Actor,
    /// Idempotency key: applied at most once per aggregate.
    pub command_id: String,
    /// Commit that led to this one, or empty.
    pub causation_id: String,
    /// W3C trace context, or empty.
    pub traceparent: String,
}

impl Caller {
    /// A caller with a fresh command id.
    pub fn new(actor: v1::Actor) -> Self {
        Self {
            actor,
            command_id: Uuid::now_v7().to_string(),
            causation_id: String::new(),
            traceparent: String::new(),
        }
    }

    /// The orchestrator, worker or server process itself.
    pub fn process(name: &str, kind: v1::ActorKind) -> Self {
        Self::new(v1::Actor {
            name: name.to_owned(),
            kind: kind.into(),
            authentication: "process".to_owned(),
        })
    }
}

/// A rollout as of its last commit.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its folded state.
    pub state: RolloutState,
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// Sequence of its last commit.
    pub sequence: u64,
}

/// What a request led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Sequence of the commit; when nothing had to be recorded, of the aggregate's last one.
    pub sequence: u64,
    /// What was recorded; empty when the command had been applied before or changes nothing.
    pub events: Vec<v1::Event>,
}

/// Decides and records. Cheap to clone; all clones share their caches.
#[derive(Debug, Clone)]
pub struct Handler {
    journal: Arc<dyn Journal>,
    evidence: EvidenceStore,
    clock: SharedClock,
    ledger: LedgerId,
    rollouts: Cache<Aggregate, RolloutState>,
    flags: Cache<Aggregate, FlagState>,
    plans: Cache<String, Arc<Plan>>,
}

impl Handler {
    /// A handler on a journal and an evidence store.
    pub fn new(
        journal: Arc<dyn Journal>,
        evidence: EvidenceStore,
        clock: SharedClock,
        ledger: LedgerId,
    ) -> Self {
        Self {
            journal,
            evidence,
            clock,
            ledger,
            rollouts: Cache::new(MAX_CACHED),
            flags: Cache::new(MAX_CACHED),
            plans: Cache::new(MAX_CACHED),
        }
    }

    /// The journal behind it.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// The evidence store beside it.
    pub fn evidence(&self) -> &EvidenceStore {
        &self.evidence
    }

    /// The injected clock's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stores a plan's canonical form as evidence. Durable on return; storing twice is harmless.
    pub async fn store_plan(&self, plan: &Plan) -> Result<v1::Evidence, HandlerError> {
        let bytes = Bytes::from(plan.canonical_json().to_vec());
        Ok(self.evidence.put(bytes, "application/json", "plan").await?)
    }

    /// Opens a rollout of a plan that has been stored. Durable on return.
    pub async fn open(
        &self,
        id: &RolloutId,
        open: &Open,
        caller: &Caller,
    ) -> Result<Done, HandlerError> {
        let aggregate = Aggregate::Rollout(id.clone());
        let plan = self.plan(&open.plan.sha256).await?;
        if self.fold_rollout(&aggregate).await?.is_some() {
            return Err(HandlerError::Exists { id: id.clone() });
        }
        let events = rollout::open(&plan, open)?;
        let commit = self.commit(&aggregate, events.clone(), caller, 0);
        match self.journal.append(&aggregate, commit).await {
            Ok(appended) => Ok(Done {
                sequence: appended.sequence,
                events,
            }),
            Err(JournalError::Conflict { .. }) => Err(HandlerError::Exists { id: id.clone() }),
            Err(error) => Err(error.into()),
        }
    }

    /// A rollout with everything acknowledged before the call.
    pub async fn rollout(&self, id: &RolloutId) -> Result<Loaded, HandlerError> {
        let aggregate = Aggregate::Rollout(id.clone());
        let Some((state, sequence)) = self.fold_rollout(&aggregate).await? else {
            return Err(HandlerError::NotFound {
                what: format!("rollout {id}"),
            });
        };
        let plan = self.plan(&state.plan_digest).await?;
        Ok(Loaded {
            state,
            plan,
            sequence,
        })
    }

    /// Decides a request on the fresh state and records the result. Durable on return; the same
    /// command id again records nothing more. On `Unavailable` the same request, with the same
    /// command id, may be made again.
    pub async fn request(
        &self,
        id: &RolloutId,
        request: &Request,
        caller: &Caller,
    ) -> Result<Done, HandlerError> {
        let aggregate = Aggregate::Rollout(id.clone());
        let new_plan = match request {
            Request::Person(Command::Revise { plan, .. }) => Some(self.plan(&plan.sha256).await?),
            _ => None,
        };
        for _ in 0..MAX_DECISIONS {
            let loaded = self.rollout(id).await?;
            let context = Context {
                now: self.clock.now(),
                actor: &caller.actor,
                command_id: &caller.command_id,
                new_plan: new_plan.as_deref(),
            };
            let events = rollout::decide(&loaded.state, &loaded.plan, request, &context)?;
            if events.is_empty() {
                return Ok(Done {
                    sequence: loaded.sequence,
                    events,
                });
            }
            let commit = self.commit(&aggregate, events.clone(), caller, loaded.sequence);
            match self.journal.append(&aggregate, commit).await {
                Ok(appended) => {
                    return Ok(Done {
                        sequence: appended.sequence,
                        events,
                    });
                }
                Err(JournalError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(HandlerError::Contention {
            aggregate: aggregate.to_string(),
            tries: MAX_DECISIONS,
        })
    }

    /// A flag with everything acknowledged before the call; `None` when it was never defined.
    pub async fn flag(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<Option<(FlagState, u64)>, HandlerError> {
        let aggregate = Aggregate::Flag(environment.clone(), key.clone());
        self.fold_flag(&aggregate).await
    }

    /// Decides a flag command and records the result; durable on return.
    pub async fn flag_request(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        command: &FlagCommand,
        caller: &Caller,
    ) -> Result<Done, HandlerError> {
        let aggregate = Aggregate::Flag(environment.clone(), key.clone());
        for _ in 0..MAX_DECISIONS {
            let folded = self.fold_flag(&aggregate).await?;
            let sequence = folded.as_ref().map_or(0, |(_, sequence)| *sequence);
            let state = folded.as_ref().map(|(state, _)| state);
            let events = flag::decide(state, environment, key, command, &caller.command_id)?;
            if events.is_empty() {
                return Ok(Done { sequence, events });
            }
            let commit = self.commit(&aggregate, events.clone(), caller, sequence);
            match self.journal.append(&aggregate, commit).await {
                Ok(appended) => {
                    return Ok(Done {
                        sequence: appended.sequence,
                        events,
                    });
                }
                Err(JournalError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(HandlerError::Contention {
            aggregate: aggregate.to_string(),
            tries: MAX_DECISIONS,
        })
    }

    /// A pinned plan by its digest, from the evidence store.
    pub async fn plan(&self, digest: &str) -> Result<Arc<Plan>, HandlerError> {
        if let Some((plan, _)) = self.plans.get(&digest.to_owned()) {
            return Ok(plan);
        }
        let bytes = self.evidence.get(digest).await?;
        let plan = Arc::new(Plan::from_canonical(&bytes)?);
        self.plans.put(digest.to_owned(), plan.clone(), 0);
        Ok(plan)
    }

    async fn fold_rollout(
        &self,
        aggregate: &Aggregate,
    ) -> Result<Option<(RolloutState, u64)>, HandlerError> {
        let (mut state, mut sequence) = match self.rollouts.get(aggregate) {
            Some((state, sequence)) => (Some(state), sequence),
            None => (None, 0),
        };
        let tail = self.journal.read(aggregate, sequence).await?;
        for stored in &tail {
            state = Some(rollout::evolve(state, &stored.commit, stored.sequence)?);
            sequence = stored.sequence;
        }
        Ok(state.map(|state| {
            if !tail.is_empty() {
                self.rollouts
                    .put(aggregate.clone(), state.clone(), sequence);
            }
            (state, sequence)
        }))
    }

    async fn fold_flag(
        &self,
        aggregate: &Aggregate,
    ) -> Result<Option<(FlagState, u64)>, HandlerError> {
        let (mut state, mut sequence) = match self.flags.get(aggregate) {
            Some((state, sequence)) => (Some(state), sequence),
            None => (None, 0),
        };
        let tail = self.journal.read(aggregate, sequence).await?;
        for stored in &tail {
            state = Some(flag::evolve(state, &stored.commit, stored.sequence)?);
            sequence = stored.sequence;
        }
        Ok(state.map(|state| {
            if !tail.is_empty() {
                self.flags.put(aggregate.clone(), state.clone(), sequence);
            }
            (state, sequence)
        }))
    }

    fn commit(
        &self,
        aggregate: &Aggregate,
        events: Vec<v1::Event>,
        caller: &Caller,
        previous_sequence: u64,
    ) -> v1::Commit {
        v1::Commit {
            id: Uuid::now_v7().to_string(),
            ledger: self.ledger.to_string(),
            aggregate: aggregate.kind().to_owned(),
            aggregate_id: aggregate.id(),
            schema_version: rollbook_proto::SCHEMA_VERSION,
            command_id: caller.command_id.clone(),
            causation_id: caller.causation_id.clone(),
            actor: Some(caller.actor.clone()),
            recorded_at: Some(to_proto(self.clock.now())),
            previous_sequence,
            traceparent: caller.traceparent.clone(),
            events,
        }
    }
}
