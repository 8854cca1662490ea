//! Alerts from the samples of watches, one per step and metric. An alert is resolved only by data
//! that says so, never by a sample without data or one that no rule can judge. An alert still open
//! when its watch ends is marked as unwatched and stays open.

use rollbook_proto::v1::{self, event::Kind};

use super::super::state::{RolloutState, StepStatus};
use crate::ids::StepId;
use crate::measurement;
use crate::runbook::Step;

/// Returns the severity of a sample by its watch's verdict; `None` if it is fine or has no verdict.
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

fn rank(severity: &str) -> u8 {
    match severity {
        "critical" => 3,
        "error" => 2,
        "warning" => 1,
        _ => 0,
    }
}

/// True if the sample carries a judged value.
fn is_data(sample: &v1::Measurement) -> bool {
    measurement::number(sample).is_some()
        && !matches!(
            sample.verdict(),
            v1::Verdict::Inconclusive | v1::Verdict::Error
        )
}

/// Returns the alert events caused by a sample: raised, made more severe, or resolved.
pub(crate) fn after_sample(
    state: &RolloutState,
    step: &Step,
    id: &StepId,
    sample: &v1::Measurement,
) -> Vec<Kind> {
    let raise = |alert_id: String, severity: &str| {
        Kind::AlertRaised(v1::AlertRaised {
            alert_id,
            severity: severity.to_owned(),
            step_id: id.to_string(),
            measurement: Some(sample.clone()),
        })
    };
    let new_id = || format!("alert-{}", state.alerts_raised.saturating_add(1));
    let standing = state.alerts.get(&(id.clone(), sample.metric.clone()));
    match (standing, severity(step, sample)) {
        (None, None) => Vec::new(),
        (None, Some(severity)) => vec![raise(new_id(), severity)],
        (Some(alert), Some(severity)) if alert.severity == severity => Vec::new(),
        (Some(alert), Some(severity)) if rank(severity) > rank(&alert.severity) => {
            vec![raise(alert.id.clone(), severity)]
        }
        (Some(_), _) if !is_data(sample) => Vec::new(),
        (Some(alert), better) => {
            let resolved = Kind::AlertResolved(v1::AlertResolved {
                alert_id: alert.id.clone(),
                measurement: Some(sample.clone()),
            });
            let raised = better.map(|severity| raise(new_id(), severity));
            std::iter::once(resolved).chain(raised).collect()
        }
    }
}

/// Marks open alerts whose watch has ended, once each.
pub(super) fn unwatched(state: &RolloutState) -> Vec<Kind> {
    if state.status.is_closed() {
        return Vec::new();
    }
    state
        .alerts
        .iter()
        .filter(|(_, alert)| !alert.unwatched)
        .filter_map(|((step, _), alert)| {
            let at = state.step(step);
            let attempt = at.map_or(0, |at| at.attempt);
            at.is_none_or(|at| at.status != StepStatus::Running)
                .then(|| {
                    Kind::AlertUnwatched(v1::AlertUnwatched {
                        alert_id: alert.id.clone(),
                        step_id: step.to_string(),
                        attempt,
                    })
                })
        })
        .collect()
}
