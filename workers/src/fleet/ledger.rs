//! The ledger's handler as what workers ask for: rollouts and flags.

use async_trait::async_trait;
use rollbook_ledger::flag::FlagCommand;
use rollbook_ledger::handler::{Caller, Handler, HandlerError};
use rollbook_ledger::ids::{Aggregate, EnvironmentId, FlagKey, RolloutId};
use rollbook_ledger::rollout::{
    Request, RolloutState, Status, StepStatus, Task, TaskAction, WorkerCommand,
};
use rollbook_ledger::runbook::model::FlagSpec;
use rollbook_proto::v1::{self, ActorKind, FlagChanged, FlagMode, FlagSetting, event::Kind};

use super::port::{Assignment, RolloutPort, Standing};
use crate::executor::{Facts, FlagCause, FlagPort, FlagReading, PortError, setting_of};

/// Workers' access to a ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LedgerPort {
    handler: Handler,
    worker: String,
}

impl LedgerPort {
    /// The access of one worker, by whose name it records flag changes.
    pub fn new(handler: Handler, worker: impl Into<String>) -> Self {
        Self {
            handler,
            worker: worker.into(),
        }
    }

    fn caller(&self, worker: &str, command_id: &str, traceparent: &str) -> Caller {
        Caller {
            command_id: command_id.to_owned(),
            traceparent: traceparent.to_owned(),
            ..Caller::process(worker, ActorKind::Worker)
        }
    }
}

fn port_error(error: HandlerError) -> PortError {
    let reason = error.to_string();
    let again = match &error {
        HandlerError::Contention { .. } => true,
        HandlerError::Journal(error) => error.is_retryable(),
        HandlerError::Evidence(error) => error.is_retryable(),
        _ => false,
    };
    if again {
        PortError::Unavailable { reason }
    } else {
        PortError::Refused { reason }
    }
}

/// How a task stands in a state. Pure.
fn standing(state: &RolloutState, task: &Task) -> Standing {
    let Some(step) = state.step(&task.step) else {
        return Standing::Stale(format!("step {} is not in the plan any more", task.step));
    };
    let (running, attempt, worker, started_at) = match task.action {
        TaskAction::Execute => (
            StepStatus::Running,
            step.attempt,
            &step.worker,
            step.started_at,
        ),
        TaskAction::Undo => (
            StepStatus::Undoing,
            step.undo.attempt,
            &step.undo.worker,
            step.undo.started_at,
        ),
    };
    if attempt < task.attempt {
        return Standing::Wanted;
    }
    match started_at {
        Some(started_at) if step.status == running && attempt == task.attempt => {
            Standing::Running {
                worker: worker.clone(),
                started_at,
            }
        }
        _ => Standing::Stale(format!(
            "attempt {} of step {} is over, the step is {}",
            task.attempt,
            task.step,
            step.status.as_str()
        )),
    }
}

/// Why a running action must end early. An undo is never ended: it is the way back.
fn halted(state: &RolloutState, action: TaskAction) -> Option<String> {
    if action == TaskAction::Undo {
        return None;
    }
    match state.status {
        Status::Aborted => Some("the rollout was aborted".to_owned()),
        Status::RollingBack => Some("the rollout is being rolled back".to_owned()),
        _ => None,
    }
}

fn facts(state: &RolloutState, task: &Task) -> Facts {
    let measurements = state
        .metrics
        .iter()
        .filter_map(|(name, measured)| Some((name.clone(), measured.value?)))
        .collect();
    Facts {
        manifests: state.manifests.clone(),
        measurements,
        samples: state
            .step(&task.step)
            .map(|step| step.samples.clone())
            .unwrap_or_default(),
        rollback: state.current_rollback().map(|rollback| rollback.level),
    }
}

#[async_trait]
impl RolloutPort for LedgerPort {
    async fn look(&self, rollout: &RolloutId, task: &Task) -> Result<Assignment, PortError> {
        let loaded = self.handler.rollout(rollout).await.map_err(port_error)?;
        let state = &loaded.state;
        Ok(Assignment {
            environment: state.environment.clone(),
            params: state.params.clone(),
            standing: standing(state, task),
            halted: halted(state, task.action),
            facts: facts(state, task),
            plan: loaded.plan,
        })
    }

    async fn record(
        &self,
        rollout: &RolloutId,
        command: WorkerCommand,
        command_id: &str,
        worker: &str,
        traceparent: &str,
    ) -> Result<(), PortError> {
        let caller = self.caller(worker, command_id, traceparent);
        self.handler
            .request(rollout, &Request::Worker(command), &caller)
            .await
            .map(|_| ())
            .map_err(port_error)
    }
}

/// The value before the latest change of a step to `target`. A change from the target to itself
/// (a repeated request) says nothing about what was before. Pure.
fn before(
    history: impl DoubleEndedIterator<Item = FlagChanged>,
    cause: &FlagCause,
    target: &FlagSetting,
) -> Option<FlagSetting> {
    history
        .rev()
        .find(|change| {
            change.rollout_id == cause.rollout.as_str()
                && change.step_id == cause.step.as_str()
                && change.to.as_ref() == Some(target)
                && change.from.as_ref() != Some(target)
        })
        .and_then(|change| change.from)
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
            safe: setting_of(&spec.safe, &spec.safe),
            initial: FlagSetting {
                mode: FlagMode::Off.into(),
                ..FlagSetting::default()
            },
            retire_by: spec.retire_by.clone().unwrap_or_default(),
            salt: None,
        };
        self.change(environment, key, &command, cause).await
    }

    async fn value_before(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        cause: &FlagCause,
        target: &v1::FlagSetting,
    ) -> Result<Option<v1::FlagSetting>, PortError> {
        let aggregate = Aggregate::Flag(environment.clone(), key.clone());
        let history = self
            .handler
            .journal()
            .read(&aggregate, 0)
            .await
            .map_err(|error| port_error(error.into()))?;
        let changes = history
            .into_iter()
            .flat_map(|stored| stored.commit.events)
            .filter_map(|event| match event.kind {
                Some(Kind::FlagChanged(change)) => Some(change),
                _ => None,
            });
        Ok(before(changes, cause, target))
    }

    async fn set(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        setting: v1::FlagSetting,
        cause: &FlagCause,
    ) -> Result<(), PortError> {
        let command = FlagCommand::Set {
            to: setting,
            reason: cause.reason.clone(),
            rollout: Some(cause.rollout.clone()),
            step: Some(cause.step.clone()),
        };
        self.change(environment, key, &command, cause).await
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
        let caller = self.caller(&self.worker, &cause.request, "");
        self.handler
            .flag_request(environment, key, command, &caller)
            .await
            .map(|_| ())
            .map_err(port_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(percent: u32) -> FlagSetting {
        FlagSetting {
            mode: FlagMode::Percentage.into(),
            percentage_millis: percent * 1000,
            ..FlagSetting::default()
        }
    }

    fn change(step: &str, from: u32, to: u32) -> FlagChanged {
        FlagChanged {
            from: Some(percent(from)),
            to: Some(percent(to)),
            reason: "because".to_owned(),
            rollout_id: "r".to_owned(),
            step_id: step.to_owned(),
        }
    }

    #[test]
    fn the_value_before_a_step_survives_crashes_undos_and_other_people() {
        let cause = FlagCause {
            rollout: "r".parse().unwrap(),
            step: "1.1".parse().unwrap(),
            request: String::new(),
            reason: String::new(),
        };
        let found =
            |changes: &[FlagChanged]| before(changes.to_vec().into_iter(), &cause, &percent(50));
        assert_eq!(found(&[]), None);
        assert_eq!(
            found(&[change("1.0", 0, 50)]),
            None,
            "another step's change"
        );
        assert_eq!(found(&[change("1.1", 0, 50)]), Some(percent(0)));
        assert_eq!(
            found(&[change("1.1", 0, 50), change("1.1", 50, 50)]),
            Some(percent(0))
        );
        let redone = [
            change("1.1", 0, 50),
            change("1.1", 50, 0),
            change("", 0, 10),
            change("1.1", 10, 50),
        ];
        assert_eq!(found(&redone), Some(percent(10)), "set by hand in between");
    }
}
