//! The health of a rollout: 100 points minus a deduction for each current problem.
//!
//! | Reason | Points | Until |
//! |---|---|---|
//! | `failed_critical_step` | 40 | retried, skipped or undone |
//! | `failed_step` | 15 | retried, skipped or undone |
//! | `inconclusive_check` | 10 (20 when critical) | retried, skipped or undone |
//! | `interrupted_step` | 15 | retried, skipped or undone |
//! | `undo_failed` | 40 | undone |
//! | `open_alert` | info 0, warning 10, error 20, critical 40; watched or not | resolved |
//! | `unresolved_regression` | 31 | a later comparison of the same snapshot has none |
//! | `unexpected_difference` | 10 | a later comparison of the same snapshot has none |
//! | `comparison_warning` | 5 | a later comparison of the same snapshot has none |
//! | `blocked_gate` | 10 | passed |
//! | `refused_sign_off` | 15 | the gate passes, the person signs off, or it is voided |
//! | `rollback_in_progress` | 31 | finished |
//! | `rollback_failed` | 40 | a later rollback passes |
//! | `rollback_not_verified` | 10 | a later rollback is verified |
//! | `rolled_back` | 15 | never: the rollout did not reach its goal |
//! | `audit_needs_attention` | 10 | a later audit is healthy |
//! | `audit_critical` | 40 | a later audit is better |
//! | `missed_success_metric` | 15 | recorded again as passed |
//! | `open_review` | 15 (31 when overdue) | another person reviews the broken glass |
//!
//! A deduction of 31 or more alone makes the status CRITICAL. The weights are this product's
//! choice: one fact that should stop a rollout must not be averaged away. HEALTHY is 90 and above,
//! NEEDS_ATTENTION 70 to 89, CRITICAL below; NO_DATA applies until the rollout is started.

use super::rows::{HealthRow, StepRow};
use super::state::RolloutRows;
use super::words::{
    AlertSeverity, Deduction, GateStatus, Health, RequestStatus, RolloutEnding, RolloutStatus,
    SignOffStatus, StepRowStatus, Verdict,
};

/// The lowest score that is HEALTHY.
pub const HEALTHY_FROM: u32 = 90;
/// The lowest score that is NEEDS_ATTENTION.
pub const NEEDS_ATTENTION_FROM: u32 = 70;

/// The health of a rollout, computed from its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthAssessment {
    /// Status of the score.
    pub status: Health,
    /// 0 to 100; absent if the status is `NO_DATA`.
    pub score: Option<u32>,
    /// Every deduction, in the order of the table above, then in plan or ledger order.
    pub deductions: Vec<Deduction>,
}

impl HealthAssessment {
    /// True if `row` records the same assessment.
    pub fn matches(&self, row: &HealthRow) -> bool {
        self.status == row.status && self.score == row.score && self.deductions == row.deductions.0
    }
}

/// Returns the status for a score.
pub fn status_of(score: u32) -> Health {
    if score >= HEALTHY_FROM {
        Health::Healthy
    } else if score >= NEEDS_ATTENTION_FROM {
        Health::NeedsAttention
    } else {
        Health::Critical
    }
}

/// Assesses a rollout from its rows.
pub fn assess(rollout: &RolloutRows) -> HealthAssessment {
    if rollout.rollout.started_at.is_none() && rollout.rollout.status == RolloutStatus::Open {
        return HealthAssessment {
            status: Health::NoData,
            score: None,
            deductions: Vec::new(),
        };
    }
    let mut deductions = Vec::new();
    steps(rollout, &mut deductions);
    alerts_and_comparisons(rollout, &mut deductions);
    gates(rollout, &mut deductions);
    rollbacks(rollout, &mut deductions);
    measurements(rollout, &mut deductions);
    reviews(rollout, &mut deductions);
    let lost: u32 = deductions.iter().map(|deduction| deduction.points).sum();
    let score = 100_u32.saturating_sub(lost);
    HealthAssessment {
        status: status_of(score),
        score: Some(score),
        deductions,
    }
}

fn deduct(
    deductions: &mut Vec<Deduction>,
    reason: &str,
    subject: &str,
    points: u32,
    message: String,
) {
    deductions.push(Deduction {
        reason: reason.to_owned(),
        subject: subject.to_owned(),
        points,
        message,
    });
}

fn steps(rollout: &RolloutRows, deductions: &mut Vec<Deduction>) {
    let mut wrong: Vec<(&StepRow, &str, u32, String)> = rollout
        .steps
        .values()
        .filter(|step| !step.dropped)
        .filter_map(|step| {
            let (reason, points, what) = judge_step(step)?;
            Some((step, reason, points, what))
        })
        .collect();
    wrong.sort_by_key(|(step, ..)| step.position);
    for (step, reason, points, what) in wrong {
        let message = if step.message.is_empty() {
            format!("step {} {what}", step.step)
        } else {
            format!("step {} {what}: {}", step.step, step.message)
        };
        deduct(deductions, reason, &step.step, points, message);
    }
}

fn judge_step(step: &StepRow) -> Option<(&'static str, u32, String)> {
    match (step.status, step.verdict) {
        (StepRowStatus::Finished, Some(Verdict::Fail | Verdict::Error)) if step.critical => {
            Some(("failed_critical_step", 40, "(critical) failed".to_owned()))
        }
        (StepRowStatus::Finished, Some(Verdict::Fail | Verdict::Error)) => {
            Some(("failed_step", 15, "failed".to_owned()))
        }
        (StepRowStatus::Finished, Some(Verdict::Inconclusive) | None) => Some((
            "inconclusive_check",
            if step.critical { 20 } else { 10 },
            "has no conclusive result".to_owned(),
        )),
        (StepRowStatus::Interrupted, _) => Some((
            "interrupted_step",
            15,
            format!(
                "was interrupted in attempt {}; what it did is not known",
                step.attempt
            ),
        )),
        (StepRowStatus::UndoFailed, _) => Some((
            "undo_failed",
            40,
            "could not be undone; its effect may still be there".to_owned(),
        )),
        _ => None,
    }
}

fn alerts_and_comparisons(rollout: &RolloutRows, deductions: &mut Vec<Deduction>) {
    for alert in &rollout.alerts {
        let points = match alert.severity {
            AlertSeverity::Info => continue,
            AlertSeverity::Warning => 10,
            AlertSeverity::Error => 20,
            AlertSeverity::Critical => 40,
        };
        let message = format!(
            "alert {} ({}) is open: {}",
            alert.alert,
            alert.severity,
            alert.raised.sentence()
        );
        deduct(deductions, "open_alert", &alert.alert, points, message);
    }
    for comparison in &rollout.comparisons {
        if comparison.regressions > 0 {
            deduct(
                deductions,
                "unresolved_regression",
                &comparison.snapshot,
                31,
                format!(
                    "the latest comparison of {} found {} regressions in {} figures",
                    comparison.snapshot, comparison.regressions, comparison.compared
                ),
            );
        }
        // Comparisons without a verdict predate this deduction.
        if comparison.unexpected > 0 && comparison.verdict.is_some() {
            deduct(
                deductions,
                "unexpected_difference",
                &comparison.snapshot,
                10,
                format!(
                    "in the latest comparison of {} {} deals differ as no rule expects",
                    comparison.snapshot, comparison.unexpected
                ),
            );
        }
        if comparison.warnings > 0 {
            deduct(
                deductions,
                "comparison_warning",
                &comparison.snapshot,
                5,
                format!(
                    "the latest comparison of {} found {} warnings in {} figures",
                    comparison.snapshot, comparison.warnings, comparison.compared
                ),
            );
        }
    }
}

fn gates(rollout: &RolloutRows, deductions: &mut Vec<Deduction>) {
    let mut blocked: Vec<_> = rollout
        .gates
        .values()
        .filter(|gate| !gate.dropped && gate.status == GateStatus::Blocked)
        .collect();
    blocked.sort_by_key(|gate| gate.position);
    for gate in blocked {
        deduct(
            deductions,
            "blocked_gate",
            &gate.gate,
            10,
            format!("gate {} is blocked: {}", gate.gate, gate.reasons.join("; ")),
        );
    }
    for (place, refusal) in rollout.sign_offs.iter().enumerate() {
        let is_open = rollout
            .gates
            .get(&refusal.gate)
            .is_some_and(|gate| !gate.dropped && gate.status != GateStatus::Passed);
        let has_later_word = rollout
            .sign_offs
            .iter()
            .skip(place + 1)
            .any(|later| later.gate == refusal.gate && later.person == refusal.person);
        if refusal.status == SignOffStatus::Refused && is_open && !has_later_word {
            deduct(
                deductions,
                "refused_sign_off",
                &refusal.gate,
                15,
                format!(
                    "{} refused to sign off gate {} as {}: {}",
                    refusal.person, refusal.gate, refusal.role, refusal.statement
                ),
            );
        }
    }
}

fn rollbacks(rollout: &RolloutRows, deductions: &mut Vec<Deduction>) {
    for rollback in &rollout.rollbacks {
        if rollback.finished_at.is_none() && rollback.verdict.is_none() {
            deduct(
                deductions,
                "rollback_in_progress",
                &rollback.rollback,
                31,
                format!(
                    "rollback {} is in progress: {}",
                    rollback.rollback, rollback.reason
                ),
            );
        }
    }
    let last = rollout
        .rollbacks
        .iter()
        .rev()
        .find(|rollback| rollback.verdict.is_some());
    if rollout.rollout.outcome == Some(RolloutEnding::RolledBack) {
        deduct(
            deductions,
            "rolled_back",
            &rollout.rollout.rollout,
            15,
            "the rollout was rolled back".to_owned(),
        );
    }
    if let Some(rollback) = last
        && rollback.verdict == Some(Verdict::Inconclusive)
    {
        deduct(
            deductions,
            "rollback_not_verified",
            &rollback.rollback,
            10,
            format!(
                "whether rollback {} undid everything is not known: {}",
                rollback.rollback, rollback.summary
            ),
        );
    } else if let Some(rollback) = last
        && rollback.verdict != Some(Verdict::Pass)
    {
        deduct(
            deductions,
            "rollback_failed",
            &rollback.rollback,
            40,
            format!(
                "rollback {} did not pass: {}",
                rollback.rollback, rollback.summary
            ),
        );
    }
}

fn reviews(rollout: &RolloutRows, deductions: &mut Vec<Deduction>) {
    for review in &rollout.requests {
        let points = match review.status {
            RequestStatus::Open => 15,
            RequestStatus::Overdue => 31,
            _ => continue,
        };
        deduct(
            deductions,
            "open_review",
            &review.request,
            points,
            format!(
                "{} used break-glass to {}: {}; somebody else must review it{}",
                review.made_by,
                review.what,
                review.reason,
                match (review.status, review.due_at) {
                    (RequestStatus::Overdue, Some(due)) => format!(", overdue since {due}"),
                    (_, Some(due)) => format!(" by {due}"),
                    _ => String::new(),
                }
            ),
        );
    }
}

fn measurements(rollout: &RolloutRows, deductions: &mut Vec<Deduction>) {
    if let Some(audit) = &rollout.audit {
        let points = match audit.health {
            Health::NeedsAttention => Some(("audit_needs_attention", 10)),
            Health::Critical => Some(("audit_critical", 40)),
            Health::Healthy | Health::NoData => None,
        };
        if let Some((reason, points)) = points {
            deduct(
                deductions,
                reason,
                &audit.step,
                points,
                format!(
                    "the latest audit says {}: {}.{} %, {} without a type, {} invalid",
                    audit.health,
                    audit.health_permille / 10,
                    audit.health_permille % 10,
                    audit.null_count,
                    audit.invalid_count
                ),
            );
        }
    }
    let mut missed: Vec<_> = rollout
        .metrics
        .values()
        .filter(|metric| matches!(metric.status, Some(Verdict::Fail | Verdict::Error)))
        .collect();
    missed.sort_by(|a, b| (a.position, &a.metric).cmp(&(b.position, &b.metric)));
    for metric in missed {
        deduct(
            deductions,
            "missed_success_metric",
            &metric.metric,
            15,
            format!(
                "success metric {} is {}, target {}",
                metric.metric, metric.actual, metric.target
            ),
        );
    }
}

#[cfg(test)]
mod tests;
