//! Authorization: every command as an outsider, as a person with a role and as a second person, in
//! a protected and in an unprotected environment.

use std::sync::Arc;

use rollbook_proto::v1::{self, event::Kind};
use serde_json::json;

use super::super::command::Command;
use super::super::{Open, open, records};
use super::story::*;
use crate::clock::to_proto;
use crate::environment::{self, Environments, Terms};
use crate::error_code::Coded;
use crate::ids::EnvironmentId;
use crate::runbook::Plan;
use crate::runbook::RollbackLevel;

fn two_steps() -> Plan {
    plan(json!([
        gated(
            "0",
            vec![
                change("0.1"),
                with(check("0.2"), json!({"critical": false})),
                with(by_hand("0.3"), json!({"needs": []})),
            ],
            json!({"sign_offs": [{"role": "dba"}]})
        ),
        phase("1", vec![check("1.1")])
    ]))
}

pub(super) fn text(text: &str) -> String {
    text.to_owned()
}

/// Returns every command of a person, one of each kind.
fn every_command(new: &Plan) -> Vec<Command> {
    let reason = || text("because");
    let step = || id("0.1");
    vec![
        Command::Start {},
        Command::Pause { reason: reason() },
        Command::Resume { reason: reason() },
        Command::Abort { reason: reason() },
        skip("0.1"),
        skip("0.2"),
        retry("0.1"),
        complete("0.3", &[]),
        Command::ProposeNotApplicable {
            step: step(),
            reason: reason(),
        },
        Command::ReviewNotApplicable {
            step: step(),
            accept: true,
            reason: reason(),
        },
        approve("0"),
        reject("0"),
        Command::Undo {
            step: step(),
            reason: reason(),
        },
        Command::Rollback {
            level: RollbackLevel::Full,
            steps: Vec::new(),
            reason: reason(),
        },
        Command::Revise {
            plan: evidence_of(new),
            params: Default::default(),
            reason: reason(),
        },
        accept(2),
        Command::WithdrawRevision {
            revision: 2,
            reason: reason(),
        },
        Command::BreakGlass {
            of: Box::new(Command::Abort { reason: reason() }),
        },
    ]
}

fn accept(revision: u32) -> Command {
    Command::AcceptRevision {
        revision,
        difference: None,
        reason: text("it cannot wait"),
    }
}

fn abort() -> Command {
    Command::Abort {
        reason: text("not this quarter"),
    }
}

fn confirm(request: &str) -> Command {
    Command::Confirm {
        request: text(request),
    }
}

pub(super) fn glass(command: Command) -> Command {
    Command::BreakGlass {
        of: Box::new(command),
    }
}

/// A rollout in `production`, started by alice.
pub(super) fn running(plan: Plan) -> Story {
    opened_in(plan, "production").and(by("alice", Command::Start {}))
}

/// Returns the id of the only pending request or open review.
fn waiting(story: &Story) -> String {
    let requests = story.state.requests.iter().map(|request| &request.id);
    let reviews = story.state.reviews.iter().map(|review| &review.id);
    let ids: Vec<_> = requests.chain(reviews).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids[0].clone()
}

#[test]
fn a_stranger_may_do_nothing_in_a_protected_environment() {
    let new = plan(json!([phase("0", vec![change("0.1"), check("0.4")])]));
    for story in [
        opened_in(two_steps(), "production"),
        running(two_steps()),
        running(two_steps()).runs("0.1"),
        running(two_steps()).runs("0.1").runs("0.2"),
    ] {
        let mut story = story;
        story.new_plan = Some(new.clone());
        for command in every_command(&new) {
            story = story
                .when(by("mallory", command))
                .refused("RB-ROLLOUT-17", "mallory may not");
        }
    }
}

#[test]
fn a_person_of_a_role_acts_alone_except_where_it_takes_two() {
    let story = running(two_steps()).ends("0.1", v1::Verdict::Fail);
    for (command, first) in [
        (Command::Pause { reason: text("x") }, "RolloutPaused"),
        (retry("0.1"), "StepRetried"),
        (skip("0.2"), "StepSkipped"),
        (complete("0.3", &[]), "StepStarted"),
        (skip("0.1"), "RequestMade"),
        (abort(), "RequestMade"),
        (
            Command::Rollback {
                level: RollbackLevel::Full,
                steps: Vec::new(),
                reason: text("x"),
            },
            "RollbackStarted",
        ),
    ] {
        let events = story.decide(&by("lee", command), "x").unwrap();
        assert!(names(&events).contains(&first), "{:?}", names(&events));
    }
    let undo = Command::Undo {
        step: id("0.1"),
        reason: text("x"),
    };
    let events = running(two_steps())
        .runs("0.1")
        .decide(&by("lee", undo), "x")
        .unwrap();
    assert_eq!(names(&events), ["RequestMade"]);
}

#[test]
fn in_an_unprotected_environment_every_named_person_acts_alone() {
    given(two_steps())
        .ends("0.1", v1::Verdict::Fail)
        .when(by("mallory", skip("0.1")))
        .then(&["StepSkipped"])
        .when(by("mallory", abort()))
        .then(&["RolloutAborted"]);
}

#[test]
fn a_request_is_confirmed_by_another_person_of_a_role_and_does_exactly_that() {
    let story = running(two_steps())
        .ends("0.1", v1::Verdict::Fail)
        .when(by("alice", skip("0.1")))
        .then(&["RequestMade"]);
    assert_eq!(story.step("0.1").as_str(), "failed", "nothing is done yet");
    let request = waiting(&story);
    let blocked = story.blocked(&format!("request {request}"));
    assert!(
        blocked
            .why
            .contains("alice asks to skip step 0.1 (not today)"),
        "{}",
        blocked.why
    );
    assert!(!blocked.who.contains(&text("alice")) && blocked.who.contains(&text("bob")));
    assert_eq!(
        blocked.remedies,
        [remedy::confirm(&story.state.id, &request)]
    );
    let story = story
        .when(by("lee", skip("0.1")))
        .refused("RB-ROLLOUT-60", "is already waiting")
        .when(by("alice", confirm(&request)))
        .refused("RB-ROLLOUT-19", "alice made request")
        .when(by("mallory", confirm(&request)))
        .refused("RB-ROLLOUT-17", "mallory")
        .when(by("bob", confirm("q-0000000000")))
        .refused("RB-ROLLOUT-64", "is not waiting")
        .when(by("bob", confirm(&request)))
        .then(&["RequestConfirmed", "StepSkipped"]);
    let executors = &story.state.step(&id("0.1")).unwrap().executors;
    for person in ["alice", "bob"] {
        assert!(executors.contains(person), "{person} had a hand in it");
    }
    story
        .when(by("bob", confirm(&request)))
        .refused("RB-ROLLOUT-64", "is not waiting")
        .folds();
}

#[test]
fn a_request_is_void_after_a_relevant_change_and_expires() {
    let asked = || {
        running(two_steps())
            .ends("0.1", v1::Verdict::Fail)
            .when(by("alice", skip("0.1")))
            .then(&["RequestMade"])
    };
    let story = asked().and(by("bob", retry("0.1")));
    assert!(story.state.requests.is_empty());
    let ended = story.events().find_map(|kind| match kind {
        Kind::RequestEnded(ended) => Some(ended.clone()),
        _ => None,
    });
    let ended = ended.unwrap();
    assert_eq!(ended.end(), v1::RequestEnd::Voided);
    assert!(
        ended.reason.contains("step 0.1 is failed"),
        "{}",
        ended.reason
    );

    let mut late = asked();
    let request = waiting(&late);
    late.now = late
        .now
        .checked_add(jiff::SignedDuration::from_hours(25))
        .unwrap();
    late.clone()
        .when(by("bob", confirm(&request)))
        .refused("RB-ROLLOUT-63", "expired");
    let late = late.settled();
    assert!(late.state.requests.is_empty());
    assert_eq!(late.last_events(), ["RequestEnded"]);
}

#[test]
fn a_request_is_withdrawn_by_a_person_of_a_role() {
    let story = running(two_steps())
        .when(by("alice", abort()))
        .then(&["RequestMade"]);
    let withdraw = Command::Withdraw {
        request: waiting(&story),
        reason: text("not needed"),
    };
    let story = story
        .when(by("mallory", withdraw.clone()))
        .refused("RB-ROLLOUT-17", "withdraw")
        .when(by("dora", withdraw))
        .then(&["RequestEnded"]);
    assert!(story.state.requests.is_empty());
}

#[test]
fn a_request_that_nobody_could_confirm_is_refused_at_once() {
    let plan = plan_with(
        json!([phase("0", vec![check("0.1")])]),
        json!({"roles": {"eng": ["alice"]}}),
    );
    running(plan)
        .when(by("alice", abort()))
        .refused("RB-ROLLOUT-62", "eng: alice");
}

fn breakable() -> Plan {
    plan_with(
        json!([phase("0", vec![change("0.1")])]),
        json!({"authority": {"break_glass": {
            "verbs": ["abort", "accept"], "roles": ["lead"], "review_within": "2h"
        }}}),
    )
}

#[test]
fn break_glass_needs_a_rule_and_a_review_by_somebody_else() {
    let story = running(breakable());
    let story = story
        .when(by("bob", glass(abort())))
        .refused("RB-ROLLOUT-66", "bob")
        .when(by("lee", glass(Command::Pause { reason: text("x") })))
        .refused("RB-ROLLOUT-65", "no second person")
        .when(by("lee", glass(glass(abort()))))
        .refused("RB-ROLLOUT-65", "abort")
        .when(by("lee", glass(abort())))
        .then(&["GlassBroken", "RolloutAborted"]);
    let review = waiting(&story);
    let blocked = story.blocked(&format!("review {review}"));
    assert!(
        blocked
            .why
            .contains("lee used break-glass to abort the rollout"),
        "{}",
        blocked.why
    );
    assert!(!story.next().is_over(), "the review is to come");
    let close = |agreed| Command::Review {
        review: review.clone(),
        agreed,
        note: text("looked at it"),
    };
    let mut late = story.clone();
    late.now = late
        .now
        .checked_add(jiff::SignedDuration::from_hours(3))
        .unwrap();
    let late = late.settled();
    assert!(
        late.events()
            .any(|kind| matches!(kind, Kind::ReviewOverdue(_)))
    );
    for story in [story, late] {
        let story = story
            .when(by("lee", close(true)))
            .refused("RB-ROLLOUT-19", "lee broke the glass")
            .when(by("mallory", close(true)))
            .refused("RB-ROLLOUT-17", "mallory")
            .when(by("dora", close(false)))
            .then(&["GlassReviewed"]);
        assert!(story.state.reviews.is_empty());
        story.folds();
    }
}

#[test]
fn a_revision_takes_two_persons_of_the_roles_before_it() {
    let new = plan_with(
        json!([phase("0", vec![change("0.1")])]),
        json!({"roles": {"eng": ["mallory", "eve"]}}),
    );
    let revise = Command::Revise {
        plan: evidence_of(&new),
        params: Default::default(),
        reason: text("x"),
    };
    let mut story = running(breakable());
    story.new_plan = Some(new);
    let story = story
        .when(by("mallory", revise.clone()))
        .refused("RB-ROLLOUT-17", "revise the plan")
        .when(by("alice", revise))
        .then(&["PlanRevised"])
        .when(by("eve", accept(2)))
        .refused("RB-ROLLOUT-17", "eng: alice or bob")
        .when(by("alice", accept(2)))
        .refused("RB-ROLLOUT-19", "alice brought revision 2");
    let blocked = story.blocked("rollout");
    assert_eq!(blocked.who, ["bob", "dora", "lee"]);
    story
        .clone()
        .when(by("bob", accept(2)))
        .then(&["PlanRevisionAccepted"]);
    story
        .when(by(
            "bob",
            Command::WithdrawRevision {
                revision: 2,
                reason: text("no"),
            },
        ))
        .then(&["PlanRevisionWithdrawn"])
        .when(by("bob", accept(2)))
        .refused("RB-ROLLOUT-30", "no revision is");
}

#[test]
fn the_author_of_a_revision_may_accept_it_by_break_glass_where_a_rule_allows_it() {
    let new = plan(json!([phase("0", vec![change("0.1"), check("0.2")])]));
    let revise = Command::Revise {
        plan: evidence_of(&new),
        params: Default::default(),
        reason: text("x"),
    };
    let mut story = running(breakable());
    story.new_plan = Some(new);
    story
        .and(by("lee", revise))
        .when(by("lee", glass(accept(2))))
        .then(&["GlassBroken", "PlanRevisionAccepted"]);
}

#[test]
fn parameters_keep_their_values_unless_they_are_named() {
    let at = |keep: &str, more: &str| {
        plan_with(
            json!([phase("0", vec![check(more)])]),
            json!({"params": {"keep": keep}}),
        )
    };
    let revise = |plan: &Plan, named: &[(&str, &str)]| Command::Revise {
        plan: evidence_of(plan),
        params: named
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        reason: text("x"),
    };
    let mut story = given(at("90", "0.1"));
    let reset = at("30", "0.2");
    story.new_plan = Some(reset.clone());
    let mut story = story
        .when(by("alice", revise(&reset, &[])))
        .refused("RB-ROLLOUT-29", "`keep` from `90` to `30`")
        .when(by("alice", revise(&reset, &[("keep", "7")])))
        .refused("RB-ROLLOUT-29", "named with value `7`");
    let carried = at("90", "0.2");
    story.new_plan = Some(carried.clone());
    story
        .clone()
        .when(by("alice", revise(&carried, &[])))
        .then(&["PlanRevised"]);
    story.new_plan = Some(reset.clone());
    let story = story
        .when(by("alice", revise(&reset, &[("keep", "30")])))
        .then(&["PlanRevised"]);
    let pending = story.state.pending_revision.clone().unwrap();
    let difference = pending.difference.unwrap();
    assert_eq!(difference.changes[0].what, "parameter keep");
    assert_eq!(
        (
            difference.changes[0].before.as_str(),
            difference.changes[0].after.as_str()
        ),
        ("90", "30")
    );
    assert_eq!(
        story.state.params["keep"], "90",
        "not before it is accepted"
    );
    let seen = |digest: &str| Command::AcceptRevision {
        revision: 2,
        difference: Some(text(digest)),
        reason: String::new(),
    };
    let story = story
        .when(by("alice", seen("other")))
        .refused("RB-ROLLOUT-68", "has digest other")
        .when(by("alice", seen(&difference.sha256)))
        .then(&["PlanRevisionAccepted"]);
    assert_eq!(story.state.params["keep"], "30");
    story.folds();
}

/// Records of one environment, `name`, protected and with one role.
fn recorded(name: &str, persons: &[&str]) -> Environments {
    let terms = Terms {
        protected: true,
        roles: [(text("ops"), persons.iter().map(|p| text(p)).collect())].into(),
        break_glass: None,
    };
    let commit = v1::Commit {
        aggregate: text("environment"),
        aggregate_id: text(name),
        recorded_at: Some(to_proto(jiff::Timestamp::UNIX_EPOCH)),
        events: vec![v1::Event {
            kind: Some(Kind::EnvironmentRecorded(v1::EnvironmentRecorded {
                name: text(name),
                terms: Some(terms.to_wire()),
                ..v1::EnvironmentRecorded::default()
            })),
        }],
        ..v1::Commit::default()
    };
    let mut environments = Environments::default();
    environments.insert(Arc::new(environment::evolve(None, &commit, 1).unwrap()));
    environments
}

fn opening(plan: &Plan, environment: &str) -> Open {
    Open {
        name: String::new(),
        plan: evidence_of(plan),
        environment: EnvironmentId::new(environment).unwrap(),
        params: Default::default(),
    }
}

#[test]
fn a_strangers_runbook_for_a_protected_environment_is_refused_whatever_it_declares() {
    let environments = recorded("production", &["alice", "bob"]);
    let phases = json!([phase("0", vec![check("0.1")])]);
    let own = |declared: serde_json::Value| {
        plan_with(
            phases.clone(),
            json!({"environments": declared, "roles": {"me": ["mallory", "alice"]}}),
        )
    };
    for declared in [
        json!({"production": {}}),
        json!({"production": {"protected": true}}),
        json!({"production": {"protected": false}, "staging": {}}),
    ] {
        let own = own(declared);
        let asked = opening(&own, "production");
        let mallory = by("mallory", Command::Start {}).actor;
        let refusal = open(&own, &asked, &mallory, &environments).unwrap_err();
        assert_eq!(refusal.code(), "RB-ROLLOUT-17", "{refusal}");
        assert!(
            refusal.to_string().contains("ops: alice or bob"),
            "{refusal}"
        );
        let alice = by("alice", Command::Start {}).actor;
        let events = open(&own, &asked, &alice, &environments).unwrap();
        assert!(matches!(
            &events[0].kind,
            Some(Kind::RolloutOpened(opened)) if opened.protected
        ));
        assert!(records(&own, &asked, &environments).is_empty());
    }
}

#[test]
fn a_step_in_a_protected_environment_protects_the_whole_rollout() {
    let environments = recorded("production", &["alice"]);
    let sneaky = plan_with(
        json!([phase(
            "0",
            vec![with(check("0.1"), json!({"environment": "production"}))]
        )]),
        json!({"environments": {"staging": {}, "production": {}}, "roles": {"me": ["mallory"]}}),
    );
    let asked = opening(&sneaky, "staging");
    let mallory = by("mallory", Command::Start {}).actor;
    let refusal = open(&sneaky, &asked, &mallory, &environments).unwrap_err();
    assert!(
        refusal.to_string().contains("acts in production"),
        "{refusal}"
    );
}

#[test]
fn the_first_rollout_of_a_protected_environment_records_it_with_the_roles_of_its_plan() {
    let plan = two_steps();
    let asked = opening(&plan, "production");
    let found = records(&plan, &asked, Environments::NONE);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0.as_str(), "production");
    assert!(found[0].1.protected);
    assert_eq!(found[0].1.roles, plan.runbook().roles);
    assert!(records(&plan, &opening(&plan, "staging"), Environments::NONE).is_empty());
    let stranger = by("mallory", Command::Start {}).actor;
    let refusal = open(&plan, &asked, &stranger, Environments::NONE).unwrap_err();
    assert_eq!(refusal.code(), "RB-ROLLOUT-17");
}

#[test]
fn a_revision_cannot_reach_a_protected_environment_where_its_people_have_no_role() {
    let story = given(plan(json!([phase("0", vec![check("0.1")])])));
    let new = plan(json!([phase(
        "0",
        vec![
            check("0.1"),
            with(check("0.2"), json!({"environment": "production"}))
        ]
    )]));
    let mut story = story;
    story.environments = recorded("production", &["dora"]);
    story.new_plan = Some(new.clone());
    let revise = Command::Revise {
        plan: evidence_of(&new),
        params: Default::default(),
        reason: text("x"),
    };
    story
        .when(by("mallory", revise.clone()))
        .refused("RB-ROLLOUT-17", "acts in production")
        .when(by("dora", revise))
        .then(&["PlanRevised"])
        .when(by("mallory", accept(2)))
        .refused("RB-ROLLOUT-17", "acts in production");
}
