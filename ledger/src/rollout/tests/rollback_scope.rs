//! What a rollback undoes, waits for, stops and leaves.

use rollbook_proto::v1::{self, RolloutOutcome, Verdict, event::Kind};
use serde_json::json;

use super::super::command::WorkerCommand;
use super::super::state::{Status, StepStatus};
use super::rollback::{capture, comparison, partial, regressed, resume, rollback, undo_list};
use super::story::*;
use crate::runbook::RollbackLevel;

#[test]
fn a_narrower_rollback_cannot_replace_the_one_in_progress() {
    let story = regressed().and(by("olga", rollback(RollbackLevel::Full)));
    for narrower in [
        partial(&["1.2"]),
        rollback(RollbackLevel::Migrations),
        rollback(RollbackLevel::Configuration),
    ] {
        story
            .clone()
            .when(by("olga", narrower))
            .refused("RB-ROLLOUT-27", "undoes more");
    }
    // A rollback of flags is urgent: it interrupts the other one, which then continues.
    let story = story
        .and(worker(start_undo("2.1", 1)))
        .and(worker(WorkerCommand::FinishUndo {
            finished: v1::UndoFinished {
                step_id: "2.1".to_owned(),
                attempt: 1,
                verdict: Verdict::Error.into(),
                ..v1::UndoFinished::default()
            },
        }))
        .and(by("olga", rollback(RollbackLevel::Flags)));
    assert_eq!(undo_list(&story), ["2.1"]);
    let story = story.undoes("2.1");
    story.is(Status::RollingBack);
    assert_eq!(undo_list(&story), ["1.2", "1.1"]);
    assert!(
        story
            .state
            .rollback
            .as_ref()
            .unwrap()
            .reason
            .contains("rollback-1 continues")
    );
    story
        .undoes("1.2")
        .undoes("1.1")
        .is(Status::Closed(RolloutOutcome::RolledBack));
}

#[test]
fn after_the_end_a_full_rollback_too_needs_something_to_undo() {
    let story = given(plan(json!([phase("1", vec![check("1.1")])]))).runs("1.1");
    story.is(Status::Closed(RolloutOutcome::Succeeded));
    story
        .when(by("olga", rollback(RollbackLevel::Full)))
        .refused("RB-ROLLOUT-26", "level full");
    let story = regressed()
        .and(by("olga", rollback(RollbackLevel::Full)))
        .undoes("2.1")
        .undoes("1.2")
        .undoes("1.1");
    story.is(Status::Closed(RolloutOutcome::RolledBack));
    story
        .when(by("olga", rollback(RollbackLevel::Full)))
        .refused("RB-ROLLOUT-26", "level full");
}

#[test]
fn a_rollback_reports_only_what_it_undid_itself() {
    let story = regressed()
        .and(by("olga", rollback(RollbackLevel::Flags)))
        .undoes("2.1")
        .and(by("olga", rollback(RollbackLevel::Full)))
        .undoes("1.2")
        .undoes("1.1");
    let summaries: Vec<String> = story
        .events()
        .filter_map(|kind| match kind {
            Kind::RollbackFinished(finished) => Some(finished.summary.clone()),
            _ => None,
        })
        .collect();
    assert!(summaries[0].starts_with("step 2.1 undone"), "{summaries:?}");
    assert!(
        summaries[1].starts_with("steps 1.1, 1.2 undone"),
        "{summaries:?}"
    );
}

#[test]
fn a_flag_set_by_somebody_else_since_is_reported_as_left() {
    let story = regressed()
        .and(by("olga", rollback(RollbackLevel::Full)))
        .and(worker(start_undo("2.1", 1)))
        .and(worker(WorkerCommand::FinishUndo {
            finished: v1::UndoFinished {
                step_id: "2.1".to_owned(),
                attempt: 1,
                verdict: Verdict::Inconclusive.into(),
                verification: v1::UndoVerification::Left.into(),
                ..v1::UndoFinished::default()
            },
        }))
        .undoes("1.2")
        .undoes("1.1");
    assert_eq!(story.step("2.1"), StepStatus::UndoFailed);
    story.is(Status::Closed(RolloutOutcome::Failed));
    let story = story.and(by("olga", rollback(RollbackLevel::Flags)));
    assert_eq!(
        undo_list(&story),
        ["2.1"],
        "the quick way back is still there"
    );
    story
        .and(worker(start_undo("2.1", 2)))
        .and(worker(WorkerCommand::FinishUndo {
            finished: v1::UndoFinished {
                step_id: "2.1".to_owned(),
                attempt: 2,
                verdict: Verdict::Pass.into(),
                verification: v1::UndoVerification::Verified.into(),
                ..v1::UndoFinished::default()
            },
        }))
        .is(Status::Closed(RolloutOutcome::RolledBack));
}

#[test]
fn steps_before_a_running_one_are_undone_after_it_but_flags_at_once() {
    let steps = vec![
        change("1.1"),
        flag("1.2"),
        with(change("1.3"), json!({"needs": []})),
    ];
    let story = given(plan(json!([phase("1", steps)])))
        .runs("1.1")
        .runs("1.2")
        .and(worker(start("1.3", 1)))
        .and(by("olga", rollback(RollbackLevel::Full)));
    assert_eq!(story.tasks(), ["undo 1.2"]);
    let story = story.undoes("1.2");
    assert!(story.tasks().is_empty(), "1.3 came later");
    assert!(
        story
            .blocked("rollback rollback-1")
            .why
            .contains("still runs")
    );
    story
        .clone()
        .when(worker(start_undo("1.1", 1)))
        .refused("RB-ROLLOUT-28", "still runs");
    let finished = v1::StepFinished {
        effect: true,
        ..result("1.3", 1, Verdict::Error)
    };
    let story = story.and(worker(WorkerCommand::FinishStep {
        finished,
        details: Vec::new(),
    }));
    assert_eq!(story.tasks(), ["undo 1.3"]);
    story
        .undoes("1.3")
        .undoes("1.1")
        .is(Status::Closed(RolloutOutcome::RolledBack));
}

#[test]
fn a_rollback_stops_only_the_steps_it_undoes() {
    let steps = vec![flag("1.1"), with(change("1.2"), json!({"needs": []}))];
    let story = given(plan(json!([phase("1", steps)])))
        .runs("1.1")
        .and(worker(start("1.2", 1)));
    for (level, stopped) in [(RollbackLevel::Flags, false), (RollbackLevel::Full, true)] {
        let story = story.clone().and(by("olga", rollback(level)));
        let is_stopped = super::super::is_stopped(&story.state, &story.plan, &id("1.2"));
        assert_eq!(is_stopped, stopped, "{level:?}");
    }
}

#[test]
fn a_partial_rollback_waits_for_the_running_step_that_it_names() {
    let steps = vec![change("1.1"), with(change("1.2"), json!({"needs": []}))];
    let story = given(plan(json!([phase("1", steps)])))
        .runs("1.1")
        .and(worker(start("1.2", 1)))
        .and(by("olga", partial(&["1.2"])));
    story.is(Status::RollingBack);
    let finished = v1::StepFinished {
        effect: true,
        ..result("1.2", 1, Verdict::Pass)
    };
    let story = story.and(worker(WorkerCommand::FinishStep {
        finished,
        details: Vec::new(),
    }));
    assert_eq!(story.tasks(), ["undo 1.2"]);
    let story = story.undoes("1.2");
    story.is(Status::Paused);
    assert_eq!(story.step("1.1"), StepStatus::Succeeded);
}

#[test]
fn a_snapshot_from_before_the_damage_is_not_taken_again() {
    let before = json!({"id": "1.1", "title": "before",
                        "snapshot": {"of": "deals", "label": "before"}});
    let story = given(plan(json!([phase(
        "1",
        vec![
            flag("1.0"),
            before,
            change("1.2"),
            capture("1.3"),
            comparison("1.4")
        ]
    )])))
    .runs("1.0")
    .runs("1.1")
    .runs("1.2")
    .runs("1.3")
    .measures("1.4", Verdict::Fail, &[("regressions", 3.0)])
    .and(by("olga", rollback(RollbackLevel::Flags)))
    .undoes("1.0")
    .and(by("olga", resume()))
    .and(by("olga", retry("1.0")))
    .runs("1.0");
    assert_eq!(
        story.step("1.1"),
        StepStatus::Succeeded,
        "the baseline stands"
    );
    assert_eq!(story.settled().tasks(), ["1.3"]);
}
