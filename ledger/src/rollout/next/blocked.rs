//! What stands still, why, by which rule with its numbers, and who can move it.

use jiff::{SignedDuration, Timestamp};

use super::super::frontier::{AtStep, Look};
use super::super::how;
use super::super::rules::{effects, gates, people, progress, requests, start};
use super::super::settle::{closes_after_rollback, wait_ends};
use super::super::state::{RolloutState, Status, StepState, StepStatus};
use super::{Blocked, Next};
use crate::environment::Environments;
use crate::ids::StepId;
use crate::runbook::{Action, EffectiveUndo, Plan, Step, Verb};

/// A running step is reported when its timeout has been over for so long.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Who may do a verb here.
fn who_may(state: &RolloutState, plan: &Plan, verb: Verb) -> Vec<String> {
    requests::place(state, plan, Environments::NONE).who(verb)
}

fn blocked(
    what: String,
    why: impl Into<String>,
    who: Vec<String>,
    how: impl Into<Option<String>>,
) -> Blocked {
    Blocked {
        what,
        why: why.into(),
        who,
        how: how.into(),
        until: None,
    }
}

/// What holds the rollout as a whole.
pub(super) fn rollout(state: &RolloutState, plan: &Plan, next: &mut Next) {
    let id = &state.id;
    let what = || "rollout".to_owned();
    match state.status {
        Status::Open => next.blocked.push(blocked(
            what(),
            "it is open and has not been started",
            who_may(state, plan, Verb::Start),
            how::start(id),
        )),
        Status::Paused if !closes_after_rollback(state) => {
            let (why, how) = match &state.rollback {
                Some(rollback) => (
                    format!(
                        "it is paused; the last rollback was {} ({}): {}. That is answered and starts no further rollback: once it is resumed, what was taken back and what failed can be retried or skipped",
                        rollback.id,
                        rollback.level.as_str(),
                        rollback.reason
                    ),
                    how::resume_or_abort(id),
                ),
                None => ("it is paused".to_owned(), how::resume(id)),
            };
            let who = who_may(state, plan, Verb::Resume);
            next.blocked.push(blocked(what(), why, who, how));
        }
        Status::Aborted => {
            let runs: Vec<&StepId> = state
                .steps
                .iter()
                .filter(|(_, at)| matches!(at.status, StepStatus::Running | StepStatus::Undoing))
                .map(|(id, _)| id)
                .collect();
            if !runs.is_empty() {
                next.blocked.push(blocked(
                    what(),
                    format!(
                        "it was aborted and closes when {} has ended",
                        progress::list(runs)
                    ),
                    vec!["time".to_owned()],
                    None,
                ));
            }
        }
        Status::Running | Status::Paused | Status::RollingBack | Status::Closed(_) => {}
    }
    if let Some(pending) = &state.pending_revision {
        let place = requests::place(state, plan, Environments::NONE);
        let who = if place.is_protected() {
            place.persons(Verb::Accept, &pending.by)
        } else {
            place.who(Verb::Accept)
        };
        next.blocked.push(blocked(
            what(),
            format!(
                "revision {} of the plan by {} waits to be accepted: {}",
                pending.revision, pending.by, pending.reason
            ),
            who,
            how::accept_revision(id, pending.revision),
        ));
    }
    undo(state, plan, next);
}

/// What holds the rollback under way.
fn undo(state: &RolloutState, plan: &Plan, next: &mut Next) {
    let queue = effects::queue(state, plan);
    let (Some(id), Some(rollback)) = (queue.first(), state.current_rollback()) else {
        return;
    };
    let Some(at) = state.step(id) else { return };
    let what = format!("rollback {}", rollback.id);
    let rollout = &state.id;
    let before = effects::waits_for(state, plan, id);
    if at.undo.failed {
        next.blocked.push(blocked(
            what,
            format!(
                "undo attempt {} of step {id} failed: {}; {} steps are left to undo",
                at.undo.attempt,
                at.undo.message,
                queue.len()
            ),
            who_may(state, plan, Verb::Rollback),
            how::undo_or_skip(rollout, id),
        ));
    } else if at.status == StepStatus::Running {
        next.blocked.push(blocked(
            what,
            format!("step {id} still runs and is undone when it has ended"),
            vec!["time".to_owned()],
            None,
        ));
    } else if at.status == StepStatus::Undoing && at.undo.by_hand {
        next.blocked.push(blocked(
            what,
            format!(
                "step {id} was undone by hand by {}; a worker looks whether its effect is gone",
                at.undo.worker
            ),
            vec!["time".to_owned()],
            None,
        ));
    } else if !before.is_empty() {
        next.blocked.push(blocked(
            what,
            format!(
                "step {} still runs, came later than step {id}, and is undone first when it has ended",
                progress::list(before)
            ),
            vec!["time".to_owned()],
            None,
        ));
    } else if let Some(EffectiveUndo::Manual(text)) = plan.undo(id) {
        next.blocked.push(blocked(
            what,
            format!("step {id} is undone by hand: {text}"),
            who_may(state, plan, Verb::Rollback),
            how::undo(rollout, id),
        ));
    }
}

/// Steps that do not move for a reason of their own. A step that waits for another is
/// explained by that other.
pub(super) fn steps(look: Look<'_>, next: &mut Next) {
    let Look {
        state, plan, now, ..
    } = look;
    if matches!(state.status, Status::Open) {
        return;
    }
    let over = matches!(state.status, Status::Aborted | Status::Closed(_));
    for AtStep { id, at, step, .. } in look.steps() {
        let found = match at.status {
            StepStatus::Pending => pending(state, plan, id, step, now),
            StepStatus::Running => running(id, at, step, now, next),
            _ if over || state.status == Status::RollingBack => None,
            _ => ended(state, plan, id, at, step),
        };
        next.blocked.extend(found);
    }
}

fn pending(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    step: &Step,
    now: Timestamp,
) -> Option<Blocked> {
    let what = format!("step {id}");
    match start::check(state, plan, id, now) {
        Ok(_) => {
            let Action::Manual(manual) = &step.action else {
                return None;
            };
            let who = match &manual.role {
                Some(role) => vec![people::role_text(plan, role)],
                None if plan.runbook().roles.is_empty() => who_may(state, plan, Verb::Complete),
                None => plan
                    .runbook()
                    .roles
                    .keys()
                    .map(|role| people::role_text(plan, role))
                    .collect(),
            };
            let name = manual.role.as_deref().unwrap_or("person");
            Some(blocked(
                what,
                format!(
                    "{} waits to be done by hand ({} checklist items{}): {}",
                    step.title,
                    manual.checklist.len(),
                    if manual.evidence_required {
                        ", evidence required"
                    } else {
                        ""
                    },
                    manual.instructions
                ),
                who,
                how::complete(
                    &state.id,
                    id,
                    name,
                    how::Asks {
                        answers: !manual.checklist.is_empty(),
                        evidence: manual.evidence_required,
                    },
                ),
            ))
        }
        Err(hold) if hold.explained => None,
        Err(hold) => Some(Blocked {
            what,
            why: hold.why,
            who: hold.who,
            how: hold.how,
            until: hold.until,
        }),
    }
}

fn running(
    id: &StepId,
    at: &StepState,
    step: &Step,
    now: Timestamp,
    next: &mut Next,
) -> Option<Blocked> {
    if wait_ends(at, step).is_some() {
        return None;
    }
    let started = at.started_at?;
    let timeout = step.timeout?;
    let overdue = started
        .checked_add(timeout.to_signed())
        .and_then(|end| end.checked_add(OVERDUE_AFTER))
        .ok()?;
    if overdue > now {
        next.wake(Some(overdue), now);
        return None;
    }
    Some(blocked(
        format!("step {id}"),
        format!(
            "attempt {} by {} started at {started}; its timeout of {timeout} is over and there is no result: the worker is gone or cut off, its task is redelivered when the lease ends",
            at.attempt, at.worker
        ),
        vec!["a worker".to_owned()],
        None,
    ))
}

fn ended(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    at: &StepState,
    step: &Step,
) -> Option<Blocked> {
    if progress::is_done(state, plan, id) || progress::will_retry(at, step) {
        return None;
    }
    let rollout = &state.id;
    let what = format!("step {id}");
    if let Some(proposal) = &at.proposal {
        return Some(blocked(
            what,
            format!(
                "{} says that it is not applicable ({}), which another person must review",
                proposal.by, proposal.reason
            ),
            vec![format!("anyone but {}", proposal.by)],
            how::accept_not_applicable(rollout, id),
        ));
    }
    let retry = if effects::stands(state, plan, id) {
        how::retry_undo_or_skip(rollout, id, at.is_partial)
    } else {
        how::retry_or_skip(rollout, id)
    };
    match at.status {
        StepStatus::Failed | StepStatus::Inconclusive | StepStatus::Errored => {
            let rule = if at.rule.is_empty() {
                String::new()
            } else {
                format!(" by rule `{}`", at.rule)
            };
            let recheck = if at.recheck {
                " (as a check of the rollback)"
            } else {
                ""
            };
            Some(blocked(
                what,
                format!(
                    "attempt {} is {}{rule}{recheck}: {}",
                    at.attempt,
                    at.status.as_str(),
                    at.message
                ),
                who_may(state, plan, Verb::Retry),
                retry,
            ))
        }
        StepStatus::Interrupted => Some(blocked(
            what,
            format!(
                "attempt {} was interrupted and nobody knows what it did: {}; look, then decide",
                at.attempt, at.message
            ),
            who_may(state, plan, Verb::Retry),
            retry,
        )),
        StepStatus::Undone => Some(blocked(
            what,
            "its effect was taken back by a rollback",
            who_may(state, plan, Verb::Retry),
            retry,
        )),
        StepStatus::UndoFailed => Some(blocked(
            what,
            format!(
                "its effect may stand: its undo ended with {}",
                at.undo.message
            ),
            who_may(state, plan, Verb::Retry),
            how::undo_or_skip(rollout, id),
        )),
        StepStatus::Pending
        | StepStatus::Running
        | StepStatus::Succeeded
        | StepStatus::NotApplicable
        | StepStatus::Skipped
        | StepStatus::Undoing => None,
    }
}

/// Gates that do not pass.
pub(super) fn gates(look: Look<'_>, next: &mut Next) {
    let Look {
        state,
        plan,
        frontier,
        now,
    } = look;
    if !matches!(state.status, Status::Running | Status::Paused) {
        return;
    }
    for id in frontier.gates(state, plan) {
        let (Some(at), Some(answer)) = (state.gates.get(id), gates::standing(state, plan, id, now))
        else {
            continue;
        };
        if answer.blocks.is_empty() {
            continue;
        }
        let mut who: Vec<String> = answer
            .missing
            .iter()
            .map(|missing| {
                if !missing.eligible.is_empty() {
                    format!("{}: {}", missing.role, missing.eligible.join(" or "))
                } else if missing.excluded.is_empty() {
                    format!("{}: nobody is left to sign", missing.role)
                } else {
                    format!(
                        "{}: nobody is left to sign ({})",
                        missing.role,
                        missing.excluded.join(", ")
                    )
                }
            })
            .collect();
        who.extend(
            at.refusals
                .iter()
                .map(|refusal| format!("{} (by signing after all)", refusal.person)),
        );
        // It would void whatever is signed before it.
        let retry_first = !answer.again.is_empty();
        if who.is_empty() || retry_first {
            who.splice(0..0, who_may(state, plan, Verb::Retry));
        }
        let can = |missing: &&gates::Missing| !missing.eligible.is_empty();
        let how = match answer.missing.iter().find(can) {
            _ if retry_first => how::retry_any(&state.id, &answer.again),
            Some(missing) => how::approve(&state.id, id, &missing.role),
            // Only other persons in the roles help.
            None if !answer.missing.is_empty() => how::revise(&state.id),
            None if at.refusals.is_empty() => how::retry_any(&state.id, &answer.again),
            None => how::approve(&state.id, id, "person"),
        };
        next.blocked.push(blocked(
            format!("gate {id}"),
            answer.blocks.join("; "),
            who,
            how,
        ));
    }
}
