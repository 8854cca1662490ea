//! What expressions may read at a given place: `value`, functions, and existing baselines.

use super::super::diagnostic::{Code, Path};
use super::super::expr::{Expr, FigureTerm, Term, VALUE};
use super::super::model::SuccessMetric;
use super::measures::{is_recorded, not_recorded, records};
use super::{Linter, Placed};

/// Returns the names that an expression reads; if it does not parse, reports that and returns none.
pub(super) fn variables(linter: &mut Linter<'_>, text: &str, path: &Path) -> Vec<String> {
    match Expr::parse(text) {
        Ok(expr) => expr.variables().to_vec(),
        Err(error) => {
            linter.error(Code::Expression, path, error.to_string(), None);
            Vec::new()
        }
    }
}

/// Returns the terms that an expression reads; if it does not parse, reports that and returns none.
pub(in crate::runbook) fn terms(linter: &mut Linter<'_>, text: &str, path: &Path) -> Vec<Term> {
    variables(linter, text, path);
    Expr::parse(text).map_or_else(|_| Vec::new(), |expr| expr.terms().to_vec())
}

/// Refuses functions over several values where there is only one value.
pub(super) fn single_values(linter: &mut Linter<'_>, text: &str, path: &Path, baselines: bool) {
    let Ok(expr) = Expr::parse(text) else { return };
    let refused = |term: &&Term| term.figure.is_some() && !(baselines && term.is_baseline());
    let Some(term) = expr.terms().iter().find(refused) else {
        return;
    };
    let (problem, help) = if term.is_baseline() {
        (
            "needs measurements, and here are parameters",
            "use it in thresholds, `expect`, gates, `decide` or `success`",
        )
    } else {
        (
            "needs several values, and here is one",
            "use it in the thresholds of a watch, in gates, `decide` or `success`",
        )
    };
    linter.error(
        Code::Expression,
        path,
        format!("`{term}` {problem}"),
        Some(help.to_owned()),
    );
}

/// Reports a name other than `value`.
pub(in crate::runbook) fn only_value(linter: &mut Linter<'_>, name: &str, path: &Path) {
    linter.error(
        Code::UnknownName,
        path,
        format!("`{name}` cannot be read here"),
        Some("the measured number is called `value`".to_owned()),
    );
}

/// Checks that an earlier step measures the name.
pub(in crate::runbook) fn measured_before(
    linter: &mut Linter<'_>,
    placed: &Placed<'_>,
    name: &str,
    path: &Path,
) {
    let steps = linter.steps();
    let earlier = steps
        .iter()
        .take_while(|other| !std::ptr::eq(other.step, placed.step));
    let recorded_as = stands_for(linter, name);
    if !earlier
        .into_iter()
        .any(|other| records(other.step, name) || records(other.step, &recorded_as))
    {
        no_baseline(
            linter,
            path,
            &format!("no step before {} measures `{name}`", placed.step.id),
        );
    }
}

/// Returns the name that steps record for a metric that refers to a step's measurement.
fn stands_for(linter: &Linter<'_>, name: &str) -> String {
    let metric = linter.runbook.metrics.get(name);
    let step = metric.and_then(|metric| metric.step.as_deref());
    step.unwrap_or(name).to_owned()
}

fn no_baseline(linter: &mut Linter<'_>, path: &Path, problem: &str) {
    linter.error(
        Code::UnknownName,
        path,
        format!("there is no baseline: {problem}"),
        Some("measure it in a step before the change".to_owned()),
    );
}

/// Checks that a baseline beside the measurement itself can come from another step.
pub(super) fn not_before_itself(
    linter: &mut Linter<'_>,
    text: &str,
    path: &Path,
    up_to_phase: Option<usize>,
) {
    let Ok(expr) = Expr::parse(text) else { return };
    compared(linter, expr.terms(), path, up_to_phase);
}

fn compared(linter: &mut Linter<'_>, terms: &[Term], path: &Path, up_to_phase: Option<usize>) {
    for baseline in terms.iter().filter(|term| term.is_baseline()) {
        let is_beside = terms
            .iter()
            .any(|term| !term.is_baseline() && term.names().any(|name| name == baseline.name));
        let recorded_as = stands_for(linter, &baseline.name);
        let count = linter
            .steps()
            .iter()
            .filter(|placed| up_to_phase.is_none_or(|last| placed.phase <= last))
            .filter(|placed| {
                records(placed.step, &baseline.name) || records(placed.step, &recorded_as)
            })
            .count();
        if is_beside && count == 1 {
            let problem = format!("only one step measures `{}`", baseline.name);
            no_baseline(linter, path, &problem);
        }
    }
}

/// Checks a success metric's target: it may read `value`, and shares and baselines of recorded
/// names.
pub(super) fn target(linter: &mut Linter<'_>, success: &SuccessMetric, path: &Path) {
    let terms = terms(linter, &success.target, path);
    for term in &terms {
        let about = term.about(&success.metric);
        let others = match &term.figure {
            Some(FigureTerm::Baseline | FigureTerm::Share { .. }) => about.names(),
            _ if term.name == VALUE => continue,
            _ => {
                only_value(linter, &term.name, path);
                continue;
            }
        };
        for name in others.filter(|name| *name != success.metric) {
            if !is_recorded(linter, &stands_for(linter, name), None) {
                not_recorded(linter, name, path, "no step records");
            }
        }
    }
    let about: Vec<Term> = terms.iter().map(|it| it.about(&success.metric)).collect();
    compared(linter, &about, path, None);
}
