//! Gates: sign-offs, refusals, checks, expiry.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{self, RolloutOutcome, Verdict};
use serde_json::json;

use super::super::block::BlockRule;
use super::super::command::{Command, WorkerCommand};
use super::super::presented::presented;
use super::super::state::Status;
use super::story::*;
use crate::runbook::Plan;

fn two_phases(gate: serde_json::Value) -> Plan {
    plan(json!([
        gated("0", vec![check("0.1"), by_hand("0.2")], gate),
        phase("1", vec![check("1.1")])
    ]))
}

fn eng() -> Plan {
    two_phases(json!({"sign_offs": [{"role": "eng"}]}))
}

/// A rollout whose phase is done: the check ran, `alice` did the manual step.
fn done(plan: Plan) -> Story {
    given(plan)
        .runs("0.1")
        .and(by("alice", complete("0.2", &[])))
}

#[test]
fn a_gate_waits_for_its_sign_off_and_then_passes() {
    let story = done(eng());
    assert!(story.tasks().is_empty());
    let blocked = story.blocked("gate 0");
    assert_eq!(blocked.why, "0 of 1 sign-offs by eng");
    assert_eq!(blocked.who, ["eng: bob"], "not the executor");
    assert_eq!(
        blocked.remedies,
        [remedy::approve(&story.state.id, &gate_id("0"), Some("eng"))]
    );
    assert_eq!(story.count("GateBlocked"), 1);
    let story = story
        .when(by("bob", approve("0")))
        .then(&["SignOffGiven"])
        .when(system(super::super::SystemCommand::Settle))
        .then(&["GatePassed"]);
    assert_eq!(story.tasks(), ["1.1"]);
    story
        .when(by("bob", approve("0")))
        .refused("RB-ROLLOUT-22", "passed at")
        .when(by("bob", reject("0")))
        .refused("RB-ROLLOUT-22", "passed at");
}

#[test]
fn only_declared_roles_sign_and_not_the_executor() {
    let as_role = |role: &str| Command::Approve {
        gate: gate_id("0"),
        role: Some(role.to_owned()),
        statement: None,
        seen: AS_SHOWN.to_owned(),
    };
    done(eng())
        .when(by("mallory", approve("0")))
        .refused("RB-ROLLOUT-17", "eng: alice or bob")
        .when(by("dora", approve("0")))
        .refused("RB-ROLLOUT-17", "dora")
        .when(by("bob", as_role("dba")))
        .refused("RB-ROLLOUT-17", "as dba")
        .when(by("alice", approve("0")))
        .refused("RB-ROLLOUT-19", "step 0.2")
        .when(by("mallory", reject("0")))
        .refused("RB-ROLLOUT-17", "mallory")
        .when(by("bob", approve("1")))
        .refused("RB-ROLLOUT-4", "gates: 0")
        .when(by("bob", as_role("eng")))
        .then(&["SignOffGiven"]);
}

#[test]
fn whoever_retried_or_skipped_is_an_executor_too() {
    given(eng())
        .ends("0.1", Verdict::Fail)
        .and(by("bob", retry("0.1")))
        .runs("0.1")
        .and(by("alice", complete("0.2", &[])))
        .when(by("bob", approve("0")))
        .refused("RB-ROLLOUT-19", "step 0.1");
    given(eng())
        .and(by("bob", skip("0.1")))
        .and(by("alice", complete("0.2", &[])))
        .when(by("bob", approve("0")))
        .refused("RB-ROLLOUT-19", "step 0.1");
}

#[test]
fn executors_sign_where_the_plan_allows_it() {
    done(two_phases(
        json!({"sign_offs": [{"role": "eng"}], "not_executor": false}),
    ))
    .when(by("alice", approve("0")))
    .then(&["SignOffGiven"]);
}

#[test]
fn nobody_signs_before_the_phase_is_done() {
    let story = given(eng())
        .when(by("bob", approve("0")))
        .refused("RB-ROLLOUT-21", "step 0.1 is pending")
        .ends("0.1", Verdict::Fail)
        .when(by("bob", approve("0")))
        .refused("RB-ROLLOUT-21", "step 0.1 is failed");
    story
        .and(by("olga", skip("0.1")))
        .and(by("olga", skip("0.2")))
        .when(by("bob", approve("0")))
        .then(&["SignOffGiven"]);
    opened_in(eng(), "staging")
        .when(by("bob", approve("0")))
        .refused("RB-ROLLOUT-7", "start it");
}

#[test]
fn a_quorum_needs_different_persons() {
    let plan = two_phases(json!({
        "sign_offs": [{"role": "eng", "quorum": 2}, {"role": "lead"}],
        "not_executor": false
    }));
    let as_eng = |who: &str| {
        by(
            who,
            Command::Approve {
                gate: gate_id("0"),
                role: Some("eng".to_owned()),
                statement: Some("I looked".to_owned()),
                seen: AS_SHOWN.to_owned(),
            },
        )
    };
    let story = done(plan)
        .when(by("alice", approve("0")))
        .refused("RB-ROLLOUT-23", "eng, lead")
        .and(as_eng("alice"))
        .when(as_eng("alice"))
        .refused("RB-ROLLOUT-24", "signed")
        .when(by(
            "alice",
            Command::Approve {
                gate: gate_id("0"),
                role: Some("lead".to_owned()),
                statement: None,
                seen: AS_SHOWN.to_owned(),
            },
        ))
        .refused("RB-ROLLOUT-24", "as eng")
        .and(by("lee", approve("0")));
    assert_eq!(
        story.blocked("gate 0").why,
        "1 of 2 sign-offs by eng",
        "what is missing, and no more"
    );
    let story = story.and(as_eng("bob"));
    assert_eq!(story.tasks(), ["1.1"]);
}

#[test]
fn a_sign_off_expires() {
    let story = done(two_phases(json!({
        "sign_offs": [{"role": "eng"}, {"role": "dba"}], "expires": "1h"
    })))
    .and(by("bob", approve("0")));
    assert_eq!(
        story.next().wake_at,
        Some("2026-01-01T11:00:00Z".parse().unwrap())
    );
    let story = story.after("59m");
    assert_eq!(story.count("SignOffVoided"), 0);
    // The sign-off has expired but nothing was settled: a new one replaces it.
    let mut late = story.clone();
    late.now = late
        .now
        .checked_add(jiff::SignedDuration::from_mins(1))
        .unwrap();
    late.when(by("bob", approve("0")))
        .then(&["SignOffVoided", "SignOffGiven"]);
    let story = story.after("1m");
    assert_eq!(story.count("SignOffVoided"), 1);
    let story = story.and(by("dora", approve("0")));
    assert!(story.tasks().is_empty());
    assert_eq!(story.and(by("bob", approve("0"))).tasks(), ["1.1"]);
}

#[test]
fn a_refusal_blocks_the_gate_until_that_person_signs_or_a_step_reruns() {
    let plan = two_phases(json!({"sign_offs": [{"role": "eng"}, {"role": "dba"}]}));
    let story = done(plan.clone())
        .and(by("bob", approve("0")))
        .when(by("bob", reject("0")))
        .then(&["SignOffVoided", "SignOffRefused"])
        .when(by("bob", reject("0")))
        .refused("RB-ROLLOUT-24", "refused")
        .settled()
        .and(by("dora", approve("0")));
    assert!(
        story
            .blocked("gate 0")
            .why
            .contains("refused by bob as eng: too risky")
    );
    assert_eq!(story.and(by("bob", approve("0"))).tasks(), ["1.1"]);

    let story = done(plan)
        .and(by("dora", reject("0")))
        .and(by("olga", retry("0.1")))
        .runs("0.1")
        .and(by("bob", approve("0")))
        .and(by("dora", approve("0")));
    assert_eq!(story.tasks(), ["1.1"]);
}

#[test]
fn a_rerun_of_a_step_voids_the_sign_offs_and_blocks_the_gate() {
    let failed = plan(json!([
        gated(
            "0",
            vec![
                with(check("0.1"), json!({"critical": false})),
                by_hand("0.2")
            ],
            json!({"sign_offs": [{"role": "eng"}]})
        ),
        phase("1", vec![check("1.1")])
    ]));
    let story = given(failed)
        .ends("0.1", Verdict::Fail)
        .and(by("alice", complete("0.2", &[])))
        .and(by("bob", approve("0")))
        .when(by("olga", retry("0.1")))
        .then(&["SignOffVoided", "StepRetried"]);
    assert_eq!(story.tasks(), ["0.1"], "the gate does not stand open");
    let story = story
        .when(worker(start("1.1", 1)))
        .refused("RB-ROLLOUT-8", "phase 0")
        .settled()
        .runs("0.1");
    assert_eq!(story.blocked("gate 0").why, "0 of 1 sign-offs by eng");
}

#[test]
fn a_sign_off_covers_only_what_was_seen() {
    let as_seen = |seen: &str| {
        by(
            "bob",
            Command::Approve {
                gate: gate_id("0"),
                role: None,
                statement: None,
                seen: seen.to_owned(),
            },
        )
    };
    let story = done(eng());
    let shown = presented(&story.state, &story.plan, &gate_id("0")).unwrap();
    let first = shown.seen();
    assert_eq!(shown.plan_digest, story.plan.digest());
    let story = story
        .when(as_seen(""))
        .refused("RB-ROLLOUT-50", "look at it again")
        .when(as_seen(&"0".repeat(64)))
        .refused("RB-ROLLOUT-50", &first)
        // Only the attempt differs now: the step ran a second time.
        .and(by("bob", reject("0")))
        .and(by("olga", retry("0.1")))
        .runs("0.1")
        .when(as_seen(&first))
        .refused("RB-ROLLOUT-50", &first);
    let second = presented(&story.state, &story.plan, &gate_id("0"))
        .unwrap()
        .seen();
    let story = story.when(as_seen(&second)).then(&["SignOffGiven"]);
    let given = story.events().find_map(|kind| match kind {
        Kind::SignOffGiven(given) => Some(given.clone()),
        _ => None,
    });
    assert_eq!(given.unwrap().seen, second);
    // A sign-off does not change what others see.
    let after = presented(&story.state, &story.plan, &gate_id("0")).unwrap();
    assert_eq!(after.seen(), second);
}

#[test]
fn what_was_seen_covers_every_piece_of_evidence_and_every_revision() {
    let story = done(eng());
    let seen = |state: &crate::rollout::RolloutState| {
        presented(state, &story.plan, &gate_id("0")).unwrap().seen()
    };
    let first = seen(&story.state);
    let piece = |sha256: String| v1::Evidence {
        sha256,
        ..v1::Evidence::default()
    };
    let mut state = story.state.clone();
    let step = state.step_mut(&id("0.1")).unwrap();
    step.evidence.push(piece("ab".repeat(32)));
    let second = seen(&state);
    assert_ne!(second, first);
    // Evidence beyond the listed items counts too.
    let step = state.step_mut(&id("0.1")).unwrap();
    step.evidence = (0..500).map(|n| piece(format!("{n:064}"))).collect();
    let many = seen(&state);
    let step = state.step_mut(&id("0.1")).unwrap();
    step.evidence.last_mut().unwrap().sha256 = "cd".repeat(32);
    assert_ne!(seen(&state), many);

    let mut state = story.state.clone();
    state
        .accepted_revisions
        .push(crate::rollout::state::AcceptedRevision {
            revision: 2,
            plan_digest: state.plan_digest.clone(),
            by: "alice".to_owned(),
            accepted_by: "bob".to_owned(),
            reason: "stricter".to_owned(),
            difference: None,
        });
    let revised = seen(&state);
    assert_ne!(revised, first);
    let last = state.accepted_revisions.last_mut().unwrap();
    last.difference = Some(v1::PlanDifference {
        sha256: "ab".repeat(32),
        ..v1::PlanDifference::default()
    });
    assert_ne!(seen(&state), revised);
}

#[test]
fn checks_hold_by_numbers_or_as_the_plan_says_without_data() {
    let gate = |no_data: &str| {
        plan(json!([
            gated(
                "0",
                vec![check("0.1")],
                json!({"checks": ["regressions == 0"], "no_data": no_data})
            ),
            phase("1", vec![check("1.1")])
        ]))
    };
    let story = given(gate("inconclusive")).measures("0.1", Verdict::Pass, &[("regressions", 3.0)]);
    assert_eq!(
        story.blocked("gate 0").why,
        "check does not hold: regressions == 0 (regressions=3)"
    );
    assert_eq!(
        story.blocked("gate 0").remedies,
        [remedy::retry(&story.state.id, &id("0.1"))]
    );
    let story =
        story
            .and(by("olga", retry("0.1")))
            .measures("0.1", Verdict::Pass, &[("regressions", 0.0)]);
    assert_eq!(story.tasks(), ["1.1"]);
    let reasons = ["inconclusive", "fail"];
    for no_data in reasons {
        let story = given(gate(no_data)).runs("0.1");
        assert!(story.tasks().is_empty());
        let blocked = story.blocked("gate 0");
        assert!(blocked.why.contains("regressions=no data"));
        // No step of the plan measures it.
        assert_eq!(blocked.remedies, [remedy::rollback(&story.state.id)]);
    }
    assert_eq!(given(gate("pass")).runs("0.1").tasks(), ["1.1"]);
}

#[test]
fn signing_is_not_advised_where_a_check_does_not_hold() {
    let plan = plan(json!([
        gated(
            "0",
            vec![check("0.1")],
            json!({"checks": ["regressions == 0"], "sign_offs": [{"role": "eng"}]})
        ),
        phase("1", vec![check("1.1")])
    ]));
    let story = given(plan).runs("0.1");
    let blocked = story.blocked("gate 0");
    assert_eq!(blocked.rule, BlockRule::CheckNotMet);
    assert_eq!(blocked.figures["checks_not_met"], "1");
    assert_eq!(blocked.figures["roles_missing"], "1");
    assert_eq!(blocked.remedies, [remedy::rollback(&story.state.id)]);
}

#[test]
fn a_retry_that_voids_sign_offs_is_advised_before_them() {
    let plan = plan(json!([
        gated(
            "0",
            vec![check("0.1")],
            json!({"checks": ["regressions == 0"], "sign_offs": [{"role": "eng"}]})
        ),
        phase("1", vec![check("1.1")])
    ]));
    let story = given(plan).measures("0.1", Verdict::Pass, &[("regressions", 3.0)]);
    for story in [
        story.clone(),
        story.clone().and(by("bob", approve("0"))),
        story.clone().and(by("bob", reject("0"))),
    ] {
        let blocked = story.blocked("gate 0");
        assert_eq!(
            blocked.remedies,
            [remedy::retry(&story.state.id, &id("0.1"))]
        );
        assert!(!blocked.who.is_empty());
    }
    let who = story.blocked("gate 0").who;
    assert_eq!(who, ["any operator", "eng: alice or bob"]);
    let story =
        story
            .and(by("olga", retry("0.1")))
            .measures("0.1", Verdict::Pass, &[("regressions", 0.0)]);
    assert_eq!(
        story.blocked("gate 0").remedies,
        [remedy::approve(&story.state.id, &gate_id("0"), Some("eng"))]
    );
    assert_eq!(story.and(by("bob", approve("0"))).tasks(), ["1.1"]);
}

#[test]
fn a_check_whose_step_was_skipped_after_a_retry_has_no_data() {
    let plan = plan(json!([
        gated(
            "0",
            vec![check("0.1")],
            json!({"checks": ["regressions == 0"]})
        ),
        phase("1", vec![check("1.1")])
    ]));
    let story = given(plan)
        .measures("0.1", Verdict::Pass, &[("regressions", 3.0)])
        .and(by("olga", retry("0.1")))
        .and(by("olga", skip("0.1")));
    assert!(story.tasks().is_empty());
    assert!(story.blocked("gate 0").why.contains("inconclusive"));
}

#[test]
fn blocked_is_recorded_once_per_change_of_reasons() {
    let story = done(two_phases(
        json!({"sign_offs": [{"role": "eng"}, {"role": "dba"}]}),
    ));
    assert_eq!(story.count("GateBlocked"), 1);
    let story = story.after("1h").after("1h");
    assert_eq!(story.count("GateBlocked"), 1);
    assert_eq!(story.and(by("bob", approve("0"))).count("GateBlocked"), 2);
}

#[test]
fn a_gate_opens_while_running_only() {
    let pause = Command::Pause {
        reason: "wait".to_owned(),
    };
    let story = done(eng())
        .and(by("olga", pause))
        .and(by("bob", approve("0")));
    assert_eq!(story.count("GatePassed"), 0);
    let story = story.and(by(
        "olga",
        Command::Resume {
            reason: String::new(),
        },
    ));
    assert_eq!(story.count("GatePassed"), 1);
    story
        .runs("1.1")
        .is(Status::Closed(RolloutOutcome::Succeeded));
}

#[test]
fn a_failed_step_blocks_the_gate_by_name() {
    let plan = plan(json!([
        gated(
            "0",
            vec![check("0.1")],
            json!({"checks": ["regressions == 0"]})
        ),
        phase("1", vec![check("1.1")])
    ]));
    let story = given(plan).measures("0.1", Verdict::Fail, &[("regressions", 3.0)]);
    assert_eq!(story.count("GateBlocked"), 1);
    assert_eq!(
        story.blocked("gate 0").why,
        "step 0.1 is failed: said so; check does not hold: regressions == 0 (regressions=3)"
    );
    let blocked = story.blocked("gate 0");
    assert_eq!(
        blocked.remedies,
        [remedy::retry(&story.state.id, &id("0.1"))]
    );
}

#[test]
fn a_gate_blocked_for_many_long_reasons_is_recorded_within_bounds() {
    let steps = 40;
    let checks = (0..steps).map(|n| with(check(&format!("0.{n}")), json!({"needs": []})));
    let gate = json!({"sign_offs": [{"role": "eng"}]});
    let mut story = given(plan(json!([gated("0", checks.collect(), gate)])));
    for n in 0..steps {
        let step = format!("0.{n}");
        let mut finished = result(&step, 1, Verdict::Fail);
        finished.message = format!("{n} {}", "ä".repeat(1_400));
        story = story
            .and(worker(start(&step, 1)))
            .and(worker(WorkerCommand::FinishStep {
                finished,
                details: Vec::new(),
            }));
    }
    let blocked: Vec<_> = story
        .events()
        .filter_map(|kind| match kind {
            Kind::GateBlocked(blocked) => Some(blocked.clone()),
            _ => None,
        })
        .collect();
    let last = blocked.last().unwrap();
    assert_eq!(last.reasons_total, steps + 1, "and the sign-off");
    assert_eq!(last.reasons.len(), 20);
    assert_eq!(last.reasons_sha256.len(), 64);
    assert!(last.reasons.iter().all(|reason| reason.len() <= 510));
    // Settling again records nothing new.
    let before = story.count("GateBlocked");
    let story = story.and(system(super::super::SystemCommand::Settle));
    assert_eq!(story.count("GateBlocked"), before);
}
