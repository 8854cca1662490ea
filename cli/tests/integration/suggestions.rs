//! Runs the commands that `status` suggests, exactly as suggested.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Place, Ran};

const RUNBOOK: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: follow, version: "1.0", owner: tests}
environments: {guarded: {protected: true}}
roles: {crew: [alice, bob, carol]}
phases:
  - id: "1"
    title: One
    steps:
      - id: "1.1"
        title: By hand
        manual: {instructions: Look., role: crew}
      - id: "1.2"
        title: By hand with questions
        manual:
          instructions: Look closely.
          checklist: [ITEM]
          evidence_required: true
          role: crew
      - id: "1.3"
        title: Perhaps not needed
        manual: {instructions: Look again., role: crew, accept_not_applicable: true}
      - id: "1.4"
        title: Fails at first
        run: {command: test -e mended}
        changes: nothing
      - id: "1.5"
        title: Fails always
        run: {command: exit 9}
        changes: nothing
      - id: "1.6"
        title: Has an undo that fails at first
        run: {command: touch made}
        verify: {run: {command: test -e made}}
        undo: {run: {command: test -e mended-too && rm made}}
    gate:
      statement: All seen.
      not_executor: false
      sign_offs: [{role: crew}]
"#;

/// Waits until a person is needed, finds the command suggested for `what`, fills in its
/// placeholders, and runs the alternative that starts with `verb`.
#[track_caller]
fn follow(place: &Place, what: &str, verb: &str, person: &str) -> Ran {
    place.run("status f --wait 60");
    let status = place.run("status f --json").exits(0).json();
    let blocked = status["blocked"].as_array().unwrap();
    let how = blocked
        .iter()
        .filter(|blocked| blocked["what"] == what)
        .filter_map(|blocked| blocked["how"].as_str())
        .flat_map(|how| how.split("   or: "))
        .find(|how| how.starts_with(&format!("rollbook {verb}")))
        .unwrap_or_else(|| panic!("{verb} is not suggested for {what}: {blocked:#?}"));
    let (line, _) = how.split_once(" --as ").unwrap_or((how, ""));
    let line = line.trim_start_matches("rollbook ").replace('…', "because");
    match line.strip_prefix("approve ") {
        Some(gate) => place.approve(&format!("{gate} --as {person}")),
        None => place.run(&format!("{line} --as {person}")),
    }
}

#[test]
fn each_suggested_command_unblocks_its_subject() {
    let place = Place::new();
    let file = place.write("follow.yaml", RUNBOOK);
    place.write("FILE", "seen");
    let _up = place.up();
    place
        .run(&format!("open {file} --env guarded --id f --as alice"))
        .exits(0);
    follow(&place, "rollout", "start", "alice").exits(0);
    place.run("pause f --reason lunch --as bob").exits(0);
    follow(&place, "rollout", "resume", "bob").exits(0);

    follow(&place, "step 1.1", "complete", "alice").exits(0);
    follow(&place, "step 1.2", "complete", "alice").exits(0);
    place
        .run("not-applicable 1.3 f --reason 'nothing there' --as alice")
        .exits(0);
    follow(&place, "step 1.3", "not-applicable", "alice").exits(5);
    follow(&place, "step 1.3", "not-applicable", "bob").exits(0);

    place.run("status f --wait 60").exits(1);
    place.write("mended", "");
    follow(&place, "step 1.4", "retry", "alice").exits(0);
    let asked = follow(&place, "step 1.5", "skip", "alice").exits(4);
    let request = asked.out.split("confirm ").nth(1).unwrap();
    let request = request.split(' ').next().unwrap();
    // A refusal names the command that helps, as data and as typed.
    let again = place
        .run("skip 1.5 f --reason again --as alice --json")
        .exits(1);
    let error: Value = serde_json::from_str(again.err.lines().last().unwrap()).unwrap();
    assert_eq!(
        error["remedies"],
        json!([{"command": "confirm", "rollout": "f", "request": request}]),
        "{error}"
    );
    assert_eq!(
        error["how"],
        format!("rollbook confirm {request} f --as <person>")
    );
    let what = format!("request {request}");
    follow(&place, &what, "confirm", "alice").exits(5);
    follow(&place, &what, "confirm", "bob").exits(0);

    let changed = RUNBOOK.replace("All seen.", "All seen twice.");
    place.write("changed.yaml", &changed);
    place
        .run("revise changed.yaml f --reason 'say it better' --as alice")
        .exits(0);
    follow(&place, "rollout", "accept", "alice").exits(5);
    follow(&place, "rollout", "accept", "bob")
        .exits(0)
        .says("gate 1: statement: All seen. → All seen twice.");
    follow(&place, "gate 1", "approve", "carol").exits(0);
    place
        .run("status f --wait 60")
        .exits(0)
        .says("closed as succeeded");

    place
        .run("rollback full f --reason regret --as bob")
        .exits(0);
    place.until_step("f", "1.6", &["undo_failed"]);
    fs::write(place.path().join("mended-too"), "").unwrap();
    let undone = follow(&place, "rollback rollback-1", "undo", "bob");
    assert_eq!(undone.code, Some(0), "{undone:?}");
    place.until_step("f", "1.6", &["undone"]);
    assert!(!place.has("made"));
}
