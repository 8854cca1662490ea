//! Remedies: commands that unblock something, as data. How they are typed or clicked is up to the
//! caller.

use serde::{Deserialize, Serialize};

use crate::ids::{EnvironmentId, FlagKey, PhaseId, RolloutId, StepId};
use crate::runbook::RollbackLevel;

/// Maximum number of steps named; the rollout's status lists the others.
const MOST_NAMED: usize = 3;

/// A command that helps, with the arguments that are known; the person adds the rest (a reason, a
/// note, their name). In JSON the tag is `command`: `{"command": "retry", "rollout": "r1", "step":
/// "1.6"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Remedy {
    /// Start the rollout.
    Start { rollout: RolloutId },
    /// Resume the paused rollout.
    Resume { rollout: RolloutId },
    /// Abort the rollout.
    Abort { rollout: RolloutId },
    /// Roll back; the person may choose another level.
    Rollback {
        rollout: RolloutId,
        level: RollbackLevel,
    },
    /// Revise the plan: other steps, more people in its roles.
    Revise { rollout: RolloutId },
    /// Accept the pending revision.
    AcceptRevision { rollout: RolloutId, revision: u32 },
    /// Confirm another person's request.
    Confirm { rollout: RolloutId, request: String },
    /// Close the review of a command that another person executed alone.
    Review { rollout: RolloutId, review: String },
    /// Run a step again.
    Retry { rollout: RolloutId, step: StepId },
    /// Skip a step, or leave its effect in place.
    Skip { rollout: RolloutId, step: StepId },
    /// Undo one step's effect.
    Undo { rollout: RolloutId, step: StepId },
    /// Complete a manual step.
    Complete {
        rollout: RolloutId,
        step: StepId,
        /// The role required; `None`: any of the people named beside the remedy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// Each item of its checklist needs an answer.
        answers: bool,
        /// It needs evidence.
        evidence: bool,
    },
    /// Agree that a step does not apply.
    AcceptNotApplicable { rollout: RolloutId, step: StepId },
    /// Sign a gate.
    Approve {
        rollout: RolloutId,
        gate: PhaseId,
        /// The role required; `None`: any of the people named beside the remedy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// Show what is signed at a gate.
    ShowGate { rollout: RolloutId, gate: PhaseId },
    /// Show the steps of a rollout and what they wait for.
    Status { rollout: RolloutId },
    /// Confirm another person's request about a flag.
    ConfirmFlag {
        environment: EnvironmentId,
        flag: FlagKey,
        request: String,
    },
    /// Show a flag and its pending requests.
    ShowFlag {
        environment: EnvironmentId,
        flag: FlagKey,
    },
    /// Record an environment, or change its roles.
    SetEnvironment { environment: EnvironmentId },
    /// Show the record of an environment.
    ShowEnvironment { environment: EnvironmentId },
}

pub(super) fn start(rollout: &RolloutId) -> Remedy {
    Remedy::Start {
        rollout: rollout.clone(),
    }
}

pub(super) fn resume(rollout: &RolloutId) -> Remedy {
    Remedy::Resume {
        rollout: rollout.clone(),
    }
}

pub(super) fn abort(rollout: &RolloutId) -> Remedy {
    Remedy::Abort {
        rollout: rollout.clone(),
    }
}

/// A full rollback.
pub(super) fn rollback(rollout: &RolloutId) -> Remedy {
    Remedy::Rollback {
        rollout: rollout.clone(),
        level: RollbackLevel::Full,
    }
}

pub(super) fn revise(rollout: &RolloutId) -> Remedy {
    Remedy::Revise {
        rollout: rollout.clone(),
    }
}

pub(super) fn accept_revision(rollout: &RolloutId, revision: u32) -> Remedy {
    Remedy::AcceptRevision {
        rollout: rollout.clone(),
        revision,
    }
}

pub(super) fn confirm(rollout: &RolloutId, request: &str) -> Remedy {
    Remedy::Confirm {
        rollout: rollout.clone(),
        request: request.to_owned(),
    }
}

pub(super) fn review(rollout: &RolloutId, review: &str) -> Remedy {
    Remedy::Review {
        rollout: rollout.clone(),
        review: review.to_owned(),
    }
}

pub(super) fn retry(rollout: &RolloutId, step: &StepId) -> Remedy {
    Remedy::Retry {
        rollout: rollout.clone(),
        step: step.clone(),
    }
}

/// Retries of any of these steps, or a full rollback if there are none.
pub(super) fn retry_any(rollout: &RolloutId, steps: &[StepId]) -> Vec<Remedy> {
    if steps.is_empty() {
        return vec![rollback(rollout)];
    }
    let named = steps.iter().take(MOST_NAMED);
    named.map(|step| retry(rollout, step)).collect()
}

pub(super) fn skip(rollout: &RolloutId, step: &StepId) -> Remedy {
    Remedy::Skip {
        rollout: rollout.clone(),
        step: step.clone(),
    }
}

pub(super) fn undo(rollout: &RolloutId, step: &StepId) -> Remedy {
    Remedy::Undo {
        rollout: rollout.clone(),
        step: step.clone(),
    }
}

/// Retry, undo or skip a step, best first. A partial effect is undone first, because a retry would
/// start on top of it.
pub(super) fn retry_undo_or_skip(
    rollout: &RolloutId,
    step: &StepId,
    is_partial: bool,
) -> Vec<Remedy> {
    let (retry, undo) = (retry(rollout, step), undo(rollout, step));
    let [first, second] = if is_partial {
        [undo, retry]
    } else {
        [retry, undo]
    };
    vec![first, second, skip(rollout, step)]
}

pub(super) fn accept_not_applicable(rollout: &RolloutId, step: &StepId) -> Remedy {
    Remedy::AcceptNotApplicable {
        rollout: rollout.clone(),
        step: step.clone(),
    }
}

/// A sign-off; `role` is `None` if any role will do.
pub(super) fn approve(rollout: &RolloutId, gate: &PhaseId, role: Option<&str>) -> Remedy {
    Remedy::Approve {
        rollout: rollout.clone(),
        gate: gate.clone(),
        role: role.map(str::to_owned),
    }
}

pub(super) fn show_gate(rollout: &RolloutId, gate: &PhaseId) -> Remedy {
    Remedy::ShowGate {
        rollout: rollout.clone(),
        gate: gate.clone(),
    }
}

pub(super) fn status(rollout: &RolloutId) -> Remedy {
    Remedy::Status {
        rollout: rollout.clone(),
    }
}
