//! The calculator of `snapshot take`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rollbook_deals::{DealCalculator, Model};
use rollbook_ledger::error_code::Coded;
use rollbook_ledger::runbook::calculator::{MetricDeclaration, MetricUnit, SqlCalculatorSpec};
use rollbook_workers::snapshot::Calculator;
use rollbook_workers::snapshot::exec::{ExecCalculator, ExecRequest, Program};
use rollbook_workers::snapshot::query::{QueryCalculator, figures_query};

use super::evidence_store::snapshot_failure;
use crate::args::SnapshotTakeArgs;
use crate::exit::{Exit, Failure};

/// The model, or the command or query given instead, and what the latter reads.
pub(super) fn of(
    args: &SnapshotTakeArgs,
) -> Result<(Arc<dyn Calculator>, Option<String>), Failure> {
    let metrics: Result<Vec<_>, _> = args.metrics.iter().map(|text| metric(text)).collect();
    let metrics = metrics?;
    if let Some(query) = &args.sql {
        let spec = SqlCalculatorSpec {
            query: query.clone(),
            key: "id".to_owned(),
            metrics,
        };
        let figures = figures_query(&spec, &args.database).map_err(snapshot_failure)?;
        let calculator = QueryCalculator::new(&spec, !args.flag_off).map_err(snapshot_failure)?;
        return Ok((Arc::new(calculator), Some(figures)));
    }
    let Some(command) = &args.exec else {
        let model = model_of(args.model.as_deref())?;
        let calculator = DealCalculator::new(model, !args.flag_off).map_err(Failure::usage)?;
        return Ok((Arc::new(calculator), None));
    };
    let env: Result<Vec<_>, _> = args.exec_env.iter().map(|name| variable(name)).collect();
    let calculator = ExecCalculator::new(ExecRequest {
        program: Program {
            command: vec!["sh".to_owned(), "-c".to_owned(), command.clone()],
            directory: None,
            env: env?,
        },
        model_env: BTreeMap::new(),
        file: args.exec_file.clone(),
        metrics,
        timeout: args.exec_timeout.to_std(),
        deal_types: !args.flag_off,
        redact: Arc::new(str::to_owned),
    });
    Ok((Arc::new(calculator.map_err(snapshot_failure)?), None))
}

/// The model from a file; without one, the built-in model.
pub(super) fn model_of(file: Option<&Path>) -> Result<Model, Failure> {
    let Some(file) = file else {
        return Ok(Model::built_in());
    };
    let bytes = std::fs::read(file).map_err(|error| unreadable(file, error))?;
    Model::from_json(&bytes).map_err(|error| {
        Failure::whole(
            Exit::Usage,
            error.code(),
            format!("{}: {error}", file.display()),
        )
    })
}

/// A file given on the command line that cannot be read.
pub(super) fn unreadable(file: &Path, reason: impl std::fmt::Display) -> Failure {
    Failure::own(
        Exit::Usage,
        "RB-CLI-60",
        format!("{}: cannot be read: {reason}", file.display()),
    )
}

/// A variable of this shell with its value.
fn variable(name: &str) -> Result<(String, String), Failure> {
    let value = std::env::var(name).map_err(|error| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-67",
            format!("--exec-env {name}: {error}"),
        )
    })?;
    Ok((name.to_owned(), value))
}

/// `cost_total:cents`.
fn metric(text: &str) -> Result<MetricDeclaration, Failure> {
    let wanted = |reason: &str| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-66",
            format!("--metrics {text:?}: {reason}; write NAME:cents, NAME:count or NAME:text"),
        )
    };
    let (name, unit) = text
        .split_once(':')
        .ok_or_else(|| wanted("it has no unit"))?;
    let unit = MetricUnit::ALL
        .into_iter()
        .find(|known| known.as_str() == unit)
        .ok_or_else(|| wanted("the unit is unknown"))?;
    Ok(MetricDeclaration {
        name: name.to_owned(),
        unit,
    })
}
