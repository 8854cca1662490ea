//! Follows the ledger and acts on what is due: puts tasks and notices on the work queue, and
//! settles gates, waits and rollbacks. It has no state of its own except which rollouts to look at.
//! Two orchestrators do not conflict, because every decision is made again on the state at append,
//! and the queue holds each task and each notice once.
//!
//! It notes next to the views which rollouts are over, and at which sequence, so that a restart
//! does not fold every rollout that ever ended. Without the notes it does, with the same result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use rollbook_ledger::error_code::Coded;
use rollbook_ledger::handler::{Caller, Handler, HandlerError};
use rollbook_ledger::ids::{Aggregate, RolloutId};
use rollbook_ledger::journal::{Journal, JournalError, ReadFrom, StoredCommit};
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::rollout::{self, Frontier, Request, SystemCommand};
use rollbook_ledger::trace::{self, Cause};
use rollbook_proto::v1::{self, event::Kind};
use rollbook_workers::fleet::{NoticeSink, QueueError, QueuedNotice, QueuedTask, TaskQueue};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::api::PublicMessage;

/// Longest time between two looks at a rollout, in case a timer or message is lost.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Delay after a dependency failed.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Time limit for reading and writing notes.
const NOTES_WITHIN: Duration = Duration::from_secs(10);

/// Settling records something each time there is something to settle; more rounds than this in a
/// row mean that a rule contradicts itself.
const MAX_SETTLES: u32 = 64;

/// The parts of the loop.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    handler: Handler,
    journal: Arc<dyn Journal>,
    queue: Arc<dyn TaskQueue>,
    notices: Arc<dyn NoticeSink>,
    views: Arc<dyn ViewStore>,
    liveness: Liveness,
}

/// Why a look at a rollout failed; it is repeated.
#[derive(Debug, thiserror::Error, Coded)]
enum EvaluationError {
    #[error(transparent)]
    Handler(#[from] HandlerError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(
        "RB-ORCHESTRATOR-1: rollout {id} does not come to rest after {MAX_SETTLES} settlements; its plan contradicts itself, pause it"
    )]
    Restless { id: RolloutId },
}

impl PublicMessage for EvaluationError {
    fn public_message(&self) -> String {
        match self {
            Self::Handler(error) => error.public_message(),
            Self::Queue(_) | Self::Restless { .. } => self.to_string(),
        }
    }
}

/// The result of a look.
enum Evaluation {
    /// Look again at this time, or when something is recorded.
    Wake(Timestamp),
    /// Over as of this sequence; look again only when something is recorded.
    Over(u64),
    /// Nothing is waiting; look again only when something is recorded.
    Nothing,
}

/// What to look at.
#[derive(Debug, Default)]
struct Schedule {
    /// When to look at each rollout that is not over, and at each flag with a request that waits
    /// for another person. `None`: only when something is recorded.
    due: BTreeMap<Aggregate, Option<Timestamp>>,
    /// The sequence at which each rollout was found to be over.
    over: BTreeMap<RolloutId, u64>,
    /// Frontiers of the rollouts that are not over.
    frontiers: BTreeMap<RolloutId, Frontier>,
    /// What last moved each rollout that is not over.
    causes: BTreeMap<RolloutId, RolloutCause>,
}

/// What last moved a rollout. Its tasks are part of the trace of the person's command that last
/// moved it, so that the steps of one command are side by side, however many there are; which commit
/// led to which is told by their causation ids.
#[derive(Debug, Default)]
struct RolloutCause {
    /// The last commit, and the trace of the last person's command.
    cause: Cause,
    /// Tasks that the last look has put on the queue, by key.
    offered: BTreeSet<String>,
}

impl RolloutCause {
    fn note(&mut self, commit: &v1::Commit) {
        self.cause.causation_id.clone_from(&commit.id);
        let by_person = commit
            .actor
            .as_ref()
            .is_some_and(|actor| actor.kind() == v1::ActorKind::Person);
        if by_person {
            self.cause.traceparent.clone_from(&commit.traceparent);
        }
    }

    /// The orchestrator, because of it.
    fn caller(&self) -> Caller {
        Caller {
            cause: self.cause.clone(),
            ..Caller::process("orchestrator", v1::ActorKind::Orchestrator)
        }
    }
}

impl Schedule {
    fn note(&mut self, stored: &StoredCommit, now: Timestamp) {
        let commit = &stored.commit;
        let waits = |event: &v1::Event| {
            let kind = event.kind.as_ref();
            kind.is_some_and(|kind| matches!(kind, Kind::RequestMade(_) | Kind::GlassBroken(_)))
        };
        match Aggregate::of(&commit.aggregate, &commit.aggregate_id) {
            Some(Aggregate::Rollout(id)) => {
                let over = self.over.get(&id);
                if over.is_none_or(|over| stored.sequence > *over) {
                    self.causes.entry(id.clone()).or_default().note(commit);
                    self.due.insert(Aggregate::Rollout(id), Some(now));
                }
            }
            Some(of @ Aggregate::Flag(..)) if commit.events.iter().any(waits) => {
                self.due.insert(of, Some(now));
            }
            _ => {}
        }
    }
}

/// Liveness of the loop, for monitoring. Clones share it.
#[derive(Debug, Clone)]
pub struct Liveness(Arc<watch::Sender<LivenessState>>);

impl Default for Liveness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(LivenessState::default())))
    }
}

/// The loop's last success, and the latest failure since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LivenessState {
    /// When the loop last did everything due.
    pub succeeded_at: Option<Timestamp>,
    /// Why a later look failed.
    pub failing: Option<String>,
}

impl Liveness {
    /// The last beat.
    pub fn last(&self) -> LivenessState {
        self.0.borrow().clone()
    }

    fn beat(&self, at: Timestamp) {
        self.0.send_replace(LivenessState {
            succeeded_at: Some(at),
            failing: None,
        });
    }

    fn skip(&self, reason: String) {
        self.0.send_modify(|beat| beat.failing = Some(reason));
    }
}

impl Orchestrator {
    /// An orchestrator that follows `journal` and puts tasks on `queue` and notices on `notices`.
    /// It notes in `views` which rollouts are over, and reports its liveness on `liveness`.
    pub fn new(
        handler: Handler,
        journal: Arc<dyn Journal>,
        queue: Arc<dyn TaskQueue>,
        notices: Arc<dyn NoticeSink>,
        views: Arc<dyn ViewStore>,
        liveness: Liveness,
    ) -> Self {
        Self {
            handler,
            journal,
            queue,
            notices,
            views,
            liveness,
        }
    }

    /// Runs until `shutdown`. Survives restarts of the NATS server: it continues from its last
    /// sequence.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut after = 0;
        let mut schedule = Schedule::default();
        while !shutdown.is_cancelled() {
            match self.follow(&mut after, &mut schedule, &shutdown).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the orchestrator lost the ledger; following again");
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(BACK_OFF) => {}
                    }
                }
            }
        }
    }

    async fn follow(
        &self,
        after: &mut u64,
        schedule: &mut Schedule,
        shutdown: &CancellationToken,
    ) -> Result<(), JournalError> {
        let journal = &self.journal;
        let begin = async {
            let last = journal.last_sequence().await?;
            let commits = journal.follow(ReadFrom { after: *after }).await?;
            if *after == 0 {
                schedule.over = self.noted_over().await;
            }
            Ok::<_, JournalError>((last, commits))
        };
        let (last, mut commits) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            begun = begin => begun?,
        };
        loop {
            // During replay of history it only collects; it starts to look once it has caught up.
            let caught_up = *after >= last;
            let due = if caught_up {
                self.next_look(schedule)
            } else {
                later(self.handler.now(), LOOK_AGAIN).unwrap_or(Timestamp::MAX)
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                commit = commits.next() => match commit {
                    Some(commit) => {
                        let commit = commit?;
                        *after = commit.sequence;
                        schedule.note(&commit, self.handler.now());
                        self.liveness.beat(self.handler.now());
                    }
                    None => return Ok(()),
                },
                () = self.handler.clock().sleep_until(due) => tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = self.look(schedule) => {}
                },
            }
        }
    }

    /// When the next look is due.
    fn next_look(&self, schedule: &Schedule) -> Timestamp {
        let now = self.handler.now();
        let latest = later(now, LOOK_AGAIN).unwrap_or(now);
        let first = schedule.due.values().flatten().min();
        first.map_or(latest, |at| latest.min(*at))
    }

    /// The rollouts noted as over; empty if the views do not answer.
    async fn noted_over(&self) -> BTreeMap<RolloutId, u64> {
        let noted = tokio::time::timeout(NOTES_WITHIN, self.views.rollouts_over()).await;
        let noted = match noted {
            Ok(Ok(noted)) => noted,
            Ok(Err(error)) => {
                tracing::info!(%error, "it is not known which rollouts are over; evaluating all");
                return BTreeMap::new();
            }
            Err(_) => return BTreeMap::new(),
        };
        let read = |(id, sequence)| Some((RolloutId::new(id).ok()?, sequence));
        noted.into_iter().filter_map(read).collect()
    }

    /// Notes that a rollout is over; a lost note costs one look at the next start.
    async fn note_over(&self, id: &RolloutId, sequence: u64) {
        let noted = self.views.note_rollout_over(id.as_str(), sequence);
        if let Ok(Err(error)) = tokio::time::timeout(NOTES_WITHIN, noted).await {
            tracing::debug!(rollout = %id, %error, "could not note that the rollout is over");
        }
    }

    async fn look(&self, schedule: &mut Schedule) {
        let now = self.handler.now();
        let due: Vec<Aggregate> = schedule
            .due
            .iter()
            // A time further away than any look was set before the clock was set back.
            .filter(|(_, at)| at.is_none_or(|at| at <= now || later(now, LOOK_AGAIN) < Some(at)))
            .map(|(id, _)| id.clone())
            .collect();
        let mut failed = None;
        for of in due {
            let looked = match &of {
                Aggregate::Rollout(id) => {
                    let mut frontier = schedule.frontiers.remove(id).unwrap_or_default();
                    let cause = schedule.causes.entry(id.clone()).or_default();
                    let looked = self.advance(id, &mut frontier, cause).await;
                    match looked {
                        Ok(Evaluation::Wake(_)) => {
                            schedule.frontiers.insert(id.clone(), frontier);
                        }
                        Ok(Evaluation::Over(_) | Evaluation::Nothing) => {
                            schedule.causes.remove(id);
                        }
                        Err(_) => {}
                    }
                    looked
                }
                Aggregate::Flag(environment, key) => {
                    let caller = Caller::process("orchestrator", v1::ActorKind::Orchestrator);
                    let settled = self.handler.settle_flag(environment, key, &caller).await;
                    settled
                        .map(|wake_at| wake_at.map_or(Evaluation::Nothing, Evaluation::Wake))
                        .map_err(EvaluationError::from)
                }
                Aggregate::Worker(_) | Aggregate::Environment(_) => Ok(Evaluation::Nothing),
            };
            match looked {
                Ok(Evaluation::Wake(wake_at)) => {
                    schedule.due.insert(of, Some(wake_at));
                }
                Ok(Evaluation::Over(sequence)) => {
                    if let Aggregate::Rollout(id) = &of {
                        self.note_over(id, sequence).await;
                    }
                    schedule.due.remove(&of);
                }
                Ok(Evaluation::Nothing) => {
                    schedule.due.remove(&of);
                }
                Err(error) => {
                    tracing::warn!(%of, %error, "could not advance; evaluating again");
                    failed.get_or_insert_with(|| format!("{of}: {}", error.public_message()));
                    schedule.due.insert(of, later(now, BACK_OFF));
                }
            }
        }
        match failed {
            None => self.liveness.beat(self.handler.now()),
            Some(reason) => self.liveness.skip(reason),
        }
    }

    /// Does everything that is due for one rollout.
    async fn advance(
        &self,
        id: &RolloutId,
        frontier: &mut Frontier,
        cause: &mut RolloutCause,
    ) -> Result<Evaluation, EvaluationError> {
        for _ in 0..MAX_SETTLES {
            let loaded = self.handler.rollout(id).await?;
            frontier.advance(&loaded.state, &loaded.plan);
            let next = rollout::look(&loaded.state, &loaded.plan, frontier, self.handler.now());
            if next.settle {
                let settle = Request::System(SystemCommand::Settle);
                let span = tracing::info_span!(parent: None, "settle", rollout = %id);
                trace::continue_from(&span, &cause.cause.traceparent);
                let caller = cause.caller();
                let settling = self.handler.request(id, &settle, &caller);
                let done = settling.instrument(span).await?;
                if !done.events.is_empty() {
                    // What comes next follows from the settlement.
                    if let Some(id) = done.commit_id {
                        cause.cause.causation_id = id;
                    }
                    continue;
                }
            }
            let mut offered = BTreeSet::new();
            for task in &next.tasks {
                let mut task = QueuedTask {
                    rollout: id.clone(),
                    task: task.clone(),
                    cause: cause.cause.clone(),
                };
                let key = task.key();
                // A task that waits is put on the queue at each look, which holds it once.
                let span = if cause.offered.contains(&key) {
                    Span::none()
                } else {
                    tracing::info_span!(
                        parent: None,
                        "publish",
                        otel.kind = "producer",
                        rollout = %id,
                        task = %key
                    )
                };
                trace::continue_from(&span, &cause.cause.traceparent);
                task.cause.traceparent = trace::context_of(&span, &cause.cause.traceparent);
                self.queue.publish(&task).instrument(span).await?;
                offered.insert(key);
            }
            cause.offered = offered;
            for due in &next.notices {
                let notice = QueuedNotice {
                    rollout: id.clone(),
                    notice: due.notice.clone(),
                };
                self.notices.publish(&notice).await?;
            }
            if next.is_over() {
                return Ok(Evaluation::Over(loaded.sequence));
            }
            let now = self.handler.now();
            let look = later(now, LOOK_AGAIN).unwrap_or(now);
            return Ok(Evaluation::Wake(
                next.wake_at.map_or(look, |wake| wake.min(look)),
            ));
        }
        Err(EvaluationError::Restless { id: id.clone() })
    }
}

fn later(now: Timestamp, by: Duration) -> Option<Timestamp> {
    now.checked_add(by).ok()
}
