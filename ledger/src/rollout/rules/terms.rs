//! Evaluates the terms of an expression: the last value under a name, or a statistic over the
//! values that count.

use super::super::state::{Measured, RolloutState};
use super::measures::{first_of, reading, recorded_as};
use crate::counter::{Trail, share};
use crate::decimal::Decimal;
use crate::runbook::expr::TimeUnit;
use crate::runbook::{FigureTerm, Plan, Term};
use crate::sampled::{Sampled, Statistic};

/// The value of a term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The number; `None` means no data.
    pub(crate) value: Option<Decimal>,
    /// Why there is no number, if something was measured.
    pub(crate) doubt: String,
    /// Number of the event that recorded its input; of two, the earlier one. A baseline beside
    /// another term takes that term's number, because a baseline is meant to be old.
    pub(crate) event: u64,
}

impl Asked {
    fn nothing(doubt: String) -> Self {
        Self {
            value: None,
            doubt,
            event: 0,
        }
    }
}

/// Evaluates one term of an expression; `all` lists the expression's terms.
pub(crate) fn ask(state: &RolloutState, plan: &Plan, term: &Term, all: &[Term]) -> Asked {
    if term.is_baseline() {
        return before(state, plan, &term.name, all);
    }
    let read = reading(state, plan, &term.name);
    // A metric without a current value has not been seen to grow.
    let (Some(name), Some(last), Some(value)) = (
        recorded_as(state, plan, &term.name),
        read.measured,
        read.value,
    ) else {
        return Asked::nothing(read.doubt);
    };
    let found = |value: Option<Decimal>| Asked {
        value,
        doubt: String::new(),
        event: last.event,
    };
    match &term.figure {
        None => found(Some(value)),
        Some(FigureTerm::Delta) => found(growth(state, name)),
        Some(FigureTerm::Rate(unit)) => found(rate(state, name, last, *unit)),
        Some(FigureTerm::Over(statistic)) => over(state, plan, name, last, *statistic),
        Some(FigureTerm::Share { total }) => {
            let of = Term {
                name: total.clone(),
                figure: Some(FigureTerm::Delta),
            };
            let total = ask(state, plan, &of, all);
            Asked {
                value: share(growth(state, name), total.value),
                doubt: total.doubt,
                event: total.event.min(last.event),
            }
        }
        // Baselines are handled above.
        Some(FigureTerm::Baseline) => found(None),
    }
}

/// Evaluates a baseline term. Beside the measurement itself, the baseline must come from another
/// step, because a value cannot be its own baseline.
fn before(state: &RolloutState, plan: &Plan, name: &str, all: &[Term]) -> Asked {
    let Some((first, value)) = first_of(state, plan, name) else {
        return Asked::nothing(String::new());
    };
    let beside: Vec<&Term> = all.iter().filter(|term| !term.is_baseline()).collect();
    let is_own = beside.iter().flat_map(|term| term.names()).any(|other| {
        other == name
            && reading(state, plan, other)
                .measured
                .is_some_and(|last| last.step == first.step)
    });
    match value {
        Err(doubt) => Asked::nothing(doubt),
        Ok(_) if is_own => Asked::nothing(format!(
            "only step {} has measured it, and nothing before",
            first.step
        )),
        Ok(value) => Asked {
            value: Some(value),
            doubt: String::new(),
            event: if beside.is_empty() {
                first.event
            } else {
                u64::MAX
            },
        },
    }
}

fn growth(state: &RolloutState, name: &str) -> Option<Decimal> {
    state.counters.get(name)?.counter.delta()
}

fn rate(state: &RolloutState, name: &str, last: &Measured, unit: TimeUnit) -> Option<Decimal> {
    let mut trail = Trail::default();
    let samples = state.step(&last.step)?.samples.of(last.attempt).get(name);
    for sample in samples.into_iter().flatten() {
        if let (Some(value), Some(at)) = (sample.value, sample.at) {
            trail.push(value, at);
        }
    }
    trail.rate(unit.span()).or_else(|| {
        // Measured by steps that take no samples: the growth from the first measurement to the
        // last.
        let counted = state.counters.get(name)?;
        let mut trail = Trail::default();
        trail.push(Decimal::ZERO, counted.since);
        trail.push(counted.counter.delta()?, last.at);
        trail.rate(unit.span())
    })
}

/// Evaluates a statistic over the samples of the attempt that measured last. A step that takes no
/// samples has one value.
fn over(
    state: &RolloutState,
    plan: &Plan,
    name: &str,
    last: &Measured,
    statistic: Statistic,
) -> Asked {
    let step = state.step(&last.step);
    let samples = step.and_then(|at| at.samples.of(last.attempt).get(name));
    let tolerated = tolerates_gaps(plan, last, name);
    let mut sampled = Sampled::default();
    match samples {
        Some(samples) => samples
            .iter()
            .map(|sample| sample.value)
            .filter(|value| !(tolerated && value.is_none()))
            .for_each(|value| sampled.push(value)),
        None => sampled.push(last.value),
    }
    let doubt = match sampled.gaps() {
        0 => String::new(),
        gaps => format!(
            "{gaps} of {} samples of step {}, attempt {}, have no data",
            gaps + sampled.count(),
            last.step,
            last.attempt
        ),
    };
    Asked {
        value: sampled.figure(statistic),
        doubt,
        event: last.event,
    }
}

/// True if the watch that took the samples passes when samples are missing.
fn tolerates_gaps(plan: &Plan, last: &Measured, name: &str) -> bool {
    plan.step(&last.step)
        .is_some_and(|(_, step)| step.action.kind().tolerates_gaps(name))
}
