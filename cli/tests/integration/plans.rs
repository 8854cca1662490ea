//! Plans submitted without their runbook must satisfy the rules of `rollbook lint`.

use std::collections::BTreeMap;

use reqwest::Method;
use rollbook_ledger::runbook::{Plan, Runbook};
use serde_json::{Value, json};

use crate::harness::Place;
use crate::http::ask;

fn sound() -> Value {
    json!({
        "apiVersion": "rollbook/v1",
        "kind": "Runbook",
        "metadata": {"name": "plans", "version": "1", "owner": "tests"},
        "environments": {"local": {}},
        "roles": {"crew": ["alice", "bob"]},
        "sources": {"db": {"kind": "postgres", "url": {"local": {"value": "postgres://db/x"}}}},
        "metrics": {"load": {"run": {"command": "echo 1"}, "unit": "x"}},
        "phases": [{"id": "1", "title": "one", "steps": [
            {"id": "1.1", "title": "a", "run": {"command": "true"}, "changes": "nothing"},
            {"id": "1.2", "title": "b", "run": {"command": "true"}, "changes": "nothing"},
        ], "gate": {"sign_offs": [{"role": "crew"}]}}],
    })
}

/// The plan as a program would send it, valid or not.
fn plan(runbook: Value) -> Vec<u8> {
    let runbook: Runbook = serde_json::from_value(runbook).unwrap();
    let plan = Plan::from_runbook(runbook, BTreeMap::new()).unwrap();
    plan.canonical_json().to_vec()
}

#[test]
fn a_runbook_that_lint_refuses_is_not_opened() {
    let place = Place::new();
    let _up = place.up();
    let url = format!("{}/v1/rollouts", place.endpoint());
    let open = |runbook: Value, id: &str| {
        let plan: Value = serde_json::from_slice(&plan(runbook)).unwrap();
        ask(Method::POST, &url, |request| {
            request
                .header("rollbook-actor", "alice")
                .json(&json!({"id": id, "environment": "local", "plan": plan}))
        })
    };
    let changed = |change: fn(&mut Value)| {
        let mut runbook = sound();
        change(&mut runbook);
        runbook
    };
    type Case = (fn(&mut Value), &'static str, &'static str);
    let cases: [Case; 6] = [
        (
            |r| r["sources"]["db"]["url"]["local"]["value"] = json!("postgres://u:secret@db/x"),
            "RB-RUNBOOK-35",
            "sources.db",
        ),
        (
            |r| {
                r["phases"][0]["steps"][0]["needs"] = json!(["1.2"]);
                r["phases"][0]["steps"][1]["needs"] = json!(["1.1"]);
            },
            "RB-RUNBOOK-15",
            "phases[0]",
        ),
        (
            |r| r["phases"][0]["gate"]["sign_offs"][0]["quorum"] = json!(0),
            "RB-RUNBOOK-27",
            "quorum",
        ),
        (
            |r| r["phases"][0]["steps"][0]["retry"] = json!({"attempts": 1_000_000}),
            "RB-RUNBOOK-29",
            "retry.attempts",
        ),
        (
            |r| {
                r["phases"][0]["steps"][0] = json!({"id": "1.1", "title": "a", "watch": {
                    "for": "400d", "every": "1ms",
                    "thresholds": [{"metric": "load", "fail": "value > 5"}],
                }});
            },
            "RB-RUNBOOK-29",
            "watch.every",
        ),
        (
            |r| {
                r["roles"] = json!({"crew": ["alice"], "dba": ["alice"]});
                r["phases"][0]["gate"]["sign_offs"] = json!([{"role": "crew"}, {"role": "dba"}]);
            },
            "RB-RUNBOOK-50",
            "sign_offs",
        ),
    ];
    let before = place.run("log --json").exits(0).out;
    for (change, code, at) in cases {
        let (status, answer) = open(changed(change), "bad");
        assert_eq!(status, 422, "{code}: {answer}");
        assert_eq!(answer["code"], "RB-HANDLER-18", "{answer}");
        let found = answer["diagnostics"].as_array().unwrap();
        assert!(
            found.iter().any(|one| one["code"] == code
                && one["path"].as_str().unwrap().contains(at)
                && one["severity"] == "error"),
            "{code} at {at}: {answer}"
        );
        assert!(!answer.to_string().contains("secret"), "{answer}");
    }
    assert_eq!(place.run("log --json").exits(0).out, before);
    let (status, answer) = open(sound(), "good");
    assert_eq!(status, 201, "{answer}");

    // A revision submits a plan in the same way.
    let bad = changed(|r| r["phases"][0]["gate"]["sign_offs"][0]["quorum"] = json!(0));
    let bytes = plan(bad);
    let evidence = format!("{}/v1/evidence?name=plan", place.endpoint());
    let (status, stored) = ask(Method::POST, &evidence, |request| {
        request.header("rollbook-actor", "alice").body(bytes)
    });
    assert_eq!(status, 201, "{stored}");
    let commands = format!("{}/v1/rollouts/good/commands", place.endpoint());
    let (status, answer) = ask(Method::POST, &commands, |request| {
        request
            .header("rollbook-actor", "alice")
            .json(&json!({"command": "revise", "plan": stored, "reason": "x"}))
    });
    assert_eq!(
        (status, &answer["code"]),
        (422, &json!("RB-HANDLER-18")),
        "{answer}"
    );
}
