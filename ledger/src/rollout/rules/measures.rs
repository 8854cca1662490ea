//! Expressions over what the rollout has measured.

use std::collections::BTreeMap;

use rollbook_proto::v1::Verdict;

use super::super::state::{Measured, RolloutState, StepState};
use crate::counter::Trail;
use crate::decimal::Decimal;
use crate::ids::StepId;
use crate::runbook::model::NoData;
use crate::runbook::{Expr, ExprOutcome, Figure, Plan, Term, recorded};

/// A measurement as it may be judged by: the last one under a name, unless something says that it
/// does not speak for what is there now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading<'s> {
    /// The last measurement; `None`: there is none.
    pub(crate) measured: Option<&'s Measured>,
    /// The number, where it counts.
    pub(crate) value: Option<Decimal>,
    /// Why there is no number; empty when there is one, or when nothing was ever measured.
    pub(crate) doubt: String,
    /// The step that has to measure it again; `None`: nothing was ever measured.
    pub(crate) source: Option<&'s StepId>,
}

/// The last measurement under a name: recorded under it, or, for a metric of the plan that stands
/// for a step's measurement, recorded under that one.
///
/// It has no number where the last measurement had none, where its own rule could not judge it
/// (a watch that ended without data), where its attempt ended in error, or where a step that
/// measures it has ended later without measuring it.
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
        let errored = state
            .step(&measured.step)
            .is_some_and(|at| at.errored_attempt == measured.attempt);
        let doubt = if errored {
            format!("{by}, ended in error")
        } else if matches!(measured.verdict, Verdict::Inconclusive | Verdict::Error) {
            format!("{by}, came to no conclusion on it; its last value was {value}")
        } else {
            String::new()
        };
        (doubt, &measured.step)
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
pub fn figures(state: &RolloutState, plan: &Plan) -> BTreeMap<String, Decimal> {
    state
        .metrics
        .keys()
        .filter_map(|name| Some((name.clone(), reading(state, plan, name).value?)))
        .collect()
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
    number(state, plan, name, figure, &reading(state, plan, name))
}

/// The same, of a measurement in hand.
fn number(
    state: &RolloutState,
    plan: &Plan,
    name: &str,
    figure: Option<Figure>,
    reading: &Reading<'_>,
) -> Option<Decimal> {
    let name = recorded_as(state, plan, name)?;
    let last = reading.measured?;
    // What ended without data has not been seen to grow.
    let value = reading.value?;
    let counted = || state.counters.get(name);
    match figure {
        None => Some(value),
        Some(Figure::Delta) => counted()?.counter.delta(),
        Some(Figure::Rate(unit)) => {
            let mut trail = Trail::default();
            let samples = state.step(&last.step)?.samples.of(last.attempt).get(name);
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
    let readings: BTreeMap<&str, Reading<'_>> = expr
        .terms()
        .iter()
        .map(|term| (term.name.as_str(), reading(state, plan, &term.name)))
        .collect();
    let value = |term: &Term| {
        let reading = readings.get(term.name.as_str())?;
        let counts = reading.measured.is_some_and(|at| at.event > event);
        number(state, plan, &term.name, term.figure, reading).filter(|_| counts)
    };
    let inputs: Vec<String> = expr
        .terms()
        .iter()
        .map(
            |term| match (value(term), readings.get(term.name.as_str())) {
                (Some(number), _) => format!("{term}={number}"),
                (None, Some(reading)) if !reading.doubt.is_empty() => {
                    format!("{term}=no data, since {}", reading.doubt)
                }
                (None, _) => format!("{term}=no data"),
            },
        )
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
