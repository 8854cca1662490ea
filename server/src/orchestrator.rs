//! Follows the ledger and makes happen what is due: tasks on the work queue, notices, and the
//! settling of gates, waits and rollbacks. It keeps no memory of its own beyond which rollouts
//! to look at; two orchestrators are harmless, because every decision is made again on the
//! state at append and every task has a message id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use rollbook_ledger::handler::{Caller, Handler, HandlerError};
use rollbook_ledger::ids::{Aggregate, RolloutId};
use rollbook_ledger::journal::{JournalError, ReadFrom, StoredCommit};
use rollbook_ledger::rollout::{self, DueNotice, Request, SystemCommand};
use rollbook_ledger::runbook::Plan;
use rollbook_proto::v1::{self, event::Kind};
use rollbook_workers::executor::{self, Message, SecretResolver};
use rollbook_workers::fleet::{QueueError, QueuedTask, TaskQueue};
use tokio_util::sync::CancellationToken;

/// Rollouts are looked at again at least this often, should a timer or a message be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// After a failure of something that is needed.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Settling records something each time it says there is something to settle; more rounds than
/// this in one go means a rule that contradicts itself.
const MAX_SETTLES: u32 = 64;

/// The loop's parts.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    handler: Handler,
    queue: Arc<dyn TaskQueue>,
    secrets: Arc<dyn SecretResolver>,
    http: reqwest::Client,
}

/// Why the loop looked at a rollout in vain; it will look again.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Handler(#[from] HandlerError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(
        "RB-ORCHESTRATOR-1: rollout {id} does not come to rest after {MAX_SETTLES} settlements; its plan contradicts itself, pause it"
    )]
    Restless { id: RolloutId },
}

/// When to look at each rollout that is not finished, and at each flag where something waits for
/// another person. `None`: only when something is recorded.
type Agenda = BTreeMap<Aggregate, Option<Timestamp>>;

impl Orchestrator {
    /// An orchestrator that puts tasks on `queue`; `secrets` and `http` are for notices.
    pub fn new(
        handler: Handler,
        queue: Arc<dyn TaskQueue>,
        secrets: Arc<dyn SecretResolver>,
        http: reqwest::Client,
    ) -> Self {
        Self {
            handler,
            queue,
            secrets,
            http,
        }
    }

    /// Runs until `shutdown`. Survives restarts of the server: follows again from where it was.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut after = 0;
        let mut agenda = Agenda::new();
        while !shutdown.is_cancelled() {
            match self.follow(&mut after, &mut agenda, &shutdown).await {
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
        agenda: &mut Agenda,
        shutdown: &CancellationToken,
    ) -> Result<(), JournalError> {
        let journal = self.handler.journal();
        let begin = async {
            let last = journal.last_sequence().await?;
            let commits = journal.follow(ReadFrom { after: *after }).await?;
            Ok::<_, JournalError>((last, commits))
        };
        let (last, mut commits) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            begun = begin => begun?,
        };
        loop {
            // Old history is only noted; looking begins once all of it has been seen.
            let caught_up = *after >= last;
            let pause = if caught_up {
                self.pause(agenda)
            } else {
                LOOK_AGAIN
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                commit = commits.next() => match commit {
                    Some(commit) => {
                        let commit = commit?;
                        *after = commit.sequence;
                        note(agenda, &commit, self.handler.now());
                    }
                    None => return Ok(()),
                },
                () = tokio::time::sleep(pause) => tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = self.look(agenda) => {}
                },
            }
        }
    }

    /// How long until the first look is due.
    fn pause(&self, agenda: &Agenda) -> Duration {
        let now = self.handler.now();
        let first = agenda.values().flatten().min();
        first.map_or(LOOK_AGAIN, |at| {
            let left = at.duration_since(now);
            Duration::try_from(left)
                .unwrap_or(Duration::ZERO)
                .min(LOOK_AGAIN)
        })
    }

    async fn look(&self, agenda: &mut Agenda) {
        let now = self.handler.now();
        let due: Vec<Aggregate> = agenda
            .iter()
            .filter(|(_, at)| at.is_none_or(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for of in due {
            let looked = match &of {
                Aggregate::Rollout(id) => self.advance(id).await,
                Aggregate::Flag(environment, key) => {
                    let caller = Caller::process("orchestrator", v1::ActorKind::Orchestrator);
                    let settled = self.handler.settle_flag(environment, key, &caller).await;
                    settled.map_err(LookError::from)
                }
                Aggregate::Worker(_) | Aggregate::Environment(_) => Ok(None),
            };
            match looked {
                Ok(Some(wake_at)) => {
                    agenda.insert(of, Some(wake_at));
                }
                Ok(None) => {
                    agenda.remove(&of);
                }
                Err(error) => {
                    tracing::warn!(%of, %error, "could not advance; looking again");
                    agenda.insert(of, later(now, BACK_OFF));
                }
            }
        }
    }

    /// Does all that is due for one rollout. Returns when to look again without a commit in
    /// between; `None` when the rollout is over.
    async fn advance(&self, id: &RolloutId) -> Result<Option<Timestamp>, LookError> {
        let caller = |name| Caller::process(name, v1::ActorKind::Orchestrator);
        for _ in 0..MAX_SETTLES {
            let loaded = self.handler.rollout(id).await?;
            let next = rollout::next(&loaded.state, &loaded.plan, self.handler.now());
            if next.settle {
                let settle = Request::System(SystemCommand::Settle);
                let done = self
                    .handler
                    .request(id, &settle, &caller("orchestrator"))
                    .await?;
                if !done.events.is_empty() {
                    continue;
                }
            }
            for task in &next.tasks {
                let task = QueuedTask {
                    rollout: id.clone(),
                    task: task.clone(),
                    traceparent: String::new(),
                };
                self.queue.publish(&task).await?;
            }
            let mut sent_any = false;
            for notice in &next.notices {
                self.send(
                    id,
                    &loaded.plan,
                    loaded.state.environment.as_str(),
                    notice,
                    &caller("orchestrator"),
                )
                .await?;
                sent_any = true;
            }
            if sent_any {
                continue;
            }
            if next.is_over() {
                return Ok(None);
            }
            let now = self.handler.now();
            let look = later(now, LOOK_AGAIN);
            return Ok(match (next.wake_at, look) {
                (Some(wake), Some(look)) => Some(wake.min(look)),
                (wake, look) => wake.or(look),
            });
        }
        Err(LookError::Restless { id: id.clone() })
    }

    /// Sends first, records then: a crash in between sends twice rather than never.
    async fn send(
        &self,
        id: &RolloutId,
        plan: &Plan,
        environment: &str,
        due: &DueNotice,
        caller: &Caller,
    ) -> Result<(), HandlerError> {
        let runbook = plan.runbook();
        let Some(notice) = runbook
            .notices
            .iter()
            .find(|notice| notice.id == due.notice)
        else {
            return Ok(());
        };
        let rollout = id.to_string();
        let message = Message::new(
            &notice.subject,
            &notice.body,
            &rollout,
            environment,
            self.handler.now(),
        );
        let channel = &notice.channel;
        let sent = executor::send(&self.http, &*self.secrets, runbook, channel, &message).await;
        let (verdict, text) = match sent {
            Ok(taken) => (v1::Verdict::Pass, taken),
            Err(error) => (v1::Verdict::Error, error.to_string()),
        };
        let sent = v1::NoticeSent {
            notice_id: due.notice.clone(),
            channel: notice.channel.clone(),
            verdict: verdict.into(),
            message: text,
        };
        let record = Request::System(SystemCommand::RecordNotice { sent });
        self.handler.request(id, &record, caller).await?;
        Ok(())
    }
}

fn note(agenda: &mut Agenda, stored: &StoredCommit, now: Timestamp) {
    let commit = &stored.commit;
    let waits = |event: &v1::Event| {
        let kind = event.kind.as_ref();
        kind.is_some_and(|kind| matches!(kind, Kind::RequestMade(_) | Kind::GlassBroken(_)))
    };
    match Aggregate::of(&commit.aggregate, &commit.aggregate_id) {
        Some(of @ Aggregate::Rollout(_)) => {
            agenda.insert(of, Some(now));
        }
        Some(of @ Aggregate::Flag(..)) if commit.events.iter().any(waits) => {
            agenda.insert(of, Some(now));
        }
        _ => {}
    }
}

fn later(now: Timestamp, by: Duration) -> Option<Timestamp> {
    now.checked_add(by).ok()
}
