//! Metrics, thresholds and all expressions: what they read must be recorded earlier.

use super::super::diagnostic::{Code, Path};
use super::super::expr::is_name;
use super::super::model::MetricSpec;
use super::super::recorded;
use super::super::step::Step;
use super::{Linter, Placed, figures};
use crate::decimal::Decimal;
use crate::suggestion::suggest;

pub(super) fn check(linter: &mut Linter<'_>) {
    metrics(linter);
    for placed in linter.steps() {
        step(linter, &placed);
    }
    gates(linter);
    decisions(linter);
    success(linter);
}

/// True if a step of the phases up to this one records the metric; `None` means all phases.
pub(super) fn is_recorded(linter: &Linter<'_>, name: &str, up_to_phase: Option<usize>) -> bool {
    linter
        .steps()
        .iter()
        .filter(|placed| up_to_phase.is_none_or(|last| placed.phase <= last))
        .any(|placed| records(placed.step, name))
}

pub(super) fn records(step: &Step, name: &str) -> bool {
    recorded::of_step(step).contains(&name)
        || recorded::records_columns(step)
            .is_some_and(|query| recorded::query_mentions(query, name))
}

fn all_recorded<'a>(linter: &Linter<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = linter
        .runbook
        .phases
        .iter()
        .flat_map(|phase| phase.steps.iter().flat_map(recorded::of_step))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn metrics(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let known = all_recorded(linter);
    for (name, metric) in &runbook.metrics {
        let path = Path::root().key("metrics").key(name);
        metric_name(linter, name, &path);
        let ways = ways(metric);
        if ways.len() != 1 {
            linter.error(
                Code::MetricShape,
                &path,
                match ways.len() {
                    0 => format!("metric `{name}` does not say how it is taken"),
                    _ => format!(
                        "metric `{name}` is taken in {} ways: {}",
                        ways.len(),
                        ways.join(", ")
                    ),
                },
                Some("give it exactly one of `sql`, `http`, `run`, `step`".to_owned()),
            );
        }
        if let Some(step) = &metric.step
            && !is_recorded(linter, step, None)
        {
            linter.error(
                Code::UnknownName,
                &path.key("step"),
                format!("no step records `{step}`"),
                suggest(step, &known),
            );
        }
        for (key, pointer) in [
            (
                "http",
                metric.http.as_ref().and_then(|m| m.pointer.as_deref()),
            ),
            (
                "run",
                metric.run.as_ref().and_then(|m| m.pointer.as_deref()),
            ),
        ] {
            if let Some(pointer) = pointer {
                json_pointer(linter, pointer, &path.key(key).key("pointer"));
            }
        }
    }
}

fn ways(metric: &MetricSpec) -> Vec<&'static str> {
    [
        ("sql", metric.sql.is_some()),
        ("http", metric.http.is_some()),
        ("run", metric.run.is_some()),
        ("step", metric.step.is_some()),
    ]
    .into_iter()
    .filter_map(|(way, there)| there.then_some(way))
    .collect()
}

/// Checks that a measurement can have this name.
pub(in crate::runbook) fn metric_name(linter: &mut Linter<'_>, name: &str, path: &Path) {
    if !is_name(name) || name == "value" {
        linter.error(
            Code::InvalidId,
            path,
            format!("`{name}` cannot be the name of a measurement"),
            Some("begin with a letter, use letters, digits and `_`, not `value`".to_owned()),
        );
    }
}

pub(in crate::runbook) fn json_pointer(linter: &mut Linter<'_>, pointer: &str, path: &Path) {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        linter.error(
            Code::Pattern,
            path,
            format!("`{pointer}` is not a JSON pointer"),
            Some(format!("write `/{}`", pointer.replace('.', "/"))),
        );
    }
}

fn step(linter: &mut Linter<'_>, placed: &Placed<'_>) {
    let (step, path) = (placed.step, &placed.path);
    if let Some(when) = &step.when {
        let params: Vec<&str> = linter.params.keys().map(String::as_str).collect();
        let path = path.key("when");
        figures::single_values(linter, when, &path, false);
        for name in figures::variables(linter, when, &path) {
            let value = linter
                .params
                .get(&name)
                .map(|v| v.trim().parse::<Decimal>());
            match value {
                Some(Ok(_)) => {}
                Some(Err(_)) => linter.error(
                    Code::UnknownName,
                    &path,
                    format!("the parameter `{name}` is not a number"),
                    Some(format!("for `true` and `false` write `${{{{ {name} }}}}`")),
                ),
                None => linter.error(
                    Code::UnknownName,
                    &path,
                    format!("`{name}` is not a parameter"),
                    suggest(&name, &params),
                ),
            }
        }
    }
    let own = recorded::of_step(step);
    for (i, text) in step.expect.iter().enumerate() {
        let path = path.key("expect").index(i);
        figures::single_values(linter, text, &path, true);
        for term in figures::terms(linter, text, &path) {
            if term.is_baseline() {
                figures::measured_before(linter, placed, &term.name, &path);
            } else if !records(step, &term.name) {
                linter.error(
                    Code::UnknownName,
                    &path,
                    format!("step `{}` does not measure `{}`", step.id, term.name),
                    suggest(&term.name, &own),
                );
            }
        }
    }
}

pub(super) fn not_recorded(linter: &mut Linter<'_>, name: &str, path: &Path, what: &str) {
    let known = all_recorded(linter);
    let suggestion = if linter.runbook.metrics.contains_key(name) {
        Some(format!(
            "metric `{name}` is declared, but no watch samples it"
        ))
    } else {
        suggest(name, &known)
    };
    linter.error(
        Code::UnknownName,
        path,
        format!("{what} `{name}`"),
        suggestion,
    );
}

fn gates(linter: &mut Linter<'_>) {
    for (p, (phase, path)) in linter.phases().into_iter().enumerate() {
        let Some(gate) = &phase.gate else { continue };
        for (i, text) in gate.checks.iter().enumerate() {
            let path = path.key("gate").key("checks").index(i);
            figures::not_before_itself(linter, text, &path, Some(p));
            for name in figures::variables(linter, text, &path) {
                if is_recorded(linter, &name, Some(p)) {
                    continue;
                }
                let what = if is_recorded(linter, &name, None) {
                    "only a later phase records"
                } else {
                    "no step records"
                };
                not_recorded(linter, &name, &path, what);
            }
        }
    }
}

fn decisions(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    for (i, decision) in runbook.decide.iter().enumerate() {
        let path = Path::root().key("decide").index(i).key("when");
        figures::not_before_itself(linter, &decision.when, &path, None);
        for name in figures::variables(linter, &decision.when, &path) {
            if !is_recorded(linter, &name, None) {
                not_recorded(linter, &name, &path, "no step records");
            }
        }
    }
}

fn success(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    for (i, metric) in runbook.success.iter().enumerate() {
        let path = Path::root().key("success").index(i);
        let name = &metric.metric;
        let alias = runbook.metrics.get(name).is_some_and(|m| m.step.is_some());
        if !alias && !is_recorded(linter, name, None) {
            let path = path.key("metric");
            if runbook.metrics.contains_key(name) {
                not_recorded(linter, name, &path, "no step records");
            } else {
                let known: Vec<&str> = runbook
                    .metrics
                    .keys()
                    .map(String::as_str)
                    .chain(all_recorded(linter))
                    .collect();
                linter.error(
                    Code::ThresholdWithoutMetric,
                    &path,
                    format!("there is no metric `{name}`"),
                    suggest(name, &known),
                );
            }
        }
        figures::target(linter, metric, &path.key("target"));
    }
}
