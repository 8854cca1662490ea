//! The `snapshot`, `compare` and `audit` actions: what they read and what they record.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::ids::FlagKey;
use rollbook_ledger::runbook::kind::{AuditStep, CompareStep, SnapshotStep};
use rollbook_ledger::runbook::model::SnapshotSpec;
use rollbook_ledger::runbook::recorded;
use rollbook_proto::v1::{AuditTaken, FlagMode, FlagSetting, Verdict, event::Kind};

use super::calculator::{calculator, inventory_query, rows_per_part};
use super::context::StepContext;
use super::error::ExecutorError;
use super::flag;
use super::outcome::Outcome;
use super::progress::Reporter;
use super::secret::resolve_source;
use super::shards;
use crate::audit::Audit;
use crate::compare::declaration::{Presence, Ratio};
use crate::compare::{ComparisonResult, Rules};
use crate::snapshot::calculator::StopOnDrop;
use crate::snapshot::{DealTable, Progress, Snapshot, SnapshotRequest, SnapshotSource, take};

fn plan_error(reason: impl Into<String>) -> ExecutorError {
    ExecutorError::Plan {
        reason: reason.into(),
    }
}

fn failed<'a, E: std::fmt::Display>(
    context: &'a StepContext,
    what: &'static str,
) -> impl Fn(E) -> ExecutorError + 'a {
    move |error| ExecutorError::Deals {
        what,
        reason: context.redactor.text(&error.to_string()),
    }
}

fn spec_of<'a>(context: &'a StepContext, name: &str) -> Result<&'a SnapshotSpec, ExecutorError> {
    let snapshots = &context.plan.runbook().snapshots;
    snapshots.get(name).ok_or_else(|| {
        plan_error(format!(
            "snapshot `{name}` is not declared; add it to `snapshots`"
        ))
    })
}

/// Takes a snapshot under the flag in force. `pass` means at most `max_errors` deals without
/// figures, and at least one deal.
pub async fn snapshot(
    context: &StepContext,
    step: &SnapshotStep,
) -> Result<Outcome, ExecutorError> {
    let spec = spec_of(context, &step.of)?;
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
        name: step.of.clone(),
        label: step.label.clone(),
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
    let rule = format!("at most {} deals without figures", step.max_errors);
    let verdict = if errors > step.max_errors {
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

fn count(context: &StepContext, name: &str, value: u64) -> rollbook_proto::v1::Measurement {
    context.number(name, Decimal::from(value), "deals")
}

/// Compares two snapshots of this rollout. The verdict of the rules is the verdict of the step.
pub async fn compare(context: &StepContext, step: &CompareStep) -> Result<Outcome, ExecutorError> {
    let spec = spec_of(context, &step.of)?;
    let before = capture(context, &step.of, &step.before).await?;
    let after = capture(context, &step.of, &step.after).await?;
    let declared = context.tools.calculators.declaration();
    let rules = match (&spec.rules, step.tolerance_percent) {
        (Some(rules), _) => Rules::from_plan(rules, declared.as_ref()).map_err(|error| {
            plan_error(format!(
                "`snapshots.{}.rules` are not rules: {error}",
                step.of
            ))
        })?,
        (None, tolerance) => {
            let text = tolerance.unwrap_or(DEFAULT_TOLERANCE_PERCENT).to_string();
            let tolerance =
                Rules::tolerance(&text).map_err(|error| plan_error(error.to_string()))?;
            declared.default_rules(tolerance)
        }
    };
    let made = shards::compare(context, (&before, &after), &rules, shards::MIN_FLEET_DEALS)
        .await
        .map_err(failed(context, "compare"))?;
    let result = &made.result;
    let figures = &result.figures;
    let mut outcome = Outcome::new(
        result.verdict(),
        "no regression by the comparison rules",
        format!(
            "{} deals compared, {} equal, {} regressions, {} warnings, {} as expected, {} unexpected, {} missing, {} added, {} without figures on both sides{}",
            result.compared,
            result.equal,
            result.regressions,
            result.warnings,
            result.expected,
            result.unexpected,
            result.missing,
            result.added,
            result.errors,
            uncomputed(result),
        ),
    );
    for (name, value) in [
        (recorded::REGRESSIONS, result.regressions),
        (recorded::WARNINGS, result.warnings),
        (recorded::COMPARED, result.compared),
        (recorded::EQUAL, result.equal),
        (recorded::MISSING, result.missing),
        (recorded::ADDED, result.added),
        // A deal in error on one side only is a regression of its own.
        (
            recorded::ERRORS,
            result.before.errors.max(result.after.errors),
        ),
        (recorded::UNEXPECTED, result.unexpected),
    ] {
        outcome.measurements.push(count(context, name, value));
    }
    let measures = declared.measures();
    for name in measures.presences.iter().flat_map(Presence::figures) {
        let number = match figures.deals(&name) {
            Some(deals) => count(context, &name, deals),
            None => context.no_data(&name),
        };
        outcome.measurements.push(number);
    }
    let worst = figures.worst_change_percent;
    for (name, value) in [
        (recorded::AFFECTED_PERCENT, result.affected_percent()),
        (recorded::WORST_CHANGE_PERCENT, worst),
    ] {
        outcome.measurements.push(context.number(name, value, "%"));
    }
    for name in measures.ratios.iter().flat_map(Ratio::figures) {
        let number = context.number(&name, figures.ratio(&name), "");
        outcome.measurements.push(number);
    }
    outcome.evidence.push(made.evidence.clone());
    let event = made.to_event(context.step.as_str());
    outcome.details.push(Kind::ComparisonMade(event));
    Ok(outcome)
}

/// The first deals without figures on both sides, with the reasons: `: d-7 (RB-DEAL-3: …)`.
fn uncomputed(result: &ComparisonResult) -> String {
    let deals: Vec<String> = result
        .uncomputed
        .iter()
        .map(|deal| {
            if deal.before == deal.after {
                format!("{} ({})", deal.deal_id, deal.before)
            } else {
                format!("{} ({}; after: {})", deal.deal_id, deal.before, deal.after)
            }
        })
        .collect();
    match deals.as_slice() {
        [] => String::new(),
        deals => format!(": {}", deals.join(", ")),
    }
}

/// The tolerance for guarded figures when the step gives none, in percent.
const DEFAULT_TOLERANCE_PERCENT: f64 = 5.0;

async fn capture(context: &StepContext, of: &str, label: &str) -> Result<Snapshot, ExecutorError> {
    let key = (of.to_owned(), label.to_owned());
    let manifest = context.facts.manifests.get(&key).ok_or_else(|| {
        plan_error(format!(
            "snapshot {of} `{label}` has not been taken in this rollout; run the step that takes it first"
        ))
    })?;
    Snapshot::open(&context.tools.evidence, &manifest.sha256)
        .await
        .map_err(failed(context, "compare"))
}

/// The rule of an audit that cannot fail.
const RECORD_ONLY: &str = "the audit is recorded";

/// Audits deal types. Findings fail the step unless it only records them.
pub async fn audit_types(
    context: &StepContext,
    step: &AuditStep,
) -> Result<Outcome, ExecutorError> {
    let source = resolve_source(
        context.plan.runbook(),
        &step.source,
        context.environment.as_str(),
        context.tools.secrets.as_ref(),
    )?;
    let source = SnapshotSource {
        table: DealTable {
            table: step.table.clone().unwrap_or_else(|| "deals".to_owned()),
            ..DealTable::default()
        },
        ..SnapshotSource::new(source.url)
    };
    let taken_at = context.tools.clock.now();
    let Audit {
        verdict,
        rule,
        message,
        measurements,
        report,
        media_type,
        event,
    } = context
        .tools
        .auditor
        .audit(&source, taken_at)
        .await
        .map_err(failed(context, "audit"))?;
    let evidence = context
        .keep(report, media_type, "audit.json", false)
        .await?;
    let (verdict, rule) = match verdict {
        Verdict::Fail if step.record_only => (Verdict::Pass, RECORD_ONLY),
        verdict if step.record_only => (verdict, RECORD_ONLY),
        verdict => (verdict, rule),
    };
    let mut outcome = Outcome::new(verdict, rule, message);
    let numbers = measurements.into_iter();
    outcome.measurements = numbers
        .map(|(name, value, unit)| context.number(name, value, unit))
        .collect();
    outcome.evidence.extend(evidence.clone());
    outcome.details.push(Kind::AuditTaken(AuditTaken {
        step_id: context.step.as_str().to_owned(),
        report: evidence,
        ..event
    }));
    Ok(outcome)
}
