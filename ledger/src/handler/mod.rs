//! Executes requests on their aggregates: the only place where rules meet the journal. The loop of
//! fold, decide, append and decide again is [`journal::execute`](crate::journal::execute()).

mod environments;
mod error;
mod plans;
mod texts;

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
use crate::evidence::{EvidenceStore, is_address};
use crate::flag::{self, FlagCommand, FlagState};
use crate::fleet::{self, FleetCommand, WorkerState};
use crate::ids::{Aggregate, EnvironmentId, FlagKey, LedgerId, RolloutId, WorkerName};
use crate::journal::execute::load;
use crate::journal::{Cache, CommandDecision, Executed, Journal, StoredCommit, SyncKnown, execute};
use crate::rollout::command::MAX_EVIDENCE;
use crate::rollout::{self, Command, Context, Open, Request, RolloutState};
use crate::runbook::{self, Plan};
use crate::trace::Cause;

/// Maximum number of folded aggregates cached per kind; any entry may be dropped.
const MAX_CACHED: usize = 1_000;

/// Who makes a request, and what caused it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The actor, and how it was authenticated.
    pub actor: v1::Actor,
    /// Idempotency key: applied at most once per aggregate and kind of actor. Reusing it for
    /// another command is refused.
    pub command_id: String,
    /// The command as it was sent, in canonical form; `None`: derive it from the parsed command.
    pub sent: Option<Bytes>,
    /// What caused it.
    pub cause: Cause,
}

impl Caller {
    /// Creates a caller with a fresh command id.
    pub fn new(actor: v1::Actor) -> Self {
        Self {
            actor,
            command_id: Uuid::now_v7().to_string(),
            sent: None,
            cause: Cause::default(),
        }
    }

    /// Creates a caller for an orchestrator, worker or server process.
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
pub struct LoadedRollout {
    /// Its folded state.
    pub state: Arc<RolloutState>,
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// Sequence of its last commit.
    pub sequence: u64,
}

/// The result of opening a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenedRollout {
    /// The result of the command.
    pub done: Done,
    /// Environments that it recorded as protected, with the plan's roles.
    pub recorded: Vec<EnvironmentId>,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Sequence of the commit, or of the aggregate's last one if nothing had to be recorded.
    pub sequence: u64,
    /// The events recorded for this command; empty if it changes nothing.
    pub events: Vec<v1::Event>,
    /// The command had been applied before; sequence and events are the original ones.
    pub repeated: bool,
    /// Id of the commit; `None` if nothing had to be recorded.
    pub commit_id: Option<String>,
}

impl From<Executed> for Done {
    fn from(executed: Executed) -> Self {
        Self {
            sequence: executed.sequence,
            repeated: executed.repeated,
            commit_id: executed.commit.as_ref().map(|commit| commit.id.clone()),
            events: executed
                .commit
                .map_or_else(Vec::new, |commit| commit.events),
        }
    }
}

/// An aggregate's state, shared with the cache; `None` if it has no commits.
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

/// Refuses a plan that fails the checks of a runbook, wherever it comes from. Plans already
/// recorded are not checked again, so a rollout opened under older rules can continue.
fn check(plan: &Plan, environment: &EnvironmentId) -> Result<(), HandlerError> {
    let diagnostics = runbook::check(plan, Some(environment.as_str()));
    if diagnostics.has_errors() {
        return Err(HandlerError::PlanRefused(diagnostics));
    }
    Ok(())
}

/// Returns the digest of the caller's command, as sent if known, otherwise as parsed.
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

/// Returns the decision for a command that has been applied before, if it has.
///
/// # Errors
/// [`HandlerError::OtherCommand`] if its id was used for a different command.
fn repeated(
    applied: Option<&CommandIds>,
    caller: &Caller,
    digest: &CommandDigest,
) -> Result<Option<CommandDecision>, HandlerError> {
    let found = applied.and_then(|ids| ids.find(caller.actor.kind(), &caller.command_id));
    match found {
        None => Ok(None),
        Some(first) if first.is(digest) => Ok(Some(CommandDecision::Repeated {
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
        meant: None,
    }
}

/// Decides commands and records their events. Cheap to clone; all clones share their caches.
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
    /// Creates a handler on a journal and an evidence store.
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

    /// Returns the clock that decisions are made by.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Returns the journal.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Returns the evidence store.
    pub fn evidence(&self) -> &EvidenceStore {
        &self.evidence
    }

    /// Returns the current time of the injected clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Opens a rollout of a stored plan. Durable on return; repeating the command under its id
    /// records nothing and returns the first result. In a protected environment it is refused if
    /// the server is known to acknowledge before it syncs, and to anyone without a role there.
    /// Environments that the plan declares protected and that the ledger does not know are recorded
    /// first.
    pub async fn open(
        &self,
        id: &RolloutId,
        open: &Open,
        caller: &Caller,
    ) -> Result<OpenedRollout, HandlerError> {
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
            // If the rollout is refused, do not record its environments either.
            let journal = &*self.journal;
            let (state, _) = load(journal, aggregate, &self.rollouts, fold_rollout).await?;
            if let CommandDecision::Record(_) = decided(&state)? {
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
        Ok(OpenedRollout {
            done: executed.into(),
            recorded,
        })
    }

    /// Returns a rollout with everything acknowledged before the call.
    pub async fn rollout(&self, id: &RolloutId) -> Result<LoadedRollout, HandlerError> {
        let aggregate = Aggregate::Rollout(id.clone());
        let (state, sequence) =
            load(&*self.journal, &aggregate, &self.rollouts, fold_rollout).await?;
        let state = state.ok_or_else(|| no_rollout(id))?;
        let plan = self.pinned(&state.plan_digest).await?;
        Ok(LoadedRollout {
            state,
            plan,
            sequence,
        })
    }

    /// Decides a request and records the result. Durable on return; repeating the request under its
    /// command id records nothing and returns the first result. After `Unavailable`, repeat the
    /// same request with the same command id. A person's texts of more than a line become evidence.
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
        let shortened;
        let (request, texts) = match request {
            Request::Person(command) => {
                let (command, texts) = texts::moved(command, &caller.actor);
                shortened = Request::Person(command);
                (&shortened, texts)
            }
            Request::Worker(_) | Request::System(_) => (request, Vec::new()),
        };
        let texts = &texts;
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
            let decision = self.record(aggregate, events, caller, digest);
            self.keep(texts, decision).await
        };
        let journal = &*self.journal;
        let executed = execute(journal, aggregate, &self.rollouts, fold_rollout, decide).await?;
        Ok(executed.into())
    }

    /// Returns what else a person's command is decided by: the plan that it proposes or accepts,
    /// and the environments in which the plans act.
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
            // The event may keep only a part of the difference.
            let whole = runbook::difference::between(plan, &new_plan).text();
            let bytes = Bytes::from(whole);
            self.evidence.put(bytes, "text/plain", "difference").await?;
        }
        self.add_environments(&new_plan, &state.environment, &mut environments)
            .await?;
        Ok((Some(new_plan), environments))
    }

    /// Returns a flag with everything acknowledged before the call; `None` if it was never defined.
    pub async fn flag(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<Option<(FlagState, u64)>, HandlerError> {
        let aggregate = Aggregate::Flag(environment.clone(), key.clone());
        let (state, sequence) = load(&*self.journal, &aggregate, &self.flags, fold_flag).await?;
        Ok(state.map(|state| (Arc::unwrap_or_clone(state), sequence)))
    }

    /// Returns a flag as [`flag`](Self::flag) does, with its full history.
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
        let (command, texts) = &texts::moved(command, &caller.actor);
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
            let decision = self.record(aggregate, events, caller, digest);
            self.keep(texts, decision).await
        };
        let journal = &*self.journal;
        let executed = execute(journal, aggregate, &self.flags, fold_flag, decide).await?;
        Ok(executed.into())
    }

    /// Decides a fleet command on a worker and records the result; durable on return.
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

    /// Refuses evidence references that are not in the store.
    async fn stored(&self, evidence: &[v1::Evidence]) -> Result<(), HandlerError> {
        // Malformed digests, and too many of them, are refused by the rules.
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

    /// Builds the decision to record these events, or nothing if there are none.
    fn record(
        &self,
        aggregate: &Aggregate,
        events: Vec<v1::Event>,
        caller: &Caller,
        digest: &CommandDigest,
    ) -> CommandDecision {
        if events.is_empty() {
            return CommandDecision::Nothing;
        }
        CommandDecision::Record(v1::Commit {
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
            texts: Vec::new(),
            events,
        })
    }
}
