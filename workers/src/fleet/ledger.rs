//! Implements the workers' ports to the ledger through the command handler.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use rollbook_ledger::flag::{ChangeToUndo, FlagCommand, FlagUndo, flag_undo};
use rollbook_ledger::handler::{Caller, Handler, HandlerError};
use rollbook_ledger::ids::{EnvironmentId, FlagKey, RolloutId};
use rollbook_ledger::journal::{JournalError, ReadFrom};
use rollbook_ledger::rollout::{
    self, Request, RolloutState, Status, StepStatus, Task, TaskAction, WorkerCommand,
};
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::runbook::model::{FlagSpec, FlagTarget};
use rollbook_ledger::trace::Cause;
use rollbook_proto::v1;

use super::changes::RolloutChanges;
use super::port::{Assignment, RolloutPort, TaskState};
use crate::executor::{Facts, FlagCause, FlagPort, FlagReading, PortError, setting_of};

/// A worker's access to the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LedgerPort {
    handler: Handler,
}

impl LedgerPort {
    /// Makes the ports of a handler.
    pub fn new(handler: Handler) -> Self {
        Self { handler }
    }
}

fn port_error(error: HandlerError) -> PortError {
    let reason = error.to_string();
    let again = match &error {
        HandlerError::Journal(error) => error.is_retryable(),
        HandlerError::Evidence(error) => error.is_retryable(),
        HandlerError::Contended(_) => true,
        _ => false,
    };
    if again {
        PortError::Unavailable { reason }
    } else {
        PortError::Refused { reason }
    }
}

#[async_trait]
impl RolloutPort for LedgerPort {
    async fn read_task(&self, rollout: &RolloutId, task: &Task) -> Result<Assignment, PortError> {
        let loaded = self.handler.rollout(rollout).await.map_err(port_error)?;
        let (state, plan, now) = (&loaded.state, &loaded.plan, self.handler.now());
        let task_state = if rollout::is_wanted(state, plan, task, now) {
            TaskState::Wanted
        } else {
            task_state(&loaded.state, task)
        };
        Ok(Assignment {
            environment: loaded.state.environment.clone(),
            params: loaded.state.params.clone(),
            state: task_state,
            halted: halted(&loaded.state, &loaded.plan, task),
            facts: facts(&loaded.state, &loaded.plan, task),
            plan: Arc::clone(&loaded.plan),
        })
    }

    async fn follow_changes(&self, changes: &RolloutChanges) -> Result<(), PortError> {
        let lost = |error: JournalError| PortError::Unavailable {
            reason: error.to_string(),
        };
        let journal = self.handler.journal();
        let after = journal.last_sequence().await.map_err(lost)?;
        let mut commits = journal.follow(ReadFrom { after }).await.map_err(lost)?;
        // What was recorded before this follower began.
        changes.notify_all();
        while let Some(stored) = commits.next().await {
            changes.notify(&stored.map_err(lost)?);
        }
        Ok(())
    }

    async fn record(
        &self,
        rollout: &RolloutId,
        command: WorkerCommand,
        command_id: &str,
        worker: &str,
        cause: &Cause,
    ) -> Result<(), PortError> {
        let caller = Caller {
            command_id: command_id.to_owned(),
            cause: cause.clone(),
            ..Caller::process(worker, v1::ActorKind::Worker)
        };
        let request = Request::Worker(command);
        self.handler
            .request(rollout, &request, &caller)
            .await
            .map(|_| ())
            .map_err(port_error)
    }
}

/// The state of a task that may not begin.
fn task_state(state: &RolloutState, task: &Task) -> TaskState {
    let Some(step) = state.step(&task.step) else {
        return TaskState::Stale(format!("there is no step {}", task.step));
    };
    let (running, attempt, worker, started_at) = match task.action {
        TaskAction::Execute => (
            step.status == StepStatus::Running,
            step.attempt,
            &step.worker,
            step.started_at,
        ),
        TaskAction::Undo | TaskAction::VerifyUndo => (
            step.status == StepStatus::Undoing,
            step.undo.attempt,
            &step.undo.worker,
            step.undo.started_at,
        ),
    };
    if task.action == TaskAction::Execute
        && step.status == StepStatus::Interrupted
        && attempt == task.attempt
    {
        return TaskState::Interrupted;
    }
    match started_at {
        Some(started_at)
            if running && attempt == task.attempt && task.action != TaskAction::VerifyUndo =>
        {
            TaskState::Running {
                worker: worker.clone(),
                started_at,
            }
        }
        _ => TaskState::Stale(format!(
            "step {} is {} at attempt {attempt}",
            task.step,
            step.status.as_str()
        )),
    }
}

/// Why a running action must end early. Only an execution is ended, and during a rollback only one
/// that the rollback takes back.
fn halted(state: &RolloutState, plan: &Plan, task: &Task) -> Option<String> {
    if task.action != TaskAction::Execute {
        return None;
    }
    match state.status {
        Status::Aborted => Some("the rollout was aborted".to_owned()),
        // A rollback does not wait for steps without an effect, so the rollout may have ended.
        Status::Closed(_) => Some("the rollout has ended".to_owned()),
        Status::RollingBack if rollout::is_stopped(state, plan, &task.step) => {
            Some("the rollout is being rolled back".to_owned())
        }
        _ => None,
    }
}

fn facts(state: &RolloutState, plan: &Plan, task: &Task) -> Facts {
    Facts {
        manifests: state.manifests.clone(),
        measurements: rollout::figures(state, plan),
        baselines: rollout::baselines(state, plan, &task.step),
        samples: state
            .step(&task.step)
            .map(|step| step.samples.of(task.attempt).clone())
            .unwrap_or_default(),
        rollback: state.current_rollback().map(|rollback| rollback.level),
        has_passed: state.step(&task.step).is_some_and(|step| step.has_passed),
    }
}

impl LedgerPort {
    async fn change(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        command: &FlagCommand,
        cause: &FlagCause,
    ) -> Result<(), PortError> {
        let caller = Caller {
            command_id: cause.request.clone(),
            cause: Cause {
                causation_id: cause.causation_id.clone(),
                ..Cause::default()
            },
            ..Caller::process(&format!("rollout {}", cause.rollout), v1::ActorKind::Worker)
        };
        self.handler
            .flag_request(environment, key, command, &caller)
            .await
            .map(|_| ())
            .map_err(port_error)
    }
}

#[async_trait]
impl FlagPort for LedgerPort {
    async fn read(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<Option<FlagReading>, PortError> {
        let found = self
            .handler
            .flag(environment, key)
            .await
            .map_err(port_error)?;
        Ok(found.map(|(state, sequence)| FlagReading {
            setting: state.setting,
            safe: state.safe,
            sequence,
        }))
    }

    async fn define(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        spec: &FlagSpec,
        cause: &FlagCause,
    ) -> Result<(), PortError> {
        let command = FlagCommand::Define {
            description: spec.description.clone(),
            owner: spec.owner.clone(),
            safe: setting_of(&spec.safe, &FlagTarget::Off),
            initial: setting_of(&FlagTarget::Off, &FlagTarget::Off),
            retire_by: spec.retire_by.clone().unwrap_or_default(),
            salt: None,
        };
        let define = FlagCause {
            request: format!("{}/define", cause.request),
            ..cause.clone()
        };
        self.change(environment, key, &command, &define).await
    }

    async fn flag_undo(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        cause: &FlagCause,
        target: &v1::FlagSetting,
        to_safe: bool,
    ) -> Result<Option<(FlagReading, FlagUndo)>, PortError> {
        let found = self
            .handler
            .flag_history(environment, key)
            .await
            .map_err(port_error)?;
        Ok(found.map(|(state, history)| {
            let change = ChangeToUndo {
                rollout: &cause.rollout,
                step: &cause.step,
                target,
                to_safe,
            };
            let way = flag_undo(&history, &state.setting, &state.safe, &change);
            let reading = FlagReading {
                sequence: state.sequence,
                setting: state.setting,
                safe: state.safe,
            };
            (reading, way)
        }))
    }

    async fn set(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        setting: v1::FlagSetting,
        expect: Option<&v1::FlagSetting>,
        cause: &FlagCause,
    ) -> Result<(), PortError> {
        let command = FlagCommand::Set {
            expect: expect.cloned(),
            to: setting,
            reason: cause.reason.clone(),
            rollout: Some(cause.rollout.clone()),
            step: Some(cause.step.clone()),
        };
        self.change(environment, key, &command, cause).await
    }
}
