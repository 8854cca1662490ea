//! Alerts from the samples of watches: one per step and metric. Only data that says so resolves
//! one; a sample without data, or one that no rule can judge, never does. What its watch leaves
//! open when it ends is marked as unwatched and stays open.

use rollbook_proto::v1::{self, event::Kind};

use super::super::state::{RolloutState, StepStatus};
use crate::ids::StepId;
use crate::measurement;
use crate::runbook::Step;

/// The severity a sample deserves, by what its watch made of it; `None`: it is well, or says nothing.
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

/// The sample says how things are.
fn is_data(sample: &v1::Measurement) -> bool {
    measurement::number(sample).is_some()
        && !matches!(
            sample.verdict(),
            v1::Verdict::Inconclusive | v1::Verdict::Error
        )
}

/// What a sample raises, makes worse or resolves.
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

/// Open alerts whose watch has ended, each marked once.
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
