//! Workers' records: concurrent and late ones, crashes, alerts.

use rollbook_proto::v1::{self, Verdict, event::Kind};
use serde_json::json;

use super::super::command::{SystemCommand, WorkerCommand};
use super::super::state::StepStatus;
use super::story::*;

fn interrupt(step: &str, attempt: u32) -> WorkerCommand {
    WorkerCommand::InterruptStep {
        step: id(step),
        attempt,
        reason: "the worker died".to_owned(),
    }
}

fn give_up(step: &str, attempt: u32) -> SystemCommand {
    SystemCommand::GiveUp {
        step: id(step),
        attempt,
        reason: "no worker has label x".to_owned(),
    }
}

fn given_two_checks() -> Story {
    given(plan(json!([phase("0", vec![check("0.1"), check("0.2")])])))
}

#[test]
fn the_second_worker_to_start_a_step_is_refused() {
    given_two_checks()
        .and(worker(start("0.1", 1)))
        .when(worker(start("0.1", 1)))
        .refused("RB-ROLLOUT-10", "started by w1")
        .when(worker(start("0.1", 2)))
        .refused("RB-ROLLOUT-10", "attempt 1");
    given_two_checks()
        .when(worker(start("0.1", 2)))
        .refused("RB-ROLLOUT-11", "1 is next");
}

#[test]
fn late_results_are_refused_by_name() {
    let story = given_two_checks()
        .when(worker(finish("0.1", 1, Verdict::Pass)))
        .refused("RB-ROLLOUT-12", "pending")
        .runs("0.1")
        .when(worker(finish("0.1", 1, Verdict::Fail)))
        .refused("RB-ROLLOUT-12", "succeeded at attempt 1")
        .when(worker(interrupt("0.1", 1)))
        .refused("RB-ROLLOUT-12", "succeeded");
    story
        .when(worker(WorkerCommand::Measure {
            step: id("0.1"),
            attempt: 1,
            measurement: measurement("m", 1.0),
        }))
        .refused("RB-ROLLOUT-12", "too late");
}

#[test]
fn an_interrupted_step_waits_for_a_person_unless_it_is_idempotent() {
    let story = given_two_checks()
        .and(worker(start("0.1", 1)))
        .when(worker(interrupt("0.1", 1)))
        .then(&["StepInterrupted"]);
    assert_eq!(story.step("0.1"), StepStatus::Interrupted);
    assert!(story.tasks().is_empty());
    assert!(
        story
            .blocked("step 0.1")
            .why
            .contains("its effect is unknown")
    );
    assert_eq!(story.and(by("olga", retry("0.1"))).tasks(), ["0.1"]);

    let step = with(check("0.1"), json!({"idempotent": true}));
    let mut story = given(plan(json!([phase("0", vec![step])])));
    for attempt in 1..20 {
        story = story
            .and(worker(start("0.1", attempt)))
            .and(worker(interrupt("0.1", attempt)));
        assert_eq!(story.tasks(), ["0.1"], "attempt {attempt}");
    }
    let story = story
        .and(worker(start("0.1", 20)))
        .and(worker(interrupt("0.1", 20)));
    assert!(story.tasks().is_empty(), "bounded");
}

fn resume(step: &str, attempt: u32, by: &str) -> WorkerCommand {
    WorkerCommand::ResumeStep {
        step: id(step),
        attempt,
        worker: by.to_owned(),
        reason: "the worker died".to_owned(),
    }
}

#[test]
fn a_read_only_step_moves_to_another_worker_a_bounded_number_of_times() {
    let query = json!({"id": "0.1", "title": "q", "sql": {"source": "db", "query": "SELECT 1"}});
    let sources = json!({"sources": {"db": {"kind": "sqlite", "url": {"production": {"value": "sqlite:x"}, "staging": {"value": "sqlite:x"}}}}});
    let mut story =
        given(plan_with(json!([phase("0", vec![query])]), sources)).and(worker(start("0.1", 1)));
    for loss in 0..20 {
        story = story
            .when(worker(resume("0.1", 1, &format!("w{loss}"))))
            .then(&["StepInterrupted"]);
        assert_eq!(story.step("0.1"), StepStatus::Running, "loss {loss}");
        assert_eq!(
            story.state.step(&id("0.1")).unwrap().worker,
            format!("w{loss}")
        );
    }
    let last = story
        .clone()
        .when(worker(finish("0.1", 1, Verdict::Pass)))
        .then(&["StepFinished"]);
    assert_eq!(last.step("0.1"), StepStatus::Succeeded);
    let story = story
        .when(worker(resume("0.1", 1, "w21")))
        .then(&["StepInterrupted"]);
    assert_eq!(story.step("0.1"), StepStatus::Interrupted);
    assert!(story.blocked("step 0.1").why.contains("the worker died"));
}

#[test]
fn a_command_never_moves_to_another_worker_whatever_its_plan_declares() {
    given_two_checks()
        .and(worker(start("0.1", 1)))
        .when(worker(resume("0.1", 1, "w2")))
        .refused("RB-ROLLOUT-32", "only a step that reads");
}

#[test]
fn the_result_of_a_worker_that_was_cut_off_counts_until_a_person_has_decided() {
    let interrupted = given_two_checks()
        .and(worker(start("0.1", 1)))
        .and(worker(interrupt("0.1", 1)));
    let story = interrupted
        .clone()
        .when(worker(finish("0.1", 1, Verdict::Pass)))
        .then(&["StepFinished"]);
    assert_eq!(story.step("0.1"), StepStatus::Succeeded);
    assert!(story.state.effects.is_empty(), "what it did is known");
    interrupted
        .and(by("olga", retry("0.1")))
        .when(worker(finish("0.1", 1, Verdict::Pass)))
        .refused("RB-ROLLOUT-12", "pending");
}

#[test]
fn a_task_that_no_worker_can_carry_out_is_given_up() {
    let story = given_two_checks()
        .when(system(give_up("0.1", 2)))
        .refused("RB-ROLLOUT-12", "pending")
        .when(system(give_up("0.1", 1)))
        .then(&["StepFinished"]);
    assert_eq!(story.step("0.1"), StepStatus::Errored);
    assert!(story.blocked("step 0.1").why.contains("label x"));
    let story = given_two_checks()
        .and(worker(start("0.1", 1)))
        .when(system(give_up("0.1", 1)))
        .then(&["StepInterrupted"]);
    assert_eq!(story.step("0.1"), StepStatus::Interrupted);
}

#[test]
fn unusable_records_are_refused() {
    let story = given_two_checks().and(worker(start("0.1", 1)));
    let with_details = |details: Vec<Kind>| {
        worker(WorkerCommand::FinishStep {
            finished: result("0.1", 1, Verdict::Pass),
            details,
        })
    };
    let snapshot = |step: &str, manifest| {
        Kind::SnapshotTaken(v1::SnapshotTaken {
            step_id: step.to_owned(),
            snapshot: "deals".to_owned(),
            label: "before".to_owned(),
            manifest,
            ..v1::SnapshotTaken::default()
        })
    };
    let manifest = Some(v1::Evidence::default());
    story
        .when(worker(finish("0.1", 1, Verdict::Skipped)))
        .refused("RB-ROLLOUT-32", "a step ends with")
        .when(worker(finish("no such step!", 1, Verdict::Pass)))
        .refused("RB-ROLLOUT-3", "no such step!")
        .when(with_details(vec![Kind::RolloutStarted(
            v1::RolloutStarted {},
        )]))
        .refused("RB-ROLLOUT-32", "only snapshots")
        .when(with_details(vec![snapshot("0.2", manifest.clone())]))
        .refused("RB-ROLLOUT-32", "another step")
        .when(with_details(vec![snapshot("0.1", None)]))
        .refused("RB-ROLLOUT-32", "manifest")
        .when(worker(WorkerCommand::Measure {
            step: id("0.1"),
            attempt: 1,
            measurement: v1::Measurement::default(),
        }))
        .refused("RB-ROLLOUT-32", "without a name")
        .when(with_details(vec![snapshot("0.1", manifest)]))
        .then(&["SnapshotTaken", "StepFinished"]);
}

#[test]
fn a_bad_sample_raises_one_alert_until_a_good_one_resolves_it() {
    let watch = json!({"id": "0.1", "title": "w", "watch": {"for": "1h", "every": "1m",
        "thresholds": [{"metric": "errors", "warn": "value > 2", "fail": "value > 5"}]}});
    let story = given(plan_with(
        json!([phase("0", vec![watch])]),
        json!({"metrics": {"errors": {"run": {"command": "count"}}}}),
    ))
    .and(worker(start("0.1", 1)));
    let sample = |value: f64, verdict: Verdict| {
        worker(WorkerCommand::Measure {
            step: id("0.1"),
            attempt: 1,
            measurement: v1::Measurement {
                verdict: verdict.into(),
                ..measurement("errors", value)
            },
        })
    };
    let story = story
        .when(sample(0.0, Verdict::Pass))
        .then(&["StepMeasured"])
        .when(sample(3.0, Verdict::Warning))
        .then(&["StepMeasured", "AlertRaised"])
        .when(sample(4.0, Verdict::Warning))
        .then(&["StepMeasured"])
        .when(sample(9.0, Verdict::Fail))
        .then(&["StepMeasured", "AlertRaised"])
        .when(sample(9.0, Verdict::Fail))
        .then(&["StepMeasured"])
        .when(sample(0.0, Verdict::Pass))
        .then(&["StepMeasured", "AlertResolved"]);
    assert!(story.state.alerts.is_empty());
    assert_eq!(
        story
            .state
            .step(&id("0.1"))
            .unwrap()
            .samples
            .of(1)
            .values()
            .map(Vec::len)
            .sum::<usize>(),
        6
    );
    let severities: Vec<&str> = story
        .events()
        .filter_map(|kind| match kind {
            Kind::AlertRaised(raised) => Some(raised.severity.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(severities, ["warning", "critical"]);
}
