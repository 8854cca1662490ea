//! What computes the figures of `snapshot take`.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollbook_ledger::runbook::calculator::{MetricDeclaration, MetricUnit};
use rollbook_workers::snapshot::exec::{ExecCalculator, ExecRequest, Program};
use rollbook_workers::snapshot::{Calculator, DealCalculator};

use super::data::{model_of, snapshot_failure};
use crate::args::SnapshotTakeArgs;
use crate::exit::Failure;

/// The model, or the command given in its place.
pub(super) fn of(args: &SnapshotTakeArgs) -> Result<Arc<dyn Calculator>, Failure> {
    let Some(command) = &args.exec else {
        let model = model_of(args.model.as_deref())?;
        let calculator = DealCalculator::new(model, !args.flag_off).map_err(Failure::usage)?;
        return Ok(Arc::new(calculator));
    };
    let metrics: Result<Vec<_>, _> = args.metrics.iter().map(|text| metric(text)).collect();
    let calculator = ExecCalculator::new(ExecRequest {
        program: Program {
            command: vec!["sh".to_owned(), "-c".to_owned(), command.clone()],
            directory: None,
            env: Vec::new(),
        },
        model_env: BTreeMap::new(),
        file: args.exec_file.clone(),
        metrics: metrics?,
        timeout: args.exec_timeout.to_std(),
        deal_types: !args.flag_off,
        redact: Arc::new(str::to_owned),
    });
    Ok(Arc::new(calculator.map_err(snapshot_failure)?))
}

/// `cost_total:cents`.
fn metric(text: &str) -> Result<MetricDeclaration, Failure> {
    let wanted = |reason: &str| {
        Failure::usage(format!(
            "RB-CLI-66: --metrics {text:?}: {reason}; write NAME:cents or NAME:count"
        ))
    };
    let (name, unit) = text
        .split_once(':')
        .ok_or_else(|| wanted("it has no unit"))?;
    let unit = [MetricUnit::Cents, MetricUnit::Count]
        .into_iter()
        .find(|known| known.as_str() == unit)
        .ok_or_else(|| wanted("the unit is unknown"))?;
    Ok(MetricDeclaration {
        name: name.to_owned(),
        unit,
    })
}
