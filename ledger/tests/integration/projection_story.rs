//! The history of one rollout: a failure, a retry, sign-offs, a regression, a rollback.

use rollbook_ledger::proto::v1;
use rollbook_ledger::proto::v1::event::Kind;

use crate::projection_history::{
    History, changed, compared, defined, evidence, finished, flag, measurement, opened, rollout,
    setting, signed, started,
};

/// Returns a legal rollout in which a regression is found, leads to advice, and is rolled back.
pub fn story() -> History {
    let mut history = History::default();
    let r = rollout("r1");
    let f = flag("production", "DEAL_TYPE");
    let off = || setting(v1::FlagMode::Off, 0);
    let some = || setting(v1::FlagMode::Percentage, 12_500);
    history.push(&f, "ada", vec![defined("production", "DEAL_TYPE")]);
    history.push(&r, "ada", vec![opened()]);
    history.push(&r, "ada", vec![Kind::RolloutStarted(v1::RolloutStarted {})]);
    history.push(&r, "worker", vec![started("1.1", 1)]);
    history.push(&r, "worker", vec![finished("1.1", 1, v1::Verdict::Fail)]);
    history.push(
        &r,
        "bob",
        vec![Kind::StepRetried(v1::StepRetried {
            step_id: "1.1".to_owned(),
            reason: "disk cleared".to_owned(),
            not_before: None,
            recheck: false,
        })],
    );
    history.push(&r, "worker", vec![started("1.1", 2)]);
    history.push(&r, "worker", vec![finished("1.1", 2, v1::Verdict::Pass)]);
    history.push(&r, "bob", vec![finished("1.2", 1, v1::Verdict::Pass)]);
    history.push(
        &r,
        "cyd",
        vec![Kind::SignOffRefused(v1::SignOffRefused {
            gate_id: "1".to_owned(),
            role: "lead".to_owned(),
            reason: "no backup seen".to_owned(),
        })],
    );
    history.push(&r, "cyd", vec![signed("1", "lead")]);
    history.push(
        &r,
        "orchestrator",
        vec![Kind::GatePassed(v1::GatePassed {
            gate_id: "1".to_owned(),
            reasons: vec!["1 of 1 lead".to_owned()],
        })],
    );
    history.push(&f, "worker", vec![changed(off(), some(), "r1")]);
    history.push(&r, "worker", vec![started("2.1", 1)]);
    history.push(&r, "worker", vec![finished("2.1", 1, v1::Verdict::Pass)]);
    history.push(&r, "worker", vec![started("2.2", 1)]);
    for (value, verdict) in [(1.5, v1::Verdict::Pass), (7.25, v1::Verdict::Fail)] {
        history.push(
            &r,
            "worker",
            vec![Kind::StepMeasured(v1::StepMeasured {
                step_id: "2.2".to_owned(),
                attempt: 1,
                measurement: Some(measurement("rate", Some(value), verdict)),
            })],
        );
    }
    history.push(
        &r,
        "worker",
        vec![Kind::AlertRaised(v1::AlertRaised {
            alert_id: "errors".to_owned(),
            severity: "critical".to_owned(),
            step_id: "2.2".to_owned(),
            measurement: Some(measurement("rate", Some(7.25), v1::Verdict::Fail)),
        })],
    );
    history.push(
        &r,
        "worker",
        vec![
            finished("2.2", 1, v1::Verdict::Fail),
            Kind::SnapshotTaken(v1::SnapshotTaken {
                step_id: "2.2".to_owned(),
                snapshot: "costs".to_owned(),
                label: "after".to_owned(),
                manifest: Some(evidence("manifest")),
                deals: 5_000,
                errors: 1,
                flags_sequence: 13,
                ..v1::SnapshotTaken::default()
            }),
            compared("costs", 30),
            Kind::AuditTaken(v1::AuditTaken {
                step_id: "2.2".to_owned(),
                total: 10,
                active: 9,
                health_permille: 899,
                health: "NEEDS_ATTENTION".to_owned(),
                ..v1::AuditTaken::default()
            }),
        ],
    );
    history
}

/// Appends the rest of the story: the rollback.
pub fn ending(history: &mut History) {
    let r = rollout("r1");
    let f = flag("production", "DEAL_TYPE");
    history.push(
        &r,
        "bob",
        vec![Kind::RollbackStarted(v1::RollbackStarted {
            rollback_id: "b1".to_owned(),
            level: v1::RollbackLevel::Flags.into(),
            reason: "7 % regression".to_owned(),
            undo_steps: vec!["2.1".to_owned()],
            ..v1::RollbackStarted::default()
        })],
    );
    history.push(
        &f,
        "bob",
        vec![changed(
            setting(v1::FlagMode::Percentage, 12_500),
            setting(v1::FlagMode::Off, 0),
            "r1",
        )],
    );
    history.push(
        &r,
        "worker",
        vec![
            Kind::RollbackFinished(v1::RollbackFinished {
                rollback_id: "b1".to_owned(),
                verdict: v1::Verdict::Pass.into(),
                summary: "flag off".to_owned(),
                ..v1::RollbackFinished::default()
            }),
            compared("costs", 0),
            Kind::AlertResolved(v1::AlertResolved {
                alert_id: "errors".to_owned(),
                measurement: None,
            }),
        ],
    );
}
