//! Changed plans: recorded, then accepted before the rollout continues.

use serde_json::json;

use super::super::command::Command;
use super::story::*;
use crate::runbook::Plan;

fn version(steps: &[&str]) -> Plan {
    let steps = steps.iter().map(|step| check(step)).collect();
    plan(json!([
        gated(
            "0",
            steps,
            json!({"sign_offs": [{"role": "eng"}, {"role": "dba"}]})
        ),
        phase("1", vec![check("1.1")])
    ]))
}

fn revise(plan: &Plan) -> Command {
    Command::Revise {
        plan: evidence_of(plan),
        params: Default::default(),
        reason: "one check more".to_owned(),
    }
}

fn accept(revision: u32) -> Command {
    Command::AcceptRevision {
        revision,
        difference: None,
        reason: String::new(),
    }
}

fn with_new(mut story: Story, plan: Plan) -> Story {
    story.new_plan = Some(plan);
    story
}

#[test]
fn a_revision_voids_open_sign_offs_and_stops_steps_until_it_is_accepted() {
    let new = version(&["0.1", "0.2"]);
    let story = given(version(&["0.1"]))
        .runs("0.1")
        .and(by("bob", approve("0")));
    let story = with_new(story, new.clone())
        .when(by("olga", revise(&new)))
        .then(&["SignOffVoided", "PlanRevised"]);
    assert!(story.tasks().is_empty());
    assert!(story.blocked("rollout").why.contains("revision 2"));
    let story = story
        .when(by("bob", approve("0")))
        .refused("RB-ROLLOUT-25", "revision 2")
        .when(by("olga", revise(&new)))
        .refused("RB-ROLLOUT-25", "revise")
        .when(by("olga", accept(3)))
        .refused("RB-ROLLOUT-30", "revision 2 is")
        .when(by("olga", accept(2)))
        .then(&["PlanRevisionAccepted"])
        .when(by("olga", accept(2)))
        .nothing();
    assert_eq!(story.state.plan_digest, new.digest());
    assert_eq!(story.tasks(), ["0.2"], "what was done stays done");
    story
        .when(by("olga", accept(7)))
        .refused("RB-ROLLOUT-30", "no revision")
        .when(by("olga", revise(&new)))
        .nothing();
}

#[test]
fn in_a_protected_environment_another_person_accepts() {
    let new = version(&["0.1", "0.2"]);
    let story = opened_in(version(&["0.1"]), "production");
    with_new(story, new.clone())
        .when(by("alice", revise(&new)))
        .then(&["PlanRevised"])
        .when(by("alice", Command::Start {}))
        .refused("RB-ROLLOUT-25", "start")
        .when(by("alice", accept(2)))
        .refused("RB-ROLLOUT-19", "alice brought revision 2")
        .when(by("bob", accept(2)))
        .then(&["PlanRevisionAccepted"]);
}

#[test]
fn a_revision_keeps_what_has_run_and_names_its_own_bytes() {
    let story = given(version(&["0.1", "0.2"])).runs("0.1");
    let dropping = version(&["0.2"]);
    let story = with_new(story, dropping.clone())
        .when(by("olga", revise(&dropping)))
        .refused("RB-ROLLOUT-29", "drops 0.1");
    let other = version(&["0.1"]);
    let mut story = story
        .when(by("olga", revise(&other)))
        .refused("RB-ROLLOUT-29", "digest");
    story.new_plan = None;
    let story = story
        .when(by("olga", revise(&other)))
        .refused("RB-ROLLOUT-29", "not given");
    let elsewhere = plan_with(
        json!([phase("0", vec![check("0.1")])]),
        json!({"environments": {"moon": {}}}),
    );
    with_new(story, elsewhere.clone())
        .when(by("olga", revise(&elsewhere)))
        .refused("RB-ROLLOUT-29", "staging")
        .and(by(
            "olga",
            Command::Abort {
                reason: "x".to_owned(),
            },
        ))
        .when(by("olga", revise(&elsewhere)))
        .refused("RB-ROLLOUT-7", "new rollout");
}

#[test]
fn a_revision_does_not_rewrite_what_has_passed() {
    let of = |first: serde_json::Value, second: serde_json::Value| {
        plan(json!([phase("0", vec![first, second, check("0.3")])]))
    };
    let failing = with(check("0.2"), json!({"on_fail": "continue"}));
    let story = given(of(check("0.1"), failing.clone()))
        .runs("0.1")
        .ends("0.2", rollbook_proto::v1::Verdict::Fail);
    for changed in [
        json!({"title": "Backup verified"}),
        json!({"run": {"command": "echo DANGEROUS"}}),
        json!({"expect": ["exit_code == 7"]}),
        json!({"verify": {"run": {"command": "true"}}}),
        json!({"evidence": ["other.txt"]}),
    ] {
        let new = of(with(check("0.1"), changed.clone()), failing.clone());
        with_new(story.clone(), new.clone())
            .when(by("olga", revise(&new)))
            .refused("RB-ROLLOUT-29", "what 0.1 did");
    }
    // The retry settings may change, and so may a step that has not passed.
    let new = of(
        with(check("0.1"), json!({"timeout": "5m"})),
        with(failing, json!({"run": {"command": "another"}})),
    );
    with_new(story, new.clone())
        .when(by("olga", revise(&new)))
        .then(&["PlanRevised"]);
}
