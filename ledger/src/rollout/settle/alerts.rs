//! Alerts from the samples of watches: one per step and metric until a sample passes.

use rollbook_proto::v1::{self, event::Kind};

use super::super::state::RolloutState;
use crate::ids::StepId;
use crate::runbook::{Action, Expr, Step};

/// The severity a sample deserves; `None`: it is well.
fn severity(step: &Step, sample: &v1::Measurement) -> Option<&'static str> {
    match sample.verdict() {
        v1::Verdict::Fail if step.critical => return Some("critical"),
        v1::Verdict::Fail => return Some("error"),
        v1::Verdict::Inconclusive | v1::Verdict::Error => return Some("warning"),
        v1::Verdict::Pass
        | v1::Verdict::Unspecified
        | v1::Verdict::Skipped
        | v1::Verdict::NotApplicable => {}
    }
    let Action::Watch(watch) = &step.action else {
        return None;
    };
    let value = sample.value?;
    watch
        .thresholds
        .iter()
        .filter(|threshold| threshold.metric == sample.metric)
        .filter_map(|threshold| threshold.warn.as_deref())
        .any(|warn| {
            Expr::parse(warn).is_ok_and(|expr| {
                expr.evaluate(&|name| (name == "value").then_some(value)) == Ok(true)
            })
        })
        .then_some("warning")
}

/// What a sample raises or resolves.
pub(crate) fn after_sample(
    state: &RolloutState,
    step: &Step,
    id: &StepId,
    sample: &v1::Measurement,
) -> Vec<Kind> {
    let standing = state.alerts.get(&(id.clone(), sample.metric.clone()));
    let severity = severity(step, sample);
    let mut kinds = Vec::new();
    if let Some(alert) = standing {
        if severity == Some(alert.severity.as_str()) {
            return kinds;
        }
        kinds.push(Kind::AlertResolved(v1::AlertResolved {
            alert_id: alert.id.clone(),
            measurement: Some(sample.clone()),
        }));
    }
    if let Some(severity) = severity {
        kinds.push(Kind::AlertRaised(v1::AlertRaised {
            alert_id: format!("alert-{}", state.alerts_raised.saturating_add(1)),
            severity: severity.to_owned(),
            step_id: id.to_string(),
            measurement: Some(sample.clone()),
        }));
    }
    kinds
}
