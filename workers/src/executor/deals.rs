//! What the steps about deals share: the snapshots of the plan, errors and counts.

use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::runbook::model::SnapshotSpec;
use rollbook_proto::v1::Measurement;

use super::context::StepContext;
use super::error::ExecutorError;

pub(super) fn plan_error(reason: impl Into<String>) -> ExecutorError {
    ExecutorError::Plan {
        reason: reason.into(),
    }
}

pub(super) fn failed<'a, E: std::fmt::Display>(
    context: &'a StepContext,
    what: &'static str,
) -> impl Fn(E) -> ExecutorError + 'a {
    move |error| ExecutorError::Deals {
        what,
        reason: context.redactor.text(&error.to_string()),
    }
}

pub(super) fn spec_of<'a>(
    context: &'a StepContext,
    name: &str,
) -> Result<&'a SnapshotSpec, ExecutorError> {
    let snapshots = &context.plan.runbook().snapshots;
    snapshots.get(name).ok_or_else(|| {
        plan_error(format!(
            "snapshot `{name}` is not declared; add it to `snapshots`"
        ))
    })
}

pub(super) fn count(context: &StepContext, name: &str, value: u64) -> Measurement {
    context.number(name, Decimal::from(value), "deals")
}
