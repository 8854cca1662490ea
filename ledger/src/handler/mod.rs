//! Carries requests to their aggregate: the one place where rules meet the journal. Fold, decide,
//! append and decide again is [`journal::execute`](crate::journal::execute()).

mod environments;
mod error;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use rollbook_proto::v1;
use serde::Serialize;
use uuid::Uuid;

pub use environments::UnrecordedEnvironment;
pub use error::HandlerError;

use crate::authority;
use crate::clock::{SharedClock, to_proto};
use crate::command_ids::{CommandDigest, CommandIds};
use crate::environment::{self, EnvironmentState, Environments};
use crate::evidence::{EvidenceError, EvidenceStore, is_address};
use crate::flag::{self, FlagCommand, FlagState};
use crate::fleet::{self, FleetCommand, WorkerState};
use crate::ids::{Aggregate, EnvironmentId, FlagKey, LedgerId, RolloutId, WorkerName};
use crate::journal::execute::load;
use crate::journal::{Cache, Decision, Executed, Journal, StoredCommit, SyncKnown, execute};
use crate::rollout::command::MAX_EVIDENCE;
use crate::rollout::{self, Command, Context, Open, Request, RolloutState};
use crate::runbook::{self, Plan};
use crate::trace::Cause;

/// Folded aggregates kept in memory, of each kind; a cache only, any entry may be dropped.
const MAX_CACHED: usize = 1_000;

/// Who asks, and what led to it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who, and how that was established.
    pub actor: v1::Actor,
    /// Idempotency key: applied at most once per aggregate and kind of actor. The same id for
    /// another command is refused.
    pub command_id: String,
    /// The command as it was sent, in canonical form; `None`: as it was understood.
    pub sent: Option<Bytes>,
    /// What led to it.
    pub cause: Cause,
}

impl Caller {
    /// A caller with a fresh command id.
    pub fn new(actor: v1::Actor) -> Self {
        Self {
            actor,
            command_id: Uuid::now_v7().to_string(),
            sent: None,
            cause: Cause::default(),
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
    pub state: Arc<RolloutState>,
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// Sequence of its last commit.
    pub sequence: u64,
}

/// What opening a rollout led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The commit.
    pub done: Done,
    /// Environments that it recorded on the way, protected and with the roles of the plan.
    pub recorded: Vec<EnvironmentId>,
}

/// What a request led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Sequence of the commit; when nothing had to be recorded, of the aggregate's last one.
    pub sequence: u64,
    /// What is recorded there of this command; empty when it changes nothing.
    pub events: Vec<v1::Event>,
    /// The command had been applied before: sequence and events are those of the first time.
    pub repeated: bool,
}

impl From<Executed> for Done {
    fn from(executed: Executed) -> Self {
        Self {
            sequence: executed.sequence,
            repeated: executed.repeated,
            events: executed
                .commit
                .map_or_else(Vec::new, |commit| commit.events),
        }
    }
}

/// An aggregate's state, shared with the cache; `None`: it has no commit.
type Folded<S> = Option<Arc<S>>;

fn fold_rollout(
    state: Folded<RolloutState>,
    tail: &[StoredCommit],
) -> Result<Folded<RolloutState>, HandlerError> {
    let mut state = state.map(Arc::unwrap_or_clone);
    for stored in tail {
        state = Some(rollout::evolve(state, &stored.commit, stored.sequence)?);
    }
    Ok(state.map(Arc::new))
}

fn fold_flag(
    state: Folded<FlagState>,
    tail: &[StoredCommit],
) -> Result<Folded<FlagState>, HandlerError> {
    let mut state = state.map(Arc::unwrap_or_clone);
    for stored in tail {
        state = Some(flag::evolve(state, &stored.commit, stored.sequence)?);
    }
    Ok(state.map(Arc::new))
}

fn fold_worker(
    state: Folded<WorkerState>,
    tail: &[StoredCommit],
) -> Result<Folded<WorkerState>, HandlerError> {
    let mut state = state.map(Arc::unwrap_or_clone);
    for stored in tail {
        state = Some(fleet::evolve(state, &stored.commit, stored.sequence)?);
    }
    Ok(state.map(Arc::new))
}

/// Refuses a plan that its runbook would be refused for, wherever it comes from. Plans on the
/// record are never checked again: what was opened under older rules goes on.
fn check(plan: &Plan, environment: &EnvironmentId) -> Result<(), HandlerError> {
    let diagnostics = runbook::check(plan, Some(environment.as_str()));
    if diagnostics.has_errors() {
        return Err(HandlerError::PlanRefused(diagnostics));
    }
    Ok(())
}

/// What the caller's command is: as it was sent, or else as it was understood.
fn digest(
    aggregate: &Aggregate,
    command: &impl Serialize,
    caller: &Caller,
) -> Result<CommandDigest, HandlerError> {
    let body = match &caller.sent {
        Some(sent) => sent.clone(),
        None => Bytes::from(serde_json_canonicalizer::to_vec(command)?),
    };
    Ok(CommandDigest::new(&caller.actor, aggregate, &body))
}

/// Whether the caller's command has been applied before.
///
/// # Errors
/// [`HandlerError::OtherCommand`] when its id has been used for another.
fn repeated(
    applied: Option<&CommandIds>,
    caller: &Caller,
    digest: &CommandDigest,
) -> Result<Option<Decision>, HandlerError> {
    let found = applied.and_then(|ids| ids.find(caller.actor.kind(), &caller.command_id));
    match found {
        None => Ok(None),
        Some(first) if first.is(digest) => Ok(Some(Decision::Repeated {
            sequence: first.sequence,
        })),
        Some(other) => Err(HandlerError::OtherCommand {
            command_id: caller.command_id.clone(),
            sequence: other.sequence,
        }),
    }
}

fn fold_environment(
    state: Folded<EnvironmentState>,
    tail: &[StoredCommit],
) -> Result<Folded<EnvironmentState>, HandlerError> {
    let mut state = state.map(Arc::unwrap_or_clone);
    for stored in tail {
        state = Some(environment::evolve(state, &stored.commit, stored.sequence)?);
    }
    Ok(state.map(Arc::new))
}

fn no_rollout(id: &RolloutId) -> HandlerError {
    HandlerError::NotFound {
        what: format!("rollout {id}"),
    }
}

/// Decides and records. Cheap to clone; all clones share their caches.
#[derive(Debug, Clone)]
pub struct Handler {
    journal: Arc<dyn Journal>,
    evidence: EvidenceStore,
    clock: SharedClock,
    ledger: LedgerId,
    rollouts: Cache<Aggregate, Folded<RolloutState>>,
    flags: Cache<Aggregate, Folded<FlagState>>,
    workers: Cache<Aggregate, Folded<WorkerState>>,
    environments: Cache<Aggregate, Folded<EnvironmentState>>,
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
            workers: Cache::new(MAX_CACHED),
            environments: Cache::new(MAX_CACHED),
            plans: Cache::new(MAX_CACHED),
        }
    }

    /// The clock that it decides by.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
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

    /// Opens a rollout of a plan that has been stored. Durable on return; the same command again,
    /// under its id, records nothing more and is answered as the first time. In a protected
    /// environment refused where the server is known to acknowledge before it syncs, and to
    /// everybody outside its roles. An environment that the plan declares protected and that the
    /// ledger does not know is recorded first.
    pub async fn open(
        &self,
        id: &RolloutId,
        open: &Open,
        caller: &Caller,
    ) -> Result<Opened, HandlerError> {
        let plan = self.plan(&open.plan.sha256).await?;
        let environments = self.environments_of(&plan, &open.environment).await?;
        let protected = authority::is_protected(&plan, &open.environment, false, &environments);
        let refused = protected && self.journal.sync() == SyncKnown::NotAlways;
        let aggregate = &Aggregate::Rollout(id.clone());
        let digest = &digest(aggregate, open, caller)?;
        let (plan, environments) = (&*plan, &environments);
        let decided = |state: &Folded<RolloutState>| {
            let applied = state.as_ref().map(|state| &state.command_ids);
            if let Some(repeated) = repeated(applied, caller, digest)? {
                return Ok(repeated);
            }
            match state {
                Some(_) => Err(HandlerError::Exists { id: id.clone() }),
                None if refused => Err(HandlerError::NotSynced {
                    id: id.clone(),
                    environment: open.environment.clone(),
                }),
                None => {
                    check(plan, &open.environment)?;
                    let events = rollout::open(plan, open, &caller.actor, environments)?;
                    Ok(self.record(aggregate, events, caller, digest))
                }
            }
        };
        let mut recorded = Vec::new();
        let records = rollout::records(plan, open, environments);
        if !records.is_empty() {
            // Whatever refuses the rollout also leaves the environments alone.
            let journal = &*self.journal;
            let (state, _) = load(journal, aggregate, &self.rollouts, fold_rollout).await?;
            if let Decision::Record(_) = decided(&state)? {
                for (name, terms) in records {
                    if self.record_environment(&name, &terms, id, caller).await? {
                        recorded.push(name);
                    }
                }
            }
        }
        let decided = &decided;
        let decide = |state: Folded<RolloutState>| async move { decided(&state) };
        let journal = &*self.journal;
        let executed = execute(journal, aggregate, &self.rollouts, fold_rollout, decide).await?;
        Ok(Opened {
            done: executed.into(),
            recorded,
        })
    }

    /// A rollout with everything acknowledged before the call.
    pub async fn rollout(&self, id: &RolloutId) -> Result<Loaded, HandlerError> {
        let aggregate = Aggregate::Rollout(id.clone());
        let (state, sequence) =
            load(&*self.journal, &aggregate, &self.rollouts, fold_rollout).await?;
        let state = state.ok_or_else(|| no_rollout(id))?;
        let plan = self.pinned(&state.plan_digest).await?;
        Ok(Loaded {
            state,
            plan,
            sequence,
        })
    }

    /// Decides a request and records the result. Durable on return; the same request again, under
    /// its command id, records nothing more and is answered as the first time. On `Unavailable` the same request, with the same command id, may be
    /// made again.
    pub async fn request(
        &self,
        id: &RolloutId,
        request: &Request,
        caller: &Caller,
    ) -> Result<Done, HandlerError> {
        let aggregate = &Aggregate::Rollout(id.clone());
        if let Request::Person(command) = request {
            match command.inner() {
                Command::Complete { evidence, .. } => self.stored(evidence).await?,
                Command::Revise { plan, .. } => self.stored(std::slice::from_ref(plan)).await?,
                _ => {}
            }
        }
        let digest = &digest(aggregate, request, caller)?;
        let decide = |state: Folded<RolloutState>| async move {
            let state = state.ok_or_else(|| no_rollout(id))?;
            if let Some(repeated) = repeated(Some(&state.command_ids), caller, digest)? {
                return Ok(repeated);
            }
            let plan = self.pinned(&state.plan_digest).await?;
            let (new_plan, environments) = match request {
                Request::Person(command) => self.person(&state, &plan, command).await?,
                Request::Worker(_) | Request::System(_) => (None, Environments::default()),
            };
            let context = Context {
                now: self.clock.now(),
                actor: &caller.actor,
                command_id: &caller.command_id,
                new_plan: new_plan.as_deref(),
                environments: &environments,
            };
            let events = rollout::decide(&state, &plan, request, &context)?;
            Ok(self.record(aggregate, events, caller, digest))
        };
        let journal = &*self.journal;
        let executed = execute(journal, aggregate, &self.rollouts, fold_rollout, decide).await?;
        Ok(executed.into())
    }

    /// What a person's command is decided by besides the rollout: the plan that it brings or
    /// accepts, and the environments in which the plans act.
    async fn person(
        &self,
        state: &RolloutState,
        plan: &Plan,
        command: &Command,
    ) -> Result<(Option<Arc<Plan>>, Environments), HandlerError> {
        let mut environments = self.environments_of(plan, &state.environment).await?;
        let brought = match command.inner() {
            Command::Revise { plan, .. } => Some(plan),
            Command::AcceptRevision { .. } => {
                state.pending_revision.as_ref().map(|pending| &pending.plan)
            }
            _ => None,
        };
        let Some(brought) = brought else {
            return Ok((None, environments));
        };
        let new_plan = self.plan(&brought.sha256).await?;
        if let Command::Revise { .. } = command.inner() {
            check(&new_plan, &state.environment)?;
            // The event may keep a part of it only.
            let whole = runbook::difference::between(plan, &new_plan).text();
            let bytes = Bytes::from(whole);
            self.evidence.put(bytes, "text/plain", "difference").await?;
        }
        self.add_environments(&new_plan, &state.environment, &mut environments)
            .await?;
        Ok((Some(new_plan), environments))
    }

    /// A flag with everything acknowledged before the call; `None` when it was never defined.
    pub async fn flag(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<Option<(FlagState, u64)>, HandlerError> {
        let aggregate = Aggregate::Flag(environment.clone(), key.clone());
        let (state, sequence) = load(&*self.journal, &aggregate, &self.flags, fold_flag).await?;
        Ok(state.map(|state| (Arc::unwrap_or_clone(state), sequence)))
    }

    /// A flag as [`flag`](Self::flag) gives it, with its whole history.
    pub async fn flag_history(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<Option<(FlagState, Vec<StoredCommit>)>, HandlerError> {
        let aggregate = Aggregate::Flag(environment.clone(), key.clone());
        let history = self.journal.read(&aggregate, 0).await?;
        Ok(flag::fold(&history)?.map(|state| (state, history)))
    }

    /// Decides a flag command and records the result; durable on return.
    pub async fn flag_request(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        command: &FlagCommand,
        caller: &Caller,
    ) -> Result<Done, HandlerError> {
        let aggregate = &Aggregate::Flag(environment.clone(), key.clone());
        let record = match caller.actor.kind() {
            v1::ActorKind::Person => self.environment(environment).await?,
            _ => None,
        };
        let record = record.as_deref();
        let digest = &digest(aggregate, command, caller)?;
        let decide = |state: Folded<FlagState>| async move {
            let state = state.as_deref();
            let applied = state.map(|state| &state.command_ids);
            if let Some(repeated) = repeated(applied, caller, digest)? {
                return Ok(repeated);
            }
            let asked = flag::Asked {
                actor: &caller.actor,
                now: self.clock.now(),
                command_id: &caller.command_id,
                environment: record,
            };
            let events = flag::decide(state, environment, key, command, &asked)?;
            Ok(self.record(aggregate, events, caller, digest))
        };
        let journal = &*self.journal;
        let executed = execute(journal, aggregate, &self.flags, fold_flag, decide).await?;
        Ok(executed.into())
    }

    /// Decides what is said of a worker and records the result; durable on return.
    pub async fn fleet_request(
        &self,
        name: &WorkerName,
        command: &FleetCommand,
        caller: &Caller,
    ) -> Result<Done, HandlerError> {
        let aggregate = &Aggregate::Worker(name.clone());
        let digest = &digest(aggregate, command, caller)?;
        let decide = |state: Folded<WorkerState>| async move {
            let state = state.as_deref();
            let applied = state.map(|state| &state.command_ids);
            if let Some(repeated) = repeated(applied, caller, digest)? {
                return Ok(repeated);
            }
            let events = fleet::decide(state, name, command, self.clock.now())?;
            Ok(self.record(aggregate, events, caller, digest))
        };
        let journal = &*self.journal;
        let executed = execute(journal, aggregate, &self.workers, fold_worker, decide).await?;
        Ok(executed.into())
    }

    /// Refuses what a person names as evidence and nobody stored.
    async fn stored(&self, evidence: &[v1::Evidence]) -> Result<(), HandlerError> {
        // What is no address is the rules' to refuse, and too many are too.
        let named = evidence.iter().filter(|piece| is_address(&piece.sha256));
        for piece in named.take(MAX_EVIDENCE) {
            if self.evidence.size(&piece.sha256).await? != Some(piece.size_bytes) {
                return Err(HandlerError::NoSuchEvidence {
                    sha256: piece.sha256.clone(),
                    size_bytes: piece.size_bytes,
                });
            }
        }
        Ok(())
    }

    /// The plan that a rollout is pinned to. It was stored before the rollout was opened.
    async fn pinned(&self, digest: &str) -> Result<Arc<Plan>, HandlerError> {
        self.plan(digest).await.map_err(|error| match error {
            HandlerError::Evidence(EvidenceError::NotFound { .. }) => HandlerError::EvidenceLost {
                sha256: digest.to_owned(),
            },
            error => error,
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

    /// To record a commit of these events; nothing, where there are none.
    fn record(
        &self,
        aggregate: &Aggregate,
        events: Vec<v1::Event>,
        caller: &Caller,
        digest: &CommandDigest,
    ) -> Decision {
        if events.is_empty() {
            return Decision::Nothing;
        }
        Decision::Record(v1::Commit {
            id: Uuid::now_v7().to_string(),
            ledger: self.ledger.to_string(),
            aggregate: aggregate.kind().to_owned(),
            aggregate_id: aggregate.id(),
            schema_version: rollbook_proto::SCHEMA_VERSION,
            command_id: caller.command_id.clone(),
            command_digest: digest.to_bytes(),
            causation_id: caller.cause.causation_id.clone(),
            actor: Some(caller.actor.clone()),
            recorded_at: Some(to_proto(self.clock.now())),
            previous_sequence: 0,
            traceparent: caller.cause.traceparent.clone(),
            events,
        })
    }
}
