//! What computes the figures of a snapshot, as its declaration in the plan says.

use std::path::PathBuf;
use std::sync::Arc;

use rollbook_ledger::runbook::EnvValue;
use rollbook_ledger::runbook::calculator::{CalculatorSpec, ExecCalculatorSpec};
use rollbook_ledger::runbook::model::SnapshotSpec;

use super::context::Scope;
use super::error::ExecutorError;
use super::run;
use super::secret::describe;
use crate::calculators::Calculators;
use crate::snapshot::Calculator;
use crate::snapshot::exec::{ExecCalculator, ExecRequest, Program};
use crate::snapshot::plan::ROWS_PER_PART;
use crate::snapshot::query::{QueryCalculator, figures_query};

/// Deals of a shard that a program computes: it takes milliseconds for a deal, where the model and
/// queries take microseconds. Few deals are work for many workers, and a killed one loses little.
const ROWS_PER_PROGRAM_PART: u64 = 2_048;

/// The calculator of a snapshot, with deal types in force or not. On every worker with the same
/// plan, program and secrets it is the same: see [`crate::snapshot::calculator::CalculatorDescription`].
pub fn calculator(
    scope: &Scope<'_>,
    calculators: &dyn Calculators,
    spec: &SnapshotSpec,
    aware: bool,
) -> Result<Arc<dyn Calculator>, ExecutorError> {
    match &spec.calculator {
        None => built_in(calculators, spec, aware),
        Some(CalculatorSpec::Exec(exec)) => program(scope, exec, aware),
        Some(CalculatorSpec::Sql(sql)) => {
            let calculator = QueryCalculator::new(sql, aware).map_err(failed(scope))?;
            Ok(Arc::new(calculator))
        }
    }
}

/// Deals of one shard.
pub fn rows_per_part(spec: &SnapshotSpec) -> u64 {
    match &spec.calculator {
        Some(CalculatorSpec::Exec(_)) => ROWS_PER_PROGRAM_PART,
        _ => ROWS_PER_PART,
    }
}

/// What is read for every deal besides the deal: inventory items, or the figures of a query.
pub fn inventory_query(
    scope: &Scope<'_>,
    spec: &SnapshotSpec,
    database: &str,
) -> Result<Option<String>, ExecutorError> {
    match &spec.calculator {
        Some(CalculatorSpec::Sql(sql)) => figures_query(sql, database)
            .map(Some)
            .map_err(failed(scope)),
        _ => Ok(spec.inventory_query.clone()),
    }
}

fn failed<E: std::fmt::Display>(scope: &Scope<'_>) -> impl Fn(E) -> ExecutorError {
    let redactor = scope.redactor.clone();
    move |error| ExecutorError::Deals {
        what: "snapshot",
        reason: redactor.text(&error.to_string()),
    }
}

/// The built-in model, or the one that the snapshot names, with deal types in force or not.
fn built_in(
    calculators: &dyn Calculators,
    spec: &SnapshotSpec,
    aware: bool,
) -> Result<Arc<dyn Calculator>, ExecutorError> {
    let plan_error = |reason| ExecutorError::Plan { reason };
    let model = match &spec.model {
        None => None,
        Some(script) => Some(script.text().ok_or_else(|| {
            plan_error("the model file was not inlined when the plan was made".to_owned())
        })?),
    };
    calculators
        .built_in(model.map(str::as_bytes), aware)
        .map_err(plan_error)
}

/// A variable as it belongs to the model: of a reference, what it refers to, never its value.
fn described(value: &EnvValue) -> String {
    match value {
        EnvValue::Text(text) => text.clone(),
        EnvValue::Reference(reference) => describe(reference),
    }
}

/// A program gets the environment that a `run` step's command gets.
fn program(
    scope: &Scope<'_>,
    exec: &ExecCalculatorSpec,
    aware: bool,
) -> Result<Arc<dyn Calculator>, ExecutorError> {
    let env = run::environment(scope, &exec.env, &exec.env_sources)?;
    let redactor = scope.redactor.clone();
    let calculator = ExecCalculator::new(ExecRequest {
        program: Program {
            command: exec.command.clone(),
            directory: exec.directory.as_ref().map(PathBuf::from),
            env,
        },
        model_env: exec
            .env
            .iter()
            .map(|(name, value)| (name.clone(), described(value)))
            .collect(),
        file: exec.file.clone(),
        metrics: exec.metrics.clone(),
        timeout: exec.timeout.to_std(),
        deal_types: exec.deal_types && aware,
        redact: Arc::new(move |text| redactor.text(text)),
    })
    .map_err(failed(scope))?;
    Ok(Arc::new(calculator))
}
