//! The agenda: tasks, notices, and when to look again.

use jiff::Timestamp;

use super::super::frontier::Look;
use super::super::rules::{effects, gates, start};
use super::super::settle::wait_ends;
use super::super::state::{RolloutState, Status, StepStatus};
use super::{DueNotice, Next, Task, TaskAction, TaskClass};
use crate::ids::{PhaseId, StepId};
use crate::runbook::kind::DoneBy;
use crate::runbook::model::Notice;
use crate::runbook::{EffectiveUndo, Plan, Step};
use rollbook_proto::v1::RolloutOutcome;

/// Adds the tasks of steps that may start now.
pub(super) fn steps(look: Look<'_>, next: &mut Next) {
    let Look {
        state, plan, now, ..
    } = look;
    for visited in look.steps() {
        next.wake(wait_ends(visited.at, visited.step), now);
        if visited.at.status != StepStatus::Pending {
            continue;
        }
        match start::check(state, plan, visited.id, now) {
            Ok(attempt) => next
                .tasks
                .extend(task_of(visited.id, visited.step, attempt)),
            Err(hold) => next.wake(hold.until, now),
        }
    }
    for (_, gate) in state.gates.iter().filter(|(_, g)| g.passed_at.is_none()) {
        for sign_off in gates::valid(gate, now) {
            next.wake(sign_off.expires_at, now);
        }
    }
}

/// Returns the task of a step that may start; `None` if it is not for a worker.
pub(super) fn task_of(id: &StepId, step: &Step, attempt: u32) -> Option<Task> {
    if step.action.kind().done_by() != DoneBy::Worker {
        return None;
    }
    Some(Task {
        step: id.clone(),
        action: TaskAction::Execute,
        attempt,
        runs_on: step.runs_on.clone(),
        class: if step.action.kind().holds_slot() {
            TaskClass::Step
        } else {
            TaskClass::Watch
        },
    })
}

/// Returns the task of the one undo that is next, or the verification of an undo done by hand.
pub(super) fn undo(state: &RolloutState, plan: &Plan) -> Vec<Task> {
    let mut tasks = Vec::new();
    let undoing = state
        .steps
        .iter()
        .find(|(_, at)| at.status == StepStatus::Undoing);
    if let Some((id, at)) = undoing.filter(|(_, at)| at.undo.by_hand) {
        tasks.push(Task {
            step: id.clone(),
            action: TaskAction::VerifyUndo,
            attempt: at.undo.attempt,
            runs_on: plan.step(id).and_then(|(_, step)| step.runs_on.clone()),
            class: TaskClass::Undo,
        });
    }
    let queue = effects::queue(state, plan);
    let Some(id) = queue.first().filter(|_| undoing.is_none()) else {
        return tasks;
    };
    let (Some(at), Some((_, step)), Some(way)) = (state.step(id), plan.step(id), plan.undo(id))
    else {
        return tasks;
    };
    if at.status == StepStatus::Running || at.undo.failed || !way.is_automatic() {
        return tasks;
    }
    if !effects::waits_for(state, plan, id).is_empty() {
        return tasks;
    }
    tasks.push(Task {
        step: id.clone(),
        action: TaskAction::Undo,
        attempt: at.undo.attempt.saturating_add(1),
        // A flag is written through the ledger, so any worker will do.
        runs_on: match way {
            EffectiveUndo::RestoreFlag { .. } => None,
            _ => step.runs_on.clone(),
        },
        class: match way {
            EffectiveUndo::RestoreFlag { .. } => TaskClass::Flag,
            _ => TaskClass::Undo,
        },
    });
    tasks
}

/// Returns when a notice is due; `None` if its anchor has not happened.
fn due_at(state: &RolloutState, notice: &Notice) -> Option<Timestamp> {
    let anchor = match notice.anchor.as_str() {
        "opened" => Some(state.opened_at),
        "started" => state.started_at,
        "closed" => state.closed_at.filter(|_| state.status.is_closed()),
        "rollback" => state.rollback.as_ref().map(|rollback| rollback.started_at),
        other => match other.strip_prefix("phase/") {
            Some(phase) => state.phases.get(&PhaseId::new(phase).ok()?)?.started_at,
            None => other.parse().ok(),
        },
    }?;
    anchor.checked_add(notice.offset.to_signed()).ok()
}

/// Adds the notices that are due and not recorded, during a rollback too. After an end other than
/// success only those about a rollback still go out, because the others describe a rollout that
/// goes on. Returns whether more notices are to come.
pub(super) fn notices(state: &RolloutState, plan: &Plan, now: Timestamp, next: &mut Next) -> bool {
    let sends = |notice: &Notice| match state.status {
        Status::Open
        | Status::Running
        | Status::Paused
        | Status::RollingBack
        | Status::Closed(RolloutOutcome::Succeeded) => true,
        Status::Aborted | Status::Closed(_) => notice.anchor == "rollback",
    };
    let mut to_come = false;
    for notice in &plan.runbook().notices {
        if !sends(notice) || state.notices.contains(&notice.id) {
            continue;
        }
        if let Some(due_at) = due_at(state, notice) {
            to_come = true;
            if due_at <= now {
                next.notices.push(DueNotice {
                    notice: notice.id.clone(),
                    due_at,
                });
            } else {
                next.wake(Some(due_at), now);
            }
        }
    }
    to_come
}
