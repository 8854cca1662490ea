//! What a rollback lists, proves and reports.

use rollbook_proto::v1::{self, RolloutOutcome, Verdict, event::Kind};
use serde_json::json;

use super::super::command::{Command, WorkerCommand};
use super::super::state::{Status, StepStatus};
use super::story::*;
use crate::runbook::RollbackLevel;

fn undo(step: &str) -> Command {
    Command::Undo {
        step: id(step),
        reason: "it is done".to_owned(),
    }
}

fn rollback(level: RollbackLevel) -> Command {
    Command::Rollback {
        level,
        steps: Vec::new(),
        reason: "costs are wrong".to_owned(),
    }
}

#[test]
fn the_previewed_undo_list_is_the_one_recorded_at_the_start() {
    let irreversible = json!({"id": "0.1", "title": "x", "run": {"command": "x"},
                              "undo": "irreversible"});
    let by_hand = with(
        change("0.2"),
        json!({"undo": {"manual": "restore the dump"}}),
    );
    let steps = vec![
        irreversible,
        by_hand,
        flag("0.3"),
        with(change("0.4"), json!({"needs": []})),
    ];
    let story = given(plan(json!([phase("0", steps)])))
        .runs("0.1")
        .runs("0.2")
        .runs("0.3")
        .and(worker(start("0.4", 1)));
    for level in [RollbackLevel::Full, RollbackLevel::Flags] {
        let list = super::super::preview_rollback(&story.state, &story.plan, level, &[]).unwrap();
        let story = story.clone().and(by("olga", rollback(level)));
        let started = story.events().find_map(|kind| match kind {
            Kind::RollbackStarted(started) => Some(started.clone()),
            _ => None,
        });
        let started = started.unwrap();
        assert_eq!(
            list.undo
                .iter()
                .map(|item| item.step.to_string())
                .collect::<Vec<_>>(),
            started.undo_steps
        );
        assert_eq!(
            list.running
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            started.running
        );
        let left: Vec<(String, String)> = started
            .left
            .into_iter()
            .map(|left| (left.step_id, left.why))
            .collect();
        let listed: Vec<(String, String)> = list
            .left
            .iter()
            .map(|left| (left.step.to_string(), left.why.clone()))
            .collect();
        assert_eq!(listed, left);
        match level {
            RollbackLevel::Full => {
                assert_eq!(started.undo_steps, ["0.3", "0.2"]);
                assert_eq!(started.running, ["0.4"]);
                assert!(list.undo[1].by_hand && list.undo[1].how.contains("restore the dump"));
                assert_eq!(listed.len(), 1);
                assert!(listed[0].1.contains("cannot be undone"), "{listed:?}");
            }
            _ => {
                assert_eq!(started.undo_steps, ["0.3"]);
                assert!(started.running.is_empty());
                assert!(
                    listed
                        .iter()
                        .any(|(id, why)| id == "0.2" && why.contains("level flags"))
                );
            }
        }
    }
}

#[test]
fn an_undo_that_nothing_can_verify_is_reported_as_such() {
    let not_verified = |step: &str| {
        worker(WorkerCommand::FinishUndo {
            finished: v1::UndoFinished {
                step_id: step.to_owned(),
                attempt: 1,
                verdict: Verdict::Inconclusive.into(),
                verification: v1::UndoVerification::NotVerified.into(),
                ..v1::UndoFinished::default()
            },
        })
    };
    let story = given(plan(json!([phase(
        "1",
        vec![change("1.1"), change("1.2")]
    )])))
    .runs("1.1")
    .runs("1.2")
    .and(by("olga", rollback(RollbackLevel::Full)))
    .undoes("1.2")
    .and(worker(start_undo("1.1", 1)))
    .and(not_verified("1.1"));
    assert_eq!(story.step("1.1"), StepStatus::Undone);
    story.is(Status::Closed(RolloutOutcome::RolledBack));
    let finished = story.events().find_map(|kind| match kind {
        Kind::RollbackFinished(finished) => Some(finished.clone()),
        _ => None,
    });
    let finished = finished.unwrap();
    assert_eq!(finished.verdict(), Verdict::Inconclusive);
    assert_eq!(finished.not_verified, ["1.1"]);
    assert!(
        finished.summary.contains("step 1.1 not verified"),
        "{}",
        finished.summary
    );
}

#[test]
fn a_manual_undo_is_verified_by_undo_verify_or_verify() {
    let looks = [
        json!({"undo": {"manual": "restore it", "verify": {"run": {"command": "gone"}}}}),
        json!({"undo": {"manual": "restore it"}, "verify": {"run": {"command": "there"}}}),
    ];
    for (look, rollback_first) in looks.into_iter().zip([true, false]) {
        let by_hand = with(change("1.1"), look);
        let story = given(plan(json!([phase("1", vec![by_hand, check("1.2")])]))).runs("1.1");
        let story = match rollback_first {
            true => story.and(by("olga", rollback(RollbackLevel::Full))),
            false => story,
        };
        let story = story.and(by("olga", undo("1.1")));
        assert_eq!(story.step("1.1"), StepStatus::Undoing);
        assert_eq!(story.tasks(), ["verify undo 1.1"]);
        let blocked = story.blocked("rollback rollback-1");
        assert!(blocked.why.contains("manually by olga"), "{blocked:?}");

        let stands = story
            .clone()
            .and(worker(finish_undo("1.1", 1, Verdict::Fail)));
        assert_eq!(stands.step("1.1"), StepStatus::UndoFailed);
        assert!(stands.tasks().is_empty());
        stands.is(Status::RollingBack);
        let again = stands.and(by("olga", undo("1.1")));
        assert_eq!(again.tasks(), ["verify undo 1.1"]);

        let gone = story.and(worker(WorkerCommand::FinishUndo {
            finished: v1::UndoFinished {
                step_id: "1.1".to_owned(),
                attempt: 1,
                verdict: Verdict::Pass.into(),
                verification: v1::UndoVerification::Verified.into(),
                ..v1::UndoFinished::default()
            },
        }));
        assert_eq!(gone.step("1.1"), StepStatus::Undone);
        let finished = gone.events().find_map(|kind| match kind {
            Kind::RollbackFinished(finished) => Some(finished.clone()),
            _ => None,
        });
        let finished = finished.unwrap();
        assert_eq!(finished.verdict(), Verdict::Pass);
        assert!(finished.not_verified.is_empty(), "{finished:?}");
    }
}

#[test]
fn on_fail_undoes_the_named_step_however_the_step_fails() {
    for how in ["fail", "interrupt"] {
        let steps = vec![
            change("1.1"),
            change("1.2"),
            with(change("1.3"), json!({"on_fail": {"undo": ["1.2"]}})),
        ];
        let story = given(plan(json!([phase("1", steps)])))
            .runs("1.1")
            .runs("1.2");
        let story = match how {
            "fail" => story.ends("1.3", Verdict::Fail),
            _ => story
                .and(worker(start("1.3", 1)))
                .and(worker(WorkerCommand::InterruptStep {
                    step: id("1.3"),
                    attempt: 1,
                    reason: "killed".to_owned(),
                })),
        };
        assert_eq!(story.tasks(), ["undo 1.2"], "{how}");
        let story = story.undoes("1.2");
        story.is(Status::Paused);
        assert_eq!(story.step("1.1"), StepStatus::Succeeded);
        assert_eq!(story.after("1h").count("RollbackStarted"), 1);
    }
}

#[test]
fn notices_are_sent_while_effects_are_undone() {
    let notice = |name: &str, anchor: &str, offset: &str| {
        json!({"id": name, "channel": "all", "audience": "users", "anchor": anchor,
               "offset": offset, "subject": "s", "body": "b"})
    };
    let plan = plan_with(
        json!([phase("1", vec![change("1.1"), check("1.2")])]),
        json!({
            "channels": {"all": {"file": "notices"}},
            "notices": [notice("later", "started", "1h"), notice("back", "rollback", "0s")]
        }),
    );
    let story = given(plan).runs("1.1");
    let due = |story: &Story| -> Vec<String> {
        let notices = story.next().notices;
        notices.into_iter().map(|due| due.notice).collect()
    };
    assert!(due(&story).is_empty());
    let story = story
        .and(by("olga", rollback(RollbackLevel::Full)))
        .after("1h");
    story.is(Status::RollingBack);
    assert_eq!(due(&story), ["later", "back"]);
    let story = story.undoes("1.1");
    story.is(Status::Closed(RolloutOutcome::RolledBack));
    assert_eq!(
        due(&story),
        ["back"],
        "the other speaks of a rollout that continues"
    );
}
