//! Open, start, pause, resume, abort, close; command ids; actors.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{self, ActorKind, RolloutOutcome, Verdict};
use serde_json::json;

use super::super::command::{Command, Open, SystemCommand, WorkerCommand};
use super::super::state::{Status, StepStatus};
use super::super::{Context, decide, evolve, open};
use super::story::*;
use crate::environment::Environments;
use crate::error_code::Coded;
use crate::ids::EnvironmentId;

fn pause() -> Command {
    Command::Pause {
        reason: "lunch".to_owned(),
    }
}

fn resume() -> Command {
    Command::Resume {
        reason: String::new(),
    }
}

fn abort() -> Command {
    Command::Abort {
        reason: "enough".to_owned(),
    }
}

fn two_checks() -> crate::runbook::Plan {
    plan(json!([phase("0", vec![check("0.1"), check("0.2")])]))
}

#[test]
fn a_rollout_opens_only_with_its_own_plan_and_a_declared_environment() {
    let plan = two_checks();
    let mut asked = Open {
        name: String::new(),
        plan: evidence_of(&plan),
        environment: EnvironmentId::new("moon").unwrap(),
        params: Default::default(),
    };
    let alice = by("alice", Command::Start {}).actor;
    let open = |plan: &_, asked: &_| open(plan, asked, &alice, Environments::NONE);
    let refusal = open(&plan, &asked).unwrap_err();
    assert_eq!(refusal.code(), "RB-ROLLOUT-31");
    assert!(refusal.to_string().contains("production"), "{refusal}");
    asked.environment = EnvironmentId::new("staging").unwrap();
    asked.params.insert("x".to_owned(), "1".to_owned());
    assert_eq!(open(&plan, &asked).unwrap_err().code(), "RB-ROLLOUT-31");
    asked.params.clear();
    asked.plan.sha256 = "0".repeat(64);
    assert_eq!(open(&plan, &asked).unwrap_err().code(), "RB-ROLLOUT-2");
}

#[test]
fn a_rollout_starts_once() {
    opened_in(two_checks(), "staging")
        .when(by("olga", Command::Start {}))
        .then(&["RolloutStarted"])
        .when(by("olaf", Command::Start {}))
        .nothing();
    let open = opened_in(two_checks(), "staging");
    assert!(open.tasks().is_empty());
    assert_eq!(
        open.blocked("rollout").remedies,
        [remedy::start(&open.state.id)]
    );
    open.when(by("olga", pause()))
        .refused("RB-ROLLOUT-7", "open");
}

#[test]
fn no_step_starts_while_paused_and_running_ones_finish() {
    let story = given(two_checks()).and(worker(start("0.1", 1)));
    let story = story
        .when(by("olga", pause()))
        .then(&["RolloutPaused"])
        .when(by("olaf", pause()))
        .nothing()
        .when(worker(finish("0.1", 1, Verdict::Pass)))
        .then(&["StepFinished"])
        .when(worker(start("0.2", 1)))
        .refused("RB-ROLLOUT-8", "paused");
    assert!(story.tasks().is_empty());
    assert!(story.blocked("rollout").why.contains("paused"));
    let story = story
        .when(by("olga", Command::Start {}))
        .refused("RB-ROLLOUT-7", "resume")
        .when(by("olga", resume()))
        .then(&["RolloutResumed"])
        .when(by("olga", resume()))
        .nothing();
    assert_eq!(story.tasks(), ["0.2"]);
}

#[test]
fn an_abort_waits_for_running_steps_and_then_closes() {
    let story = given(two_checks())
        .and(worker(start("0.1", 1)))
        .when(by("olga", abort()))
        .then(&["RolloutAborted"])
        .when(by("olga", abort()))
        .nothing()
        .settled();
    story.is(Status::Aborted);
    assert!(story.blocked("rollout").why.contains("0.1"));
    let story = story.and(worker(finish("0.1", 1, Verdict::Pass)));
    story.is(Status::Closed(RolloutOutcome::Aborted));
    story
        .when(by("olga", abort()))
        .refused("RB-ROLLOUT-7", "closed")
        .when(by("olga", resume()))
        .refused("RB-ROLLOUT-7", "ended")
        .when(by("olga", pause()))
        .refused("RB-ROLLOUT-7", "ended")
        .when(by("olga", Command::Start {}))
        .refused("RB-ROLLOUT-7", "new rollout")
        .when(by("olga", skip("0.2")))
        .refused("RB-ROLLOUT-7", "ended")
        .when(by("olga", retry("0.2")))
        .refused("RB-ROLLOUT-7", "closed");
}

#[test]
fn an_abort_over_a_failed_critical_step_is_a_failure() {
    given(two_checks())
        .ends("0.1", Verdict::Fail)
        .and(by("olga", abort()))
        .is(Status::Closed(RolloutOutcome::Failed));
    opened_in(two_checks(), "staging")
        .and(by("olga", abort()))
        .is(Status::Closed(RolloutOutcome::Aborted));
}

#[test]
fn a_rollout_succeeds_once_every_phase_has_passed_and_records_the_figures() {
    let plan = plan_with(
        json!([phase("0", vec![check("0.1"), check("0.2")])]),
        json!({
            "metrics": {"tickets": {"unit": "tickets", "step": "count"}, "speed": {"step": "ms"}},
            "success": [
                {"name": "few tickets", "metric": "tickets", "target": "value <= 5"},
                {"name": "no errors", "metric": "errors", "target": "value == 0"},
                {"name": "fast", "metric": "speed", "target": "value < 100"}
            ]
        }),
    );
    let story = given(plan)
        .measures("0.1", Verdict::Pass, &[("count", 4.0), ("errors", 2.0)])
        .runs("0.2");
    story.is(Status::Closed(RolloutOutcome::Succeeded));
    assert_eq!(
        story.state.success.iter().collect::<Vec<_>>(),
        [
            (&"fast".to_owned(), &Verdict::Inconclusive),
            (&"few tickets".to_owned(), &Verdict::Pass),
            (&"no errors".to_owned(), &Verdict::Fail)
        ]
    );
    assert!(story.next().is_over());
    story.folds();
}

#[test]
fn counters_are_judged_by_their_growth_since_the_rollout_began() {
    let closes = |values: &[f64], passes: bool| {
        let steps: Vec<String> = (1..=values.len()).map(|n| format!("0.{n}")).collect();
        let plan = plan_with(
            json!([phase("0", steps.iter().map(|id| check(id)).collect())]),
            json!({"success": [
                {"name": "no new ones", "metric": "errors", "target": "delta(value) == 0"},
                {"name": "few an hour", "metric": "errors", "target": "rate(value, hour) <= 0"}
            ]}),
        );
        let mut story = given(plan);
        for (step, value) in steps.iter().zip(values) {
            story = story.measures(step, Verdict::Pass, &[("errors", *value)]);
        }
        let found: Vec<Verdict> = story.state.success.values().copied().collect();
        let expected = match values.len() {
            // A single value shows no growth.
            1 => Verdict::Inconclusive,
            _ if passes => Verdict::Pass,
            _ => Verdict::Fail,
        };
        assert_eq!(found, [expected; 2], "{values:?}");
        story.folds();
    };
    closes(&[7.0, 7.0, 7.0], true);
    closes(&[7.0, 7.0, 8.0], false);
    closes(&[7.0], true);
    // The counter was reset to zero and stayed there; in the second case it counted two more.
    closes(&[7.0, 0.0, 0.0], true);
    closes(&[7.0, 2.0], false);
}

#[test]
fn numbers_are_compared_to_the_last_digit() {
    let plan = plan_with(
        json!([phase("0", vec![check("0.1")])]),
        json!({"success": [
            {"name": "same", "metric": "original", "target": "value == 9007199254740993"},
            {"name": "cut", "metric": "cut", "target": "value == 0"}
        ]}),
    );
    let number = |metric: &str, decimal: &str, incomplete: bool| v1::Measurement {
        metric: metric.to_owned(),
        decimal: decimal.to_owned(),
        value: Some(9_007_199_254_740_992.0),
        incomplete,
        ..v1::Measurement::default()
    };
    let finish = |measurement: v1::Measurement| {
        worker(WorkerCommand::FinishStep {
            finished: v1::StepFinished {
                measurements: vec![measurement, number("cut", "0", true)],
                ..result("0.1", 1, Verdict::Pass)
            },
            details: Vec::new(),
        })
    };
    let story = given(plan)
        .and(worker(start("0.1", 1)))
        .when(finish(number("original", "not a number", false)))
        .refused("RB-ROLLOUT-32", "28 digits")
        .and(finish(number("original", "9007199254740993", false)));
    let found: Vec<_> = story.state.success.into_iter().collect();
    let expected = [
        ("cut".to_owned(), Verdict::Inconclusive),
        ("same".to_owned(), Verdict::Pass),
    ];
    assert_eq!(found, expected);
}

#[test]
fn texts_are_required_and_bounded() {
    let empty = Command::Pause {
        reason: "  ".to_owned(),
    };
    let long = Command::Pause {
        reason: "x".repeat(5_000),
    };
    given(two_checks())
        .when(by("olga", empty))
        .refused("RB-ROLLOUT-5", "reason")
        .when(by("olga", long))
        .refused("RB-ROLLOUT-6", "5000 bytes");
}

/// Texts without a visible character.
const BLANK: [&str; 5] = [
    "",
    "  ",
    "\t\r\n",
    "\u{a0}\u{3000}",
    "\u{200b}\u{3000}\u{2060} \u{feff}",
];

#[test]
fn an_invisible_reason_is_no_reason() {
    let glass = json!({"verbs": ["abort"], "roles": ["lead"], "review_within": "2h"});
    let gate = json!({"sign_offs": [{"role": "eng"}]});
    let plan = plan_with(
        json!([gated("0", vec![change("0.1")], gate)]),
        json!({"authority": {"break_glass": glass}}),
    );
    let command = |value: serde_json::Value| -> Command { serde_json::from_value(value).unwrap() };
    let failed = given(plan.clone()).ends("0.1", Verdict::Fail);
    let protected = opened_in(plan, "production").and(by("alice", Command::Start {}));
    let asked = protected.clone().and(by(
        "alice",
        command(json!({"command": "abort", "reason": "enough"})),
    ));
    let request = asked.events().find_map(|kind| match kind {
        Kind::RequestMade(made) => Some(made.request_id.clone()),
        _ => None,
    });
    let broken = json!({"command": "break_glass", "of": {"command": "abort", "reason": "enough"}});
    let broken = protected.clone().and(by("lee", command(broken)));
    let review = broken.events().find_map(|kind| match kind {
        Kind::GlassBroken(broken) => Some(broken.review_id.clone()),
        _ => None,
    });
    for blank in BLANK {
        for (story, person, value) in [
            (&failed, "olga", json!({"command": "pause"})),
            (&failed, "olga", json!({"command": "abort"})),
            (&failed, "olga", json!({"command": "skip", "step": "0.1"})),
            (&failed, "olga", json!({"command": "retry", "step": "0.1"})),
            (&failed, "olga", json!({"command": "undo", "step": "0.1"})),
            (
                &failed,
                "olga",
                json!({"command": "rollback", "level": "full"}),
            ),
            (&failed, "bob", json!({"command": "reject", "gate": "0"})),
            (
                &failed,
                "olga",
                json!({"command": "withdraw_revision", "revision": 2}),
            ),
            (
                &failed,
                "olga",
                json!({"command": "revise", "plan": {"sha256": "ab"}}),
            ),
            (
                &failed,
                "olga",
                json!({"command": "propose_not_applicable", "step": "0.1"}),
            ),
            (
                &failed,
                "olga",
                json!({"command": "review_not_applicable", "step": "0.1", "accept": false}),
            ),
            (&protected, "alice", json!({"command": "abort"})),
            (
                &asked,
                "alice",
                json!({"command": "withdraw", "request": request}),
            ),
        ] {
            let mut value = value;
            value["reason"] = json!(blank);
            let ask = by(person, command(value));
            story.clone().when(ask).refused("RB-ROLLOUT-5", "reason");
        }
        let alone = json!({"command": "break_glass", "of": {"command": "abort", "reason": blank}});
        protected
            .clone()
            .when(by("lee", command(alone)))
            .refused("RB-ROLLOUT-5", "reason");
        let note = json!({"command": "review", "review": review, "agreed": true, "note": blank});
        broken
            .clone()
            .when(by("alice", command(note)))
            .refused("RB-ROLLOUT-5", "note");
    }
}

#[test]
fn a_command_id_is_applied_once() {
    let story = given(two_checks());
    let ask = by("olga", pause());
    let events = story.decide(&ask, "same").unwrap();
    let mut story = story;
    story.apply(&events, &ask, "same");
    let story = story.and(by("olga", resume()));
    // The same id from another kind of actor is a different command.
    for (kind, is_known) in [(ActorKind::Person, true), (ActorKind::Worker, false)] {
        let found = story.state.command_ids.find(kind, "same");
        assert_eq!(found.is_some(), is_known, "{kind:?}");
    }
    let repeated = story.commits.last().unwrap().commit.clone();
    let mut again = v1::Commit {
        previous_sequence: story.state.sequence,
        command_id: "same".to_owned(),
        ..repeated
    };
    let sequence = story.state.sequence + 1;
    let error = evolve(Some(story.state.clone()), &again, sequence).unwrap_err();
    assert!(error.to_string().starts_with("RB-FOLD-7"), "{error}");
    again.command_id = "other".to_owned();
    let error = evolve(Some(story.state.clone()), &again, sequence).unwrap_err();
    assert!(!error.to_string().starts_with("RB-FOLD-7"), "{error}");
}

#[test]
fn people_workers_and_the_orchestrator_may_only_send_their_own_commands() {
    let story = given(two_checks());
    let mut nameless = by("", pause());
    nameless.actor.name.clear();
    let mut process = by("w1", pause());
    process.actor.kind = ActorKind::Worker.into();
    let mut person = worker(start("0.1", 1));
    person.actor.kind = ActorKind::Person.into();
    let mut settling = system(SystemCommand::Settle);
    settling.actor.kind = ActorKind::Person.into();
    story
        .when(nameless)
        .refused("RB-ROLLOUT-1", "name")
        .when(process)
        .refused("RB-ROLLOUT-1", "person")
        .when(person)
        .refused("RB-ROLLOUT-1", "workers")
        .when(settling)
        .refused("RB-ROLLOUT-1", "orchestrator");
}

#[test]
fn a_decision_on_another_plan_is_refused() {
    let story = given(two_checks());
    let other = plan(json!([phase("9", vec![check("9.1")])]));
    let ask = by("olga", pause());
    let context = Context {
        now: story.now,
        actor: &ask.actor,
        command_id: "x",
        new_plan: None,
        environments: Environments::NONE,
    };
    let refusal = decide(&story.state, &other, &ask.request, &context).unwrap_err();
    assert_eq!(refusal.code(), "RB-ROLLOUT-2");
}

#[test]
fn a_protected_environment_has_a_rollback_point_before_each_phase() {
    let plan = plan(json!([
        phase("0", vec![check("0.1")]),
        phase("1", vec![check("1.1")])
    ]));
    let story = opened_in(plan, "production")
        .when(by("alice", Command::Start {}))
        .then(&["RolloutStarted"]);
    assert!(story.tasks().is_empty(), "not before the point");
    let story = story
        .when(worker(start("0.1", 1)))
        .refused("RB-ROLLOUT-8", "rollback point")
        .when(system(SystemCommand::Settle))
        .then(&["RollbackPointRecorded"]);
    assert_eq!(story.tasks(), ["0.1"]);
    let story = story.runs("0.1");
    assert_eq!(story.last_events(), ["RollbackPointRecorded"]);
    assert_eq!(story.runs("1.1").count("RollbackPointRecorded"), 2);
}

#[test]
fn notices_are_due_by_anchor_and_offset_and_recorded_once() {
    let notice = |id: &str, anchor: &str, offset: &str| {
        json!({"id": id, "channel": "c", "audience": "all", "anchor": anchor,
               "offset": offset, "subject": "s", "body": "b"})
    };
    let plan = plan_with(
        json!([phase("0", vec![check("0.1")])]),
        json!({
            "channels": {"c": {"file": "notices"}},
            "notices": [
                notice("opened", "opened", "0s"),
                notice("fixed", "2026-01-01T11:00:00Z", "-10m"),
                notice("later", "phase/0", "1h"),
                notice("closed", "closed", "30d")
            ]
        }),
    );
    let due = |story: &Story| -> Vec<String> {
        let notices = story.next().notices;
        notices.into_iter().map(|due| due.notice).collect()
    };
    let sent = |notice: &str| {
        system(SystemCommand::RecordNotice {
            sent: v1::NoticeSent {
                notice_id: notice.to_owned(),
                ..v1::NoticeSent::default()
            },
        })
    };
    let story = given(plan);
    assert_eq!(due(&story), ["opened"]);
    let story = story
        .when(sent("opened"))
        .then(&["NoticeSent"])
        .when(sent("opened"))
        .nothing()
        .when(sent("moon"))
        .refused("RB-ROLLOUT-33", "moon");
    assert!(due(&story).is_empty());
    assert_eq!(
        story.next().wake_at,
        Some("2026-01-01T10:50:00Z".parse().unwrap())
    );
    let story = story.runs("0.1").after("50m");
    assert_eq!(due(&story), ["fixed"]);
    let story = story.after("10m").and(sent("fixed"));
    assert_eq!(due(&story), ["later"]);
    let story = story.and(sent("later"));
    story.is(Status::Closed(RolloutOutcome::Succeeded));
    assert!(!story.next().is_over(), "one is to come");
    let story = story.after("30d");
    assert_eq!(due(&story), ["closed"]);
    assert!(story.and(sent("closed")).next().is_over());
}

#[test]
fn an_abort_ends_a_wait() {
    let wait = json!({"id": "0.1", "title": "w", "wait": {"for": "1h"}});
    let story = given(plan(json!([phase("0", vec![wait])])));
    assert_eq!(story.step("0.1"), StepStatus::Running);
    story
        .and(by("olga", abort()))
        .is(Status::Closed(RolloutOutcome::Aborted));
}
