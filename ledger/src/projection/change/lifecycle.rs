//! Projects the rollout itself: opened to closed, plan revisions, rollbacks.

use std::collections::BTreeSet;

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{PlanOutline, RollbackFinished, RollbackStarted, RolloutOpened};

use super::{At, Out, revisions};
use crate::projection::row::{Json, clean};
use crate::projection::rows::{
    GateRow, PhaseRow, RollbackPointRow, RollbackRow, RolloutRow, StepRow, SuccessMetricRow,
};
use crate::projection::state::RolloutRows;
use crate::projection::words::{
    EffectLeft, GateStatus, Health, RolloutEnding, RolloutStatus, StepRowStatus, Verdict,
};
use crate::runbook::RollbackLevel;

pub(super) fn open(id: &str, at: &At<'_>, opened: &RolloutOpened, out: &mut Out) -> RolloutRows {
    let mut rollout = RolloutRows::new(RolloutRow {
        rollout: id.to_owned(),
        name: clean(&opened.name),
        runbook: clean(&opened.runbook),
        runbook_version: clean(&opened.runbook_version),
        plan_digest: opened
            .plan
            .as_ref()
            .map_or_else(String::new, |plan| clean(&plan.sha256)),
        revision: 1,
        revision_accepted: true,
        environment: clean(&opened.environment),
        protected: opened.protected,
        params: Json(
            opened
                .params
                .iter()
                .map(|(key, value)| (clean(key), clean(value)))
                .collect(),
        ),
        status: RolloutStatus::Open,
        reason: String::new(),
        outcome: None,
        summary: String::new(),
        current_phase: None,
        health: Health::NoData,
        health_score: None,
        open_reviews: 0,
        opened_by: at.actor.clone(),
        opened_at: at.recorded_at,
        started_at: None,
        closed_at: None,
        opened_sequence: at.sequence,
        updated_sequence: at.sequence,
    });
    match &opened.outline {
        Some(outline) => apply_outline(&mut rollout, at, outline, out),
        None => out.note("the plan has no outline"),
    }
    rollout
}

/// Puts an outline in force: what it names exists and keeps its history; what it no longer names is
/// dropped.
fn apply_outline(rollout: &mut RolloutRows, at: &At<'_>, outline: &PlanOutline, out: &mut Out) {
    let id = rollout.rollout.rollout.clone();
    let mut phases = BTreeSet::new();
    let mut steps = BTreeSet::new();
    let mut gates = BTreeSet::new();
    let mut step_position = 0_u32;
    for (place, phase) in outline.phases.iter().enumerate() {
        let position = u32::try_from(place).unwrap_or(u32::MAX);
        let phase_id = clean(&phase.id);
        if !phases.insert(phase_id.clone()) {
            out.note(format!("the outline has phase {phase_id} twice"));
            continue;
        }
        let row = PhaseRow {
            rollout: id.clone(),
            phase: phase_id.clone(),
            position,
            title: clean(&phase.title),
            gate: phase.gate,
            dropped: false,
            updated_sequence: at.sequence,
        };
        out.put(&row);
        rollout.phases.insert(phase_id.clone(), row);
        if phase.gate {
            gates.insert(phase_id.clone());
            let gate = rollout.gates.entry(phase_id.clone()).or_insert(GateRow {
                rollout: id.clone(),
                gate: phase_id.clone(),
                position,
                title: String::new(),
                dropped: false,
                status: GateStatus::Waiting,
                reasons: Json::default(),
                decided_at: None,
                decided_by: String::new(),
                updated_sequence: at.sequence,
            });
            gate.position = position;
            gate.title = clean(&phase.title);
            gate.dropped = false;
            gate.updated_sequence = at.sequence;
            out.put(gate);
        }
        for step in &phase.steps {
            let step_id = clean(&step.id);
            if !steps.insert(step_id.clone()) {
                out.note(format!("the outline has step {step_id} twice"));
                continue;
            }
            let row = rollout
                .steps
                .entry(step_id.clone())
                .or_insert_with(|| new_step(&id, &step_id));
            row.phase.clone_from(&phase_id);
            row.position = step_position;
            row.title = clean(&step.title);
            row.kind = clean(&step.kind);
            row.critical = step.critical;
            row.dropped = false;
            row.updated_sequence = at.sequence;
            out.put(row);
            step_position = step_position.saturating_add(1);
        }
    }
    drop_the_rest(rollout, at, [&phases, &steps, &gates], out);
    for (place, metric) in outline.success_metrics.iter().enumerate() {
        let metric = clean(metric);
        let position = u32::try_from(place).unwrap_or(u32::MAX);
        let row = rollout
            .metrics
            .entry(metric.clone())
            .or_insert_with(|| new_metric(&id, &metric));
        row.position = position;
        row.updated_sequence = at.sequence;
        out.put(row);
    }
}

/// Sets the runbook's name and version from the plan in force; older commits do not name them.
fn name(row: &mut RolloutRow, outline: &PlanOutline) {
    for (shown, said) in [
        (&mut row.runbook, &outline.runbook),
        (&mut row.runbook_version, &outline.runbook_version),
    ] {
        if !said.is_empty() {
            *shown = clean(said);
        }
    }
}

fn drop_the_rest(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    [phases, steps, gates]: [&BTreeSet<String>; 3],
    out: &mut Out,
) {
    for row in rollout.phases.values_mut() {
        if !row.dropped && !phases.contains(&row.phase) {
            row.dropped = true;
            row.updated_sequence = at.sequence;
            out.put(row);
        }
    }
    for row in rollout.steps.values_mut() {
        if !row.dropped && !steps.contains(&row.step) {
            row.dropped = true;
            row.updated_sequence = at.sequence;
            out.put(row);
        }
    }
    for row in rollout.gates.values_mut() {
        if !row.dropped && !gates.contains(&row.gate) {
            row.dropped = true;
            row.updated_sequence = at.sequence;
            out.put(row);
        }
    }
}

fn new_step(rollout: &str, step: &str) -> StepRow {
    StepRow {
        rollout: rollout.to_owned(),
        step: step.to_owned(),
        phase: String::new(),
        position: 0,
        title: String::new(),
        kind: String::new(),
        critical: false,
        dropped: false,
        status: StepRowStatus::Pending,
        attempt: 0,
        verdict: None,
        rule: String::new(),
        message: String::new(),
        worker: String::new(),
        intent: String::new(),
        started_at: None,
        finished_at: None,
        duration_ms: None,
        not_before: None,
        by_verification: false,
        effect: false,
        partial: Json::default(),
        checklist: Json::default(),
        evidence: Json::default(),
        measurements: Json::default(),
        undo_verdict: None,
        undo_verification: None,
        undo_message: String::new(),
        undo_partial: Json::default(),
        undo_finished_at: None,
        updated_sequence: 0,
        skipped_by: String::new(),
        undo_worker: String::new(),
    }
}

pub(super) fn new_metric(rollout: &str, metric: &str) -> SuccessMetricRow {
    SuccessMetricRow {
        rollout: rollout.to_owned(),
        metric: metric.to_owned(),
        position: u32::MAX,
        target: String::new(),
        actual: String::new(),
        status: None,
        recorded_at: None,
        updated_sequence: 0,
    }
}

pub(super) fn apply(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    match kind {
        Kind::RolloutStarted(_) => {
            update_status(rollout, kind)?;
            rollout.rollout.started_at = at.recorded_at;
        }
        Kind::RolloutPaused(paused) => {
            update_status(rollout, kind)?;
            rollout.rollout.reason = clean(&paused.reason);
        }
        Kind::RolloutResumed(resumed) => {
            update_status(rollout, kind)?;
            rollout.rollout.reason = clean(&resumed.reason);
        }
        Kind::RolloutAborted(aborted) => {
            update_status(rollout, kind)?;
            rollout.rollout.reason = clean(&aborted.reason);
            end_rollbacks(rollout, at, "the rollout was aborted", out);
        }
        Kind::RolloutClosed(closed) => {
            update_status(rollout, kind)?;
            let row = &mut rollout.rollout;
            if row.outcome.is_none() {
                out.note("the outcome is not one of ours");
            }
            row.summary = clean(&closed.summary);
            row.closed_at = at.recorded_at;
        }
        Kind::PlanRevised(revised) => revisions::proposed(rollout, at, revised, out)?,
        Kind::PlanRevisionAccepted(accepted) => {
            if let Some(outline) = revisions::accepted(rollout, at, accepted.revision, out)? {
                name(&mut rollout.rollout, &outline);
                apply_outline(rollout, at, &outline, out);
            }
        }
        Kind::PlanRevisionWithdrawn(withdrawn) => {
            revisions::withdrawn(rollout, at, withdrawn.revision, out)?;
        }
        Kind::RollbackPointRecorded(point) => {
            out.put(&RollbackPointRow {
                sequence: at.sequence,
                idx: at.idx,
                rollout: rollout.rollout.rollout.clone(),
                point: clean(&point.point_id),
                phase: clean(&point.phase_id),
                description: clean(&point.description),
                made_at: at.recorded_at,
            });
            return Ok(());
        }
        Kind::RollbackStarted(started) => {
            rollback_started(rollout, at, (kind, started), out)?;
        }
        Kind::RollbackFinished(finished) => {
            rollback_finished(rollout, at, (kind, finished), out)?;
        }
        _ => return Err("not an event of the rollout's course".to_owned()),
    }
    rollout.rollout.updated_sequence = at.sequence;
    Ok(())
}

/// Changes status and outcome by the domain's rules.
fn update_status(rollout: &mut RolloutRows, kind: &Kind) -> Result<(), String> {
    let row = &mut rollout.rollout;
    let after = row.status.to_domain(row.outcome).after(kind)?;
    row.status = RolloutStatus::from_domain(after);
    row.outcome = RolloutEnding::from_domain(after);
    Ok(())
}

/// Ends the rollbacks in progress that have no result of their own.
fn end_rollbacks(rollout: &mut RolloutRows, at: &At<'_>, why: &str, out: &mut Out) {
    for row in &mut rollout.rollbacks {
        if row.verdict.is_none() {
            row.verdict = Some(Verdict::Inconclusive);
            row.finished_at = at.recorded_at;
            row.summary = why.to_owned();
            row.updated_sequence = at.sequence;
            out.put(row);
        }
    }
}

fn rollback_started(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    (kind, started): (&Kind, &RollbackStarted),
    out: &mut Out,
) -> Result<(), String> {
    let id = clean(&started.rollback_id);
    if rollout.rollbacks.iter().any(|row| row.rollback == id) {
        return Err(format!("rollback {id} was started before"));
    }
    update_status(rollout, kind)?;
    // A rollback after the end reopens the rollout.
    rollout.rollout.closed_at = None;
    rollout.rollout.summary.clear();
    end_rollbacks(rollout, at, &format!("replaced by {id}"), out);
    let level = RollbackLevel::from_wire(started.level);
    if level.is_none() {
        out.note("the rollback's level is not one of ours");
    }
    for step in &started.undo_steps {
        if !rollout.steps.contains_key(&clean(step)) {
            out.note(format!(
                "undo names step {}, which the plan does not have",
                clean(step)
            ));
        }
    }
    let row = RollbackRow {
        rollout: rollout.rollout.rollout.clone(),
        rollback: id,
        level,
        reason: clean(&started.reason),
        undo_steps: Json(started.undo_steps.iter().map(|step| clean(step)).collect()),
        running: Json(started.running.iter().map(|step| clean(step)).collect()),
        left: Json(
            started
                .left
                .iter()
                .map(|left| EffectLeft {
                    step: clean(&left.step_id),
                    why: clean(&left.why),
                })
                .collect(),
        ),
        not_verified: Json::default(),
        started_by: at.actor.clone(),
        started_at: at.recorded_at,
        finished_at: None,
        verdict: None,
        summary: String::new(),
        started_sequence: at.sequence,
        updated_sequence: at.sequence,
    };
    out.put(&row);
    rollout.rollbacks.push(row);
    Ok(())
}

fn rollback_finished(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    (kind, finished): (&Kind, &RollbackFinished),
    out: &mut Out,
) -> Result<(), String> {
    let id = clean(&finished.rollback_id);
    let place = rollout
        .rollbacks
        .iter()
        .position(|row| row.rollback == id && row.verdict.is_none())
        .ok_or_else(|| format!("rollback {id} is not in progress"))?;
    update_status(rollout, kind)?;
    let Some(row) = rollout.rollbacks.get_mut(place) else {
        return Ok(());
    };
    let verdict = Verdict::from_wire(finished.verdict);
    if verdict.is_none() {
        out.note("the rollback finished without a verdict");
    }
    // Without a verdict nothing is proven, but it must not appear to be in progress either.
    row.verdict = Some(verdict.unwrap_or(Verdict::Error));
    row.finished_at = at.recorded_at;
    row.not_verified = Json(
        finished
            .not_verified
            .iter()
            .map(|step| clean(step))
            .collect(),
    );
    row.summary = clean(&finished.summary);
    row.updated_sequence = at.sequence;
    out.put(row);
    Ok(())
}
