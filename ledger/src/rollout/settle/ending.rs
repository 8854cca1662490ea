//! The end of rollbacks and of the rollout.

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};

use super::super::frontier::Look;
use super::super::limits::{cut, shortened};
use super::super::rules::{effects, measures, progress, rollback_preview, terms};
use super::super::state::{ResumeTo, RollbackState, RolloutState, Status, StepStatus};
use crate::ids::StepId;
use crate::runbook::plan::has_effect;
use crate::runbook::{Expr, Plan, Span, Term};

/// Finishes a rollback that has undone everything it can.
pub(super) fn rolled_back(state: &RolloutState, plan: &Plan, now: Timestamp) -> Vec<Kind> {
    let Some(rollback) = state.current_rollback() else {
        return Vec::new();
    };
    let undoing = state
        .steps
        .values()
        .any(|at| at.status == StepStatus::Undoing);
    if undoing
        || !effects::queue(state, plan).is_empty()
        || !effects::running(state, plan).is_empty()
    {
        return Vec::new();
    }
    let of_this = |id: &StepId| {
        plan.step(id)
            .is_some_and(|(_, step)| rollback.selector().takes(id, step))
    };
    let named = |wanted: &dyn Fn(&StepId) -> bool| -> Vec<String> {
        state
            .steps
            .keys()
            .filter(|id| of_this(id) && wanted(id))
            .map(ToString::to_string)
            .collect()
    };
    let is = |id: &StepId, status: StepStatus| state.step(id).is_some_and(|at| at.status == status);
    let left = named(&|id| is(id, StepStatus::UndoFailed));
    // Count undos of this rollback only, not of an earlier one.
    let is_undone = |id: &StepId| {
        let at = state.step(id);
        is(id, StepStatus::Undone)
            && at.is_some_and(|at| at.finished_event > rollback.started_event)
    };
    let undone = named(&is_undone);
    let not_verified =
        named(&|id| is_undone(id) && state.step(id).is_some_and(|at| !at.undo.verified));
    let beyond: Vec<String> = effects::beyond_undo(state, plan)
        .iter()
        .filter(|id| of_this(id))
        .map(ToString::to_string)
        .collect();
    let mut summary = format!("{} undone", words(&undone));
    if !not_verified.is_empty() {
        summary.push_str(&format!("; {} not verified", words(&not_verified)));
    }
    if !left.is_empty() {
        summary.push_str(&format!("; {} left in place", words(&left)));
    }
    if !beyond.is_empty() {
        summary.push_str(&format!("; {} cannot be undone", words(&beyond)));
    }
    summary.push_str(&time_taken(rollback, plan, now));
    let verdict = if !left.is_empty() {
        v1::Verdict::Fail
    } else if !not_verified.is_empty() {
        v1::Verdict::Inconclusive
    } else {
        v1::Verdict::Pass
    };
    let mut kinds = vec![Kind::RollbackFinished(v1::RollbackFinished {
        rollback_id: rollback.id.clone(),
        verdict: verdict.into(),
        summary,
        not_verified,
        left,
    })];
    if let Some(other) = &rollback.interrupted {
        let reason = format!("{} continues: {}", other.id, other.reason);
        let list = rollback_preview::list(state, plan, other.level, &other.steps);
        kinds.push(super::rollback_started(state, &reason, &list));
    }
    kinds
}

fn words(ids: &[String]) -> String {
    match ids {
        [] => "no step".to_owned(),
        [one] => format!("step {one}"),
        many => format!("steps {}", many.join(", ")),
    }
}

fn time_taken(rollback: &RollbackState, plan: &Plan, now: Timestamp) -> String {
    let millis = now.duration_since(rollback.started_at).as_millis();
    let took = Span::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
    let target = plan
        .runbook()
        .rollbacks
        .get(&rollback.level)
        .and_then(|spec| spec.target);
    match target {
        Some(target) => format!("; took {took}, target {target}"),
        None => format!("; took {took}"),
    }
}

/// True if a finished rollback ends the rollout: a full one, or one started after the end.
pub(crate) fn closes_after_rollback(state: &RolloutState) -> bool {
    state.status == Status::Paused
        && state.rollback.as_ref().is_some_and(|rollback| {
            rollback.verdict.is_some()
                && (rollback.level.ends_rollout() || rollback.before != ResumeTo::Going)
                && state
                    .closed_at
                    .is_none_or(|closed| closed <= rollback.started_at)
        })
}

/// Returns how the rollout closes now, with a summary; `None` if it does not.
fn outcome(look: Look<'_>) -> Option<(v1::RolloutOutcome, String)> {
    let Look { state, plan, .. } = look;
    if state.status == Status::Running
        && state.pending_revision.is_none()
        && look.frontier.is_passed()
    {
        let skipped = count(state, StepStatus::Skipped);
        let failed = state
            .steps
            .values()
            .filter(|at| at.status.is_failure())
            .count();
        let mut summary = format!(
            "{} of {} phases passed; {} steps succeeded, {skipped} skipped, {failed} failed without blocking",
            state.phases.len(),
            state.phases.len(),
            count(state, StepStatus::Succeeded),
        );
        if !state.alerts.is_empty() {
            let open = state.alerts.values().map(|alert| &alert.id);
            summary.push_str(&format!("; still open: {}", progress::list(open)));
        }
        return Some((v1::RolloutOutcome::Succeeded, summary));
    }
    if state.status == Status::Aborted && !progress::anything_runs(state) {
        let broken: Vec<String> = state
            .steps
            .iter()
            .filter(|(id, at)| at.critical && is_broken(plan, id, at.status))
            .map(|(id, at)| format!("step {id} was {}", at.status.as_str()))
            .collect();
        return Some(if broken.is_empty() {
            (
                v1::RolloutOutcome::Aborted,
                "aborted by a person".to_owned(),
            )
        } else {
            (
                v1::RolloutOutcome::Failed,
                format!("aborted while {}", broken.join(", ")),
            )
        });
    }
    if closes_after_rollback(state)
        && let Some(rollback) = &state.rollback
    {
        let id = &rollback.id;
        let level = rollback.level.as_str();
        return Some(match rollback.verdict {
            Some(v1::Verdict::Pass) => (
                v1::RolloutOutcome::RolledBack,
                format!("{id} ({level}) undid its effects"),
            ),
            Some(v1::Verdict::Inconclusive) => (
                v1::RolloutOutcome::RolledBack,
                format!("{id} ({level}) undid its effects; not all of that is verified"),
            ),
            _ => (
                v1::RolloutOutcome::Failed,
                format!("{id} ({level}) left effects in place"),
            ),
        });
    }
    None
}

/// True if the step failed or may have left a partial effect.
fn is_broken(plan: &Plan, id: &StepId, status: StepStatus) -> bool {
    match status {
        StepStatus::Interrupted => plan.step(id).is_some_and(|(_, step)| has_effect(step)),
        StepStatus::UndoFailed => true,
        other => other.is_failure(),
    }
}

fn count(state: &RolloutState, status: StepStatus) -> usize {
    state
        .steps
        .values()
        .filter(|at| at.status == status)
        .count()
}

/// Maximum size of a success metric's recorded text, in bytes.
const MAX_ACTUAL_BYTES: usize = 1_000;

/// Closes the rollout, recording first the success metrics that the review needs.
pub(super) fn closed(look: Look<'_>) -> Vec<Kind> {
    let Look { state, plan, .. } = look;
    let Some((outcome, summary)) = outcome(look) else {
        return Vec::new();
    };
    let mut kinds = success(state, plan);
    kinds.push(Kind::RolloutClosed(v1::RolloutClosed {
        outcome: outcome.into(),
        summary: shortened(&summary),
    }));
    kinds
}

fn success(state: &RolloutState, plan: &Plan) -> Vec<Kind> {
    plan.runbook()
        .success
        .iter()
        .filter(|metric| !state.reviewed.contains(&metric.name))
        .map(|metric| {
            let reading = measures::reading(state, plan, &metric.metric);
            let (measured, value) = (reading.measured, reading.value);
            let unit = plan
                .runbook()
                .metrics
                .get(&metric.metric)
                .and_then(|spec| spec.unit.clone())
                .or_else(|| measured.map(|measured| measured.unit.clone()))
                .unwrap_or_default();
            let mut actual = match value {
                Some(value) => format!("{value} {unit}").trim_end().to_owned(),
                None if reading.doubt.is_empty() => "no data".to_owned(),
                None => format!("no data, since {}", reading.doubt),
            };
            let holds = Expr::parse(&metric.target).ok().and_then(|expr| {
                let about = |term: &Term| term.about(&metric.metric);
                let all: Vec<Term> = expr.terms().iter().map(about).collect();
                let ask = |term: &Term| terms::ask(state, plan, &about(term), &all);
                for term in expr.terms().iter().filter(|term| term.figure.is_some()) {
                    let asked = ask(term);
                    match asked.value {
                        Some(number) => actual.push_str(&format!(", {term} = {number}")),
                        None => actual.push_str(&format!(", no data for {term}")),
                    }
                    if asked.value.is_none() && !asked.doubt.is_empty() && value.is_some() {
                        actual.push_str(&format!(", since {}", asked.doubt));
                    }
                }
                let read = |term: &Term| ask(term).value;
                expr.evaluate(&read).ok()
            });
            let status = match holds.filter(|_| value.is_some()) {
                Some(true) => v1::Verdict::Pass,
                Some(false) => v1::Verdict::Fail,
                None => v1::Verdict::Inconclusive,
            };
            Kind::SuccessMetricRecorded(v1::SuccessMetricRecorded {
                metric: metric.name.clone(),
                target: metric.target.clone(),
                actual: cut(&actual, MAX_ACTUAL_BYTES),
                status: status.into(),
            })
        })
        .collect()
}
