//! What happens automatically: reactions to failures, advice, waits, stale checks.

use rollbook_proto::v1::{RolloutOutcome, Verdict, event::Kind};
use serde_json::json;

use super::super::command::Command;
use super::super::state::{Status, StepStatus};
use super::story::*;

#[test]
fn a_failure_rolls_back_where_the_plan_says_so_and_once() {
    let story = given(plan(json!([phase(
        "1",
        vec![
            change("1.1"),
            flag("1.2"),
            with(check("1.3"), json!({"on_fail": "rollback_flags"}))
        ]
    )])))
    .runs("1.1")
    .runs("1.2")
    .ends("1.3", Verdict::Fail);
    story.is(Status::RollingBack);
    assert_eq!(story.tasks(), ["undo 1.2"]);
    let story = story.undoes("1.2");
    story.is(Status::Paused);
    let story = story.after("1h");
    assert_eq!(story.count("RollbackStarted"), 1);

    given(plan(json!([phase(
        "1",
        vec![
            change("1.1"),
            with(
                check("1.2"),
                json!({"on_fail": "rollback_full", "retry": {"attempts": 2}})
            )
        ]
    )])))
    .runs("1.1")
    .ends("1.2", Verdict::Fail)
    .ends("1.2", Verdict::Error)
    .undoes("1.1")
    .is(Status::Closed(RolloutOutcome::RolledBack));
}

#[test]
fn a_failure_answered_by_a_rollback_starts_no_other_and_the_advice_unblocks() {
    // The second check fails during the flag rollback and finds nothing more to undo.
    let rolling = json!({"on_fail": "rollback_flags", "needs": ["1.1"]});
    let steps = vec![
        flag("1.1"),
        with(check("1.2"), rolling.clone()),
        with(check("1.3"), rolling),
    ];
    let story = given(plan(json!([phase("1", steps)])))
        .runs("1.1")
        .and(worker(start("1.2", 1)))
        .and(worker(start("1.3", 1)))
        .and(worker(finish("1.2", 1, Verdict::Fail)))
        .and(worker(finish("1.3", 1, Verdict::Error)))
        .undoes("1.1");
    story.is(Status::Paused);
    let paused = story.blocked("rollout");
    assert_eq!(
        paused.remedies,
        [
            remedy::resume(&story.state.id),
            remedy::abort(&story.state.id)
        ]
    );
    assert!(
        paused.why.contains("starts no further rollback"),
        "{}",
        paused.why
    );
    let story = story.and(by(
        "olga",
        Command::Resume {
            reason: String::new(),
        },
    ));
    story.is(Status::Running);
    // Following the remedies: once the flag is on again, the old failures trigger nothing, and the
    // checks run again.
    assert_eq!(
        story.blocked("step 1.1").remedies.first(),
        Some(&remedy::retry(&story.state.id, &id("1.1")))
    );
    let story = story.and(by("olga", retry("1.1"))).runs("1.1");
    story.is(Status::Running);
    assert_eq!(story.count("RollbackStarted"), 1);
    assert_eq!(story.tasks(), ["1.2", "1.3"]);
    // A failure of the new attempt counts as a new failure.
    let story = story.ends("1.2", Verdict::Fail);
    story.is(Status::RollingBack);
    assert_eq!(story.count("RollbackStarted"), 2);
}

#[test]
fn a_decision_rule_acts_again_only_on_newer_measurements() {
    let rule = json!({"decide": [
        {"when": "affected > 5 && deals > 0", "then": "flags", "auto": true}]});
    let steps = vec![flag("1.1"), check("1.2"), check("1.3"), by_hand("1.4")];
    let story = given(plan_with(json!([phase("1", steps)]), rule))
        .runs("1.1")
        .measures("1.2", Verdict::Pass, &[("affected", 9.0), ("deals", 4.0)])
        .undoes("1.1")
        .and(by(
            "olga",
            Command::Resume {
                reason: String::new(),
            },
        ))
        .and(by("olga", skip("1.1")))
        // There are new figures, but the one that made the rule hold is old.
        .measures("1.3", Verdict::Pass, &[("deals", 5.0)]);
    story.is(Status::Running);
    assert_eq!(story.count("RollbackStarted"), 1);
    assert_eq!(
        advice(&story),
        [("flags".to_owned(), true), ("flags".to_owned(), false)]
    );
}

fn tree() -> serde_json::Value {
    json!({"decide": [
        {"when": "affected > 50", "then": "full"},
        {"when": "affected >= 10", "then": "flags", "auto": true},
        {"when": "affected < 10", "then": "fix_forward"}
    ]})
}

fn advice(story: &Story) -> Vec<(String, bool)> {
    story
        .events()
        .filter_map(|kind| match kind {
            Kind::AdviceGiven(given) => Some((given.advice.clone(), given.automatic)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_first_rule_that_holds_advises_once_and_acts_where_allowed() {
    let phases = json!([phase("1", vec![flag("1.1"), check("1.2"), check("1.3")])]);
    let measured = |value| {
        given(plan_with(phases.clone(), tree()))
            .runs("1.1")
            .measures("1.2", Verdict::Pass, &[("affected", value)])
    };
    let story = measured(3.0);
    assert_eq!(advice(&story), [("fix_forward".to_owned(), false)]);
    let story = story.after("1h");
    assert_eq!(advice(&story).len(), 1, "the same numbers, said once");
    // Advice without `auto` is left to people.
    let story = measured(60.0);
    assert_eq!(advice(&story), [("full".to_owned(), false)]);
    story.is(Status::Running);
    let story = measured(34.2);
    assert_eq!(advice(&story), [("flags".to_owned(), true)]);
    let inputs = story.events().find_map(|kind| match kind {
        Kind::AdviceGiven(given) => Some(given.inputs.clone()),
        _ => None,
    });
    assert_eq!(inputs.unwrap(), ["affected=34.2"]);
    let story = story.undoes("1.1").after("1h");
    story.is(Status::Paused);
    assert_eq!(story.count("RollbackStarted"), 1);
    // Without data there is no advice.
    let story = given(plan_with(phases, tree())).runs("1.1").runs("1.2");
    assert!(advice(&story).is_empty());
}

#[test]
fn a_wait_needs_no_worker() {
    let wait = json!({"id": "0.1", "title": "w", "wait": {"for": "1h"}});
    let story = given(plan(json!([phase("0", vec![wait, check("0.2")])])));
    assert_eq!(story.step("0.1"), StepStatus::Running);
    assert!(story.tasks().is_empty());
    assert!(story.next().blocked.is_empty(), "it moves");
    assert_eq!(
        story.next().wake_at,
        Some("2026-01-01T11:00:00Z".parse().unwrap())
    );
    let story = story.after("59m");
    assert!(story.tasks().is_empty());
    assert_eq!(story.after("1m").tasks(), ["0.2"]);
}

#[test]
fn measurements_are_repeated_when_an_earlier_change_reruns() {
    let story = given(plan(json!([
        phase(
            "1",
            vec![
                with(change("1.1"), json!({"critical": false})),
                check("1.2")
            ]
        ),
        phase("2", vec![by_hand("2.1"), check("2.2"), check("2.3")])
    ])))
    .ends("1.1", Verdict::Fail)
    .runs("1.2")
    .and(by("alice", complete("2.1", &[])))
    .runs("2.2");
    let story = story.and(by("olga", retry("1.1"))).runs("1.1");
    assert_eq!(story.step("1.2"), StepStatus::Pending);
    assert_eq!(story.step("2.2"), StepStatus::Pending);
    assert_eq!(
        story.step("2.1"),
        StepStatus::Succeeded,
        "people are not repeated"
    );
    assert_eq!(story.tasks(), ["1.2"]);
    story
        .runs("1.2")
        .runs("2.2")
        .runs("2.3")
        .is(Status::Closed(RolloutOutcome::Succeeded));
}

#[test]
fn nothing_settles_before_the_start_or_after_the_end() {
    let wait = json!({"id": "0.1", "title": "w", "wait": {"for": "1h"}});
    let story = opened_in(plan(json!([phase("0", vec![wait])])), "staging").after("2h");
    assert_eq!(story.commits.len(), 1);
    let story = story.and(by(
        "olga",
        Command::Abort {
            reason: "no".to_owned(),
        },
    ));
    story.is(Status::Closed(RolloutOutcome::Aborted));
    let commits = story.commits.len();
    assert_eq!(story.after("90d").commits.len(), commits);
}
