//! The `snapshot` step: captures the figures of all deals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::ids::FlagKey;
use rollbook_ledger::runbook::kind::SnapshotStep;
use rollbook_ledger::runbook::model::SnapshotSpec;
use rollbook_ledger::runbook::recorded;
use rollbook_proto::v1::{FlagMode, FlagSetting, Verdict, event::Kind};

use super::calculator::{calculator, inventory_query, rows_per_part};
use super::context::StepContext;
use super::deals::{count, failed, plan_error, spec_of};
use super::error::ExecutorError;
use super::flag;
use super::kind::Executor;
use super::outcome::Outcome;
use super::progress::Reporter;
use super::secret::resolve_source;
use super::shards;
use crate::snapshot::calculator::StopOnDrop;
use crate::snapshot::{DealTable, Progress, SnapshotRequest, SnapshotSource, take};

#[async_trait]
impl Executor for SnapshotStep {
    fn intent(&self, _: &StepContext) -> String {
        format!("take snapshot {} `{}`", self.of, self.label)
    }

    /// Takes a snapshot under the flag in force. `pass` means at most `max_errors` deals without
    /// figures, and at least one deal.
    async fn execute(&self, context: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        let spec = spec_of(context, &self.of)?;
        let source = resolve_source(
            context.plan.runbook(),
            &spec.source,
            context.environment.as_str(),
            context.tools.secrets.as_ref(),
        )?;
        let (aware, flags, flags_sequence) = flags_in_force(context, spec).await?;
        let calculator = calculator(
            &context.scope(),
            context.tools.calculators.as_ref(),
            spec,
            aware,
        )?;
        let _stop = StopOnDrop(Arc::clone(&calculator));
        let request = SnapshotRequest {
            name: self.of.clone(),
            label: self.label.clone(),
            source: SnapshotSource {
                table: DealTable {
                    table: spec.table.clone().unwrap_or_else(|| "deals".to_owned()),
                    ..DealTable::default()
                },
                inventory_query: inventory_query(&context.scope(), spec, &source.url)?,
                filter: spec.r#where.clone(),
                ..SnapshotSource::new(source.url)
            },
            calculator,
            flags,
            flags_sequence,
            taken_at: context.tools.clock.now(),
            rows_per_part: rows_per_part(spec),
            threads: None,
            connections: None,
        };
        let taken = match &context.tools.shards {
            Some(fleet) => shards::take(context, fleet.as_ref(), &request)
                .await
                .map_err(failed(context, "snapshot"))?,
            None => {
                let reporter = Reporter::new(context);
                let progress = |now: Progress| reporter.alone(now.done, now.total, now.errors);
                take(&request, &context.tools.evidence, &progress)
                    .await
                    .map_err(failed(context, "snapshot"))?
            }
        };
        let (deals, errors) = (taken.manifest.total, taken.manifest.errors);
        let rule = format!("at most {} deals without figures", self.max_errors);
        let verdict = if errors > self.max_errors {
            Verdict::Fail
        } else if deals == 0 {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        };
        let message = format!("{deals} deals, {errors} without figures");
        let mut outcome = Outcome::new(verdict, rule, message);
        outcome.measurements = vec![
            count(context, recorded::DEALS, deals),
            count(context, recorded::ERRORS, errors),
        ];
        outcome.evidence.push(taken.evidence.clone());
        let event = taken.to_event(context.step.as_str());
        outcome.details.push(Kind::SnapshotTaken(event));
        Ok(outcome)
    }
}

/// Whether deal types count, by the snapshot's flag; without a flag they do. Refuses a setting
/// under which some deals take the new path and some the old: that is not a state to snapshot.
async fn flags_in_force(
    context: &StepContext,
    spec: &SnapshotSpec,
) -> Result<(bool, BTreeMap<String, String>, u64), ExecutorError> {
    let Some(name) = &spec.awareness_flag else {
        return Ok((true, BTreeMap::new(), 0));
    };
    let key = FlagKey::new(name).map_err(|error| plan_error(error.to_string()))?;
    let unreadable = |reason: String| ExecutorError::Flag {
        key: name.clone(),
        environment: context.environment.to_string(),
        reason,
    };
    let reading = context
        .tools
        .flags
        .read(&context.environment, &key)
        .await
        .map_err(|error| unreadable(error.to_string()))?;
    // A flag that was never defined: applications that ask for it get their default, the old path.
    let (setting, sequence) = match reading {
        Some(reading) => (reading.setting, reading.sequence),
        None => (
            FlagSetting {
                mode: FlagMode::Off.into(),
                ..FlagSetting::default()
            },
            0,
        ),
    };
    let aware = match setting.mode() {
        FlagMode::On => true,
        FlagMode::Percentage if setting.percentage_millis == 100_000 => true,
        FlagMode::Percentage if setting.percentage_millis == 0 => false,
        FlagMode::Off | FlagMode::Parallel => false,
        FlagMode::Percentage | FlagMode::Beta | FlagMode::Unspecified => {
            return Err(unreadable(format!(
                "it is {}, so that deals follow different paths; take the snapshot with the flag on, off or parallel",
                flag::describe(&setting)
            )));
        }
    };
    let flags = BTreeMap::from([(name.clone(), flag::describe(&setting))]);
    Ok((aware, flags, sequence))
}
