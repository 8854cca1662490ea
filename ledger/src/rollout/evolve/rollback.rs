//! Events of rollbacks and undos.

use rollbook_proto::v1;

use super::super::illegal::IllegalEvent;
use super::super::state::{
    Effect, InterruptedRollback, ResumeTo, RollbackState, RolloutState, Status, StepStatus,
};
use super::{Meta, step_mut};
use crate::runbook::RollbackLevel;

type Done = Result<(), IllegalEvent>;

pub(super) fn point(
    state: &mut RolloutState,
    event: &v1::RollbackPointRecorded,
    meta: &Meta<'_>,
) -> Done {
    let id = meta.phase_id(&event.phase_id)?;
    let phase = state
        .phases
        .get_mut(&id)
        .ok_or_else(|| meta.unknown(format!("phase {id}")))?;
    if phase.rollback_point.is_some() {
        return Err(meta.transition(format!("phase {id} has a rollback point already")));
    }
    phase.rollback_point = Some(event.point_id.clone());
    Ok(())
}

pub(super) fn started(
    state: &mut RolloutState,
    event: &v1::RollbackStarted,
    meta: &Meta<'_>,
) -> Done {
    let level = RollbackLevel::from_wire(event.level).ok_or_else(|| meta.malformed("level"))?;
    let previous = state.rollback.as_ref();
    // An interrupted rollback continues in the event directly after the end of the urgent one.
    let goes_on = previous.is_some_and(|previous| {
        previous.interrupted.is_some()
            && previous
                .finished_event
                .and_then(|event| event.checked_add(1))
                == Some(state.events)
    });
    let before = match state.status {
        _ if goes_on => previous.map_or(ResumeTo::Going, |previous| previous.before),
        Status::Open | Status::Running | Status::Paused => ResumeTo::Going,
        Status::Aborted => ResumeTo::Aborted,
        Status::Closed(_) => ResumeTo::Closed,
        // The new rollback replaces the one in progress.
        Status::RollingBack => previous.map_or(ResumeTo::Going, |previous| previous.before),
    };
    let replaced = previous.filter(|previous| previous.verdict.is_none());
    let interrupted = match replaced {
        Some(old) if level.is_urgent() && !old.level.is_urgent() => Some(InterruptedRollback {
            id: old.id.clone(),
            level: old.level,
            reason: old.reason.clone(),
            steps: old.steps.clone(),
        }),
        Some(old) if level == old.level => old.interrupted.clone(),
        _ => None,
    };
    let mut steps = Vec::with_capacity(event.undo_steps.len());
    for id in &event.undo_steps {
        let (id, step) = step_mut(state, id, meta)?;
        step.undo.failed = false;
        step.undo.left = false;
        steps.push(id);
    }
    if level.names_steps() {
        for id in &event.running {
            let (id, _) = step_mut(state, id, meta)?;
            steps.push(id);
        }
    }
    state.rollbacks += 1;
    state.rollback = Some(RollbackState {
        id: event.rollback_id.clone(),
        level,
        reason: event.reason.clone(),
        steps,
        started_at: meta.at,
        started_event: state.events,
        before,
        interrupted,
        verdict: None,
        finished_event: None,
    });
    Ok(())
}

pub(super) fn finished(
    state: &mut RolloutState,
    event: &v1::RollbackFinished,
    meta: &Meta<'_>,
) -> Done {
    let verdict = v1::Verdict::try_from(event.verdict).map_err(|_| meta.malformed("verdict"))?;
    match &mut state.rollback {
        Some(rollback) if rollback.verdict.is_none() && rollback.id == event.rollback_id => {
            rollback.verdict = Some(verdict);
            rollback.finished_event = Some(state.events);
            Ok(())
        }
        _ => Err(meta.transition(format!("{} is not under way", event.rollback_id))),
    }
}

pub(super) fn undo_started(
    state: &mut RolloutState,
    event: &v1::UndoStarted,
    meta: &Meta<'_>,
) -> Done {
    if state.current_rollback().is_none() {
        return Err(meta.transition("no rollback is under way"));
    }
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    if step.effect == Effect::None || step.status == StepStatus::Running {
        return Err(meta.transition(format!(
            "step {id} is {} and has nothing to undo",
            step.status.as_str()
        )));
    }
    if Some(event.attempt) != step.undo.attempt.checked_add(1) {
        return Err(meta.transition(format!(
            "undo attempt {} of step {id} does not follow {}",
            event.attempt, step.undo.attempt
        )));
    }
    step.status = StepStatus::Undoing;
    step.proposal = None;
    step.undo.attempt = event.attempt;
    step.undo.worker.clone_from(&event.worker);
    step.undo.by_hand = meta.person().is_some();
    step.undo.started_at = Some(meta.at);
    step.undo.message.clear();
    step.undo.failed = false;
    if let Some(person) = meta.person() {
        step.executors.insert(person.to_owned());
    }
    Ok(())
}

/// True if the undo left the effect in place because someone else has changed it since.
fn was_left(event: &v1::UndoFinished) -> bool {
    event.verdict() == v1::Verdict::Inconclusive
        && event.verification() == v1::UndoVerification::Left
}

/// True if the undo counts as done: it passed, or it ended and nothing could verify whether the
/// effect is gone.
#[must_use]
pub fn undone(event: &v1::UndoFinished) -> bool {
    match event.verdict() {
        v1::Verdict::Pass => true,
        v1::Verdict::Inconclusive => event.verification() == v1::UndoVerification::NotVerified,
        _ => false,
    }
}

pub(super) fn undo_finished(
    state: &mut RolloutState,
    event: &v1::UndoFinished,
    meta: &Meta<'_>,
) -> Done {
    let verdict = v1::Verdict::try_from(event.verdict).map_err(|_| meta.malformed("verdict"))?;
    let number = state.events;
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    if step.status != StepStatus::Undoing || step.undo.attempt != event.attempt {
        return Err(meta.transition(format!(
            "undo attempt {} of step {id} does not run: it is {} at undo attempt {}",
            event.attempt,
            step.status.as_str(),
            step.undo.attempt
        )));
    }
    step.undo.message.clone_from(&event.message);
    step.undo.verified = event.verification() == v1::UndoVerification::Verified;
    match verdict {
        _ if was_left(event) => {
            step.status = StepStatus::UndoFailed;
            step.undo.left = true;
            step.finished_event = number;
        }
        _ if undone(event) => {
            step.status = StepStatus::Undone;
            step.effect = Effect::None;
            step.finished_event = number;
            state.effects.retain(|other| *other != id);
        }
        v1::Verdict::Pass | v1::Verdict::Fail | v1::Verdict::Inconclusive | v1::Verdict::Error => {
            step.status = StepStatus::UndoFailed;
            step.undo.failed = true;
        }
        v1::Verdict::Unspecified
        | v1::Verdict::Warning
        | v1::Verdict::Skipped
        | v1::Verdict::NotApplicable => {
            return Err(meta.malformed("verdict"));
        }
    }
    Ok(())
}
