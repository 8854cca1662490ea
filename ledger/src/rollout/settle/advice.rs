//! The decision tree: the first rule that holds over the last measurements gives the advice.

use rollbook_proto::v1::{self, event::Kind};

use super::super::NO_ADVICE;
use super::super::limits::shortened;
use super::super::rules::{measures, rollback_preview};
use super::super::state::{RolloutState, Status};
use crate::runbook::Plan;

/// Withdraws the last advice if its inputs have been measured again and its rule no longer holds.
/// Missing data withdraws nothing.
fn over(state: &RolloutState, plan: &Plan) -> Vec<Kind> {
    let Some(last) = state.advice.as_ref().filter(|last| !last.is_over) else {
        return Vec::new();
    };
    let judged = measures::judge(state, plan, &last.rule);
    if judged.holds != Some(false) {
        return Vec::new();
    }
    vec![Kind::AdviceGiven(v1::AdviceGiven {
        rule: last.rule.clone(),
        advice: NO_ADVICE.to_owned(),
        inputs: judged.inputs,
        automatic: false,
    })]
}

/// Returns new advice, and the rollback it starts if the plan says `auto` and the rule holds on
/// measurements since the last rollback. The same rule on the same numbers is recorded once, and
/// again only if a rollback responded to it and the rule holds on new measurements.
pub(super) fn given(state: &RolloutState, plan: &Plan) -> Vec<Kind> {
    if !matches!(state.status, Status::Running | Status::Paused) {
        return Vec::new();
    }
    let found = plan.runbook().decide.iter().find_map(|rule| {
        let judged = measures::judge(state, plan, &rule.when);
        (judged.holds == Some(true)).then_some((rule, judged))
    });
    let Some((rule, judged)) = found else {
        return over(state, plan);
    };
    // The last rollback responded to everything measured before its end.
    let answered = state
        .rollback
        .as_ref()
        .map_or(0, |rollback| rollback.finished_event.unwrap_or(u64::MAX));
    let is_new = || measures::judge_after(state, plan, &rule.when, answered).holds == Some(true);
    if let Some(last) = &state.advice
        && last.rule == rule.when
        && last.inputs == judged.inputs
        && !(rule.auto && last.event < answered && is_new())
    {
        return Vec::new();
    }
    // A partial rollback needs a person to name the steps.
    let level = rule
        .then
        .level()
        .filter(|level| !level.names_steps() && rule.auto && is_new());
    let rollback = level.and_then(|level| {
        let list = rollback_preview::list(state, plan, level, &[]);
        (!list.undo.is_empty() || level.ends_rollout()).then(|| {
            let reason = shortened(&format!("the plan's rule holds: {}", judged.text));
            super::rollback_started(state, &reason, &list)
        })
    });
    let mut kinds = vec![Kind::AdviceGiven(v1::AdviceGiven {
        rule: rule.when.clone(),
        advice: rule.then.as_str().to_owned(),
        inputs: judged.inputs,
        automatic: rollback.is_some(),
    })];
    kinds.extend(rollback);
    kinds
}
