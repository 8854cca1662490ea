//! Views equal the fold: after every prefix of any legal history, the rows of the projection agree
//! with the folded state.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rollbook_proto::v1::Verdict as Wire;

use super::super::state::{Effect, RolloutState, StepState, StepStatus};
use super::super::{Status, evolve};
use super::history::{a_move, play};
use super::story::*;
use crate::journal::StoredCommit;
use crate::projection::sqlite;
use crate::projection::views::RolloutDetail;
use crate::projection::words::{
    AlertStatus, GateStatus, RolloutEnding, RolloutStatus, SignOffStatus, StepRowStatus as Shown,
    Verdict,
};

/// Returns what the row of a step must show.
fn shown(at: &StepState) -> (Shown, Option<Verdict>) {
    if at.proposal.is_some() {
        return (Shown::InReview, None);
    }
    match at.status {
        StepStatus::Pending => (Shown::Pending, None),
        StepStatus::Running => (Shown::Running, None),
        StepStatus::Succeeded => (Shown::Finished, Some(Verdict::Pass)),
        StepStatus::Failed => (Shown::Finished, Some(Verdict::Fail)),
        StepStatus::Inconclusive => (Shown::Finished, Some(Verdict::Inconclusive)),
        StepStatus::Errored => (Shown::Finished, Some(Verdict::Error)),
        StepStatus::NotApplicable => (Shown::NotApplicable, Some(Verdict::NotApplicable)),
        StepStatus::Skipped => (Shown::Skipped, Some(Verdict::Skipped)),
        StepStatus::Interrupted => (Shown::Interrupted, None),
        StepStatus::Undoing => (Shown::Undoing, None),
        StepStatus::Undone => (Shown::Undone, None),
        StepStatus::UndoFailed => (Shown::UndoFailed, None),
    }
}

fn compare(state: &RolloutState, detail: &RolloutDetail) {
    let row = &detail.rollout;
    assert_eq!(row.status, RolloutStatus::from_domain(state.status));
    assert_eq!(row.outcome, RolloutEnding::from_domain(state.status));
    assert_eq!(
        (row.revision, row.revision_accepted),
        (state.revision, state.pending_revision.is_none())
    );
    assert_eq!(
        (&row.runbook, &row.plan_digest),
        (&state.runbook, &state.plan_digest)
    );
    assert_eq!(row.closed_at.is_some(), state.status.is_closed());
    assert_eq!(row.started_at.is_some(), state.started_at.is_some());
    let steps: BTreeMap<&str, _> = detail
        .phases
        .iter()
        .flat_map(|phase| &phase.steps)
        .map(|row| (row.step.as_str(), row))
        .collect();
    assert_eq!(steps.len(), state.steps.len());
    for (id, at) in &state.steps {
        let row = steps[id.as_str()];
        let (status, verdict) = shown(at);
        assert_eq!((&row.step, row.status), (&id.to_string(), status));
        if verdict.is_some() {
            assert_eq!(row.verdict, verdict, "step {id}");
        }
        assert_eq!(row.attempt, at.attempt, "step {id}");
        assert_eq!(row.effect, at.effect == Effect::Made, "step {id}");
    }
    let gates: Vec<_> = detail
        .phases
        .iter()
        .filter_map(|phase| phase.gate_detail.as_ref())
        .collect();
    assert_eq!(gates.len(), state.gates.len());
    for gate in gates {
        let (_, at) = state
            .gates
            .iter()
            .find(|(id, _)| id.as_str() == gate.gate.gate)
            .unwrap();
        let status = if at.passed_at.is_some() {
            GateStatus::Passed
        } else if at.blocked.is_empty() {
            GateStatus::Waiting
        } else {
            GateStatus::Blocked
        };
        assert_eq!(gate.gate.status, status, "gate {}", gate.gate.gate);
        let count = |status| {
            let rows = gate.sign_offs.iter();
            rows.filter(|row| row.status == status).count()
        };
        assert_eq!(count(SignOffStatus::Given), at.sign_offs.len());
        assert_eq!(count(SignOffStatus::Refused), at.refusals.len());
    }
    let rollback = detail.rollbacks.last().map(|row| {
        let verdict = row.verdict.map(Verdict::as_str);
        (row.rollback.as_str(), verdict)
    });
    let known = state.rollback.as_ref().map(|at| {
        let verdict = at.verdict.and_then(|v| Verdict::from_wire(v.into()));
        (at.id.as_str(), verdict.map(Verdict::as_str))
    });
    assert_eq!(rollback, known);
    let under_way = detail.rollbacks.iter().filter(|row| row.verdict.is_none());
    assert_eq!(
        under_way.count(),
        usize::from(state.status == Status::RollingBack)
    );
    let alerts: Vec<(&str, bool)> = detail
        .alerts
        .iter()
        .filter(|row| row.status != AlertStatus::Resolved)
        .map(|row| (row.alert.as_str(), row.status == AlertStatus::Unwatched))
        .collect();
    let mut known: Vec<(&str, bool)> = state
        .alerts
        .values()
        .map(|alert| (alert.id.as_str(), alert.unwatched))
        .collect();
    known.sort_unstable();
    let mut alerts = alerts;
    alerts.sort_unstable();
    assert_eq!(alerts, known);
}

/// Checks every prefix through a store.
fn views_equal_fold(commits: &[StoredCommit]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = sqlite::in_memory().await.unwrap();
        let mut state = None;
        for stored in commits {
            let next = evolve(state, &stored.commit, stored.sequence).unwrap();
            store.apply(std::slice::from_ref(stored)).await.unwrap();
            let detail = store.rollout("r1").await.unwrap().data.unwrap();
            compare(&next, &detail);
            state = Some(next);
        }
        let anomalies = store.anomalies(Default::default(), 10).await.unwrap();
        assert!(anomalies.data.rows.is_empty(), "{:?}", anomalies.data.rows);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn views_agree_with_the_folded_state(moves in prop::collection::vec(a_move(), 0..60)) {
        views_equal_fold(&play(&moves).commits);
    }
}

#[test]
fn views_and_state_show_a_changed_plan_once_it_is_accepted() {
    use super::super::command::Command;
    let of = |version: &str| {
        let metadata = serde_json::json!({"name": format!("tiny {version}"), "version": version, "owner": "eng"});
        let phases = serde_json::json!([phase("1", vec![by_hand("1.1")])]);
        plan_with(phases, serde_json::json!({"metadata": metadata}))
    };
    let mut story = given(of("1"));
    story.new_plan = Some(of("2"));
    let story = story.and(by(
        "olga",
        Command::Revise {
            plan: evidence_of(&of("2")),
            params: Default::default(),
            reason: "another version".to_owned(),
        },
    ));
    assert_eq!(story.state.runbook, "tiny 1");
    views_equal_fold(&story.commits);
    let story = story.and(by(
        "olga",
        Command::AcceptRevision {
            revision: 2,
            difference: None,
            reason: String::new(),
        },
    ));
    assert_eq!(story.state.runbook, "tiny 2");
    views_equal_fold(&story.commits);
}

#[test]
fn views_and_state_show_a_rollback_after_the_end() {
    use super::super::command::Command;
    use crate::runbook::RollbackLevel;
    let rollback = |level| {
        by(
            "olga",
            Command::Rollback {
                level,
                steps: Vec::new(),
                reason: "costs are wrong".to_owned(),
            },
        )
    };
    let phases = serde_json::json!([phase("1", vec![change("1.1"), flag("1.2")])]);
    let story = given(plan(phases.clone()))
        .runs("1.1")
        .runs("1.2")
        .and(rollback(RollbackLevel::Flags))
        .undoes("1.2");
    story.is(Status::Closed(
        rollbook_proto::v1::RolloutOutcome::RolledBack,
    ));
    views_equal_fold(&story.commits);
    // Cases: left by decision, replaced, aborted half-way, and paused after a flag rollback.
    let going = || {
        given(plan(serde_json::json!([phase(
            "1",
            vec![change("1.1"), flag("1.2"), by_hand("1.3")]
        )])))
        .runs("1.1")
        .runs("1.2")
    };
    let paused = going().and(rollback(RollbackLevel::Flags)).undoes("1.2");
    paused.is(Status::Paused);
    views_equal_fold(&paused.commits);
    let replaced = going()
        .and(rollback(RollbackLevel::Flags))
        .and(rollback(RollbackLevel::Full))
        .undoes("1.2")
        .and(worker(start_undo("1.1", 1)))
        .and(worker(finish_undo("1.1", 1, Wire::Fail)));
    views_equal_fold(&replaced.commits);
    let left = replaced.clone().and(by("olga", skip("1.1")));
    views_equal_fold(&left.commits);
    let aborted = replaced.and(by(
        "olga",
        Command::Abort {
            reason: "enough".to_owned(),
        },
    ));
    views_equal_fold(&aborted.commits);
}
