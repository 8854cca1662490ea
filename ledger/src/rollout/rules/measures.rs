//! Expressions over what the rollout has measured.

use super::super::state::{Measured, RolloutState};
use crate::runbook::model::NoData;
use crate::runbook::{Expr, ExprOutcome, Plan};

/// The last measurement under a name: recorded under it, or, for a metric of the plan that
/// stands for a step's measurement, recorded under that one.
pub(crate) fn last<'s>(state: &'s RolloutState, plan: &Plan, name: &str) -> Option<&'s Measured> {
    state.metrics.get(name).or_else(|| {
        let source = plan.runbook().metrics.get(name)?.step.as_ref()?;
        state.metrics.get(source)
    })
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
    let value = |name: &str| last(state, plan, name).and_then(|measured| measured.value);
    let inputs: Vec<String> = expr
        .variables()
        .iter()
        .map(|name| match value(name) {
            Some(number) => format!("{name}={number}"),
            None => format!("{name}=no data"),
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
