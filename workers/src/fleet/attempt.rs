//! One task from delivery to acknowledgement: the crash rules live here.
//!
//! Invariants. The intent is on the ledger before anything has an effect. The task is
//! acknowledged only after its result is on the ledger, or when the ledger does not want it.
//! An intent without a result is never blindly repeated.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use rollbook_ledger::ids::EnvironmentId;
use rollbook_ledger::rollout::{TaskAction, WorkerCommand};
use rollbook_ledger::runbook::plan::{EffectiveUndo, effective_undo, has_effect};
use rollbook_ledger::runbook::step::{Action, Step};
use rollbook_proto::v1::{self, Verdict};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::port::{Assignment, RolloutPort, Standing};
use super::queue::{Delivery, QueuedTask};
use crate::executor::{
    self, Cancel, EffectMark, Outcome, PortError, SampleSink, StepContext, Tools, redactor_for,
};

/// Tasks this process has in work, by key.
pub(super) type InWork = Arc<Mutex<HashSet<String>>>;

/// How long things may take; all of them bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Between signs of life for the queue.
    pub progress_every: Duration,
    /// Between looks at the rollout while an action runs.
    pub look_every: Duration,
    /// How long an intent is tried to be recorded before the task goes back to the queue.
    pub intent_for: Duration,
    /// How long a result is tried to be recorded before it is left to the crash rules.
    pub result_for: Duration,
    /// Before a task that could not be started is delivered again.
    pub again_after: Duration,
}

/// What every attempt of a worker shares.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    pub worker: String,
    pub port: Arc<dyn RolloutPort>,
    pub tools: Tools,
    pub in_work: InWork,
    pub patience: Patience,
    /// Given when the time to finish orderly is over: running actions are dropped.
    pub stop_now: CancellationToken,
}

/// Takes the key out again whatever happens.
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

/// What becomes of the delivery.
#[derive(Debug, PartialEq, Eq)]
enum Settle {
    /// Acknowledge.
    Done,
    /// Deliver again later.
    Again(Duration),
}

impl Attempts {
    /// Carries a delivered task through and settles the delivery.
    pub(super) async fn perform(&self, delivery: Arc<dyn Delivery>) {
        let task = delivery.task().clone();
        let key = task.key();
        let settle = match Claim::take(&self.in_work, &key) {
            // This process works on it: the queue lost patience, not the worker.
            None => Settle::Again(self.patience.again_after),
            Some(_claim) => {
                let _alive = self.keep_alive(&delivery);
                self.carry_out(&task).await
            }
        };
        let settled = match settle {
            Settle::Done => delivery.done().await,
            Settle::Again(delay) => delivery.again(delay).await,
        };
        if let Err(error) = settled {
            // It will be delivered again and be found stale.
            tracing::warn!(task = %key, %error, "the task was not acknowledged");
        }
    }

    /// Tells the queue regularly that the task is in work, until dropped.
    fn keep_alive(&self, delivery: &Arc<dyn Delivery>) -> AbortOnDropHandle<()> {
        let delivery = Arc::clone(delivery);
        let every = self.patience.progress_every;
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(error) = delivery.progress().await {
                    tracing::warn!(task = %delivery.task().key(), %error, "no sign of life sent");
                }
            }
        }))
    }

    async fn carry_out(&self, task: &QueuedTask) -> Settle {
        let key = task.key();
        let looked = self
            .patiently(self.patience.intent_for, || {
                self.port.look(&task.rollout, &task.task)
            })
            .await;
        let assignment = match looked {
            Ok(assignment) => assignment,
            Err(PortError::Unavailable { reason }) => {
                tracing::warn!(task = %key, %reason, "the ledger is unavailable; the task waits");
                return Settle::Again(self.patience.again_after);
            }
            Err(PortError::Refused { reason }) => {
                tracing::warn!(task = %key, %reason, "task dropped");
                return Settle::Done;
            }
        };
        let Some((_, step)) = assignment.plan.step(&task.task.step) else {
            tracing::warn!(task = %key, "task dropped: the plan has no such step");
            return Settle::Done;
        };
        let step = step.clone();
        match assignment.standing.clone() {
            Standing::Stale(reason) => {
                tracing::debug!(task = %key, %reason, "task dropped");
                Settle::Done
            }
            Standing::Wanted => {
                let context = match self.context(task, &step, &assignment, None) {
                    Ok(context) => context,
                    Err(error) => return self.cannot_begin(task, error).await,
                };
                match self.begin(task, &step, &context).await {
                    Ok(()) => self.act(task, &step, context, "").await,
                    Err(settle) => settle,
                }
            }
            Standing::Running { worker, started_at } => {
                let context = match self.context(task, &step, &assignment, Some(started_at)) {
                    Ok(context) => context,
                    Err(error) => return self.interrupt(task, &error).await,
                };
                self.after_crash(task, &step, context, &worker).await
            }
        }
    }

    /// A task whose context cannot be made (secrets that no search can be built for): begun and
    /// finished with an error, so that it is on the record.
    async fn cannot_begin(&self, task: &QueuedTask, error: String) -> Settle {
        let intent = format!("nothing: {error}");
        if let Err(settle) = self.record_intent(task, intent).await {
            return settle;
        }
        let outcome = Outcome::new(Verdict::Error, "the action can begin", error);
        self.finish(task, outcome, false).await
    }

    fn context(
        &self,
        task: &QueuedTask,
        step: &Step,
        assignment: &Assignment,
        started_at: Option<Timestamp>,
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
            facts: Arc::new(assignment.facts.clone()),
            tools: self.tools.clone(),
            samples: Arc::new(Samples {
                attempts: self.clone(),
                task: task.clone(),
            }),
            redactor,
            cancel: Cancel::new(),
            effect: EffectMark::default(),
        })
    }

    /// Records the intent. `Err` says what becomes of the task instead.
    async fn begin(
        &self,
        task: &QueuedTask,
        step: &Step,
        context: &StepContext,
    ) -> Result<(), Settle> {
        let intent = match task.task.action {
            TaskAction::Execute => executor::intent(step, context),
            TaskAction::Undo => executor::undo_intent(step, context),
        };
        self.record_intent(task, intent).await
    }

    async fn record_intent(&self, task: &QueuedTask, intent: String) -> Result<(), Settle> {
        let (step, attempt) = (task.task.step.clone(), task.task.attempt);
        let worker = self.worker.clone();
        let command = match task.task.action {
            TaskAction::Execute => WorkerCommand::StartStep {
                step,
                attempt,
                worker,
                intent,
            },
            TaskAction::Undo => WorkerCommand::StartUndo {
                step,
                attempt,
                worker,
                intent,
            },
        };
        let id = format!("{}/intent/{}", task.key(), self.worker);
        match self
            .record(task, command, &id, self.patience.intent_for)
            .await
        {
            Ok(()) => Ok(()),
            Err(PortError::Refused { reason }) => {
                tracing::info!(task = %task.key(), %reason, "task dropped");
                Err(Settle::Done)
            }
            Err(PortError::Unavailable { reason }) => {
                tracing::warn!(task = %task.key(), %reason, "the intent was not recorded; the task waits");
                Err(Settle::Again(self.patience.again_after))
            }
        }
    }

    /// Executes (or undoes) and records the result.
    async fn act(
        &self,
        task: &QueuedTask,
        step: &Step,
        context: StepContext,
        remark: &str,
    ) -> Settle {
        let _watcher = self.follow(task, context.cancel.clone());
        let work = async {
            match task.task.action {
                TaskAction::Execute => executor::execute(step, &context).await,
                TaskAction::Undo => executor::undo(step, &context).await,
            }
        };
        let mut outcome = tokio::select! {
            biased;
            outcome = work => outcome,
            () = self.stop_now.cancelled() => {
                // Dropping the action has killed what it started. What it did is not known:
                // another worker applies the crash rules.
                tracing::warn!(task = %task.key(), "stopped before the action ended");
                return Settle::Again(Duration::ZERO);
            }
        };
        if !remark.is_empty() {
            outcome.message = format!("{remark}; {}", outcome.message);
        }
        self.finish(task, outcome, false).await
    }

    /// Cancels the action when the rollout no longer wants it. Ends when dropped.
    fn follow(&self, task: &QueuedTask, cancel: Cancel) -> AbortOnDropHandle<()> {
        let (port, task, every) = (
            Arc::clone(&self.port),
            task.clone(),
            self.patience.look_every,
        );
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Ok(assignment) = port.look(&task.rollout, &task.task).await else {
                    continue;
                };
                if let Some(reason) = assignment.halted {
                    cancel.cancel(reason);
                    return;
                }
                if let Standing::Stale(reason) = assignment.standing {
                    cancel.cancel(reason);
                    return;
                }
            }
        }))
    }

    /// The crash rules: an intent is on the ledger, no result, and this process is not at it.
    async fn after_crash(
        &self,
        task: &QueuedTask,
        step: &Step,
        context: StepContext,
        worker: &str,
    ) -> Settle {
        let key = task.key();
        let died = format!("worker {worker} ended before it recorded a result");
        tracing::warn!(task = %key, worker, "an intent without a result was found");
        if is_repeatable(step, task.task.action) {
            let remark =
                format!("{died}, and the action was repeated, which has no effect of its own");
            return self.act(task, step, context, &remark).await;
        }
        if task.task.action == TaskAction::Undo {
            let looked = tokio::select! {
                looked = executor::verify_undo(step, &context) => looked,
                () = self.stop_now.cancelled() => return Settle::Again(Duration::ZERO),
            };
            if let executor::Looked::Gone(message) = looked {
                let mut outcome = Outcome::new(
                    Verdict::Pass,
                    "the effect is gone",
                    format!("{died}; its effect is gone: {message}"),
                );
                outcome.verification = Some((v1::UndoVerification::Verified, message));
                return self.finish(task, outcome, true).await;
            }
            let outcome = Outcome::new(
                Verdict::Error,
                "an undo ends with a result",
                format!(
                    "{died}; whether the undo happened is not known: look, then undo again or go on"
                ),
            );
            return self.finish(task, outcome, false).await;
        }
        let verified = tokio::select! {
            verified = executor::verify(step, &context) => verified,
            () = self.stop_now.cancelled() => return Settle::Again(Duration::ZERO),
        };
        match verified {
            Some(mut outcome) if outcome.verdict == Verdict::Pass => {
                outcome.effect = true;
                outcome.message = format!("{died}; its effect was verified: {}", outcome.message);
                self.finish(task, outcome, true).await
            }
            Some(outcome) => {
                let reason = format!("{died}; verify says {}", outcome.message);
                self.interrupt(task, &reason).await
            }
            None => self.interrupt(task, &died).await,
        }
    }

    /// The effect is not known. The ledger decides from the plan whether the next attempt may
    /// start by itself (`idempotent`) or a person must say.
    async fn interrupt(&self, task: &QueuedTask, reason: &str) -> Settle {
        let command = WorkerCommand::InterruptStep {
            step: task.task.step.clone(),
            attempt: task.task.attempt,
            reason: shorten(reason),
        };
        let id = format!("{}/interrupt", task.key());
        self.settle_result(task, command, &id).await
    }

    async fn finish(&self, task: &QueuedTask, outcome: Outcome, by_verification: bool) -> Settle {
        let id = format!("{}/result/{}", task.key(), self.worker);
        let duration = to_duration(outcome.duration);
        let (verification, verified) = outcome.verification.unwrap_or_default();
        let command = match task.task.action {
            TaskAction::Execute => WorkerCommand::FinishStep {
                finished: v1::StepFinished {
                    step_id: task.task.step.to_string(),
                    attempt: task.task.attempt,
                    verdict: outcome.verdict.into(),
                    rule: shorten(&outcome.rule),
                    message: shorten(&outcome.message),
                    measurements: outcome.measurements,
                    evidence: outcome.evidence,
                    duration: Some(duration),
                    by_verification,
                    checklist: Vec::new(),
                    effect: outcome.effect,
                },
                details: outcome.details,
            },
            TaskAction::Undo => WorkerCommand::FinishUndo {
                finished: v1::UndoFinished {
                    step_id: task.task.step.to_string(),
                    attempt: task.task.attempt,
                    verdict: outcome.verdict.into(),
                    message: shorten(&outcome.message),
                    evidence: outcome.evidence,
                    duration: Some(duration),
                    verification: verification.into(),
                    verification_message: shorten(&verified),
                },
            },
        };
        self.settle_result(task, command, &id).await
    }

    async fn settle_result(&self, task: &QueuedTask, command: WorkerCommand, id: &str) -> Settle {
        match self
            .record(task, command, id, self.patience.result_for)
            .await
        {
            Ok(()) => Settle::Done,
            Err(PortError::Refused { reason }) => {
                tracing::warn!(task = %task.key(), %reason, "the ledger did not take the result");
                Settle::Done
            }
            Err(PortError::Unavailable { reason }) => {
                tracing::error!(task = %task.key(), %reason, "the result could not be recorded");
                Settle::Again(self.patience.again_after)
            }
        }
    }

    async fn record(
        &self,
        task: &QueuedTask,
        command: WorkerCommand,
        command_id: &str,
        within: Duration,
    ) -> Result<(), PortError> {
        self.patiently(within, || {
            self.port.record(
                &task.rollout,
                command.clone(),
                command_id,
                &self.worker,
                &task.traceparent,
            )
        })
        .await
    }

    /// Repeats while the ledger is unavailable, with growing waits, for about `within`.
    async fn patiently<T, F, Fut>(&self, within: Duration, call: F) -> Result<T, PortError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, PortError>>,
    {
        let tries = call
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(FIRST_WAIT)
                    .with_max_delay(LONGEST_WAIT)
                    .with_jitter()
                    .without_max_times()
                    .with_total_delay(Some(within)),
            )
            .when(|error: &PortError| matches!(error, PortError::Unavailable { .. }));
        let stopped = async {
            self.stop_now.cancelled().await;
            tokio::time::sleep(LAST_TRIES).await;
        };
        tokio::select! {
            biased;
            done = tries => done,
            () = stopped => Err(PortError::Unavailable {
                reason: "the worker had to stop before the ledger answered".to_owned(),
            }),
        }
    }
}

/// The wait before the ledger is asked again; doubled up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A worker that has to stop still tries this long to record what it has.
const LAST_TRIES: Duration = Duration::from_secs(2);

/// A text of an event is cut after this many characters.
const TEXT_CHARS: usize = 2_000;

fn shorten(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

fn to_duration(duration: Duration) -> rollbook_proto::Duration {
    rollbook_proto::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// Doing it again changes nothing that doing it once does not: measurements, snapshots,
/// comparisons, audits, queries and watches, and writing a flag's earlier value back. A
/// message is not among them: its reader would get it twice.
fn is_repeatable(step: &Step, action: TaskAction) -> bool {
    match action {
        TaskAction::Execute => !has_effect(step) && !matches!(step.action, Action::Notify(_)),
        TaskAction::Undo => {
            step.idempotent
                || matches!(
                    effective_undo(step),
                    EffectiveUndo::RestoreFlag { .. } | EffectiveUndo::Nothing
                )
        }
    }
}

/// Records a watch's samples on the attempt.
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
        let within = self.attempts.patience.result_for;
        self.attempts.record(&self.task, command, &id, within).await
    }
}
