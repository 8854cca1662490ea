//! Decides what happens to an intent without a result, when a worker was lost or lost its lease.

use std::time::Duration;

use rollbook_ledger::rollout::{TaskAction, WorkerCommand};
use rollbook_ledger::runbook::plan::{EffectiveUndo, effective_undo, only_reads};
use rollbook_ledger::runbook::step::Step;
use rollbook_proto::v1::{self, Verdict};
use tokio::sync::watch;
use uuid::Uuid;

use super::super::limits::fit_to_commit;
use super::super::port::TaskState;
use super::super::queue::QueuedTask;
use super::{Attempts, Disposition};
use crate::executor::truncate::truncate_with_digest;
use crate::executor::{self, Outcome, PortError, StepContext};

impl Attempts {
    /// Decides about a task whose lease has expired: the queue gives it to another worker, which may
    /// start the action again. Dropping the action here has ended it.
    pub(super) async fn cut_off(&self, task: &QueuedTask) -> Disposition {
        let reason = format!(
            "worker {} heard nothing from the queue for {}; the action was stopped so that no second one runs alongside it",
            self.worker,
            executor::seconds(self.timeouts.lease)
        );
        tracing::warn!(task = %task.key(), %reason, "the lease ran out");
        match task.task.action {
            TaskAction::Execute => self.interrupt(task, &reason).await,
            TaskAction::Undo | TaskAction::VerifyUndo => Disposition::Redeliver(Duration::ZERO),
        }
    }

    /// Applies the crash rules: the ledger has an intent but no result, and this process is not
    /// working on it.
    pub(super) async fn after_crash(
        &self,
        task: &QueuedTask,
        step: &Step,
        context: StepContext,
        worker: &str,
        changed: watch::Receiver<()>,
    ) -> Disposition {
        let key = task.key();
        let died = format!("worker {worker} ended before it recorded a result");
        tracing::warn!(task = %key, worker, "an intent without a result was found");
        if task.task.action == TaskAction::Execute && only_reads(step) {
            return match self.resume(task, &died).await {
                Ok(true) => {
                    let remark = format!("{died}, and another one went on: the step only reads");
                    self.act(task, step, context, &remark, changed).await
                }
                Ok(false) => Disposition::Done,
                Err(disposition) => disposition,
            };
        }
        if is_undo_repeatable(step, task.task.action) {
            let remark = format!("{died}, and the undo was repeated");
            return self.act(task, step, context, &remark, changed).await;
        }
        if task.task.action == TaskAction::Undo {
            let looked = tokio::select! {
                looked = executor::verify_undo(step, &context, context.facts.has_passed) => looked,
                () = self.stop_now.cancelled() => return Disposition::Redeliver(Duration::ZERO),
            };
            if let executor::UndoCheck::EffectGone(message) = looked {
                let mut outcome = Outcome::new(
                    Verdict::Pass,
                    "the effect is gone",
                    format!("{died}; its effect is gone: {message}"),
                );
                outcome.verification = Some((v1::UndoVerification::Verified, message));
                let outcome = fit_to_commit(&context, outcome).await;
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
            () = self.stop_now.cancelled() => return Disposition::Redeliver(Duration::ZERO),
        };
        match verified {
            Some(mut outcome) if outcome.verdict == Verdict::Pass => {
                outcome.effect = true;
                outcome.message = format!("{died}; its effect was verified: {}", outcome.message);
                let outcome = fit_to_commit(&context, outcome).await;
                self.finish(task, outcome, true).await
            }
            Some(outcome) => {
                let reason = format!("{died}; verify says {}", outcome.message);
                self.interrupt(task, &reason).await
            }
            None => self.interrupt(task, &died).await,
        }
    }

    /// Takes over a read-only step from a lost worker. `Ok(false)`: too many workers were lost, and
    /// the step is interrupted.
    pub(super) async fn resume(
        &self,
        task: &QueuedTask,
        reason: &str,
    ) -> Result<bool, Disposition> {
        let command = WorkerCommand::ResumeStep {
            step: task.task.step.clone(),
            attempt: task.task.attempt,
            worker: self.worker.clone(),
            reason: truncate_with_digest(reason),
        };
        let id = format!("{}/resume/{}", task.key(), Uuid::now_v7());
        let within = self.timeouts.intent_for;
        match self.record(task, command, &id, within).await {
            Ok(()) => {}
            Err(PortError::Refused { reason }) => {
                tracing::info!(task = %task.key(), %reason, "task dropped");
                return Err(Disposition::Done);
            }
            Err(PortError::Unavailable { reason }) => {
                tracing::warn!(task = %task.key(), %reason, "the step was not taken over; the task waits");
                return Err(Disposition::Redeliver(self.timeouts.redeliver_after));
            }
        }
        match self.port.read_task(&task.rollout, &task.task).await {
            Ok(assignment) => Ok(matches!(
                assignment.state,
                TaskState::Running { worker, .. } if worker == self.worker
            )),
            Err(_) => Err(Disposition::Redeliver(self.timeouts.redeliver_after)),
        }
    }

    /// Interrupts a step whose effect is unknown. The ledger decides from the plan whether the next
    /// attempt may start by itself (`idempotent`) or a person must decide.
    pub(super) async fn interrupt(&self, task: &QueuedTask, reason: &str) -> Disposition {
        let command = WorkerCommand::InterruptStep {
            step: task.task.step.clone(),
            attempt: task.task.attempt,
            reason: truncate_with_digest(reason),
        };
        let id = format!("{}/interrupt", task.key());
        let acknowledged = self.record_or_redeliver(task, command, &id).await;
        // Refused: the rollout has moved on.
        acknowledged.unwrap_or(Disposition::Done)
    }
}

/// Whether repeating the undo has the same effect as doing it once.
fn is_undo_repeatable(step: &Step, action: TaskAction) -> bool {
    action == TaskAction::Undo
        && (step.idempotent
            || matches!(
                effective_undo(step),
                EffectiveUndo::RestoreFlag { .. } | EffectiveUndo::Nothing
            ))
}
