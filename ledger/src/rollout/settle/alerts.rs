//! Alerts from the samples of watches: one per step and metric until a sample passes.

use rollbook_proto::v1::{self, event::Kind};

use super::super::state::RolloutState;
use crate::ids::StepId;
use crate::runbook::Step;

/// The severity a sample deserves, by what its watch made of it; `None`: it is well.
fn severity(step: &Step, sample: &v1::Measurement) -> Option<&'static str> {
    match sample.verdict() {
        v1::Verdict::Fail if step.critical => Some("critical"),
        v1::Verdict::Fail => Some("error"),
        v1::Verdict::Warning | v1::Verdict::Inconclusive | v1::Verdict::Error => Some("warning"),
        v1::Verdict::Pass
        | v1::Verdict::Unspecified
        | v1::Verdict::Skipped
        | v1::Verdict::NotApplicable => None,
    }
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
