//! The `compare` step: compares two snapshots of the rollout.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::runbook::kind::CompareStep;
use rollbook_ledger::runbook::recorded;
use rollbook_proto::v1::event::Kind;

use super::context::StepContext;
use super::deals::{count, failed, plan_error, spec_of};
use super::error::ExecutorError;
use super::kind::Executor;
use super::outcome::Outcome;
use super::shards;
use crate::compare::declaration::{PresenceCount, Ratio};
use crate::compare::{ComparisonResult, Rules};
use crate::snapshot::Snapshot;

/// The tolerance for guarded figures when the step gives none, in percent.
const DEFAULT_TOLERANCE_PERCENT: f64 = 5.0;

#[async_trait]
impl Executor for CompareStep {
    fn intent(&self, _: &StepContext) -> String {
        format!(
            "compare snapshot {} `{}` with `{}`",
            self.of, self.before, self.after
        )
    }

    /// Compares two snapshots of this rollout. The verdict of the rules is the verdict of the step.
    async fn execute(&self, context: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        let spec = spec_of(context, &self.of)?;
        let before = capture(context, &self.of, &self.before).await?;
        let after = capture(context, &self.of, &self.after).await?;
        let declared = context.tools.calculators.declaration();
        let rules = match (&spec.rules, self.tolerance_percent) {
            (Some(rules), _) => Rules::from_plan(rules, declared.as_ref()).map_err(|error| {
                plan_error(format!(
                    "`snapshots.{}.rules` are not rules: {error}",
                    self.of
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
        for name in measures.presences.iter().flat_map(PresenceCount::figures) {
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
