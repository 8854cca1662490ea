//! Calculators of snapshots.

use super::super::calculator::{
    CalculatorSpec, ExecCalculatorSpec, MAX_DEAL_TIMEOUT, MetricFault, SqlCalculatorSpec,
    check_metrics,
};
use super::super::diagnostic::{Code, Path};
use super::super::model::SnapshotSpec;
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
            CalculatorSpec::Sql(sql) => query(linter, sql, &path, (name, spec)),
        }
    }
}

fn metrics(linter: &mut Linter<'_>, calculator: &CalculatorSpec, path: &Path) {
    let path = path.key("metrics");
    let declared = calculator.metrics();
    let Err(fault) = check_metrics(declared) else {
        return;
    };
    let (code, path) = match fault {
        MetricFault::Number => (Code::Bounds, path),
        MetricFault::Name(index) => (Code::InvalidId, path.index(index).key("name")),
        MetricFault::Twice(index) => (Code::Duplicate, path.index(index).key("name")),
    };
    linter.error(code, &path, fault.describe(declared), None);
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

fn query(
    linter: &mut Linter<'_>,
    sql: &SqlCalculatorSpec,
    path: &Path,
    (name, snapshot): (&str, &SnapshotSpec),
) {
    for (key, text) in [("query", &sql.query), ("key", &sql.key)] {
        if text.trim().is_empty() {
            let message = format!("`{key}` is empty");
            linter.error(Code::Calculator, &path.key(key), message, None);
        }
    }
    if snapshot.inventory_query.is_some() {
        let at = Path::root().key("snapshots").key(name);
        linter.error(
            Code::Calculator,
            &at.key("inventory_query"),
            "the figures come from a query, so that no inventory is read",
            Some("remove `inventory_query`".to_owned()),
        );
    }
}
