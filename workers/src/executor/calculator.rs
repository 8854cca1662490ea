//! Builds the calculator of a snapshot from its declaration in the plan.

use std::path::PathBuf;
use std::sync::Arc;

use rollbook_ledger::runbook::EnvValue;
use rollbook_ledger::runbook::calculator::{CalculatorSpec, ExecCalculatorSpec};
use rollbook_ledger::runbook::model::SnapshotSpec;

use super::context::StepScope;
use super::error::ExecutorError;
use super::run;
use super::secret::describe;
use crate::calculators::Calculators;
use crate::snapshot::Calculator;
use crate::snapshot::exec::{ExecCalculator, ExecRequest, Program};
use crate::snapshot::plan::ROWS_PER_PART;
use crate::snapshot::query::{QueryCalculator, figures_query};

/// Deals per shard when a program computes them. A program takes milliseconds per deal, where the
/// model and queries take microseconds: small shards give many workers work, and little is lost
/// when one is killed.
const ROWS_PER_PROGRAM_PART: u64 = 2_048;

/// Builds the calculator of a snapshot, with or without deal-type awareness.
///
/// Every worker with the same plan, program and secrets builds the same one: see
/// [`crate::snapshot::calculator::CalculatorDescription`].
pub fn calculator(
    scope: &StepScope<'_>,
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

/// Deals per shard.
pub fn rows_per_part(spec: &SnapshotSpec) -> u64 {
    match &spec.calculator {
        Some(CalculatorSpec::Exec(_)) => ROWS_PER_PROGRAM_PART,
        _ => ROWS_PER_PART,
    }
}

/// The query read for every deal besides the deal itself: inventory items, or the figures of a
/// query.
pub fn inventory_query(
    scope: &StepScope<'_>,
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

fn failed<E: std::fmt::Display>(scope: &StepScope<'_>) -> impl Fn(E) -> ExecutorError {
    let redactor = scope.redactor.clone();
    move |error| ExecutorError::Deals {
        what: "snapshot",
        reason: redactor.text(&error.to_string()),
    }
}

/// The built-in model, or the one that the snapshot names, with or without deal-type awareness.
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

/// A variable as part of the model: a secret reference stands for what it refers to, never its
/// value.
fn described(value: &EnvValue) -> String {
    match value {
        EnvValue::Text(text) => text.clone(),
        EnvValue::Reference(reference) => describe(reference),
    }
}

/// The program to start, with the environment that the command of a `run` step gets.
fn program(
    scope: &StepScope<'_>,
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
