//! Rollbacks: order, levels, failures, rechecks, the end.

use rollbook_proto::v1::{self, RolloutOutcome, Verdict, event::Kind};
use serde_json::json;

use super::super::command::{Command, WorkerCommand};
use super::super::state::{Status, StepStatus};
use super::story::*;
use crate::runbook::Plan;
use crate::runbook::RollbackLevel;

pub(super) fn rollback(level: RollbackLevel) -> Command {
    Command::Rollback {
        level,
        steps: Vec::new(),
        reason: "costs are wrong".to_owned(),
    }
}

pub(super) fn partial(steps: &[&str]) -> Command {
    Command::Rollback {
        level: RollbackLevel::Partial,
        steps: steps.iter().map(|step| id(step)).collect(),
        reason: "only these".to_owned(),
    }
}

fn undo(step: &str) -> Command {
    Command::Undo {
        step: id(step),
        reason: "undo it".to_owned(),
    }
}

pub(super) fn resume() -> Command {
    Command::Resume {
        reason: String::new(),
    }
}

fn migration(step: &str) -> serde_json::Value {
    json!({"id": step, "title": step,
           "sql": {"source": "db", "deploy": "a", "verify": "b", "revert": "c"}})
}

pub(super) fn capture(step: &str) -> serde_json::Value {
    json!({"id": step, "title": step, "snapshot": {"of": "deals", "label": "after"}})
}

pub(super) fn comparison(step: &str) -> serde_json::Value {
    json!({"id": step, "title": step,
           "compare": {"of": "deals", "before": "before", "after": "after"}})
}

/// A plan with a migration, a configuration change, a flag, and checks.
fn migration_change_and_flag() -> Plan {
    plan(json!([
        phase(
            "1",
            vec![
                migration("1.1"),
                with(change("1.2"), json!({"changes": "configuration"})),
            ]
        ),
        gated(
            "2",
            vec![flag("2.1"), capture("2.2"), comparison("2.3")],
            json!({"checks": ["regressions == 0"]})
        ),
        phase("3", vec![check("3.1")])
    ]))
}

/// A rollout that has run up to a comparison with three regressions.
pub(super) fn regressed() -> Story {
    given(migration_change_and_flag())
        .runs("1.1")
        .runs("1.2")
        .runs("2.1")
        .runs("2.2")
        .measures("2.3", Verdict::Fail, &[("regressions", 3.0)])
}

pub(super) fn undo_list(story: &Story) -> Vec<String> {
    story
        .events()
        .filter_map(|kind| match kind {
            Kind::RollbackStarted(started) => Some(started.undo_steps.clone()),
            _ => None,
        })
        .last()
        .unwrap()
}

#[test]
fn each_level_undoes_its_own_steps_latest_first() {
    for (level, steps) in [
        (RollbackLevel::Flags, vec!["2.1"]),
        (RollbackLevel::Migrations, vec!["1.1"]),
        (RollbackLevel::Configuration, vec!["1.2"]),
        (RollbackLevel::Full, vec!["2.1", "1.2", "1.1"]),
    ] {
        let story = regressed()
            .when(by("olga", rollback(level)))
            .then(&["RollbackStarted"]);
        assert_eq!(undo_list(&story), steps);
        let mut story = story;
        for step in steps {
            assert_eq!(story.tasks(), [format!("undo {step}")]);
            story = story.undoes(step);
            assert_eq!(story.step(step), StepStatus::Undone);
        }
        assert_eq!(story.count("RollbackFinished"), 1);
        match level {
            RollbackLevel::Full => story.is(Status::Closed(RolloutOutcome::RolledBack)),
            _ => story.is(Status::Paused),
        };
    }
}

#[test]
fn undos_run_one_at_a_time_in_order() {
    let story = regressed().and(by("olga", rollback(RollbackLevel::Full)));
    let story = story
        .when(worker(start_undo("1.1", 1)))
        .refused("RB-ROLLOUT-28", "step 2.1 is next")
        .when(worker(start_undo("2.1", 2)))
        .refused("RB-ROLLOUT-11", "1 is next")
        .and(worker(start_undo("2.1", 1)));
    assert!(story.tasks().is_empty());
    story
        .when(worker(start_undo("1.2", 1)))
        .refused("RB-ROLLOUT-28", "2.1 is being undone")
        .when(worker(finish_undo("2.1", 2, Verdict::Pass)))
        .refused("RB-ROLLOUT-12", "too late")
        .when(worker(finish_undo("2.1", 1, Verdict::Skipped)))
        .refused("RB-ROLLOUT-32", "an undo ends")
        // A flag's undo may be restarted when its worker is lost; a command's undo may not.
        .when(worker(start_undo("2.1", 2)))
        .then(&["UndoStarted"])
        .and(worker(finish_undo("2.1", 2, Verdict::Pass)))
        .and(worker(start_undo("1.2", 1)))
        .when(worker(start_undo("1.2", 2)))
        .refused("RB-ROLLOUT-10", "w1");
    regressed()
        .when(worker(start_undo("2.1", 1)))
        .refused("RB-ROLLOUT-28", "no rollback");
}

#[test]
fn a_failed_undo_stops_the_rollback_until_a_person_decides() {
    let failed = || {
        regressed()
            .and(by("olga", rollback(RollbackLevel::Full)))
            .undoes("2.1")
            .and(worker(start_undo("1.2", 1)))
            .and(worker(finish_undo("1.2", 1, Verdict::Fail)))
    };
    let story = failed();
    assert!(story.tasks().is_empty());
    let blocked = story.blocked("rollback rollback-1");
    assert!(
        blocked.why.contains("undo attempt 1 of step 1.2 failed"),
        "{blocked:?}"
    );
    let story = story
        .when(worker(start_undo("1.2", 2)))
        .refused("RB-ROLLOUT-28", "a person must ask")
        .when(by("olga", resume()))
        .refused("RB-ROLLOUT-7", "rolling back")
        .when(by("olga", retry("1.2")))
        .refused("RB-ROLLOUT-7", "change nothing")
        .when(by("olga", undo("1.1")))
        .refused("RB-ROLLOUT-28", "step 1.2 is next")
        .when(by("olga", undo("1.2")))
        .then(&["RollbackStarted"])
        .when(by("olga", undo("1.2")))
        .nothing();
    assert_eq!(story.tasks(), ["undo 1.2"]);
    story
        .undoes("1.2")
        .undoes("1.1")
        .is(Status::Closed(RolloutOutcome::RolledBack));
    // A person decides to leave the effect, so the rollout does not end cleanly.
    let story = failed()
        .when(by("olga", skip("1.1")))
        .refused("RB-ROLLOUT-7", "whose undo failed")
        .and(by("olga", skip("1.2")))
        .undoes("1.1");
    story.is(Status::Closed(RolloutOutcome::Failed));
    story.folds();
}

#[test]
fn an_instant_rollback_waits_for_nothing() {
    // Paused, outside every window, while a step is running.
    let plan = plan_with(
        json!([phase("1", vec![flag("1.1"), check("1.2")])]),
        json!({"windows": [{"name": "never", "kind": "deny",
               "from": "2026-01-01T10:00:01Z", "until": "2027-01-01T00:00:00Z"}]}),
    );
    let story = given(plan)
        .runs("1.1")
        .and(worker(start("1.2", 1)))
        .after("1s")
        .and(by(
            "olga",
            Command::Pause {
                reason: "hm".to_owned(),
            },
        ))
        .when(by("stranger", rollback(RollbackLevel::Flags)))
        .then(&["RollbackStarted"])
        .when(by("olga", rollback(RollbackLevel::Flags)))
        .nothing();
    assert_eq!(story.tasks(), ["undo 1.1"]);
    story.undoes("1.1").is(Status::Paused);
}

#[test]
fn a_running_step_is_undone_once_it_has_ended() {
    let story = given(plan(json!([phase("1", vec![flag("1.1"), check("1.2")])])))
        .and(worker(start("1.1", 1)))
        .and(by("olga", rollback(RollbackLevel::Flags)));
    assert!(undo_list(&story).is_empty());
    story.is(Status::RollingBack);
    let finished = v1::StepFinished {
        effect: true,
        ..result("1.1", 1, Verdict::Pass)
    };
    let story = story.and(worker(WorkerCommand::FinishStep {
        finished,
        details: Vec::new(),
    }));
    assert_eq!(story.tasks(), ["undo 1.1"]);
    story.undoes("1.1").is(Status::Paused);
}

#[test]
fn a_follow_up_snapshot_and_comparison_prove_the_rollback_but_not_the_phase() {
    let story = regressed()
        .and(by("olga", rollback(RollbackLevel::Flags)))
        .when(by("olga", retry("1.2")))
        .refused("RB-ROLLOUT-7", "change nothing")
        .undoes("2.1");
    let story = story
        .and(by("olga", retry("2.2")))
        .and(by("olga", retry("2.3")));
    assert_eq!(
        story.tasks(),
        ["2.2"],
        "the comparison waits for the snapshot"
    );
    let story = story
        .when(worker(start("2.3", 2)))
        .refused("RB-ROLLOUT-8", "recheck of 2.2")
        .runs("2.2")
        .measures("2.3", Verdict::Pass, &[("regressions", 0.0)]);
    story.is(Status::Paused);
    assert_eq!(story.count("GatePassed"), 0, "it proves the old outputs");
    // Going on: the flag is set again, then everything measured after it is measured again.
    let story = story.and(by("olga", resume()));
    assert!(story.tasks().is_empty());
    assert!(story.blocked("step 2.1").why.contains("undid its effect"));
    let story = story.and(by("olga", retry("2.1"))).runs("2.1").runs("2.2");
    assert_eq!(story.tasks(), ["2.3"]);
    let story = story
        .measures("2.3", Verdict::Pass, &[("regressions", 0.0)])
        .runs("3.1");
    story.is(Status::Closed(RolloutOutcome::Succeeded));
    story.folds();
}

#[test]
fn a_rollback_after_success_closes_again() {
    let story = given(migration_change_and_flag())
        .runs("1.1")
        .runs("1.2")
        .runs("2.1")
        .runs("2.2")
        .measures("2.3", Verdict::Pass, &[("regressions", 0.0)])
        .runs("3.1");
    story.is(Status::Closed(RolloutOutcome::Succeeded));
    let story = story
        .when(by("olga", retry("2.2")))
        .refused("RB-ROLLOUT-7", "after a rollback")
        .and(by("olga", rollback(RollbackLevel::Flags)))
        .undoes("2.1");
    story.is(Status::Closed(RolloutOutcome::RolledBack));
    let story = story.and(by("olga", retry("2.2"))).runs("2.2");
    assert_eq!(story.step("2.2"), StepStatus::Succeeded);
    story.is(Status::Closed(RolloutOutcome::RolledBack));
    story
        .and(by("olga", rollback(RollbackLevel::Full)))
        .undoes("1.2")
        .undoes("1.1")
        .is(Status::Closed(RolloutOutcome::RolledBack));
}

#[test]
fn a_rollback_needs_something_to_undo() {
    opened_in(migration_change_and_flag(), "staging")
        .when(by("olga", rollback(RollbackLevel::Flags)))
        .refused("RB-ROLLOUT-7", "abort it instead")
        .when(by("olga", undo("1.1")))
        .refused("RB-ROLLOUT-7", "nothing has been done");
    let irreversible = json!({"id": "0.2", "title": "x", "run": {"command": "x"},
                              "undo": "irreversible"});
    let untold = json!({"id": "0.3", "title": "x", "run": {"command": "x"}, "undo": "none"});
    let story = given(plan(json!([phase(
        "0",
        vec![check("0.1"), irreversible, untold, change("0.4")]
    )])));
    let story = story
        .runs("0.1")
        .runs("0.2")
        .runs("0.3")
        .when(by("olga", rollback(RollbackLevel::Flags)))
        .refused("RB-ROLLOUT-26", "level flags")
        .when(by("olga", undo("0.1")))
        .refused("RB-ROLLOUT-26", "left no effect")
        .when(by("olga", undo("0.2")))
        .refused("RB-ROLLOUT-26", "irreversible")
        .when(by("olga", undo("0.3")))
        .refused("RB-ROLLOUT-26", "nothing undoes step 0.3")
        .when(by("olga", partial(&[])))
        .refused("RB-ROLLOUT-27", "at least one")
        .when(by(
            "olga",
            Command::Rollback {
                level: RollbackLevel::Full,
                steps: vec![id("0.1")],
                reason: "r".to_owned(),
            },
        ))
        .refused("RB-ROLLOUT-27", "level full");
    let story = story
        .and(worker(start("0.4", 1)))
        .when(by("olga", undo("0.4")))
        .refused("RB-ROLLOUT-9", "wait for its result")
        .and(worker(finish("0.4", 1, Verdict::Fail)))
        .and(by("olga", rollback(RollbackLevel::Full)));
    story.is(Status::Closed(RolloutOutcome::RolledBack));
    let summary = story
        .events()
        .find_map(|kind| match kind {
            Kind::RollbackFinished(finished) => Some(finished.summary.clone()),
            _ => None,
        })
        .unwrap();
    assert!(
        summary.contains("steps 0.2, 0.3 cannot be undone"),
        "{summary}"
    );
}

#[test]
fn undoing_one_step_is_a_partial_rollback_that_names_its_dependents() {
    let story = given(plan(json!([phase(
        "1",
        vec![change("1.1"), change("1.2"), check("1.3")]
    )])))
    .runs("1.1")
    .runs("1.2");
    let story = story
        .when(by("olga", undo("1.1")))
        .then(&["RollbackStarted"]);
    let reason = story.state.rollback.clone().unwrap().reason;
    assert!(reason.contains("stand: 1.2"), "{reason}");
    let story = story.undoes("1.1");
    assert_eq!(story.step("1.2"), StepStatus::Succeeded);
    story.is(Status::Paused);
    // Named steps are undone in reverse order of their effects.
    let story = story
        .and(by("olga", resume()))
        .and(by("olga", retry("1.1")))
        .runs("1.1")
        .and(by("olga", partial(&["1.2", "1.1"])));
    assert_eq!(undo_list(&story), ["1.1", "1.2"], "1.1 was done last");
}

#[test]
fn a_manual_undo_is_done_and_reported_by_a_person() {
    let by_hand = with(
        change("1.1"),
        json!({"undo": {"manual": "restore the dump"}}),
    );
    let story = given(plan(json!([phase("1", vec![by_hand, check("1.2")])])))
        .runs("1.1")
        .and(by("olga", rollback(RollbackLevel::Full)));
    assert!(story.tasks().is_empty());
    let blocked = story.blocked("rollback rollback-1");
    assert!(blocked.why.contains("restore the dump"), "{blocked:?}");
    story
        .when(worker(start_undo("1.1", 1)))
        .refused("RB-ROLLOUT-28", "by a person")
        .when(by("olga", undo("1.1")))
        .then(&["UndoStarted", "UndoFinished"])
        .settled()
        .is(Status::Closed(RolloutOutcome::RolledBack));
}

#[test]
fn an_interrupted_change_counts_as_an_effect() {
    let story = given(plan(json!([phase("1", vec![change("1.1"), check("1.2")])])))
        .and(worker(start("1.1", 1)))
        .and(worker(WorkerCommand::InterruptStep {
            step: id("1.1"),
            attempt: 1,
            reason: "killed".to_owned(),
        }))
        .and(by("olga", rollback(RollbackLevel::Full)));
    assert_eq!(story.tasks(), ["undo 1.1"]);
}

#[test]
fn a_wider_rollback_replaces_the_one_in_progress() {
    let story = regressed()
        .and(by("olga", rollback(RollbackLevel::Flags)))
        .and(by("olga", rollback(RollbackLevel::Full)));
    assert_eq!(undo_list(&story), ["2.1", "1.2", "1.1"]);
    story
        .undoes("2.1")
        .undoes("1.2")
        .undoes("1.1")
        .is(Status::Closed(RolloutOutcome::RolledBack));
}

#[test]
fn the_result_of_a_recheck_never_stands_for_the_step() {
    let story = given(plan(json!([phase(
        "1",
        vec![flag("1.1"), check("1.2"), check("1.3")]
    )])))
    .runs("1.1")
    .and(by("olga", rollback(RollbackLevel::Flags)))
    .undoes("1.1")
    .and(by("olga", retry("1.2")))
    .runs("1.2")
    .and(by("olga", skip("1.1")))
    .when(by("olga", resume()))
    .then(&["RolloutResumed"]);
    assert!(story.tasks().is_empty(), "not before 1.2 ran in its turn");
    assert_eq!(story.settled().tasks(), ["1.2"]);
}
