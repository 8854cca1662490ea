//! Manual steps.

use rollbook_proto::v1::{self, Verdict};
use serde_json::json;

use super::super::command::{
    AnswerValue::{Fail, NotApplicable, Pass},
    Command,
};
use super::super::state::StepStatus;
use super::story::*;
use crate::runbook::Plan;

fn plan_of(manual: serde_json::Value) -> Plan {
    plan(json!([phase(
        "0",
        vec![
            json!({"id": "0.1", "title": "look", "manual": manual}),
            check("0.2")
        ]
    )]))
}

fn checklist() -> Plan {
    plan_of(json!({"instructions": "i", "checklist": ["a", "b"], "role": "dba"}))
}

#[test]
fn a_manual_step_records_intent_and_result_by_one_person_without_a_task() {
    let story = given(checklist());
    assert!(story.tasks().is_empty());
    let blocked = story.blocked("step 0.1");
    assert_eq!(blocked.who, ["dba: dora"]);
    assert_eq!(
        blocked.remedies,
        [Remedy::Complete {
            rollout: story.state.id.clone(),
            step: id("0.1"),
            role: Some("dba".to_owned()),
            answers: true,
            evidence: false,
        }]
    );
    let story = story
        .when(by("dora", complete("0.1", &[("a", Pass), ("b", Pass)])))
        .then(&["StepStarted", "StepFinished"]);
    assert_eq!(story.step("0.1"), StepStatus::Succeeded);
    story
        .when(by("dora", complete("0.1", &[("a", Pass), ("b", Pass)])))
        .refused("RB-ROLLOUT-9", "succeeded");
}

#[test]
fn a_failing_answer_fails_the_step() {
    let story = given(checklist()).and(by("dora", complete("0.1", &[("a", Pass), ("b", Fail)])));
    assert_eq!(story.step("0.1"), StepStatus::Failed);
    assert!(story.blocked("step 0.1").why.contains("1 of 2"));
}

#[test]
fn every_item_is_answered_exactly_once() {
    let answers: [(&[_], &str); 4] = [
        (&[("a", Pass)], "`b` is not answered"),
        (&[("a", Pass), ("b", Pass), ("c", Pass)], "no item `c`"),
        (&[("a", Pass), ("b", Pass), ("b", Pass)], "more than once"),
        (&[], "`a` is not answered"),
    ];
    for (given_answers, says) in answers {
        given(checklist())
            .when(by("dora", complete("0.1", given_answers)))
            .refused("RB-ROLLOUT-14", says);
    }
}

#[test]
fn not_applicable_items_are_accepted_only_where_the_plan_says_so() {
    let answers = [("a", NotApplicable)];
    given(plan_of(json!({"instructions": "i", "checklist": ["a"]})))
        .when(by("alice", complete("0.1", &answers)))
        .refused("RB-ROLLOUT-18", "item `a`");
    given(plan_of(
        json!({"instructions": "i", "checklist": ["a"], "accept_not_applicable": true}),
    ))
    .when(by("alice", complete("0.1", &answers)))
    .then(&["StepStarted", "StepFinished"]);
}

#[test]
fn only_a_member_of_the_role_completes_it() {
    given(checklist())
        .when(by("alice", complete("0.1", &[("a", Pass), ("b", Pass)])))
        .refused("RB-ROLLOUT-17", "dba: dora");
    given(plan_of(json!({"instructions": "i"})))
        .when(by("mallory", complete("0.1", &[])))
        .refused("RB-ROLLOUT-17", "mallory");
}

#[test]
fn missing_or_malformed_evidence_is_refused() {
    let required = plan_of(json!({"instructions": "i", "evidence_required": true}));
    let with_evidence = |pieces: Vec<&str>| Command::Complete {
        step: id("0.1"),
        checklist: Vec::new(),
        evidence: pieces
            .into_iter()
            .map(|sha256| v1::Evidence {
                sha256: sha256.to_owned(),
                ..v1::Evidence::default()
            })
            .collect(),
        note: String::new(),
    };
    let good = "ab".repeat(32);
    let upper = "AB".repeat(32);
    given(required)
        .when(by("alice", with_evidence(vec![])))
        .refused("RB-ROLLOUT-15", "at least 1")
        .when(by("alice", with_evidence(vec!["../etc/passwd"])))
        .refused("RB-ROLLOUT-16", "64 lower-case hex")
        .when(by("alice", with_evidence(vec![&upper])))
        .refused("RB-ROLLOUT-16", "64 lower-case hex")
        .when(by("alice", with_evidence(vec![&good; 51])))
        .refused("RB-ROLLOUT-32", "51 pieces")
        .when(by("alice", with_evidence(vec![&good])))
        .then(&["StepStarted", "StepFinished"]);
}

#[test]
fn a_manual_step_waits_its_turn_like_any_step() {
    let story = given(plan(json!([phase(
        "0",
        vec![check("0.1"), by_hand("0.2")]
    )])));
    story
        .when(by("alice", complete("0.2", &[])))
        .refused("RB-ROLLOUT-8", "0.1")
        .when(by("alice", complete("0.1", &[])))
        .refused("RB-ROLLOUT-13", "run step")
        .when(worker(start("0.1", 1)))
        .then(&["StepStarted"])
        .and(worker(finish("0.1", 1, Verdict::Pass)))
        .when(worker(start("0.2", 1)))
        .refused("RB-ROLLOUT-32", "no worker");
}
