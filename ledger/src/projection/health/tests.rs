#![allow(clippy::unwrap_used)]

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{self, Commit, Event};

use super::*;
use crate::journal::StoredCommit;
use crate::projection::change::project;
use crate::projection::state::State;

/// Returns the health after these events, each in its own commit, on a started rollout with the
/// critical step `a`, the step `b` and the gate `1`.
fn after(events: Vec<Kind>) -> HealthRow {
    let step = |id: &str, critical| v1::StepOutline {
        id: id.to_owned(),
        kind: "run".to_owned(),
        critical,
        ..v1::StepOutline::default()
    };
    let opened = Kind::RolloutOpened(v1::RolloutOpened {
        outline: Some(v1::PlanOutline {
            phases: vec![v1::PhaseOutline {
                id: "1".to_owned(),
                steps: vec![step("a", true), step("b", false)],
                gate: true,
                ..v1::PhaseOutline::default()
            }],
            success_metrics: vec!["uptime".to_owned()],
            ..v1::PlanOutline::default()
        }),
        ..v1::RolloutOpened::default()
    });
    let mut state = State::default();
    let start = [opened, Kind::RolloutStarted(v1::RolloutStarted {})];
    for (kind, sequence) in start.into_iter().chain(events).zip(1..) {
        let stored = StoredCommit::new(
            sequence,
            jiff::Timestamp::UNIX_EPOCH,
            Commit {
                aggregate: "rollout".to_owned(),
                aggregate_id: "r".to_owned(),
                actor: Some(v1::Actor {
                    name: "cyd".to_owned(),
                    ..v1::Actor::default()
                }),
                events: vec![Event { kind: Some(kind) }],
                ..Commit::default()
            },
        );
        project(&mut state, &stored);
    }
    state.rollouts["r"].health.clone()
}

fn reasons(health: &HealthRow) -> Vec<(&str, u32)> {
    let deductions = health.deductions.iter();
    deductions.map(|d| (d.reason.as_str(), d.points)).collect()
}

fn started(step: &str, attempt: u32) -> Kind {
    Kind::StepStarted(v1::StepStarted {
        step_id: step.to_owned(),
        attempt,
        ..v1::StepStarted::default()
    })
}

fn finished(step: &str, verdict: v1::Verdict) -> Kind {
    Kind::StepFinished(v1::StepFinished {
        step_id: step.to_owned(),
        attempt: 1,
        verdict: verdict.into(),
        message: "exit 3".to_owned(),
        ..v1::StepFinished::default()
    })
}

fn alert(severity: &str) -> Kind {
    Kind::AlertRaised(v1::AlertRaised {
        alert_id: severity.to_owned(),
        severity: severity.to_owned(),
        ..v1::AlertRaised::default()
    })
}

fn compared(regressions: u64, warnings: u64) -> Kind {
    Kind::ComparisonMade(v1::ComparisonMade {
        snapshot: "costs".to_owned(),
        regressions,
        warnings,
        ..v1::ComparisonMade::default()
    })
}

fn rollback_started() -> Kind {
    Kind::RollbackStarted(v1::RollbackStarted {
        rollback_id: "b1".to_owned(),
        ..v1::RollbackStarted::default()
    })
}

#[test]
fn the_thresholds_of_each_status_are_exact() {
    for (score, status) in [
        (100, Health::Healthy),
        (90, Health::Healthy),
        (89, Health::NeedsAttention),
        (70, Health::NeedsAttention),
        (69, Health::Critical),
        (0, Health::Critical),
    ] {
        assert_eq!(status_of(score), status, "{score}");
    }
}

#[test]
fn a_started_rollout_without_trouble_is_healthy() {
    let health = after(vec![started("a", 1), finished("a", v1::Verdict::Pass)]);
    assert_eq!((health.status, health.score), (Health::Healthy, Some(100)));
}

#[test]
fn failures_weigh_by_the_step_they_are_in() {
    let health = after(vec![
        started("b", 1),
        finished("b", v1::Verdict::Error),
        started("a", 1),
        finished("a", v1::Verdict::Fail),
    ]);
    assert_eq!(
        reasons(&health),
        [("failed_critical_step", 40), ("failed_step", 15)]
    );
    assert_eq!((health.status, health.score), (Health::Critical, Some(45)));
    assert_eq!(
        health.deductions[0].message,
        "step a (critical) failed: exit 3"
    );
}

#[test]
fn an_inconclusive_result_is_not_a_pass() {
    let health = after(vec![
        started("a", 1),
        finished("a", v1::Verdict::Inconclusive),
    ]);
    assert_eq!(reasons(&health), [("inconclusive_check", 20)]);
    let health = after(vec![
        started("a", 1),
        finished("a", v1::Verdict::Unspecified),
    ]);
    assert_eq!(reasons(&health), [("inconclusive_check", 20)]);
}

#[test]
fn a_retry_cancels_the_deduction_for_the_failure() {
    let retried = Kind::StepRetried(v1::StepRetried {
        step_id: "a".to_owned(),
        ..v1::StepRetried::default()
    });
    let health = after(vec![
        started("a", 1),
        finished("a", v1::Verdict::Fail),
        retried,
    ]);
    assert_eq!(reasons(&health), []);
}

#[test]
fn an_interrupted_step_waits_for_a_person_unless_it_is_repeated() {
    let interrupted = |retry| {
        Kind::StepInterrupted(v1::StepInterrupted {
            step_id: "a".to_owned(),
            attempt: 1,
            reason: "worker died".to_owned(),
            retry,
            ..v1::StepInterrupted::default()
        })
    };
    let health = after(vec![started("a", 1), interrupted(false)]);
    assert_eq!(reasons(&health), [("interrupted_step", 15)]);
    let health = after(vec![started("a", 1), interrupted(true)]);
    assert_eq!(reasons(&health), []);
}

#[test]
fn alerts_weigh_by_severity() {
    let health = after(vec![
        alert("info"),
        alert("warning"),
        alert("error"),
        alert("critical"),
    ]);
    assert_eq!(
        reasons(&health),
        [("open_alert", 10), ("open_alert", 20), ("open_alert", 40)]
    );
}

#[test]
fn one_regression_is_critical_until_a_later_comparison_is_clean() {
    let health = after(vec![compared(1, 2)]);
    assert_eq!(
        reasons(&health),
        [("unresolved_regression", 31), ("comparison_warning", 5)]
    );
    let health = after(vec![compared(1, 0)]);
    assert_eq!(health.status, Health::Critical);
    assert_eq!(reasons(&after(vec![compared(1, 0), compared(0, 0)])), []);
}

#[test]
fn differences_that_no_rule_expects_count_until_a_later_comparison_has_none() {
    let compared = |unexpected, verdict: v1::Verdict| {
        Kind::ComparisonMade(v1::ComparisonMade {
            step_id: "a".to_owned(),
            snapshot: "deals".to_owned(),
            unexpected,
            verdict: verdict.into(),
            ..v1::ComparisonMade::default()
        })
    };
    let warned = compared(3, v1::Verdict::Warning);
    let health = after(vec![warned.clone()]);
    assert_eq!(reasons(&health), [("unexpected_difference", 10)]);
    let clean = compared(0, v1::Verdict::Pass);
    assert_eq!(reasons(&after(vec![warned, clean])), []);
    // Older events do not record a verdict of the rules.
    let before = compared(3, v1::Verdict::Unspecified);
    assert_eq!(reasons(&after(vec![before])), []);
}

#[test]
fn a_refusal_counts_until_the_person_signs() {
    let refused = Kind::SignOffRefused(v1::SignOffRefused {
        gate_id: "1".to_owned(),
        role: "lead".to_owned(),
        reason: "not yet".to_owned(),
    });
    let given = Kind::SignOffGiven(v1::SignOffGiven {
        gate_id: "1".to_owned(),
        role: "lead".to_owned(),
        ..v1::SignOffGiven::default()
    });
    let blocked = Kind::GateBlocked(v1::GateBlocked {
        gate_id: "1".to_owned(),
        reasons: vec!["refused".to_owned()],
        ..v1::GateBlocked::default()
    });
    let health = after(vec![refused.clone(), blocked]);
    assert_eq!(
        reasons(&health),
        [("blocked_gate", 10), ("refused_sign_off", 15)]
    );
    assert_eq!(reasons(&after(vec![refused, given])), []);
}

#[test]
fn a_rollback_is_critical_while_it_runs_and_when_it_failed() {
    let rollback_finished = |verdict: v1::Verdict| {
        Kind::RollbackFinished(v1::RollbackFinished {
            rollback_id: "b1".to_owned(),
            verdict: verdict.into(),
            ..v1::RollbackFinished::default()
        })
    };
    let running = after(vec![rollback_started()]);
    assert_eq!(reasons(&running), [("rollback_in_progress", 31)]);
    assert_eq!(running.status, Health::Critical);
    let passed = after(vec![
        rollback_started(),
        rollback_finished(v1::Verdict::Pass),
    ]);
    assert_eq!(reasons(&passed), []);
    let failed = after(vec![
        rollback_started(),
        rollback_finished(v1::Verdict::Fail),
    ]);
    assert_eq!(reasons(&failed), [("rollback_failed", 40)]);
}

#[test]
fn the_latest_audit_and_missed_metrics_count() {
    let audit = |health: &str| {
        Kind::AuditTaken(v1::AuditTaken {
            health: health.to_owned(),
            ..v1::AuditTaken::default()
        })
    };
    let missed = Kind::SuccessMetricRecorded(v1::SuccessMetricRecorded {
        metric: "uptime".to_owned(),
        target: "99.9".to_owned(),
        actual: "98".to_owned(),
        status: v1::Verdict::Fail.into(),
    });
    let health = after(vec![audit("NEEDS_ATTENTION"), audit("CRITICAL"), missed]);
    assert_eq!(
        reasons(&health),
        [("audit_critical", 40), ("missed_success_metric", 15)]
    );
    assert_eq!(
        reasons(&after(vec![audit("CRITICAL"), audit("HEALTHY")])),
        []
    );
}
