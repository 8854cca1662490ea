//! Carries one task from delivery to acknowledgement, including the crash rules.
//!
//! Invariants: the intent is on the ledger before anything has an effect. The task is acknowledged
//! only after its result is on the ledger, or when the ledger does not accept one. An intent
//! without a result is never blindly repeated.

mod crash;
mod record;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::ids::EnvironmentId;
use rollbook_ledger::rollout::{TaskAction, WorkerCommand};
use rollbook_ledger::runbook::step::Step;
use rollbook_ledger::trace;
use rollbook_proto::v1::{self, Verdict};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::changes::RolloutChanges;
use super::limits::fit_to_commit;
use super::port::{Assignment, RolloutPort, TaskState};
use super::queue::{Delivery, QueuedTask, action_word};
use crate::child::Lease;
use crate::child::lease::Renewal;
use crate::executor::truncate::truncate_with_digest;
use crate::executor::{
    self, Cancel, EffectMark, Outcome, PortError, SampleSink, StepContext, Tools, redactor_for,
};

/// The tasks this process is working on, by key.
pub(super) type InWork = Arc<Mutex<HashSet<String>>>;

/// The time limits and intervals of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// The interval between heartbeats to the queue.
    pub progress_every: Duration,
    /// The interval at which the rollout is checked while an action runs.
    pub look_every: Duration,
    /// How long to retry recording an intent before the task goes back to the queue.
    pub intent_for: Duration,
    /// How long to retry recording a result before it is left to the crash rules.
    pub result_for: Duration,
    /// The delay before a task that could not be started is redelivered.
    pub redeliver_after: Duration,
    /// How long after a heartbeat confirmed by the queue an action may continue if another worker
    /// would start it again.
    pub lease: Duration,
}

/// What all attempts of a worker share.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    pub worker: String,
    pub port: Arc<dyn RolloutPort>,
    pub tools: Tools,
    pub in_work: InWork,
    pub changes: RolloutChanges,
    pub timeouts: Timeouts,
    /// Cancelled when the drain time is over: running actions are then dropped.
    pub stop_now: CancellationToken,
}

/// Claims a task's key and releases it on drop.
struct Claim {
    in_work: InWork,
    key: String,
}

impl Claim {
    fn take(in_work: &InWork, key: &str) -> Option<Self> {
        let mut keys = in_work.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.to_owned()).then(|| Self {
            in_work: Arc::clone(in_work),
            key: key.to_owned(),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut keys = self.in_work.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.key);
    }
}

/// What to tell the queue about the delivery.
#[derive(Debug, PartialEq, Eq)]
enum Disposition {
    /// Acknowledge it.
    Done,
    /// Have it redelivered after a delay.
    Redeliver(Duration),
}

impl Attempts {
    /// Executes a delivered task and acknowledges its delivery.
    pub(super) async fn perform(&self, delivery: Arc<dyn Delivery>) {
        let task = delivery.task().clone();
        let key = task.key();
        let disposition = match Claim::take(&self.in_work, &key) {
            // This process is still working on it: only the queue's `ack_wait` has passed.
            None => Disposition::Redeliver(self.timeouts.redeliver_after),
            Some(_claim) => {
                let (renewal, lease) = Lease::new(self.timeouts.lease);
                let _alive = self.keep_alive(&delivery, renewal);
                let span = tracing::info_span!(
                    parent: None,
                    "task",
                    otel.kind = "consumer",
                    task = %key,
                    worker = %self.worker,
                    deliveries = delivery.deliveries()
                );
                trace::continue_from(&span, &task.cause.traceparent);
                let work = self.carry_out(&task, delivery.deliveries(), &lease);
                work.instrument(span).await
            }
        };
        let acknowledged = match disposition {
            Disposition::Done => delivery.done().await,
            Disposition::Redeliver(delay) => delivery.redeliver(delay).await,
        };
        if let Err(error) = acknowledged {
            // It will be redelivered and found to be stale.
            tracing::warn!(task = %key, %error, "the task was not acknowledged");
        }
    }

    /// Sends heartbeats for the task until dropped; each one that the queue confirms renews the
    /// lease.
    fn keep_alive(&self, delivery: &Arc<dyn Delivery>, renewal: Renewal) -> AbortOnDropHandle<()> {
        let delivery = Arc::clone(delivery);
        let every = self.timeouts.progress_every;
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let sent = Instant::now();
                match delivery.progress().await {
                    Ok(()) => renewal.confirmed(sent),
                    Err(error) => {
                        tracing::warn!(task = %delivery.task().key(), %error, "heartbeat not sent");
                    }
                }
                tokio::time::sleep(every).await;
            }
        }))
    }

    async fn carry_out(&self, task: &QueuedTask, deliveries: u32, lease: &Lease) -> Disposition {
        let key = task.key();
        // Before the first look, so that no change falls between the two.
        let changed = self.changes.of(&task.rollout);
        let looked = self
            .retry_while_unavailable(self.timeouts.intent_for, || {
                self.port.read_task(&task.rollout, &task.task)
            })
            .await;
        let assignment = match looked {
            Ok(assignment) => assignment,
            Err(PortError::Unavailable { reason }) => {
                tracing::warn!(task = %key, %reason, "the ledger is unavailable; the task waits");
                return Disposition::Redeliver(self.timeouts.redeliver_after);
            }
            Err(PortError::Refused { reason }) => {
                tracing::warn!(task = %key, %reason, "task dropped");
                return Disposition::Done;
            }
        };
        let Some((_, step)) = assignment.plan.step(&task.task.step) else {
            tracing::warn!(task = %key, "task dropped: the plan has no such step");
            return Disposition::Done;
        };
        let step = step.clone();
        match assignment.state.clone() {
            TaskState::Stale(reason) => {
                tracing::debug!(task = %key, %reason, "task dropped");
                Disposition::Done
            }
            TaskState::Interrupted => {
                tracing::debug!(task = %key, "task dropped: a person decides");
                Disposition::Done
            }
            TaskState::Wanted => {
                let context = match self.context(task, &step, &assignment, None, lease) {
                    Ok(context) => context,
                    Err(error) => return self.cannot_begin(task, error).await,
                };
                if deliveries > MAX_UNBEGUN_DELIVERIES {
                    let error =
                        format!("{deliveries} workers took the task, and none has begun it");
                    return self.cannot_begin(task, error).await;
                }
                match self.begin(task, &step, &context).await {
                    Ok(()) => self.act(task, &step, context, "", changed).await,
                    Err(disposition) => disposition,
                }
            }
            TaskState::Running { worker, started_at } => {
                let context = match self.context(task, &step, &assignment, Some(started_at), lease)
                {
                    Ok(context) => context,
                    Err(error) => return self.interrupt(task, &error).await,
                };
                self.after_crash(task, &step, context, &worker, changed)
                    .await
            }
        }
    }

    /// Handles a task whose context cannot be built (no search can be built for its secrets): it is
    /// begun and finished with an error, so that the error is on the record.
    async fn cannot_begin(&self, task: &QueuedTask, error: String) -> Disposition {
        let intent = truncate_with_digest(&format!("nothing: {error}"));
        if task.task.action != TaskAction::VerifyUndo
            && let Err(disposition) = self.record_intent(task, intent).await
        {
            return disposition;
        }
        let outcome = Outcome::new(
            Verdict::Error,
            "the action can begin",
            truncate_with_digest(&error),
        );
        self.finish(task, outcome, false).await
    }

    fn context(
        &self,
        task: &QueuedTask,
        step: &Step,
        assignment: &Assignment,
        started_at: Option<Timestamp>,
        lease: &Lease,
    ) -> Result<StepContext, String> {
        let environment = assignment
            .plan
            .environment_of(step, &assignment.environment);
        let environment = EnvironmentId::new(environment).map_err(|error| error.to_string())?;
        let redactor = redactor_for(assignment.plan.runbook(), self.tools.secrets.as_ref())
            .map_err(|error| error.to_string())?;
        Ok(StepContext {
            plan: Arc::clone(&assignment.plan),
            rollout: task.rollout.clone(),
            step: task.task.step.clone(),
            environment,
            params: Arc::new(assignment.params.clone()),
            attempt: task.task.attempt,
            worker: self.worker.clone(),
            started_at: started_at.unwrap_or_else(|| self.tools.clock.now()),
            causation_id: task.cause.causation_id.clone(),
            facts: Arc::new(assignment.facts.clone()),
            tools: self.tools.clone(),
            samples: Arc::new(Samples {
                attempts: self.clone(),
                task: task.clone(),
            }),
            redactor,
            cancel: Cancel::new(),
            // No other worker starts any other step meanwhile: see [`Attempts::after_crash`].
            lease: step.idempotent.then(|| lease.clone()),
            effect: EffectMark::default(),
        })
    }

    /// Records the intent. `Err` says what to tell the queue instead.
    async fn begin(
        &self,
        task: &QueuedTask,
        step: &Step,
        context: &StepContext,
    ) -> Result<(), Disposition> {
        let intent = match task.task.action {
            TaskAction::Execute => executor::intent(step, context),
            TaskAction::Undo => executor::undo_intent(step, context),
            // It only checks: any worker may check again.
            TaskAction::VerifyUndo => return Ok(()),
        };
        self.record_intent(task, intent).await
    }

    async fn record_intent(&self, task: &QueuedTask, intent: String) -> Result<(), Disposition> {
        let (step, attempt) = (task.task.step.clone(), task.task.attempt);
        let worker = self.worker.clone();
        let command = match task.task.action {
            TaskAction::Execute => WorkerCommand::StartStep {
                step,
                attempt,
                worker,
                intent,
            },
            TaskAction::Undo | TaskAction::VerifyUndo => WorkerCommand::StartUndo {
                step,
                attempt,
                worker,
                intent,
            },
        };
        let id = format!("{}/intent/{}", task.key(), self.worker);
        match self
            .record(task, command, &id, self.timeouts.intent_for)
            .await
        {
            Ok(()) => Ok(()),
            Err(PortError::Refused { reason }) => {
                tracing::info!(task = %task.key(), %reason, "task dropped");
                Err(Disposition::Done)
            }
            Err(PortError::Unavailable { reason }) => {
                tracing::warn!(task = %task.key(), %reason, "the intent was not recorded; the task waits");
                Err(Disposition::Redeliver(self.timeouts.redeliver_after))
            }
        }
    }

    /// Executes (or undoes) the step and records the result.
    async fn act(
        &self,
        task: &QueuedTask,
        step: &Step,
        context: StepContext,
        remark: &str,
        changed: watch::Receiver<()>,
    ) -> Disposition {
        let _watcher = self.follow(task, context.cancel.clone(), changed);
        let work = async {
            match task.task.action {
                TaskAction::Execute => executor::execute(step, &context).await,
                TaskAction::Undo => executor::undo(step, &context).await,
                TaskAction::VerifyUndo => executor::verify_undo_by_hand(step, &context).await,
            }
        };
        let action = action_word(task.task.action);
        let kind = step.action.kind().name();
        let span = tracing::info_span!("execute", action, kind, verdict = Empty);
        let work = async {
            let outcome = work.await;
            let verdict = outcome.verdict.as_str_name().to_ascii_lowercase();
            Span::current().record("verdict", verdict);
            outcome
        };
        let work = work.instrument(span);
        let lost = async {
            match context.lease.clone() {
                Some(lease) => lease.lost().await,
                None => std::future::pending().await,
            }
        };
        let mut outcome = tokio::select! {
            biased;
            // Checked first: after a pause of this process, an action that the guard has killed has
            // no result.
            () = lost => return self.cut_off(task).await,
            outcome = work => outcome,
            () = self.stop_now.cancelled() => {
                // Dropping the action has killed what it started. Its effect is unknown: another
                // worker applies the crash rules.
                tracing::warn!(task = %task.key(), "stopped before the action ended");
                return Disposition::Redeliver(Duration::ZERO);
            }
        };
        if !remark.is_empty() {
            outcome.message = format!("{remark}; {}", outcome.message);
        }
        let outcome = fit_to_commit(&context, outcome).await;
        self.finish(task, outcome, false).await
    }

    /// Cancels the action once the rollout no longer needs it. Stops when dropped.
    fn follow(
        &self,
        task: &QueuedTask,
        cancel: Cancel,
        mut changed: watch::Receiver<()>,
    ) -> AbortOnDropHandle<()> {
        let (port, task, every) = (
            Arc::clone(&self.port),
            task.clone(),
            self.timeouts.look_every,
        );
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut wait = every;
            loop {
                tokio::select! {
                    _ = changed.changed() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                let Ok(assignment) = port.read_task(&task.rollout, &task.task).await else {
                    wait = every.min(LOOK_RETRY);
                    continue;
                };
                wait = every;
                if let Some(reason) = assignment.halted {
                    cancel.cancel(reason);
                    return;
                }
                if let TaskState::Stale(reason) = assignment.state {
                    cancel.cancel(reason);
                    return;
                }
            }
        }))
    }
}

/// The wait after a look at the rollout that failed.
const LOOK_RETRY: Duration = Duration::from_secs(1);

/// A task delivered more often than this without being begun ends with an error: it may be what
/// crashes its workers.
const MAX_UNBEGUN_DELIVERIES: u32 = 50;

/// Records a watch's samples for the attempt.
#[derive(Debug)]
struct Samples {
    attempts: Attempts,
    task: QueuedTask,
}

#[async_trait]
impl SampleSink for Samples {
    async fn record(&self, measurement: v1::Measurement) -> Result<(), PortError> {
        let id = format!(
            "{}/sample/{}/{}",
            self.task.key(),
            measurement.metric,
            measurement
                .measured_at
                .as_ref()
                .map(|at| format!("{}.{:09}", at.seconds, at.nanos))
                .unwrap_or_default()
        );
        let command = WorkerCommand::Measure {
            step: self.task.task.step.clone(),
            attempt: self.task.task.attempt,
            measurement,
        };
        let within = self.attempts.timeouts.result_for;
        self.attempts.record(&self.task, command, &id, within).await
    }
}
