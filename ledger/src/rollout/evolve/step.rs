//! Events of steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rollbook_proto::v1;

use super::super::illegal::IllegalEvent;
use super::super::state::{
    Alert, Counted, Effect, Measured, Proposal, RolloutState, Sample, Samples, Status, StepState,
    StepStatus,
};
use super::{Meta, step_mut};
use crate::clock::from_proto;
use crate::counter::Counter;
use crate::ids::StepId;
use crate::measurement;

type Done = Result<(), IllegalEvent>;

fn note_executor(step: &mut StepState, meta: &Meta<'_>) {
    if let Some(person) = meta.person() {
        step.executors.insert(person.to_owned());
    }
}

/// Checks that the attempt is running.
fn running(step: &StepState, id: &StepId, attempt: u32, meta: &Meta<'_>) -> Done {
    if step.status == StepStatus::Running && step.attempt == attempt {
        Ok(())
    } else {
        Err(meta.transition(format!(
            "attempt {attempt} of step {id} does not run: it is {} at attempt {}",
            step.status.as_str(),
            step.attempt
        )))
    }
}

fn unexpected_status(step: &StepState, id: &StepId, meta: &Meta<'_>) -> IllegalEvent {
    meta.transition(format!("step {id} is {}", step.status.as_str()))
}

pub(super) fn started(state: &mut RolloutState, event: &v1::StepStarted, meta: &Meta<'_>) -> Done {
    let may = state.status;
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    if step.status != StepStatus::Pending || Some(event.attempt) != step.attempt.checked_add(1) {
        return Err(meta.transition(format!(
            "attempt {} of step {id} cannot start: it is {} at attempt {}",
            event.attempt,
            step.status.as_str(),
            step.attempt
        )));
    }
    if may != Status::Running && !step.recheck {
        return Err(meta.transition(format!("the rollout is {}", may.as_str())));
    }
    step.status = StepStatus::Running;
    step.attempt = event.attempt;
    step.started_at = Some(meta.at);
    step.finished_at = None;
    step.worker.clone_from(&event.worker);
    step.rule.clear();
    step.message.clear();
    step.not_before = None;
    step.has_passed = false;
    step.samples = Samples::default();
    step.losses = 0;
    step.evidence.clear();
    step.proposal = None;
    note_executor(step, meta);
    let phase = step.phase.clone();
    if let Some(phase) = state.phases.get_mut(&phase)
        && phase.started_at.is_none()
    {
        phase.started_at = Some(meta.at);
    }
    for ((of, _), alert) in &mut state.alerts {
        if *of == id {
            alert.unwatched = false;
        }
    }
    Ok(())
}

/// Records a value as the last one of its metric.
fn record(
    metrics: &mut BTreeMap<String, Measured>,
    by: (&StepId, u32, u64),
    measurement: &v1::Measurement,
    at: Timestamp,
) {
    let (id, attempt, event) = by;
    let at = from_proto(measurement.measured_at.as_ref()).unwrap_or(at);
    let value = measurement::number(measurement);
    if let Some(last) = metrics.get_mut(&measurement.metric) {
        last.value = value;
        last.verdict = measurement.verdict();
        last.at = at;
        last.step.clone_from(id);
        last.attempt = attempt;
        last.event = event;
        last.unit.clone_from(&measurement.unit);
        return;
    }
    let measured = Measured {
        value,
        verdict: measurement.verdict(),
        at,
        step: id.clone(),
        attempt,
        event,
        unit: measurement.unit.clone(),
    };
    metrics.insert(measurement.metric.clone(), measured);
}

/// Adds a value to the metric's counter.
fn count(
    counters: &mut BTreeMap<String, Counted>,
    id: &StepId,
    measurement: &v1::Measurement,
    at: Timestamp,
) {
    let Some(value) = measurement::number(measurement) else {
        return;
    };
    if let Some(counted) = counters.get_mut(&measurement.metric) {
        counted.counter.add(value);
        return;
    }
    let counted = Counted {
        counter: Counter::new(value),
        since: from_proto(measurement.measured_at.as_ref()).unwrap_or(at),
        step: id.clone(),
    };
    counters.insert(measurement.metric.clone(), counted);
}

/// Records the step's final value as the metric's baseline, unless an earlier step of the plan has
/// measured it.
fn note_baseline(state: &mut RolloutState, step: &str, metric: &str) {
    let Some((place, id, _)) = state.steps.get_full(step) else {
        return;
    };
    if let Some(first) = state.baselines.get(metric)
        && first.step != *id
        && state
            .steps
            .get_index_of(&first.step)
            .is_none_or(|earlier| earlier < place)
    {
        return;
    }
    if let Some(measured) = state.metrics.get(metric) {
        state.baselines.insert(metric.to_owned(), measured.clone());
    }
}

/// Discards what the step has measured so far.
fn discard_measurements(state: &mut RolloutState, id: &StepId) {
    state.metrics.retain(|_, measured| measured.step != *id);
    state.baselines.retain(|_, measured| measured.step != *id);
    state.counters.retain(|_, counted| counted.step != *id);
}

pub(super) fn measured(
    state: &mut RolloutState,
    event: &v1::StepMeasured,
    meta: &Meta<'_>,
) -> Done {
    let Some((_, id, step)) = state.steps.get_full_mut(event.step_id.as_str()) else {
        return Err(meta.no_step(&event.step_id));
    };
    let step = Arc::make_mut(step);
    running(step, id, event.attempt, meta)?;
    let measurement = event
        .measurement
        .as_ref()
        .ok_or_else(|| meta.malformed("measurement"))?;
    let sample = Sample {
        value: measurement::number(measurement),
        at: from_proto(measurement.measured_at.as_ref()),
    };
    step.samples.add(event.attempt, &measurement.metric, sample);
    let by = (id, event.attempt, state.events);
    record(&mut state.metrics, by, measurement, meta.at);
    count(&mut state.counters, id, measurement, meta.at);
    Ok(())
}

pub(super) fn finished(
    state: &mut RolloutState,
    event: &v1::StepFinished,
    meta: &Meta<'_>,
) -> Done {
    use v1::Verdict;
    let number = state.events;
    let verdict = Verdict::try_from(event.verdict).map_err(|_| meta.malformed("verdict"))?;
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    match (step.status, verdict) {
        // Its `when` is false, so it never started.
        (StepStatus::Pending, Verdict::NotApplicable) if event.attempt == step.attempt => {}
        // Its task was given up before a worker started it.
        (StepStatus::Pending, Verdict::Error)
            if Some(event.attempt) == step.attempt.checked_add(1) =>
        {
            step.attempt = event.attempt;
        }
        // Its worker was presumed lost but was only disconnected.
        (StepStatus::Interrupted, _) if event.attempt == step.attempt => {}
        _ => running(step, &id, event.attempt, meta)?,
    }
    // The result says that there is no effect, where an interruption had left it unknown.
    let clears =
        step.status == StepStatus::Interrupted && step.effect == Effect::Unknown && !event.effect;
    if clears {
        step.effect = Effect::None;
    }
    step.status = match verdict {
        Verdict::Pass | Verdict::Warning => StepStatus::Succeeded,
        Verdict::Fail => StepStatus::Failed,
        Verdict::Inconclusive => StepStatus::Inconclusive,
        Verdict::Error => StepStatus::Errored,
        Verdict::NotApplicable => StepStatus::NotApplicable,
        Verdict::Skipped | Verdict::Unspecified => return Err(meta.malformed("verdict")),
    };
    step.finished_at = Some(meta.at);
    step.finished_event = number;
    step.ended_event = number;
    step.has_passed = matches!(verdict, Verdict::Pass | Verdict::Warning);
    if verdict == Verdict::Error {
        step.errored_attempt = event.attempt;
    }
    step.rule.clone_from(&event.rule);
    step.message.clone_from(&event.message);
    step.evidence.clone_from(&event.evidence);
    step.not_before = None;
    step.is_partial = event.effect_kind == i32::from(v1::EffectKind::Partial);
    note_executor(step, meta);
    if event.effect {
        leave_effect(state, &id, Effect::Made);
    } else if clears {
        state.effects.retain(|other| *other != id);
    }
    for measurement in &event.measurements {
        let by = (&id, event.attempt, number);
        record(&mut state.metrics, by, measurement, meta.at);
        // A watch's result repeats its last sample; count each value once.
        let sampled = state.steps.get(&id).is_some_and(|step| {
            let samples = step.samples.of(event.attempt);
            samples.contains_key(&measurement.metric)
        });
        if !sampled {
            count(&mut state.counters, &id, measurement, meta.at);
        }
        note_baseline(state, &event.step_id, &measurement.metric);
    }
    Ok(())
}

/// Records that the step's effect is in place and the latest of all.
fn leave_effect(state: &mut RolloutState, id: &StepId, effect: Effect) {
    if let Some(step) = state.step_mut(id) {
        if step.effect != Effect::Made {
            step.effect = effect;
        }
        step.undo.failed = false;
        step.undo.left = false;
    }
    state.effects.retain(|other| other != id);
    state.effects.push(id.clone());
}

pub(super) fn interrupted(
    state: &mut RolloutState,
    event: &v1::StepInterrupted,
    meta: &Meta<'_>,
) -> Done {
    let number = state.events;
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    running(step, &id, event.attempt, meta)?;
    if !event.resumed_by.is_empty() {
        step.worker.clone_from(&event.resumed_by);
        step.losses = step.losses.saturating_add(1);
        step.message.clone_from(&event.reason);
        return Ok(());
    }
    step.status = if event.retry {
        StepStatus::Pending
    } else {
        StepStatus::Interrupted
    };
    step.message.clone_from(&event.reason);
    step.finished_at = Some(meta.at);
    step.finished_event = number;
    step.ended_event = number;
    leave_effect(state, &id, Effect::Unknown);
    discard_measurements(state, &id);
    Ok(())
}

pub(super) fn retried(state: &mut RolloutState, event: &v1::StepRetried, meta: &Meta<'_>) -> Done {
    let not_before = match &event.not_before {
        None => None,
        Some(time) => Some(from_proto(Some(time)).ok_or_else(|| meta.malformed("not_before"))?),
    };
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    match step.status {
        // A step that did not run before the rollback may run for the first time as its check.
        StepStatus::Pending if event.recheck && !step.recheck => {}
        StepStatus::Pending
        | StepStatus::Running
        | StepStatus::Undoing
        | StepStatus::UndoFailed => return Err(unexpected_status(step, &id, meta)),
        StepStatus::Succeeded
        | StepStatus::Failed
        | StepStatus::Inconclusive
        | StepStatus::Errored
        | StepStatus::NotApplicable
        | StepStatus::Skipped
        | StepStatus::Interrupted
        | StepStatus::Undone => {}
    }
    step.status = StepStatus::Pending;
    step.not_before = not_before;
    step.recheck = event.recheck;
    step.proposal = None;
    step.message.clone_from(&event.reason);
    note_executor(step, meta);
    let phase = step.phase.clone();
    // Decisions that rest on the old measurements no longer count either.
    discard_measurements(state, &id);
    if let Some(gate) = state.gates.get_mut(&phase) {
        gate.passed_at = None;
        gate.refusals.clear();
        gate.blocked.clear();
    }
    Ok(())
}

pub(super) fn skipped(state: &mut RolloutState, event: &v1::StepSkipped, meta: &Meta<'_>) -> Done {
    let rolling_back = state.current_rollback().is_some();
    let number = state.events;
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    match step.status {
        StepStatus::UndoFailed if rolling_back => step.undo.left = true,
        StepStatus::Pending
        | StepStatus::Failed
        | StepStatus::Inconclusive
        | StepStatus::Errored
        | StepStatus::Interrupted
        | StepStatus::Undone
        | StepStatus::UndoFailed => {
            step.status = StepStatus::Skipped;
            step.finished_at = Some(meta.at);
            step.finished_event = number;
        }
        StepStatus::Running
        | StepStatus::Succeeded
        | StepStatus::NotApplicable
        | StepStatus::Skipped
        | StepStatus::Undoing => return Err(unexpected_status(step, &id, meta)),
    }
    step.message.clone_from(&event.reason);
    step.proposal = None;
    step.not_before = None;
    note_executor(step, meta);
    Ok(())
}

pub(super) fn proposed(
    state: &mut RolloutState,
    event: &v1::NotApplicableProposed,
    meta: &Meta<'_>,
) -> Done {
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    let by = meta.person().ok_or_else(|| meta.malformed("actor"))?;
    if step.proposal.is_some() || !(step.status == StepStatus::Pending || step.status.is_failure())
    {
        return Err(unexpected_status(step, &id, meta));
    }
    step.proposal = Some(Proposal {
        by: by.to_owned(),
        reason: event.reason.clone(),
    });
    note_executor(step, meta);
    Ok(())
}

pub(super) fn reviewed(
    state: &mut RolloutState,
    event: &v1::NotApplicableReviewed,
    meta: &Meta<'_>,
) -> Done {
    let number = state.events;
    let (id, step) = step_mut(state, &event.step_id, meta)?;
    let Some(proposal) = step.proposal.take() else {
        return Err(meta.transition(format!("nobody proposed it for step {id}")));
    };
    if event.accepted {
        step.status = StepStatus::NotApplicable;
        step.message = proposal.reason;
        step.finished_at = Some(meta.at);
        step.finished_event = number;
    }
    Ok(())
}

pub(super) fn alert_raised(
    state: &mut RolloutState,
    event: &v1::AlertRaised,
    meta: &Meta<'_>,
) -> Done {
    let (id, _) = step_mut(state, &event.step_id, meta)?;
    let metric = event
        .measurement
        .as_ref()
        .map(|measurement| measurement.metric.clone())
        .ok_or_else(|| meta.malformed("measurement"))?;
    let alert = Alert {
        id: event.alert_id.clone(),
        severity: event.severity.clone(),
        unwatched: false,
    };
    match state.alerts.insert((id, metric), alert) {
        None => state.alerts_raised += 1,
        // The alert has become more severe.
        Some(before) if before.id == event.alert_id => {}
        Some(_) => {
            return Err(meta.transition("an alert on this metric of this step is already raised"));
        }
    }
    Ok(())
}

pub(super) fn alert_unwatched(
    state: &mut RolloutState,
    event: &v1::AlertUnwatched,
    meta: &Meta<'_>,
) -> Done {
    let standing = state
        .alerts
        .values_mut()
        .find(|alert| alert.id == event.alert_id);
    match standing {
        Some(alert) => {
            alert.unwatched = true;
            Ok(())
        }
        None => Err(meta.transition(format!("alert {} does not stand", event.alert_id))),
    }
}

pub(super) fn alert_resolved(
    state: &mut RolloutState,
    event: &v1::AlertResolved,
    meta: &Meta<'_>,
) -> Done {
    let before = state.alerts.len();
    state.alerts.retain(|_, alert| alert.id != event.alert_id);
    if state.alerts.len() == before {
        return Err(meta.transition(format!("alert {} does not stand", event.alert_id)));
    }
    Ok(())
}

pub(super) fn snapshot_taken(
    state: &mut RolloutState,
    event: &v1::SnapshotTaken,
    meta: &Meta<'_>,
) -> Done {
    step_mut(state, &event.step_id, meta)?;
    let manifest = event
        .manifest
        .clone()
        .ok_or_else(|| meta.malformed("manifest"))?;
    state
        .manifests
        .insert((event.snapshot.clone(), event.label.clone()), manifest);
    Ok(())
}
