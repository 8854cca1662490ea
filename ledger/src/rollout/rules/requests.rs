//! Verbs of commands, and the state that a request for two persons depends on.

use super::super::command::Command;
use super::super::state::{RolloutState, Status, StepState, StepStatus};
use crate::authority::{Permissions, WaitingRequest};
use crate::environment::Environments;
use crate::ids::StepId;
use crate::runbook::{Plan, Verb};

/// Returns who may do what in a rollout now.
pub(crate) fn permissions<'a>(
    state: &RolloutState,
    plan: &'a Plan,
    environments: &'a Environments,
) -> Permissions<'a> {
    Permissions::of_rollout(plan, &state.environment, state.protected, environments)
}

/// Returns the authority-table row of a command. Exhaustive: a new command does not compile without
/// its verb.
pub(crate) fn verb(state: &RolloutState, command: &Command) -> Verb {
    match command {
        Command::Start {} => Verb::Start,
        Command::Pause { .. } => Verb::Pause,
        Command::Resume { .. } => Verb::Resume,
        Command::Abort { .. } => Verb::Abort,
        Command::Skip { step, .. } => state.step(step).map_or(Verb::SkipCritical, verb_of_skip),
        Command::Retry { .. } => Verb::Retry,
        Command::Complete { .. } => Verb::Complete,
        Command::ProposeNotApplicable { .. } => Verb::ProposeNotApplicable,
        Command::ReviewNotApplicable { .. } => Verb::ReviewNotApplicable,
        Command::Approve { .. } => Verb::Approve,
        Command::Reject { .. } => Verb::Reject,
        // During a rollback, an undo is part of it.
        Command::Undo { .. } if state.current_rollback().is_some() => Verb::Rollback,
        Command::Undo { .. } => Verb::Undo,
        Command::Rollback { .. } => Verb::Rollback,
        Command::Revise { .. } | Command::WithdrawRevision { .. } => Verb::Revise,
        Command::AcceptRevision { .. } => Verb::Accept,
        Command::Withdraw { .. } => Verb::Withdraw,
        Command::Review { .. } => Verb::Review,
        Command::BreakGlass { of } => verb(state, of),
        Command::Confirm { request } => state
            .requests
            .get(request)
            .and_then(self::command)
            .map_or(Verb::SkipCritical, |asked| verb(state, &asked)),
    }
}

/// Returns the verb required to skip this step.
pub(crate) fn verb_of_skip(at: &StepState) -> Verb {
    if !at.critical && at.status != StepStatus::UndoFailed {
        Verb::Skip
    } else {
        // Leaving an effect whose undo failed is as grave as skipping a critical step.
        Verb::SkipCritical
    }
}

/// Describes a command: `skip step 1.6`.
pub(crate) fn what(command: &Command) -> String {
    match command {
        Command::Start {} => "start the rollout".to_owned(),
        Command::Pause { .. } => "pause the rollout".to_owned(),
        Command::Resume { .. } => "resume the rollout".to_owned(),
        Command::Abort { .. } => "abort the rollout".to_owned(),
        Command::Skip { step, .. } => format!("skip step {step}"),
        Command::Retry { step, .. } => format!("retry step {step}"),
        Command::Complete { step, .. } => format!("complete step {step}"),
        Command::ProposeNotApplicable { step, .. } => {
            format!("propose that step {step} is not applicable")
        }
        Command::ReviewNotApplicable { step, .. } => {
            format!("review whether step {step} is not applicable")
        }
        Command::Approve { gate, .. } => format!("sign gate {gate}"),
        Command::Reject { gate, .. } => format!("refuse gate {gate}"),
        Command::Undo { step, .. } => format!("undo step {step}"),
        Command::Rollback { level, .. } => format!("roll back {}", level.as_str()),
        Command::Revise { .. } => "revise the plan".to_owned(),
        Command::WithdrawRevision { revision, .. } => {
            format!("withdraw revision {revision} of the plan")
        }
        Command::AcceptRevision { revision, .. } => {
            format!("accept revision {revision} of the plan")
        }
        Command::Confirm { request } => format!("confirm request {request}"),
        Command::Withdraw { request, .. } => format!("withdraw request {request}"),
        Command::Review { review, .. } => format!("close review {review}"),
        Command::BreakGlass { of } => what(of),
    }
}

/// Parses the requested command; `None` if this version cannot read it.
pub(crate) fn command(request: &WaitingRequest) -> Option<Command> {
    serde_json::from_str(&request.command).ok()
}

/// Returns the step that a command is about.
pub(crate) fn step_of(command: &Command) -> Option<&StepId> {
    match command {
        Command::Skip { step, .. } | Command::Undo { step, .. } => Some(step),
        Command::BreakGlass { of } => step_of(of),
        _ => None,
    }
}

/// Describes the state that a command depends on; a request becomes void when this changes. It is
/// not the whole state: a watch that keeps measuring does not affect whether a step should be
/// skipped.
pub(crate) fn rests_on(state: &RolloutState, command: &Command) -> String {
    let step = step_of(command).map(|id| {
        state.step(id).map_or_else(
            || format!("step {id} is not in the plan; "),
            |at| {
                let undo = match at.undo.attempt {
                    0 => String::new(),
                    attempt => format!(", undo attempt {attempt}"),
                };
                format!(
                    "step {id} is {} at attempt {}{undo}; ",
                    at.status.as_str(),
                    at.attempt
                )
            },
        )
    });
    let rollout = match state.status {
        Status::Open | Status::Running | Status::Paused => "has not ended",
        Status::RollingBack => "is rolling back",
        Status::Aborted | Status::Closed(_) => "has ended",
    };
    let digest: String = state.plan_digest.chars().take(12).collect();
    format!(
        "{}the rollout {rollout}; plan {digest}",
        step.unwrap_or_default()
    )
}
