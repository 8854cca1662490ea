//! Expressions over what the rollout has measured.

use std::collections::BTreeMap;

use rollbook_proto::v1::Verdict;

use super::super::state::{Measured, RolloutState, StepState};
use crate::ids::StepId;
use crate::runbook::model::NoData;
use crate::runbook::{Expr, ExprOutcome, Plan, recorded};

/// A figure as it may be judged by: the last measurement under a name, unless something says that
/// it does not speak for what is there now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure<'s> {
    /// The last measurement; `None`: there is none.
    pub(crate) measured: Option<&'s Measured>,
    /// The number, where it counts.
    pub(crate) value: Option<f64>,
    /// Why there is no number; empty when there is one, or when nothing was ever measured.
    pub(crate) doubt: String,
    /// The step that has to measure it again; `None`: nothing was ever measured.
    pub(crate) source: Option<&'s StepId>,
}

/// The figure under a name: recorded under it, or, for a metric of the plan that stands for a
/// step's measurement, recorded under that one.
///
/// It has no number where the last measurement had none, where its own rule could not judge it
/// (a watch that ended without data), where its attempt ended in error, or where a step that measures it has ended later without
/// measuring it.
pub(crate) fn figure<'s>(state: &'s RolloutState, plan: &Plan, name: &str) -> Figure<'s> {
    let metrics = &plan.runbook().metrics;
    let source = metrics.get(name).and_then(|metric| metric.step.as_deref());
    let found = state
        .metrics
        .get_key_value(name)
        .or_else(|| state.metrics.get_key_value(source?));
    let Some((recorded_as, measured)) = found else {
        return Figure {
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
    } else if measured.value.is_none() {
        (format!("{by}, measured none"), &measured.step)
    } else if state
        .step(&measured.step)
        .is_some_and(|at| at.errored_attempt == measured.attempt)
    {
        (format!("{by}, ended in error"), &measured.step)
    } else if matches!(measured.verdict, Verdict::Inconclusive | Verdict::Error) {
        let doubt = format!(
            "{by}, came to no conclusion on it; its last value was {}",
            measured.value.unwrap_or_default()
        );
        (doubt, &measured.step)
    } else {
        (String::new(), &measured.step)
    };
    Figure {
        measured: Some(measured),
        value: measured.value.filter(|_| doubt.is_empty()),
        doubt,
        source: Some(source),
    }
}

/// A step that measures this, by its plan, and whose last attempt ended after the measurement and
/// is not where it comes from.
fn ended_without<'s>(
    state: &'s RolloutState,
    plan: &Plan,
    name: &str,
    measured: &Measured,
) -> Option<(&'s StepId, &'s StepState)> {
    state.steps.iter().find(|(id, at)| {
        at.ended_event > measured.event
            && !(measured.step == **id && measured.attempt == at.attempt)
            && plan
                .step(id)
                .is_some_and(|(_, step)| recorded::of_step(step).contains(&name))
    })
}

/// The numbers that count, by the name they were recorded under.
pub fn figures(state: &RolloutState, plan: &Plan) -> BTreeMap<String, f64> {
    state
        .metrics
        .keys()
        .filter_map(|name| Some((name.clone(), figure(state, plan, name).value?)))
        .collect()
}

/// What an expression says about the last measurements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// `None`: no data, or no answer.
    pub(crate) holds: Option<bool>,
    /// The expression and its inputs: `regressions == 0 (regressions=3)`.
    pub(crate) text: String,
    /// `name=value` per variable.
    pub(crate) inputs: Vec<String>,
}

/// Evaluates an expression over the last measurements.
pub(crate) fn judge(state: &RolloutState, plan: &Plan, text: &str) -> Judged {
    judge_after(state, plan, text, 0)
}

/// The same, where only what was measured after the event of this number counts.
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
    let figures: BTreeMap<&str, Figure<'_>> = expr
        .variables()
        .iter()
        .map(|name| (name.as_str(), figure(state, plan, name)))
        .collect();
    let value = |name: &str| {
        let figure = figures.get(name)?;
        let counts = figure.measured.is_some_and(|at| at.event > event);
        figure.value.filter(|_| counts)
    };
    let inputs: Vec<String> = expr
        .variables()
        .iter()
        .map(|name| match (value(name), figures.get(name.as_str())) {
            (Some(number), _) => format!("{name}={number}"),
            (None, Some(figure)) if !figure.doubt.is_empty() => {
                format!("{name}=no data, since {}", figure.doubt)
            }
            (None, _) => format!("{name}=no data"),
        })
        .collect();
    let shown = inputs.join(", ");
    let (holds, text) = match expr.evaluate(&value) {
        Ok(holds) => (Some(holds), format!("{text} ({shown})")),
        Err(ExprOutcome::NoData(_)) => (None, format!("{text} ({shown})")),
        Err(ExprOutcome::Error(error)) => (None, format!("{text} ({shown}: {error})")),
    };
    Judged {
        holds,
        text,
        inputs,
    }
}

/// A gate's check: whether it holds, and the reason with numbers.
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

/// A step's `when` over the parameters: numbers, and `true` as 1, `false` as 0.
pub(crate) fn when(state: &RolloutState, text: &str) -> Result<bool, String> {
    let expr = Expr::parse(text).map_err(|error| error.to_string())?;
    expr.evaluate(&|name| match state.params.get(name).map(|v| v.trim()) {
        Some("true") => Some(1.0),
        Some("false") => Some(0.0),
        Some(number) => number.parse().ok(),
        None => None,
    })
    .map_err(|outcome| format!("`when: {text}` has no answer: {outcome}"))
}
