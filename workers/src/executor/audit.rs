//! The `audit` step: audits the types of all deals.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::runbook::kind::AuditStep;
use rollbook_proto::v1::{AuditTaken, Verdict, event::Kind};

use super::context::StepContext;
use super::deals::failed;
use super::error::ExecutorError;
use super::kind::Executor;
use super::outcome::Outcome;
use super::secret::resolve_source;
use crate::audit::Audit;
use crate::snapshot::{DealTable, SnapshotSource};

/// The rule of an audit that cannot fail.
const RECORD_ONLY: &str = "the audit is recorded";

#[async_trait]
impl Executor for AuditStep {
    fn intent(&self, _: &StepContext) -> String {
        format!(
            "audit deal types of {} in source {}",
            self.table.as_deref().unwrap_or("deals"),
            self.source
        )
    }

    /// Audits deal types. Findings fail the step unless it only records them.
    async fn execute(&self, context: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        let source = resolve_source(
            context.plan.runbook(),
            &self.source,
            context.environment.as_str(),
            context.tools.secrets.as_ref(),
        )?;
        let source = SnapshotSource {
            table: DealTable {
                table: self.table.clone().unwrap_or_else(|| "deals".to_owned()),
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
            Verdict::Fail if self.record_only => (Verdict::Pass, RECORD_ONLY),
            verdict if self.record_only => (verdict, RECORD_ONLY),
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
}
