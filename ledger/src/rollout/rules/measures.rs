//! Expressions over what the rollout has measured.

use std::collections::BTreeMap;

use rollbook_proto::v1::Verdict;

use super::super::state::{Measured, RolloutState, StepState};
use super::terms::{self, Asked};
use crate::decimal::Decimal;
use crate::ids::StepId;
use crate::runbook::model::NoData;
use crate::runbook::{Expr, ExprOutcome, Plan, Term, recorded};

/// The last measurement under a name, and whether it still counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading<'s> {
    /// The last measurement; `None` if there is none.
    pub(crate) measured: Option<&'s Measured>,
    /// The value, if it counts.
    pub(crate) value: Option<Decimal>,
    /// Why it does not count; empty if it does, or if nothing was ever measured.
    pub(crate) doubt: String,
    /// The step that has to measure it again; `None` if nothing was ever measured.
    pub(crate) source: Option<&'s StepId>,
}

/// Reads the last measurement under a name. A metric of the plan that refers to a step's
/// measurement reads that one.
///
/// There is no value if the last measurement had none, if its own rule could not judge it (a watch
/// that ended without data), if its attempt ended in error, or if a step that measures it has since
/// ended without measuring it.
pub(crate) fn reading<'s>(state: &'s RolloutState, plan: &Plan, name: &str) -> Reading<'s> {
    let found = recorded_as(state, plan, name).and_then(|name| state.metrics.get_key_value(name));
    let Some((recorded_as, measured)) = found else {
        return Reading {
            measured: None,
            value: None,
            doubt: String::new(),
            source: None,
        };
    };
    let by = format!("step {}, attempt {}", measured.step, measured.attempt);
    let (doubt, source) = if let Some((id, at)) = ended_without(state, plan, recorded_as, measured)
    {
        let doubt = format!(
            "step {id}, attempt {}, ended without measuring it, later than {by}",
            at.attempt
        );
        (doubt, id)
    } else if let Some(value) = &measured.value {
        (doubt_about(state, measured, *value), &measured.step)
    } else {
        (format!("{by}, measured none"), &measured.step)
    };
    Reading {
        measured: Some(measured),
        value: measured.value.filter(|_| doubt.is_empty()),
        doubt,
        source: Some(source),
    }
}

/// Returns why a measured number does not count because of its own attempt; empty if it counts.
fn doubt_about(state: &RolloutState, measured: &Measured, value: Decimal) -> String {
    let by = format!("step {}, attempt {}", measured.step, measured.attempt);
    let errored = state
        .step(&measured.step)
        .is_some_and(|at| at.errored_attempt == measured.attempt);
    if errored {
        format!("{by}, ended in error")
    } else if matches!(measured.verdict, Verdict::Inconclusive | Verdict::Error) {
        format!("{by}, came to no conclusion on it; its last value was {value}")
    } else {
        String::new()
    }
}

/// Returns the baseline measurement, with its value or why it does not count.
pub(super) fn first_of<'s>(
    state: &'s RolloutState,
    plan: &Plan,
    name: &str,
) -> Option<(&'s Measured, Result<Decimal, String>)> {
    let name = recorded_as(state, plan, name)?;
    let first = state.baselines.get(name)?;
    let Some(value) = first.value else {
        let doubt = format!(
            "step {}, attempt {}, measured none",
            first.step, first.attempt
        );
        return Some((first, Err(doubt)));
    };
    let doubt = doubt_about(state, first, value);
    Some((
        first,
        if doubt.is_empty() {
            Ok(value)
        } else {
            Err(doubt)
        },
    ))
}

/// Finds another step that measures this by its plan and whose last attempt ended after the
/// measurement, without replacing it.
fn ended_without<'s>(
    state: &'s RolloutState,
    plan: &Plan,
    name: &str,
    measured: &Measured,
) -> Option<(&'s StepId, &'s StepState)> {
    let steps = state.steps.iter().map(|(id, at)| (id, at.as_ref()));
    steps.into_iter().find(|(id, at)| {
        at.ended_event > measured.event
            && !(measured.step == **id && measured.attempt == at.attempt)
            && plan
                .step(id)
                .is_some_and(|(_, step)| recorded::of_step(step).contains(&name))
    })
}

/// Returns the values that count, by the name they were recorded under.
pub fn figures(state: &RolloutState, plan: &Plan) -> BTreeMap<String, Decimal> {
    state
        .metrics
        .keys()
        .filter_map(|name| Some((name.clone(), reading(state, plan, name).value?)))
        .collect()
}

/// Returns the baselines that step `asking` may use, by name: those measured by another step.
/// Metrics of the plan that refer to a step's measurement are included.
pub fn baselines(state: &RolloutState, plan: &Plan, asking: &StepId) -> BTreeMap<String, Decimal> {
    let metrics = &plan.runbook().metrics;
    state
        .baselines
        .keys()
        .chain(metrics.keys())
        .filter_map(|name| {
            let (first, value) = first_of(state, plan, name)?;
            let value = value.ok().filter(|_| first.step != *asking)?;
            Some((name.clone(), value))
        })
        .collect()
}

/// Resolves a metric of the plan to the name under which it was recorded.
pub(super) fn recorded_as<'a>(
    state: &'a RolloutState,
    plan: &'a Plan,
    name: &'a str,
) -> Option<&'a str> {
    if state.metrics.contains_key(name) {
        return Some(name);
    }
    plan.runbook().metrics.get(name)?.step.as_deref()
}

/// The result of evaluating an expression over the last measurements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// Whether it holds; `None` if there is no data or no answer.
    pub(crate) holds: Option<bool>,
    /// The expression and its inputs: `regressions == 0 (regressions=3)`.
    pub(crate) text: String,
    /// `name=value` for each number read.
    pub(crate) inputs: Vec<String>,
}

/// Evaluates an expression over the last measurements.
pub(crate) fn judge(state: &RolloutState, plan: &Plan, text: &str) -> Judged {
    judge_after(state, plan, text, 0)
}

/// Evaluates an expression, counting only measurements recorded after the event of this number.
pub(crate) fn judge_after(state: &RolloutState, plan: &Plan, text: &str, event: u64) -> Judged {
    let expr = match Expr::parse(text) {
        Ok(expr) => expr,
        Err(error) => {
            return Judged {
                holds: None,
                text: format!("{text} ({error})"),
                inputs: Vec::new(),
            };
        }
    };
    let asked: Vec<(&Term, Asked)> = expr
        .terms()
        .iter()
        .map(|term| (term, terms::ask(state, plan, term, expr.terms())))
        .collect();
    let value = |term: &Term| {
        let (_, asked) = asked.iter().find(|(known, _)| *known == term)?;
        asked.value.filter(|_| asked.event > event)
    };
    let inputs: Vec<String> = asked
        .iter()
        .map(|(term, asked)| match value(term) {
            Some(number) => format!("{term}={number}"),
            None if !asked.doubt.is_empty() => {
                format!("{term}=no data, since {}", asked.doubt)
            }
            None => format!("{term}=no data"),
        })
        .collect();
    let shown = inputs.join(", ");
    let (holds, text) = match expr.evaluate(&value) {
        Ok(holds) => (Some(holds), format!("{text} ({shown})")),
        Err(ExprOutcome::NoData(_)) => (None, format!("{text} ({shown})")),
        Err(ExprOutcome::Undefined(error)) => (None, format!("{text} ({shown}: {error})")),
    };
    Judged {
        holds,
        text,
        inputs,
    }
}

/// Evaluates a gate's check: whether it holds, and the reason with numbers.
pub(crate) fn check(
    state: &RolloutState,
    plan: &Plan,
    text: &str,
    no_data: NoData,
) -> (bool, String) {
    let judged = judge(state, plan, text);
    match (judged.holds, no_data) {
        (Some(true), _) => (true, format!("check holds: {}", judged.text)),
        (Some(false), _) => (false, format!("check does not hold: {}", judged.text)),
        (None, NoData::Pass) => (
            true,
            format!(
                "check has no data, which the plan lets pass: {}",
                judged.text
            ),
        ),
        (None, NoData::Fail) => (
            false,
            format!("check fails for want of data: {}", judged.text),
        ),
        (None, NoData::Inconclusive) => (false, format!("check is inconclusive: {}", judged.text)),
    }
}

/// Evaluates a step's `when` over the parameters: numbers, and `true` as 1, `false` as 0.
pub(crate) fn when(state: &RolloutState, text: &str) -> Result<bool, String> {
    let expr = Expr::parse(text).map_err(|error| error.to_string())?;
    expr.evaluate(&|term| match state.params.get(&term.name)?.trim() {
        "true" => Some(Decimal::ONE),
        "false" => Some(Decimal::ZERO),
        number => number.parse().ok(),
    })
    .map_err(|outcome| format!("`when: {text}` has no answer: {outcome}"))
}
