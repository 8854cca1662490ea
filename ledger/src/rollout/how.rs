//! The commands that move what stands still, written once, as the command line takes them:
//! verb, step or gate, rollout, options. `…` stands for words, `<role>` for a person of the role.

use crate::ids::{PhaseId, RolloutId, StepId};

/// Between two commands of which either helps.
const OR: &str = "   or: ";
/// So many steps are named at most; `rollbook status` lists the others.
const MOST_NAMED: usize = 3;

/// What a manual step asks for besides being done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks {
    /// One `--answer` for each item of its checklist.
    pub(super) answers: bool,
    /// A file that proves it.
    pub(super) evidence: bool,
}

/// Starts a rollout.
pub(super) fn start(rollout: &RolloutId) -> String {
    format!("rollbook start {rollout}")
}

/// Goes on after a pause.
pub(super) fn resume(rollout: &RolloutId) -> String {
    format!("rollbook resume {rollout}")
}

/// Goes on after a pause, or ends the rollout.
pub(super) fn resume_or_abort(rollout: &RolloutId) -> String {
    format!("{}{OR}rollbook abort {rollout} --reason …", resume(rollout))
}

/// Takes effects back, at a level of the person's choice.
pub(super) fn rollback(rollout: &RolloutId) -> String {
    format!("rollbook rollback full {rollout} --reason …")
}

/// Accepts a changed plan.
pub(super) fn accept_revision(rollout: &RolloutId, revision: u32) -> String {
    format!("rollbook accept {revision} {rollout} --as <person>")
}

/// Confirms another person's request.
pub(super) fn confirm(rollout: &RolloutId, request: &str) -> String {
    format!("rollbook confirm {request} {rollout} --as <person>")
}

/// Closes the review of what another person did alone.
pub(super) fn review(rollout: &RolloutId, review: &str) -> String {
    format!("rollbook review {review} {rollout} --agree --note … --as <person>")
}

/// Runs a step again.
fn retry(rollout: &RolloutId, step: &StepId) -> String {
    format!("rollbook retry {step} {rollout} --reason …")
}

/// Runs one of these steps again; where none can, takes effects back.
pub(super) fn retry_any(rollout: &RolloutId, steps: &[StepId]) -> String {
    if steps.is_empty() {
        return rollback(rollout);
    }
    let each: Vec<String> = steps
        .iter()
        .take(MOST_NAMED)
        .map(|step| retry(rollout, step))
        .collect();
    each.join(OR)
}

/// Does without a step, or leaves its effect.
pub(super) fn skip(rollout: &RolloutId, step: &StepId) -> String {
    format!("rollbook skip {step} {rollout} --reason …")
}

/// Does without a step, or mends the plan.
pub(super) fn skip_or_revise(rollout: &RolloutId, step: &StepId) -> String {
    format!("{}{OR}{}", skip(rollout, step), revise(rollout))
}

/// Takes one step's effect back.
pub(super) fn undo(rollout: &RolloutId, step: &StepId) -> String {
    format!("rollbook undo {step} {rollout} --reason …")
}

/// Runs a step again, or does without it.
pub(super) fn retry_or_skip(rollout: &RolloutId, step: &StepId) -> String {
    format!("{}{OR}{}", retry(rollout, step), skip(rollout, step))
}

/// Runs a step again, takes back what it left, or does without it; what stopped half-way is taken
/// back first, since a second run would begin on what stands.
pub(super) fn retry_undo_or_skip(rollout: &RolloutId, step: &StepId, is_partial: bool) -> String {
    let (retry, undo) = (retry(rollout, step), undo(rollout, step));
    let [first, second] = if is_partial {
        [undo, retry]
    } else {
        [retry, undo]
    };
    format!("{first}{OR}{second}{OR}{}", skip(rollout, step))
}

/// Takes one step's effect back, or leaves it.
pub(super) fn undo_or_skip(rollout: &RolloutId, step: &StepId) -> String {
    format!("{}{OR}{}", undo(rollout, step), skip(rollout, step))
}

/// Completes a manual step, with what it asks for; `role` is a role, or any word for whoever may.
pub(super) fn complete(rollout: &RolloutId, step: &StepId, role: &str, asks: Asks) -> String {
    let answers = if asks.answers {
        " --answer 'ITEM=pass'"
    } else {
        ""
    };
    let evidence = if asks.evidence {
        " --evidence FILE"
    } else {
        ""
    };
    format!("rollbook complete {step} {rollout}{answers}{evidence} --as <{role}>")
}

/// Agrees that a step does not apply.
pub(super) fn accept_not_applicable(rollout: &RolloutId, step: &StepId) -> String {
    format!("rollbook not-applicable {step} {rollout} --accept")
}

/// Signs a gate; `role` is a role, or any word for whoever may.
pub(super) fn approve(rollout: &RolloutId, gate: &PhaseId, role: &str) -> String {
    format!("rollbook approve {gate} {rollout} --as <{role}>")
}

/// Shows what is signed at a gate.
pub(super) fn look(rollout: &RolloutId, gate: &PhaseId) -> String {
    format!("rollbook gate {gate} {rollout}")
}

/// Changes a plan: other steps, more persons in its roles.
pub(super) fn revise(rollout: &RolloutId) -> String {
    format!("rollbook revise RUNBOOK --rollout {rollout} --reason …")
}

/// Every form of command that a blocked rollout can name, one command each, for a rollout `id`
/// with a step and a gate of these ids: what a command line must be able to take.
#[must_use]
pub fn every_form(rollout: &RolloutId, step: &StepId, gate: &PhaseId) -> Vec<String> {
    [
        start(rollout),
        resume_or_abort(rollout),
        rollback(rollout),
        accept_revision(rollout, 2),
        confirm(rollout, "q-0123456789"),
        review(rollout, "r-0123456789"),
        retry_any(rollout, std::slice::from_ref(step)),
        retry_or_skip(rollout, step),
        skip_or_revise(rollout, step),
        undo_or_skip(rollout, step),
        retry_undo_or_skip(rollout, step, true),
        complete(
            rollout,
            step,
            "role",
            Asks {
                answers: false,
                evidence: false,
            },
        ),
        complete(
            rollout,
            step,
            "role",
            Asks {
                answers: true,
                evidence: true,
            },
        ),
        accept_not_applicable(rollout, step),
        approve(rollout, gate, "role"),
        look(rollout, gate),
        revise(rollout),
    ]
    .iter()
    .flat_map(|form| form.split(OR).map(str::to_owned))
    .collect()
}
