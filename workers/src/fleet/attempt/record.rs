//! Records the outcome of an attempt and retries while the ledger may still accept it.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use rollbook_ledger::rollout::{TaskAction, WorkerCommand};
use rollbook_proto::v1::{self, Verdict};

use super::super::queue::QueuedTask;
use super::{Attempts, Disposition};
use crate::executor::truncate::truncate_with_digest;
use crate::executor::{Outcome, PortError};

impl Attempts {
    /// Records the result. A result that the ledger refuses is replaced by an error with the
    /// reason: a step without a result would stay running forever.
    pub(super) async fn finish(
        &self,
        task: &QueuedTask,
        outcome: Outcome,
        by_verification: bool,
    ) -> Disposition {
        let id = format!("{}/result/{}", task.key(), self.worker);
        let (effect, duration) = (outcome.effect, outcome.duration);
        let reason = match self
            .record_result(task, outcome, by_verification, &id)
            .await
        {
            Ok(disposition) => return disposition,
            Err(reason) => reason,
        };
        let rule = "the ledger takes the result";
        let mut error = Outcome::new(Verdict::Error, rule, truncate_with_digest(&reason));
        (error.effect, error.duration) = (effect, duration);
        let id = format!("{id}/refused");
        match self.record_result(task, error, false, &id).await {
            Ok(disposition) => disposition,
            // The rollout has moved on.
            Err(_) => Disposition::Done,
        }
    }

    /// Records one outcome as the result. `Err` is the reason why the ledger refused it.
    pub(super) async fn record_result(
        &self,
        task: &QueuedTask,
        outcome: Outcome,
        by_verification: bool,
        id: &str,
    ) -> Result<Disposition, String> {
        let duration = to_duration(outcome.duration);
        let (verification, verified) = outcome.verification.unwrap_or_default();
        let effect_kind = match outcome.partial {
            Some(_) => v1::EffectKind::Partial,
            None => v1::EffectKind::Unspecified,
        };
        let statements_done = outcome.partial.as_ref().map_or(0, |done| done.statements);
        let last_statement = outcome
            .partial
            .map_or_else(String::new, |done| truncate_with_digest(&done.last));
        let command = match task.task.action {
            TaskAction::Execute => WorkerCommand::FinishStep {
                finished: v1::StepFinished {
                    step_id: task.task.step.to_string(),
                    attempt: task.task.attempt,
                    verdict: outcome.verdict.into(),
                    rule: outcome.rule,
                    message: outcome.message,
                    measurements: outcome.measurements,
                    evidence: outcome.evidence,
                    duration: Some(duration),
                    by_verification,
                    checklist: Vec::new(),
                    effect: outcome.effect,
                    effect_kind: effect_kind.into(),
                    statements_done,
                    last_statement,
                },
                details: outcome.details,
            },
            TaskAction::Undo | TaskAction::VerifyUndo => WorkerCommand::FinishUndo {
                finished: v1::UndoFinished {
                    step_id: task.task.step.to_string(),
                    attempt: task.task.attempt,
                    verdict: outcome.verdict.into(),
                    message: outcome.message,
                    evidence: outcome.evidence,
                    duration: Some(duration),
                    verification: verification.into(),
                    verification_message: truncate_with_digest(&verified),
                    effect_kind: effect_kind.into(),
                    statements_done,
                    last_statement,
                },
            },
        };
        self.record_or_redeliver(task, command, id).await
    }

    pub(super) async fn record_or_redeliver(
        &self,
        task: &QueuedTask,
        command: WorkerCommand,
        id: &str,
    ) -> Result<Disposition, String> {
        let within = self.timeouts.result_for;
        match self.record(task, command, id, within).await {
            Ok(()) => Ok(Disposition::Done),
            Err(PortError::Refused { reason }) => {
                tracing::warn!(task = %task.key(), %reason, "the ledger rejected the result");
                Err(reason)
            }
            Err(PortError::Unavailable { reason }) => {
                tracing::error!(task = %task.key(), %reason, "the result could not be recorded");
                Ok(Disposition::Redeliver(self.timeouts.redeliver_after))
            }
        }
    }

    pub(super) async fn record(
        &self,
        task: &QueuedTask,
        command: WorkerCommand,
        command_id: &str,
        within: Duration,
    ) -> Result<(), PortError> {
        self.retry_while_unavailable(within, || {
            self.port.record(
                &task.rollout,
                command.clone(),
                command_id,
                &self.worker,
                &task.cause,
            )
        })
        .await
    }

    /// Retries while the ledger is unavailable, with growing waits, for about `within`.
    pub(super) async fn retry_while_unavailable<T, F, Fut>(
        &self,
        within: Duration,
        call: F,
    ) -> Result<T, PortError>
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

/// The first wait before a retry; doubled up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a worker that must stop keeps trying to record what it has.
const LAST_TRIES: Duration = Duration::from_secs(2);

fn to_duration(duration: Duration) -> rollbook_proto::Duration {
    rollbook_proto::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}
