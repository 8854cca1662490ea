//! What moves what stands still: a command with its arguments, as data. How it is typed on a command
//! line or clicked on a page is not known here.

use serde::{Deserialize, Serialize};

use crate::ids::{EnvironmentId, FlagKey, PhaseId, RolloutId, StepId};
use crate::runbook::RollbackLevel;

/// So many steps are named at most; the status of the rollout lists the others.
const MOST_NAMED: usize = 3;

/// A command that helps, with the arguments that are known. What a person has to add (a reason, a
/// note, their name) is not in it. In JSON the tag is `command`: `{"command": "retry", "rollout":
/// "r1", "step": "1.6"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Remedy {
    /// Start it.
    Start { rollout: RolloutId },
    /// Go on after a pause.
    Resume { rollout: RolloutId },
    /// End it.
    Abort { rollout: RolloutId },
    /// Take effects back; the person may choose another level.
    Rollback {
        rollout: RolloutId,
        level: RollbackLevel,
    },
    /// Change the plan: other steps, more persons in its roles.
    Revise { rollout: RolloutId },
    /// Accept the changed plan that waits.
    AcceptRevision { rollout: RolloutId, revision: u32 },
    /// Confirm another person's request.
    Confirm { rollout: RolloutId, request: String },
    /// Close the review of what another person did alone.
    Review { rollout: RolloutId, review: String },
    /// Run a step again.
    Retry { rollout: RolloutId, step: StepId },
    /// Do without a step, or leave its effect.
    Skip { rollout: RolloutId, step: StepId },
    /// Take one step's effect back.
    Undo { rollout: RolloutId, step: StepId },
    /// Complete a manual step.
    Complete {
        rollout: RolloutId,
        step: StepId,
        /// Who may; absent: any person of those named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// It takes an answer for each item of its checklist.
        answers: bool,
        /// It takes a file that proves it.
        evidence: bool,
    },
    /// Agree that a step does not apply.
    AcceptNotApplicable { rollout: RolloutId, step: StepId },
    /// Sign a gate.
    Approve {
        rollout: RolloutId,
        gate: PhaseId,
        /// Who may; absent: any person of those named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// See what is signed at a gate.
    ShowGate { rollout: RolloutId, gate: PhaseId },
    /// See the steps of a rollout, and what waits in it.
    Status { rollout: RolloutId },
    /// Confirm another person's request about a flag.
    ConfirmFlag {
        environment: EnvironmentId,
        flag: FlagKey,
        request: String,
    },
    /// See a flag, and the requests about it that wait.
    ShowFlag {
        environment: EnvironmentId,
        flag: FlagKey,
    },
    /// Record an environment, or change who may what in it.
    SetEnvironment { environment: EnvironmentId },
    /// See what is recorded of an environment.
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

/// Takes everything back that can be.
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

/// Runs one of these steps again; where there is none, takes effects back.
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

/// Runs a step again, takes back what it left, or does without it; what stopped half-way is taken
/// back first, since a second run would begin on what stands.
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

/// `role`: absent, whoever may.
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
