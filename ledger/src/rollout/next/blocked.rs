//! What is blocked and why: the rule with its numbers, and who can unblock it.

use jiff::{SignedDuration, Timestamp};

use super::super::block::{BlockReason, BlockRule, Blocked, Subject};
use super::super::frontier::{AtStep, Look};
use super::super::remedy::{self, Remedy};
use super::super::rules::{effects, gates, people, progress, requests, start};
use super::super::settle::{closes_after_rollback, wait_ends};
use super::super::state::{GateState, RolloutState, Status, StepState, StepStatus};
use super::Next;
use crate::environment::Environments;
use crate::ids::{PhaseId, StepId};
use crate::runbook::kind::{DoneBy, Manual};
use crate::runbook::{EffectiveUndo, Plan, Step, Verb};

/// How long after its timeout a running step is reported as overdue.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Returns who may use a verb in this rollout.
fn who_may(state: &RolloutState, plan: &Plan, verb: Verb) -> Vec<String> {
    requests::permissions(state, plan, Environments::NONE).who_may(verb)
}

/// Adds what blocks the rollout as a whole.
pub(super) fn rollout(state: &RolloutState, plan: &Plan, next: &mut Next) {
    let block = status_block(state, plan);
    next.blocked
        .extend(block.map(|hold| hold.of(Subject::Rollout)));
    if let Some(pending) = &state.pending_revision {
        let permissions = requests::permissions(state, plan, Environments::NONE);
        let who = if permissions.is_protected() {
            permissions.persons(Verb::Accept, &pending.by)
        } else {
            permissions.who_may(Verb::Accept)
        };
        let why = format!(
            "revision {} of the plan by {} waits to be accepted: {}",
            pending.revision, pending.by, pending.reason
        );
        let remedy = remedy::accept_revision(&state.id, pending.revision);
        let hold = BlockReason::person(BlockRule::RevisionWaits, why, who, vec![remedy])
            .figure("revision", pending.revision)
            .figure("by", &pending.by)
            .figure("reason", &pending.reason);
        next.blocked.push(hold.of(Subject::Rollout));
    }
    next.blocked.extend(undo(state, plan));
}

/// Returns why the rollout does not proceed in its current status.
fn status_block(state: &RolloutState, plan: &Plan) -> Option<BlockReason> {
    let id = &state.id;
    match state.status {
        Status::Open => Some(BlockReason::person(
            BlockRule::NotStarted,
            "it is open and has not been started",
            who_may(state, plan, Verb::Start),
            vec![remedy::start(id)],
        )),
        Status::Paused if !closes_after_rollback(state) => {
            let who = who_may(state, plan, Verb::Resume);
            let Some(rollback) = &state.rollback else {
                let remedies = vec![remedy::resume(id)];
                return Some(BlockReason::person(
                    BlockRule::Paused,
                    "it is paused",
                    who,
                    remedies,
                ));
            };
            let why = format!(
                "it is paused; the last rollback was {} ({}): {}. That failure starts no further rollback: once the rollout is resumed, undone and failed steps can be retried or skipped",
                rollback.id,
                rollback.level.as_str(),
                rollback.reason
            );
            let remedies = vec![remedy::resume(id), remedy::abort(id)];
            Some(
                BlockReason::person(BlockRule::Paused, why, who, remedies)
                    .figure("rollback", &rollback.id)
                    .figure("level", rollback.level.as_str())
                    .figure("reason", &rollback.reason),
            )
        }
        Status::Aborted => {
            let runs: Vec<&StepId> = state
                .steps
                .iter()
                .filter(|(_, at)| matches!(at.status, StepStatus::Running | StepStatus::Undoing))
                .map(|(id, _)| id)
                .collect();
            if runs.is_empty() {
                return None;
            }
            let runs = progress::list(runs);
            let why = format!("it was aborted and closes when {runs} has ended");
            Some(BlockReason::worker(BlockRule::Aborting, why).figure("steps", runs))
        }
        Status::Running | Status::Paused | Status::RollingBack | Status::Closed(_) => None,
    }
}

/// Returns what blocks the rollback in progress.
fn undo(state: &RolloutState, plan: &Plan) -> Option<Blocked> {
    let queue = effects::queue(state, plan);
    let (id, rollback) = (queue.first()?, state.current_rollback()?);
    let at = state.step(id)?;
    let before = effects::waits_for(state, plan, id);
    let hold = if at.undo.failed {
        let why = format!(
            "undo attempt {} of step {id} failed: {}; {} steps are left to undo",
            at.undo.attempt,
            at.undo.message,
            queue.len()
        );
        let who = who_may(state, plan, Verb::Rollback);
        let remedies = vec![remedy::undo(&state.id, id), remedy::skip(&state.id, id)];
        BlockReason::person(BlockRule::UndoFailed, why, who, remedies)
            .figure("attempt", at.undo.attempt)
            .figure("message", &at.undo.message)
            .figure("left", queue.len())
    } else if at.status == StepStatus::Running {
        let why = format!("step {id} still runs and is undone when it has ended");
        BlockReason::worker(BlockRule::UndoWaitsForStep, why).figure("waits_for", id)
    } else if at.status == StepStatus::Undoing && at.undo.by_hand {
        let why = format!(
            "step {id} was undone manually by {}; a worker looks whether its effect is gone",
            at.undo.worker
        );
        BlockReason::worker(BlockRule::UndoBeingVerified, why).figure("by", &at.undo.worker)
    } else if !before.is_empty() {
        let runs = progress::list(before);
        let why = format!(
            "step {runs} still runs, came later than step {id}, and is undone first when it has ended"
        );
        BlockReason::worker(BlockRule::UndoWaitsForStep, why).figure("waits_for", runs)
    } else if let Some(EffectiveUndo::Manual(text)) = plan.undo(id) {
        let why = format!("step {id} is undone manually: {text}");
        let who = who_may(state, plan, Verb::Rollback);
        BlockReason::person(
            BlockRule::UndoByHand,
            why,
            who,
            vec![remedy::undo(&state.id, id)],
        )
    } else {
        return None;
    };
    Some(
        hold.figure("step", id)
            .of(Subject::Rollback(rollback.id.clone())),
    )
}

/// Adds the steps that are blocked for a reason of their own. A step that waits for another one is
/// explained by that one.
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
            StepStatus::Running => running(at, step, now, next),
            _ if over || state.status == Status::RollingBack => None,
            _ => ended(state, plan, id, at, step),
        };
        next.blocked
            .extend(found.map(|hold| hold.of(Subject::Step(id.clone()))));
    }
}

fn pending(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    step: &Step,
    now: Timestamp,
) -> Option<BlockReason> {
    match start::check(state, plan, id, now) {
        Ok(_) => match step.action.kind().done_by() {
            DoneBy::Person(manual) => Some(by_hand(state, plan, id, step, manual)),
            _ => None,
        },
        Err(hold) if hold.explained => None,
        Err(hold) => Some(hold),
    }
}

/// Describes a manual step that a person may do now.
fn by_hand(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    step: &Step,
    manual: &Manual,
) -> BlockReason {
    let roles = &plan.runbook().roles;
    let who = match &manual.role {
        Some(role) => vec![people::role_text(plan, role)],
        None if roles.is_empty() => who_may(state, plan, Verb::Complete),
        None => roles
            .keys()
            .map(|role| people::role_text(plan, role))
            .collect(),
    };
    let why = format!(
        "{} is a manual step ({} checklist items{}): {}",
        step.title,
        manual.checklist.len(),
        if manual.evidence_required {
            ", evidence required"
        } else {
            ""
        },
        manual.instructions
    );
    let complete = Remedy::Complete {
        rollout: state.id.clone(),
        step: id.clone(),
        role: manual.role.clone(),
        answers: !manual.checklist.is_empty(),
        evidence: manual.evidence_required,
    };
    BlockReason::person(BlockRule::ManualStep, why, who, vec![complete])
        .figure("checklist_items", manual.checklist.len())
        .figure("evidence_required", manual.evidence_required)
}

fn running(at: &StepState, step: &Step, now: Timestamp, next: &mut Next) -> Option<BlockReason> {
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
    let why = format!(
        "attempt {} by {} started at {started}; its timeout of {timeout} is over and there is no result: the worker is gone or cut off, its task is redelivered when the lease ends",
        at.attempt, at.worker
    );
    Some(
        BlockReason {
            who: vec!["a worker".to_owned()],
            ..BlockReason::worker(BlockRule::ResultOverdue, why)
        }
        .figure("attempt", at.attempt)
        .figure("worker", &at.worker)
        .figure("started_at", started)
        .figure("timeout", timeout),
    )
}

fn ended(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    at: &StepState,
    step: &Step,
) -> Option<BlockReason> {
    if progress::is_done(state, plan, id) || progress::will_retry(at, step) {
        return None;
    }
    if let Some(proposal) = &at.proposal {
        return Some(start::not_applicable(state, id, proposal));
    }
    let rollout = &state.id;
    let who = who_may(state, plan, Verb::Retry);
    let retry = if effects::has_undoable_effect(state, plan, id) {
        remedy::retry_undo_or_skip(rollout, id, at.is_partial)
    } else {
        vec![remedy::retry(rollout, id), remedy::skip(rollout, id)]
    };
    let rule = match at.status {
        StepStatus::Failed => BlockRule::StepFailed,
        StepStatus::Inconclusive => BlockRule::StepInconclusive,
        StepStatus::Errored => BlockRule::StepErrored,
        StepStatus::Interrupted => {
            let why = format!(
                "attempt {} was interrupted and its effect is unknown: {}; look, then decide",
                at.attempt, at.message
            );
            let hold = BlockReason::person(BlockRule::StepInterrupted, why, who, retry);
            return Some(
                hold.figure("attempt", at.attempt)
                    .figure("message", &at.message),
            );
        }
        StepStatus::Undone => {
            let why = "a rollback undid its effect";
            return Some(BlockReason::person(BlockRule::StepUndone, why, who, retry));
        }
        StepStatus::UndoFailed => {
            let why = format!(
                "its effect may stand: its undo ended with {}",
                at.undo.message
            );
            let remedies = vec![remedy::undo(rollout, id), remedy::skip(rollout, id)];
            let hold = BlockReason::person(BlockRule::UndoFailed, why, who, remedies);
            return Some(
                hold.figure("attempt", at.undo.attempt)
                    .figure("message", &at.undo.message),
            );
        }
        StepStatus::Pending
        | StepStatus::Running
        | StepStatus::Succeeded
        | StepStatus::NotApplicable
        | StepStatus::Skipped
        | StepStatus::Undoing => return None,
    };
    let by_rule = if at.rule.is_empty() {
        String::new()
    } else {
        format!(" by rule `{}`", at.rule)
    };
    let recheck = if at.recheck {
        " (as a check of the rollback)"
    } else {
        ""
    };
    let why = format!(
        "attempt {} is {}{by_rule}{recheck}: {}",
        at.attempt,
        at.status.as_str(),
        at.message
    );
    Some(
        BlockReason::person(rule, why, who, retry)
            .figure("attempt", at.attempt)
            .figure("by_rule", &at.rule)
            .figure("recheck", at.recheck)
            .figure("message", &at.message),
    )
}

/// Adds the gates that do not pass.
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
        let (Some(at), Some(answer)) = (
            state.gates.get(id),
            gates::evaluate_if_reached(state, plan, id, now),
        ) else {
            continue;
        };
        if !answer.blocks.is_empty() {
            let hold = shut(state, plan, id, at, &answer);
            next.blocked.push(hold.of(Subject::Gate(id.clone())));
        }
    }
}

/// Describes what would open a gate, and who can do it.
fn shut(
    state: &RolloutState,
    plan: &Plan,
    id: &PhaseId,
    at: &GateState,
    answer: &gates::Answer,
) -> BlockReason {
    let mut who: Vec<String> = answer
        .missing
        .iter()
        .map(|missing| {
            if !missing.eligible.is_empty() {
                format!("{}: {}", missing.role, missing.eligible.join(" or "))
            } else if missing.excluded.is_empty() {
                format!("{}: no eligible signer remains", missing.role)
            } else {
                format!(
                    "{}: no eligible signer remains ({})",
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
    // Running a step again would void any sign-off given before.
    let retry_first = !answer.again.is_empty();
    if who.is_empty() || retry_first {
        who.splice(0..0, who_may(state, plan, Verb::Retry));
    }
    let can = |missing: &&gates::Missing| !missing.eligible.is_empty();
    let signer = answer.missing.iter().find(can);
    let remedies = match signer {
        // Signing does not make a check hold; where nothing can measure again, effects go back.
        _ if retry_first || answer.unmet > 0 => remedy::retry_any(&state.id, &answer.again),
        Some(missing) => vec![remedy::approve(&state.id, id, Some(&missing.role))],
        // Only adding other people to the roles helps.
        None if !answer.missing.is_empty() => vec![remedy::revise(&state.id)],
        None if at.refusals.is_empty() => vec![remedy::show_gate(&state.id, id)],
        None => vec![remedy::approve(&state.id, id, None)],
    };
    // Report first what has to change first.
    let rule = if answer.failed > 0 {
        BlockRule::PhaseFailed
    } else if answer.unmet > 0 {
        BlockRule::CheckNotMet
    } else if !answer.missing.is_empty() && signer.is_none() {
        BlockRule::NobodyLeftToSign
    } else if !at.refusals.is_empty() {
        BlockRule::SignOffRefused
    } else {
        BlockRule::SignOffsMissing
    };
    let reason = BlockReason::person(rule, answer.blocks.join("; "), who, remedies)
        .figure("failed_steps", answer.failed)
        .figure("checks_not_met", answer.unmet)
        .figure("refusals", at.refusals.len());
    if answer.failed > 0 {
        // Nobody can sign yet, so which roles are missing is not asked.
        return reason;
    }
    reason.figure("roles_missing", answer.missing.len())
}
