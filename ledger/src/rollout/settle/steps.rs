//! Steps that change state without a worker or a person.

use jiff::{SignedDuration, Timestamp};
use rollbook_proto::v1::{self, event::Kind};

use super::super::frontier::{AtStep, Look};
use super::super::limits::shortened;
use super::super::rules::{measures, progress, rollback_preview, start};
use super::super::state::{RolloutState, Status, StepState, StepStatus};
use crate::clock::to_proto;
use crate::ids::StepId;
use crate::runbook::RollbackLevel;
use crate::runbook::Step;
use crate::runbook::kind::DoneBy;
use crate::runbook::step::{OnFail, Retry};

/// Maximum delay between automatic attempts.
const MAX_BACK_OFF: SignedDuration = SignedDuration::from_hours(1);

/// Applies `on_fail` to steps that have used up their automatic attempts, once per failure. A
/// failure before the end of a rollback triggers nothing, because the rollback responded to it.
pub(super) fn reactions(look: Look<'_>) -> Vec<Kind> {
    let Look { state, plan, .. } = look;
    if !matches!(state.status, Status::Running | Status::Paused) {
        return Vec::new();
    }
    for AtStep { id, at, step, .. } in look.steps() {
        let (level, named) = match &step.on_fail {
            OnFail::Block | OnFail::Continue => continue,
            OnFail::RollbackFlags => (RollbackLevel::Flags, Vec::new()),
            OnFail::RollbackFull => (RollbackLevel::Full, Vec::new()),
            OnFail::Undo(steps) => (
                RollbackLevel::Partial,
                steps.iter().filter_map(|id| StepId::new(id).ok()).collect(),
            ),
        };
        // A step with `on_fail: undo` is undone however it failed, even if it was interrupted.
        let failed = match step.on_fail {
            OnFail::Undo(_) => at.status.is_failure() || at.status == StepStatus::Interrupted,
            _ => matches!(at.status, StepStatus::Failed | StepStatus::Errored),
        };
        let answered = state.rollback.as_ref().is_some_and(|rollback| {
            rollback
                .finished_event
                .is_none_or(|end| end > at.finished_event)
        });
        if !failed || at.recheck || answered || progress::will_retry(at, step) {
            continue;
        }
        let list = rollback_preview::list(state, plan, level, &named);
        if list.undo.is_empty() && !level.ends_rollout() {
            continue;
        }
        let reason = format!("step {id} is {}: {}", at.status.as_str(), at.message);
        return vec![super::rollback_started(state, &reason, &list)];
    }
    Vec::new()
}

fn back_off(retry: &Retry, attempt: u32) -> SignedDuration {
    let doublings = attempt.saturating_sub(1).min(20);
    let delay = retry.delay.to_signed();
    delay
        .checked_mul(1_i32 << doublings)
        .unwrap_or(MAX_BACK_OFF)
        .clamp(SignedDuration::ZERO, MAX_BACK_OFF)
}

fn retried(
    state: &RolloutState,
    id: &StepId,
    at: &StepState,
    reason: String,
    not_before: Option<Timestamp>,
) -> Vec<Kind> {
    let mut kinds = super::void_phase(state, &at.phase, "step_retried");
    kinds.push(Kind::StepRetried(v1::StepRetried {
        step_id: id.to_string(),
        reason: shortened(&reason),
        not_before: not_before.map(to_proto),
        recheck: false,
    }));
    kinds
}

/// Retries failed steps automatically, with growing delays.
pub(super) fn retries(look: Look<'_>) -> Vec<Kind> {
    let Look { state, now, .. } = look;
    if state.status != Status::Running {
        return Vec::new();
    }
    for AtStep { id, at, step, .. } in look.steps() {
        let Some(retry) = step
            .retry
            .as_ref()
            .filter(|_| progress::will_retry(at, step))
        else {
            continue;
        };
        let delay = back_off(retry, at.attempt);
        let not_before = at
            .finished_at
            .unwrap_or(now)
            .checked_add(delay)
            .ok()
            .filter(|_| delay > SignedDuration::ZERO);
        let reason = format!(
            "attempt {} of {} was {}: {}",
            at.attempt,
            retry.attempts,
            at.status.as_str(),
            at.message
        );
        return retried(state, id, at, reason, not_before);
    }
    Vec::new()
}

/// Resets checks whose result no longer counts: rechecks of a rollback, and checks before which a
/// step was run again.
pub(super) fn stale(look: Look<'_>) -> Vec<Kind> {
    let state = look.state;
    if state.status != Status::Running {
        return Vec::new();
    }
    let recheck = look.steps().find(|step| {
        let status = step.at.status;
        step.at.recheck && (status == StepStatus::Succeeded || status.is_failure())
    });
    let done_again = look.frontier.stale(state, look.plan);
    match (recheck, done_again) {
        (Some(step), later) if later.is_none_or(|(later, _)| step.node < later.node) => {
            let reason = "it ran as a check of the rollback; now it runs in the plan's order";
            retried(state, step.id, step.at, reason.to_owned(), None)
        }
        (_, Some((step, later))) => {
            let reason = format!("step {later}, which it rests on, was done again after it");
            retried(state, step.id, step.at, reason, None)
        }
        (_, None) => Vec::new(),
    }
}

/// Marks steps that are next and whose `when` is false as not applicable.
pub(super) fn not_applicable(look: Look<'_>) -> Vec<Kind> {
    let Look { state, plan, .. } = look;
    for AtStep { id, at, step, .. } in look.steps() {
        let Some(text) = &step.when else { continue };
        if start::check_order(state, plan, id).is_err() || measures::when(state, text) != Ok(false)
        {
            continue;
        }
        return vec![Kind::StepFinished(v1::StepFinished {
            step_id: id.to_string(),
            attempt: at.attempt,
            verdict: v1::Verdict::NotApplicable.into(),
            rule: format!("when: {text}"),
            message: "its condition is false".to_owned(),
            ..v1::StepFinished::default()
        })];
    }
    Vec::new()
}

/// Records a rollback point before the first step of each phase in a protected environment.
pub(super) fn points(look: Look<'_>) -> Vec<Kind> {
    let state = look.state;
    if state.status != Status::Running || !state.protected || state.pending_revision.is_some() {
        return Vec::new();
    }
    for (id, is_open) in look.frontier.phases(look.plan) {
        let Some(phase) = state.phases.get(id) else {
            continue;
        };
        if phase.rollback_point.is_some() || !is_open {
            continue;
        }
        let standing = if state.effects.is_empty() {
            "nothing has been changed yet".to_owned()
        } else {
            format!("standing effects: {}", progress::list(&state.effects))
        };
        return vec![Kind::RollbackPointRecorded(v1::RollbackPointRecorded {
            point_id: format!("before-{id}"),
            phase_id: id.to_string(),
            description: format!("before phase {id}, {}; {standing}", phase.title),
        })];
    }
    Vec::new()
}

/// Returns when a running wait ends.
pub(crate) fn wait_ends(at: &StepState, step: &Step) -> Option<Timestamp> {
    match step.action.kind().done_by() {
        DoneBy::Time(span) if at.status == StepStatus::Running => {
            at.started_at?.checked_add(span.to_signed()).ok()
        }
        _ => None,
    }
}

/// Starts waits, and ends those that have elapsed or lost their purpose.
pub(super) fn waits(look: Look<'_>) -> Vec<Kind> {
    let Look {
        state, plan, now, ..
    } = look;
    for AtStep { id, at, step, .. } in look.steps() {
        let DoneBy::Time(span) = step.action.kind().done_by() else {
            continue;
        };
        if at.status == StepStatus::Pending {
            if let Ok(attempt) = start::check(state, plan, id, now) {
                return vec![Kind::StepStarted(v1::StepStarted {
                    step_id: id.to_string(),
                    attempt,
                    worker: String::new(),
                    intent: format!("wait {span}"),
                })];
            }
        } else if at.status == StepStatus::Running && state.status == Status::Aborted {
            return vec![Kind::StepInterrupted(v1::StepInterrupted {
                step_id: id.to_string(),
                attempt: at.attempt,
                reason: "the rollout was aborted".to_owned(),
                retry: false,
                resumed_by: String::new(),
            })];
        } else if wait_ends(at, step).is_some_and(|end| end <= now) {
            return vec![Kind::StepFinished(v1::StepFinished {
                step_id: id.to_string(),
                attempt: at.attempt,
                verdict: v1::Verdict::Pass.into(),
                rule: format!("{span} have passed"),
                ..v1::StepFinished::default()
            })];
        }
    }
    Vec::new()
}
