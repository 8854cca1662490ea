//! Steps: order, attempts, retry, skip, not applicable, when, windows.

use rollbook_proto::v1::{self, RolloutOutcome, Verdict};
use serde_json::json;

use super::super::command::{Command, WorkerCommand};
use super::super::state::{Status, StepStatus};
use super::story::*;

#[test]
fn steps_run_in_the_order_of_their_needs() {
    let free = with(check("0.3"), json!({"needs": []}));
    let both = with(check("0.4"), json!({"needs": ["0.2", "0.3"]}));
    let story = given(plan(json!([
        phase("0", vec![check("0.1"), check("0.2"), free, both]),
        phase("1", vec![check("1.1")])
    ])));
    assert_eq!(story.tasks(), ["0.1", "0.3"]);
    let story = story
        .when(worker(start("0.2", 1)))
        .refused("RB-ROLLOUT-8", "step 0.1 (pending)")
        .when(worker(start("1.1", 1)))
        .refused("RB-ROLLOUT-8", "phase 0")
        .when(worker(start("7.7", 1)))
        .refused("RB-ROLLOUT-3", "7.7");
    let story = story.runs("0.1").runs("0.2");
    assert_eq!(story.tasks(), ["0.3"]);
    let story = story.runs("0.3").runs("0.4");
    assert_eq!(story.tasks(), ["1.1"]);
    story
        .runs("1.1")
        .is(Status::Closed(RolloutOutcome::Succeeded));
}

#[test]
fn phases_follow_their_own_needs() {
    let story = given(plan(json!([
        phase("a", vec![check("a1")]),
        {"id": "b", "title": "b", "needs": [], "steps": [check("b1")]},
        {"id": "c", "title": "c", "needs": ["a", "b"], "steps": [check("c1")]}
    ])));
    assert_eq!(story.tasks(), ["a1", "b1"]);
    assert_eq!(story.runs("b1").runs("a1").tasks(), ["c1"]);
}

#[test]
fn a_critical_failure_blocks_what_needs_it_and_says_why() {
    for verdict in [Verdict::Fail, Verdict::Inconclusive, Verdict::Error] {
        let story =
            given(plan(json!([phase("0", vec![check("0.1"), check("0.2")])]))).ends("0.1", verdict);
        assert!(story.tasks().is_empty());
        let blocked = story.blocked("step 0.1");
        assert!(blocked.why.contains("said so"), "{blocked:?}");
        assert_eq!(
            blocked.remedies.first(),
            Some(&remedy::retry(&story.state.id, &id("0.1")))
        );
        let story = story
            .when(by("olga", retry("0.1")))
            .then(&["StepRetried"])
            .when(worker(start("0.1", 1)))
            .refused("RB-ROLLOUT-11", "2 is next");
        assert_eq!(story.runs("0.1").tasks(), ["0.2"]);
    }
}

#[test]
fn a_failure_that_is_not_critical_or_continues_blocks_nothing() {
    for more in [json!({"critical": false}), json!({"on_fail": "continue"})] {
        let story = given(plan(json!([phase(
            "0",
            vec![with(check("0.1"), more), check("0.2")]
        )])))
        .ends("0.1", Verdict::Fail);
        assert_eq!(story.tasks(), ["0.2"]);
        story
            .runs("0.2")
            .is(Status::Closed(RolloutOutcome::Succeeded));
    }
}

#[test]
fn automatic_attempts_back_off_and_end() {
    let step = with(
        check("0.1"),
        json!({"retry": {"attempts": 3, "delay": "10s"}}),
    );
    let story = given(plan(json!([phase("0", vec![step])]))).ends("0.1", Verdict::Error);
    assert_eq!(story.last_events(), ["StepRetried"]);
    assert!(story.tasks().is_empty(), "it waits");
    let blocked = story.blocked("step 0.1");
    assert_eq!(blocked.until, Some("2026-01-01T10:00:10Z".parse().unwrap()));
    assert_eq!(story.next().wake_at, blocked.until);
    let story = story
        .when(worker(start("0.1", 2)))
        .refused("RB-ROLLOUT-8", "by itself at 2026-01-01T10:00:10Z")
        .after("10s");
    assert_eq!(story.tasks(), ["0.1"]);
    let story = story.ends("0.1", Verdict::Fail).after("10s");
    assert!(story.tasks().is_empty(), "doubled");
    let story = story.after("10s").ends("0.1", Verdict::Fail);
    assert!(story.blocked("step 0.1").why.contains("attempt 3"));
    assert_eq!(story.count("StepRetried"), 2);
    // An inconclusive step is not retried automatically.
    let step = with(check("0.1"), json!({"retry": {"attempts": 3}}));
    let story = given(plan(json!([phase("0", vec![step])]))).ends("0.1", Verdict::Inconclusive);
    assert_eq!(story.step("0.1"), StepStatus::Inconclusive);
}

#[test]
fn an_interrupted_step_is_not_repeated_automatically() {
    for (is_idempotent, status) in [(false, StepStatus::Failed), (true, StepStatus::Pending)] {
        let more = json!({"retry": {"attempts": 3}, "idempotent": is_idempotent});
        let story = given(plan(json!([phase("0", vec![with(change("0.1"), more)])])))
            .and(worker(start("0.1", 1)))
            .and(worker(WorkerCommand::FinishStep {
                finished: v1::StepFinished {
                    effect: true,
                    effect_kind: v1::EffectKind::Partial.into(),
                    statements_done: 1,
                    ..result("0.1", 1, Verdict::Fail)
                },
                details: Vec::new(),
            }));
        assert_eq!(story.step("0.1"), status);
    }
}

#[test]
fn effects_of_failed_steps_can_be_undone_and_interrupted_ones_first() {
    let story = |undo: serde_json::Value, effect: bool, kind: v1::EffectKind| {
        let step = with(change("0.1"), json!({"undo": undo}));
        given(plan(json!([phase("0", vec![step])])))
            .and(worker(start("0.1", 1)))
            .and(worker(WorkerCommand::FinishStep {
                finished: v1::StepFinished {
                    effect,
                    effect_kind: kind.into(),
                    ..result("0.1", 1, Verdict::Fail)
                },
                details: Vec::new(),
            }))
    };
    let undo = || json!({"run": {"command": "true"}});
    let (whole, partial) = (v1::EffectKind::Unspecified, v1::EffectKind::Partial);
    for (undo, effect, kind, verbs) in [
        (undo(), true, partial, &["undo", "retry", "skip"][..]),
        (undo(), true, whole, &["retry", "undo", "skip"]),
        (undo(), false, whole, &["retry", "skip"]),
        (json!("irreversible"), true, partial, &["retry", "skip"]),
    ] {
        let story = story(undo, effect, kind);
        let (rollout, step) = (story.state.id.clone(), id("0.1"));
        let named: Vec<Remedy> = verbs
            .iter()
            .map(|verb| match *verb {
                "undo" => remedy::undo(&rollout, &step),
                "retry" => remedy::retry(&rollout, &step),
                _ => remedy::skip(&rollout, &step),
            })
            .collect();
        assert_eq!(story.blocked("step 0.1").remedies, named);
        if verbs.contains(&"undo") {
            let undo = Command::Undo {
                step: id("0.1"),
                reason: "half done".to_owned(),
            };
            let story = story.and(by("olga", undo)).undoes("0.1");
            assert_eq!(story.step("0.1"), StepStatus::Undone);
            let remedies = story.blocked("step 0.1").remedies;
            assert!(!remedies.contains(&remedy::undo(&rollout, &step)));
            assert!(!remedies.is_empty());
        }
    }
}

#[test]
fn only_ended_steps_can_be_retried() {
    let story = given(plan(json!([phase(
        "0",
        vec![check("0.1"), change("0.2"), check("0.3")]
    )])));
    let story = story
        .when(by("olga", retry("0.1")))
        .refused("RB-ROLLOUT-9", "yet to run")
        .and(worker(start("0.1", 1)))
        .when(by("olga", retry("0.1")))
        .refused("RB-ROLLOUT-9", "running")
        .and(worker(finish("0.1", 1, Verdict::Pass)))
        .runs("0.2")
        .when(by("olga", retry("0.2")))
        .refused("RB-ROLLOUT-9", "its effect stands");
    let story = story
        .when(by("olga", retry("0.1")))
        .refused("RB-ROLLOUT-9", "its result stands")
        .and(by("olga", skip("0.3")));
    story.is(Status::Closed(RolloutOutcome::Succeeded));
}

#[test]
fn a_skipped_step_can_still_run() {
    let story = given(plan(json!([phase("0", vec![check("0.1"), check("0.2")])])))
        .and(by("olga", skip("0.1")))
        .when(by("olga", retry("0.1")))
        .then(&["StepRetried"]);
    assert_eq!(story.step("0.1"), StepStatus::Pending);
    assert_eq!(story.tasks(), ["0.1"]);
}

#[test]
fn a_passed_check_reruns_only_where_it_blocks_a_gate() {
    let capture = |label: &str, id: &str| json!({"id": id, "title": id, "snapshot": {"of": "deals", "label": label}});
    let compare = json!({"id": "0.5", "title": "c",
        "compare": {"of": "deals", "before": "before", "after": "after"}});
    let plan = plan_with(
        json!([
            gated(
                "0",
                vec![
                    check("0.1"),
                    capture("before", "0.2"),
                    change("0.3"),
                    capture("after", "0.4"),
                    compare
                ],
                json!({"checks": ["regressions == 0"]})
            ),
            phase("1", vec![check("1.1")])
        ]),
        json!({"sources": {"db": {"kind": "sqlite", "url": {"staging": {"value": "x"}}}},
               "snapshots": {"deals": {"source": "db"}}}),
    );
    let story = given(plan)
        .runs("0.1")
        .runs("0.2")
        .runs("0.3")
        .runs("0.4")
        .when(by("olga", retry("0.4")))
        .refused("RB-ROLLOUT-9", "its result stands")
        .measures("0.5", Verdict::Pass, &[("regressions", 3.0)]);
    assert_eq!(
        story.blocked("gate 0").remedies,
        [remedy::retry(&story.state.id, &id("0.5"))]
    );
    let story = story
        .when(by("olga", retry("0.1")))
        .refused("RB-ROLLOUT-9", "its result stands")
        .when(by("olga", retry("0.2")))
        .refused("RB-ROLLOUT-9", "its result stands")
        .when(by("olga", retry("0.3")))
        .refused("RB-ROLLOUT-9", "undo it");
    story
        .clone()
        .when(by("olga", retry("0.5")))
        .then(&["StepRetried"]);
    let story = story.and(by("olga", retry("0.4"))).runs("0.4").measures(
        "0.5",
        Verdict::Pass,
        &[("regressions", 0.0)],
    );
    assert_eq!(story.tasks(), ["1.1"]);
    story
        .when(by("olga", retry("0.5")))
        .refused("RB-ROLLOUT-9", "its result stands");
}

#[test]
fn a_skip_needs_a_reason_and_a_step_that_is_not_running() {
    let story = given(plan(json!([phase("0", vec![check("0.1"), check("0.2")])])));
    let silent = Command::Skip {
        step: id("0.1"),
        reason: String::new(),
    };
    let story = story
        .when(by("olga", silent))
        .refused("RB-ROLLOUT-5", "skip needs a reason")
        .when(by("olga", skip("0.1")))
        .then(&["StepSkipped"])
        .when(by("olga", skip("0.1")))
        .refused("RB-ROLLOUT-9", "skipped");
    assert_eq!(story.tasks(), ["0.2"]);
    story
        .and(worker(start("0.2", 1)))
        .when(by("olga", skip("0.2")))
        .refused("RB-ROLLOUT-9", "running")
        .ends_running("0.2");
}

impl Story {
    fn ends_running(self, step: &str) {
        let story = self.and(worker(finish(step, 1, Verdict::Pass)));
        assert_eq!(story.step(step), StepStatus::Succeeded);
    }
}

fn propose(step: &str) -> Command {
    Command::ProposeNotApplicable {
        step: id(step),
        reason: "no such table".to_owned(),
    }
}

fn review(step: &str, accept: bool) -> Command {
    Command::ReviewNotApplicable {
        step: id(step),
        accept,
        reason: "looked".to_owned(),
    }
}

#[test]
fn not_applicable_takes_two_persons() {
    let accepts = json!({"id": "0.2", "title": "m",
        "manual": {"instructions": "i", "accept_not_applicable": true}});
    let story = given(plan(json!([phase(
        "0",
        vec![check("0.1"), accepts, by_hand("0.3")]
    )])));
    let story = story
        .when(by("alice", review("0.1", true)))
        .refused("RB-ROLLOUT-20", "0.1")
        .when(by("alice", propose("0.3")))
        .refused("RB-ROLLOUT-18", "0.3")
        .when(by("alice", propose("0.1")))
        .then(&["NotApplicableProposed"]);
    assert!(story.tasks().is_empty(), "it waits for the review");
    assert!(
        story
            .blocked("step 0.1")
            .who
            .contains(&"anyone but alice".to_owned())
    );
    let story = story
        .when(by("bob", propose("0.1")))
        .refused("RB-ROLLOUT-9", "alice has proposed")
        .when(worker(start("0.1", 1)))
        .refused("RB-ROLLOUT-8", "not applicable")
        .when(by("alice", review("0.1", true)))
        .refused("RB-ROLLOUT-19", "alice proposed")
        .when(by("mallory", review("0.1", true)))
        .refused("RB-ROLLOUT-17", "eng: alice or bob")
        .when(by("bob", review("0.1", false)))
        .then(&["NotApplicableReviewed"]);
    assert_eq!(story.tasks(), ["0.1"]);
    let story = story
        .and(by("alice", propose("0.1")))
        .when(by("bob", review("0.1", true)))
        .then(&["NotApplicableReviewed"]);
    assert_eq!(story.step("0.1"), StepStatus::NotApplicable);
    let story = story
        .when(by("alice", propose("0.1")))
        .refused("RB-ROLLOUT-9", "not applicable")
        .and(by("alice", propose("0.2")))
        .and(by("bob", review("0.2", true)));
    assert!(story.blocked("step 0.3").why.contains("a manual step"));
}

#[test]
fn a_step_whose_condition_is_false_does_not_apply() {
    let plan = plan_with(
        json!([phase(
            "0",
            vec![
                with(check("0.1"), json!({"when": "size > 10"})),
                with(check("0.2"), json!({"when": "canary == 1"})),
                with(check("0.3"), json!({"when": "missing > 0"}))
            ]
        )]),
        json!({"params": {"size": "7", "canary": "true"}}),
    );
    let story = given(plan);
    assert_eq!(story.step("0.1"), StepStatus::NotApplicable);
    assert_eq!(story.tasks(), ["0.2"]);
    let story = story.runs("0.2");
    assert!(story.tasks().is_empty());
    let blocked = story.blocked("step 0.3");
    assert!(blocked.why.contains("no data for `missing`"), "{blocked:?}");
    story
        .and(by("olga", skip("0.3")))
        .is(Status::Closed(RolloutOutcome::Succeeded));
}

#[test]
fn a_condition_without_an_answer_names_who_can_leave_the_step_out() {
    let plan = |critical: bool| {
        plan(json!([phase(
            "0",
            vec![with(
                check("0.1"),
                json!({"when": "missing > 0", "critical": critical})
            )]
        )]))
    };
    let roles = ["dba: dora", "eng: alice or bob", "lead: alice or lee"];
    for (environment, critical, who, takes) in [
        ("staging", true, &["any operator"][..], "every named person"),
        ("production", true, &roles[..], "two persons of a role"),
        ("production", false, &roles[..], "one person of a role"),
    ] {
        let story = opened_in(plan(critical), environment).and(by("alice", Command::Start {}));
        let mut blocked = story.blocked("step 0.1");
        blocked.who.sort();
        assert_eq!(blocked.who, who, "{environment}");
        assert!(blocked.why.contains(takes), "{blocked:?}");
        let rollout = &story.state.id;
        assert_eq!(
            blocked.remedies,
            [remedy::skip(rollout, &id("0.1")), remedy::revise(rollout)]
        );
    }
}

#[test]
fn a_window_holds_a_step_and_says_until_when() {
    let plan = plan_with(
        json!([phase(
            "0",
            vec![
                with(check("0.1"), json!({"window": "night"})),
                by_hand("0.2")
            ]
        )]),
        json!({"windows": [
            {"name": "night", "kind": "allow", "cron": "0 2 * * *", "duration": "15m", "named_only": true},
            {"name": "freeze", "kind": "deny", "from": "2026-01-02T02:05:00Z", "until": "2026-01-03T00:00:00Z"}
        ]}),
    );
    let story = given(plan);
    assert!(story.tasks().is_empty());
    let blocked = story.blocked("step 0.1");
    assert_eq!(blocked.until, Some("2026-01-02T02:00:00Z".parse().unwrap()));
    assert_eq!(story.next().wake_at, blocked.until);
    let story = story
        .when(worker(start("0.1", 1)))
        .refused("RB-ROLLOUT-8", "night")
        .after("16h");
    assert_eq!(story.tasks(), ["0.1"]);
    let story = story.runs("0.1").after("6m");
    assert!(story.blocked("step 0.2").why.contains("freeze"));
    story
        .when(by("alice", complete("0.2", &[])))
        .refused("RB-ROLLOUT-8", "deny window `freeze`");
}

#[test]
fn a_running_step_is_reported_when_its_timeout_is_long_over() {
    let step = with(check("0.1"), json!({"timeout": "10m"}));
    let story = given(plan(json!([phase("0", vec![step])]))).and(worker(start("0.1", 1)));
    assert!(story.next().blocked.is_empty());
    assert_eq!(
        story.next().wake_at,
        Some("2026-01-01T10:11:00Z".parse().unwrap())
    );
    let blocked = story.after("12m").blocked("step 0.1");
    assert!(blocked.why.contains("timeout of 10m"), "{blocked:?}");
}
