//! Projects steps: intent, measurements, result, interruption, retry, undo.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{Measurement, StepFinished, StepStarted};

use super::{At, Out};
use crate::projection::row::{Json, clean};
use crate::projection::rows::{MeasurementRow, StepRow};
use crate::projection::state::RolloutRows;
use crate::projection::words::{
    AlertStatus, ChecklistItem, EvidenceRef, MeasuredValue, PartialEffect, RolloutStatus,
    StepRowStatus, UndoVerification, Verdict, time,
};
use crate::rollout::undone;
use crate::runbook::kind::Manual;

/// Maximum number of metrics on a step's row; all samples are in `measurements`.
const MAX_LATEST_METRICS: usize = 100;

pub(super) fn apply(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    let id = step_of(kind).ok_or("not an event of a step")?;
    let is_rolling_back = rollout.rollout.status == RolloutStatus::RollingBack;
    let step = rollout
        .steps
        .get_mut(&clean(id))
        .ok_or_else(|| format!("the plan has no step {}", clean(id)))?;
    if step.dropped {
        out.note(format!("the plan no longer has step {}", step.step));
    }
    match kind {
        Kind::StepStarted(started) => start(step, at, started, out)?,
        Kind::StepMeasured(measured) => {
            if let Some(measurement) = &measured.measurement {
                let value = measure(step, at, measured.attempt, 0, measurement, out);
                if measured.attempt != step.attempt {
                    return Err(format!(
                        "a measurement of attempt {} at attempt {}",
                        measured.attempt, step.attempt
                    ));
                }
                remember(step, value);
            } else {
                return Err("a measurement without a value".to_owned());
            }
        }
        Kind::StepFinished(finished) => finish(step, at, finished, out)?,
        Kind::StepInterrupted(interrupted) => {
            if step.status != StepRowStatus::Running || interrupted.attempt != step.attempt {
                return Err(format!("attempt {} is not running", interrupted.attempt));
            }
            step.message = clean(&interrupted.reason);
            if interrupted.resumed_by.is_empty() {
                step.status = if interrupted.retry {
                    StepRowStatus::Pending
                } else {
                    StepRowStatus::Interrupted
                };
                step.finished_at = at.recorded_at;
            } else {
                step.worker = clean(&interrupted.resumed_by);
            }
        }
        Kind::StepRetried(retried) => {
            if step.status == StepRowStatus::Running {
                out.note("retried while running");
            }
            step.status = StepRowStatus::Pending;
            step.verdict = None;
            step.message = clean(&retried.reason);
            step.skipped_by.clear();
            step.not_before = time(retried.not_before.as_ref());
        }
        Kind::StepSkipped(skipped) => {
            if step.status == StepRowStatus::Running {
                out.note("skipped while running");
            }
            step.message = clean(&skipped.reason);
            step.skipped_by.clone_from(&at.actor);
            // During a rollback, skipping means leaving the effect, which is still in place.
            if !(is_rolling_back && step.status == StepRowStatus::UndoFailed) {
                step.status = StepRowStatus::Skipped;
                step.verdict = Some(Verdict::Skipped);
                step.finished_at = at.recorded_at;
            }
        }
        Kind::NotApplicableProposed(proposed) => {
            step.status = StepRowStatus::InReview;
            step.message = clean(&proposed.reason);
        }
        Kind::NotApplicableReviewed(reviewed) => {
            if step.status != StepRowStatus::InReview {
                return Err("nothing is proposed for review".to_owned());
            }
            step.message = clean(&reviewed.reason);
            if reviewed.accepted {
                step.status = StepRowStatus::NotApplicable;
                step.verdict = Some(Verdict::NotApplicable);
                step.finished_at = at.recorded_at;
            } else if step.verdict.is_some() {
                step.status = StepRowStatus::Finished;
            } else {
                step.status = StepRowStatus::Pending;
            }
        }
        Kind::UndoStarted(started) => {
            step.status = StepRowStatus::Undoing;
            step.undo_worker = clean(&started.worker);
        }
        Kind::UndoFinished(finished) => {
            if step.status != StepRowStatus::Undoing {
                out.note("an undo finished that was not started");
            }
            let verdict = Verdict::from_wire(finished.verdict);
            if verdict.is_none() {
                out.note("an undo finished without a verdict");
            }
            step.undo_verdict = Some(verdict.unwrap_or(Verdict::Error));
            step.undo_verification = UndoVerification::from_wire(finished.verification);
            step.undo_message = clean(&finished.message);
            step.undo_finished_at = at.recorded_at;
            step.undo_partial = Json(PartialEffect::from_wire(
                finished.effect_kind,
                finished.statements_done,
                &finished.last_statement,
            ));
            if undone(finished) {
                step.status = StepRowStatus::Undone;
                step.effect = false;
                step.partial = Json::default();
            } else {
                step.status = StepRowStatus::UndoFailed;
            }
        }
        _ => return Err("not an event of a step".to_owned()),
    }
    step.updated_sequence = at.sequence;
    out.put(step);
    match kind {
        Kind::StepStarted(_) => watch_again(rollout, at, &clean(id), out),
        Kind::StepRetried(_) => {
            let phase = step.phase.clone();
            super::gates::reopen(rollout, at, &phase, out);
        }
        _ => {}
    }
    Ok(())
}

/// A new attempt measures again what the step's alerts are about, so they are watched again.
fn watch_again(rollout: &mut RolloutRows, at: &At<'_>, step: &str, out: &mut Out) {
    for alert in &mut rollout.alerts {
        if alert.step == step && alert.status == AlertStatus::Unwatched {
            alert.status = AlertStatus::Open;
            alert.updated_sequence = at.sequence;
            out.put(alert);
        }
    }
}

fn step_of(kind: &Kind) -> Option<&str> {
    Some(match kind {
        Kind::StepStarted(event) => &event.step_id,
        Kind::StepMeasured(event) => &event.step_id,
        Kind::StepFinished(event) => &event.step_id,
        Kind::StepInterrupted(event) => &event.step_id,
        Kind::StepRetried(event) => &event.step_id,
        Kind::StepSkipped(event) => &event.step_id,
        Kind::NotApplicableProposed(event) => &event.step_id,
        Kind::NotApplicableReviewed(event) => &event.step_id,
        Kind::UndoStarted(event) => &event.step_id,
        Kind::UndoFinished(event) => &event.step_id,
        _ => return None,
    })
}

fn start(
    step: &mut StepRow,
    at: &At<'_>,
    started: &StepStarted,
    out: &mut Out,
) -> Result<(), String> {
    if started.attempt <= step.attempt {
        return Err(format!(
            "attempt {} does not follow attempt {}",
            started.attempt, step.attempt
        ));
    }
    if step.status == StepRowStatus::Running {
        out.note(format!("attempt {} has no result", step.attempt));
    }
    begin_attempt(step, started.attempt);
    step.status = StepRowStatus::Running;
    step.worker = clean(&started.worker);
    step.intent = clean(&started.intent);
    step.started_at = at.recorded_at;
    Ok(())
}

/// Clears the fields of an attempt; the effect of an earlier attempt stays until it is undone.
fn begin_attempt(step: &mut StepRow, attempt: u32) {
    step.attempt = attempt;
    step.verdict = None;
    step.rule.clear();
    step.message.clear();
    step.intent.clear();
    step.started_at = None;
    step.finished_at = None;
    step.duration_ms = None;
    step.not_before = None;
    step.by_verification = false;
    step.checklist = Json::default();
    step.evidence = Json::default();
    step.measurements = Json::default();
    step.undo_verdict = None;
    step.undo_verification = None;
    step.undo_message.clear();
    step.undo_partial = Json::default();
    step.undo_finished_at = None;
    step.undo_worker.clear();
    step.skipped_by.clear();
}

fn finish(
    step: &mut StepRow,
    at: &At<'_>,
    finished: &StepFinished,
    out: &mut Out,
) -> Result<(), String> {
    let is_first_word = finished.attempt > step.attempt;
    if finished.attempt < step.attempt || (!is_first_word && step.status == StepRowStatus::Finished)
    {
        return Err(format!(
            "a result of attempt {} at attempt {}, which is {}",
            finished.attempt, step.attempt, step.status
        ));
    }
    if is_first_word {
        // A manual step is completed without an earlier intent, and so is a task given up because
        // no worker took it.
        let is_given_up = finished.verdict() == rollbook_proto::v1::Verdict::Error;
        if step.kind != Manual::KEY && !is_given_up {
            out.note("a result without an intent");
        }
        begin_attempt(step, finished.attempt);
        step.worker = at.actor.clone();
    }
    step.verdict = Verdict::from_wire(finished.verdict);
    if step.verdict.is_none() {
        out.note("a result without a verdict");
    }
    if step.verdict == Some(Verdict::NotApplicable) {
        step.status = StepRowStatus::NotApplicable;
    } else if step.status != StepRowStatus::InReview {
        // A claim that the step does not apply still waits for its review.
        step.status = StepRowStatus::Finished;
    }
    step.rule = clean(&finished.rule);
    step.message = clean(&finished.message);
    step.finished_at = at.recorded_at;
    step.duration_ms = finished.duration.as_ref().and_then(|duration| {
        let seconds = u64::try_from(duration.seconds).ok()?;
        let millis = u64::try_from(duration.nanos).ok()? / 1_000_000;
        seconds.checked_mul(1000)?.checked_add(millis)
    });
    step.by_verification = finished.by_verification;
    step.effect |= finished.effect;
    step.partial = Json(PartialEffect::from_wire(
        finished.effect_kind,
        finished.statements_done,
        &finished.last_statement,
    ));
    step.checklist = Json(
        finished
            .checklist
            .iter()
            .map(|answer| ChecklistItem {
                item: clean(&answer.item),
                answer: Verdict::from_wire(answer.answer),
                note: clean(&answer.note),
            })
            .collect(),
    );
    step.evidence = Json(
        finished
            .evidence
            .iter()
            .map(|evidence| EvidenceRef::from_wire(Some(evidence)))
            .collect(),
    );
    for (place, measurement) in finished.measurements.iter().enumerate() {
        let ordinal = u32::try_from(place).unwrap_or(u32::MAX);
        let value = measure(step, at, finished.attempt, ordinal, measurement, out);
        remember(step, value);
    }
    Ok(())
}

fn measure(
    step: &StepRow,
    at: &At<'_>,
    attempt: u32,
    ordinal: u32,
    measurement: &Measurement,
    out: &mut Out,
) -> MeasuredValue {
    let measured = MeasuredValue::from_wire(measurement);
    out.put(&MeasurementRow {
        sequence: at.sequence,
        idx: at.idx,
        ordinal,
        rollout: step.rollout.clone(),
        step: step.step.clone(),
        attempt,
        metric: measured.metric.clone(),
        value: measured.value,
        decimal: measured.decimal.clone(),
        text: measured.text.clone(),
        unit: measured.unit.clone(),
        rule: measured.rule.clone(),
        verdict: measured.verdict,
        measured_at: measured.measured_at.or(at.recorded_at),
    });
    measured
}

/// Stores the latest value of each metric on the step's row.
fn remember(step: &mut StepRow, measured: MeasuredValue) {
    let latest = &mut step.measurements.0;
    let metric = &measured.metric;
    match latest.iter().position(|known| known.metric == *metric) {
        Some(place) => latest.splice(place..=place, [measured]).for_each(drop),
        None if latest.len() < MAX_LATEST_METRICS => latest.push(measured),
        None => {}
    }
}
