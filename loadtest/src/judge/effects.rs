//! Judges the effects of steps and notices against the ledger. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::case::{Case, Mark};
use super::report::{Finding, Rule};
use crate::record::{Effect, PlanRecord, StepRecord};

/// Adds the findings.
pub(super) fn judge(case: &Case, findings: &mut Vec<Finding>) {
    let mut find = |rule, what: String| findings.push(Finding { rule, what });
    intents(case, &mut find);
    for plan in &case.plans {
        for step in &plan.steps {
            once(case, plan, step, &mut find);
            has_effect(case, plan, step, &mut find);
            alone(case, plan, step, &mut find);
        }
        notices(case, plan, &mut find);
    }
    for found in &case.processes {
        find(
            Rule::Orphan,
            format!("process {} still runs: {}", found.pid, found.line),
        );
    }
}

fn intents(case: &Case, find: &mut impl FnMut(Rule, String)) {
    let intended: BTreeSet<(&str, &str, u64)> = case
        .events("stepStarted")
        .map(|(commit, event)| {
            let step = event["stepId"].as_str().unwrap_or_default();
            let attempt = event["attempt"].as_u64().unwrap_or(0);
            (commit.rollout.as_str(), step, attempt)
        })
        .collect();
    for mark in case.marks.iter().filter(|mark| mark.is_begin) {
        let of = (mark.rollout.as_str(), mark.step.as_str(), mark.attempt);
        if !intended.contains(&of) {
            find(
                Rule::Intent,
                format!(
                    "attempt {} of step {} of {} ran without an intent on the ledger",
                    mark.attempt, mark.step, mark.rollout
                ),
            );
        }
    }
}

fn marks<'a>(
    case: &'a Case,
    plan: &'a PlanRecord,
    step: &'a StepRecord,
) -> impl Iterator<Item = &'a Mark> {
    case.marks
        .iter()
        .filter(|mark| mark.rollout == plan.rollout && mark.step == step.id)
}

fn rows(case: &Case, plan: &PlanRecord, step: &StepRecord) -> usize {
    case.rows
        .iter()
        .filter(|row| row.rollout == plan.rollout && row.step == step.id)
        .count()
}

fn once(case: &Case, plan: &PlanRecord, step: &StepRecord, find: &mut impl FnMut(Rule, String)) {
    let times = match step.effect {
        Effect::Once => marks(case, plan, step).filter(|mark| mark.is_begin).count(),
        Effect::Row => rows(case, plan, step),
        Effect::Idempotent | Effect::None => return,
    };
    let asked = 1 + case.retries(&plan.rollout, &step.id);
    if times > asked {
        find(
            Rule::EffectOnce,
            format!(
                "step {} of {} took effect {times} times; {asked} were asked for",
                step.id, plan.rollout
            ),
        );
    }
}

/// Finds a step whose last result is a pass but whose effect is missing.
fn has_effect(
    case: &Case,
    plan: &PlanRecord,
    step: &StepRecord,
    find: &mut impl FnMut(Rule, String),
) {
    let last = case
        .events("stepFinished")
        .filter(|(commit, event)| commit.rollout == plan.rollout && event["stepId"] == *step.id)
        .last();
    let passed = last.is_some_and(|(_, event)| event["verdict"] == "PASS");
    let there = match step.effect {
        Effect::Once | Effect::Idempotent => marks(case, plan, step).any(|mark| !mark.is_begin),
        Effect::Row => rows(case, plan, step) > 0,
        Effect::None => return,
    };
    if passed && !there {
        find(
            Rule::Effect,
            format!(
                "step {} of {} has passed on the ledger, and there is no trace of its effect",
                step.id, plan.rollout
            ),
        );
    }
}

/// Finds attempts that ran in parallel: one that ends after another has begun.
fn alone(case: &Case, plan: &PlanRecord, step: &StepRecord, find: &mut impl FnMut(Rule, String)) {
    let mut latest = 0;
    for mark in marks(case, plan, step) {
        if mark.is_begin {
            latest = latest.max(mark.attempt);
        } else if mark.attempt < latest {
            find(
                Rule::Alone,
                format!(
                    "attempt {} of step {} of {} still ran when attempt {latest} began",
                    mark.attempt, step.id, plan.rollout
                ),
            );
        }
    }
}

fn notices(case: &Case, plan: &PlanRecord, find: &mut impl FnMut(Rule, String)) {
    let has = |kind: &str| {
        case.events(kind)
            .any(|(commit, _)| commit.rollout == plan.rollout)
    };
    let mut ids: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for notice in &case.notices {
        if notice["rollout"] == *plan.rollout
            && let Some(subject) = notice["subject"].as_str()
        {
            ids.entry(subject).or_default().push(&notice["id"]);
        }
    }
    for notice in &plan.notices {
        let is_due = match notice.as_str() {
            "begun" | "begun by post" => has("rolloutStarted"),
            _ => has("rolloutClosed"),
        };
        let delivered = ids.get(notice.as_str());
        if is_due && delivered.is_none() {
            find(
                Rule::Notice,
                format!(
                    "notice {notice} of {} was due and was not delivered",
                    plan.rollout
                ),
            );
        }
        let differs = |ids: &&Vec<&Value>| ids.iter().any(|id| Some(id) != ids.first());
        if let Some(ids) = delivered.filter(differs) {
            find(
                Rule::Notice,
                format!(
                    "notice {notice} of {} was delivered under {ids:?}",
                    plan.rollout
                ),
            );
        }
    }
}
