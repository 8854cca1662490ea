//! Expressions over what the rollout has measured.

use super::super::state::{Measured, RolloutState};
use crate::counter::Trail;
use crate::decimal::Decimal;
use crate::runbook::model::NoData;
use crate::runbook::{Expr, ExprOutcome, Figure, Plan, Term};

/// The last measurement under a name: recorded under it, or, for a metric of the plan that
/// stands for a step's measurement, recorded under that one.
pub(crate) fn last<'s>(state: &'s RolloutState, plan: &Plan, name: &str) -> Option<&'s Measured> {
    state.metrics.get(recorded_as(state, plan, name)?)
}

/// The name under which it was recorded.
fn recorded_as<'a>(state: &'a RolloutState, plan: &'a Plan, name: &'a str) -> Option<&'a str> {
    if state.metrics.contains_key(name) {
        return Some(name);
    }
    plan.runbook().metrics.get(name)?.step.as_deref()
}

/// A number that an expression reads: the last value under a name, or how it has grown. `None`:
/// no data.
pub(crate) fn read(
    state: &RolloutState,
    plan: &Plan,
    name: &str,
    figure: Option<Figure>,
) -> Option<Decimal> {
    let name = recorded_as(state, plan, name)?;
    let last = state.metrics.get(name)?;
    // What ended without data has not been seen to grow.
    let value = last.value?;
    let counted = || state.counters.get(name);
    match figure {
        None => Some(value),
        Some(Figure::Delta) => counted()?.counter.delta(),
        Some(Figure::Rate(unit)) => {
            let mut trail = Trail::default();
            let samples = state.step(&last.step)?.samples.get(name);
            for sample in samples.into_iter().flatten() {
                if let (Some(value), Some(at)) = (sample.value, sample.at) {
                    trail.push(value, at);
                }
            }
            trail.rate(unit.span()).or_else(|| {
                // Measured by steps that take no samples: from the first to the last of them.
                let counted = counted()?;
                let mut trail = Trail::default();
                trail.push(Decimal::ZERO, counted.since);
                trail.push(counted.counter.delta()?, last.at);
                trail.rate(unit.span())
            })
        }
    }
}

/// What an expression says about the last measurements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// `None`: no data, or no answer.
    pub(crate) holds: Option<bool>,
    /// The expression and its inputs: `regressions == 0 (regressions=3)`.
    pub(crate) text: String,
    /// `name=value` per number read.
    pub(crate) inputs: Vec<String>,
}

/// Evaluates an expression over the last measurements.
pub(crate) fn judge(state: &RolloutState, plan: &Plan, text: &str) -> Judged {
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
    let value = |term: &Term| read(state, plan, &term.name, term.figure);
    let inputs: Vec<String> = expr
        .terms()
        .iter()
        .map(|term| match value(term) {
            Some(number) => format!("{term}={number}"),
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
    expr.evaluate(&|term| match state.params.get(&term.name)?.trim() {
        "true" => Some(Decimal::ONE),
        "false" => Some(Decimal::ZERO),
        number => number.parse().ok(),
    })
    .map_err(|outcome| format!("`when: {text}` has no answer: {outcome}"))
}
