//! What computes the figures of snapshots.

use super::super::calculator::{
    CalculatorSpec, ExecCalculatorSpec, MAX_DEAL_TIMEOUT, MAX_METRICS, MetricFault,
    RESERVED_METRICS, check_metrics,
};
use super::super::diagnostic::{Code, Path};
use super::Linter;

pub(super) fn check(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    for (name, spec) in &runbook.snapshots {
        let Some(calculator) = &spec.calculator else {
            continue;
        };
        let path = Path::root().key("snapshots").key(name);
        if spec.model.is_some() {
            linter.error(
                Code::Calculator,
                &path.key("model"),
                "`model` is the built-in model's, which `calculator` replaces",
                Some("remove one of the two".to_owned()),
            );
        }
        let path = path.key("calculator").key(calculator.kind());
        metrics(linter, calculator, &path);
        match calculator {
            CalculatorSpec::Exec(spec) => exec(linter, spec, &path),
        }
    }
}

fn metrics(linter: &mut Linter<'_>, calculator: &CalculatorSpec, path: &Path) {
    let path = path.key("metrics");
    let declared = calculator.metrics();
    let name = |index: usize| declared.get(index).map_or("", |metric| &metric.name);
    match check_metrics(declared) {
        Ok(()) => {}
        Err(MetricFault::Number) => linter.error(
            Code::Bounds,
            &path,
            format!(
                "{} metrics are declared, 1 to {MAX_METRICS} can be",
                declared.len()
            ),
            None,
        ),
        Err(MetricFault::Name(index)) => linter.error(
            Code::InvalidId,
            &path.index(index).key("name"),
            format!(
                "`{}` cannot name a metric: letters, digits and `_`, at most 64, and none of {}",
                name(index),
                RESERVED_METRICS.join(", ")
            ),
            None,
        ),
        Err(MetricFault::Twice(index)) => linter.error(
            Code::Duplicate,
            &path.index(index).key("name"),
            format!("metric `{}` is declared twice", name(index)),
            None,
        ),
    }
}

fn exec(linter: &mut Linter<'_>, spec: &ExecCalculatorSpec, path: &Path) {
    if spec
        .command
        .first()
        .is_none_or(|program| program.is_empty())
    {
        linter.error(
            Code::Calculator,
            &path.key("command"),
            "no program is named",
            Some("name it and its arguments: `[python3, model.py]`".to_owned()),
        );
    }
    if spec.timeout.as_millis() <= 0 || spec.timeout > MAX_DEAL_TIMEOUT {
        linter.error(
            Code::Bounds,
            &path.key("timeout"),
            format!(
                "{} per deal is not above 0 and at most {MAX_DEAL_TIMEOUT}",
                spec.timeout
            ),
            None,
        );
    }
}
