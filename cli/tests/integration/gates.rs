//! Gates: a person signs what they were shown, persons are matched to required sign-offs, names are
//! UTF-8.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Place, Process, Ran, runbook};
use crate::http::ask;

const SIGNED: &str = r#"
  - id: "1"
    title: Measure
    steps:
      - id: "1.1"
        title: Count
        run: {command: "cat count", measure: {counted: '(\d+) counted'}}
        changes: nothing
      - id: "1.2"
        title: Look
        manual: {instructions: Look., checklist: [It is there], role: crew}
    gate:
      statement: Seen.
      checks: ["counted < 5"]
      sign_offs: [{role: crew}]
"#;

/// A rollout `g` that waits at its gate, with evidence.
fn waiting(place: &Place) -> Process {
    let file = place.write("gate.yaml", &runbook(SIGNED)).to_owned();
    place.write("count", "3 counted\n");
    place.write("photo.txt", "it is there");
    let up = place.up();
    place.waiting(&file, "g");
    place
        .run("complete 1.2 g --all-pass --evidence photo.txt --as alice")
        .exits(0);
    place.run("status g --wait 60").exits(4);
    up
}

#[test]
fn a_signature_covers_the_changed_plan_and_all_evidence() {
    let place = Place::new();
    let _up = waiting(&place);
    let seen = || {
        place
            .run("gate 1 g --digest")
            .exits(0)
            .out
            .trim()
            .to_owned()
    };
    let first = seen();
    // Another plan comes into force between looking and signing.
    let changed = runbook(SIGNED).replace("counted < 5", "counted < 4");
    let file = place.write("changed.yaml", &changed).to_owned();
    place
        .run(&format!(
            "revise {file} g --reason 'be stricter' --as alice"
        ))
        .exits(0);
    place.run("accept 2 g --as bob").exits(0);
    place
        .run(&format!("approve 1 g --as bob --seen {first}"))
        .exits(1)
        .complains("RB-ROLLOUT-50");
    place
        .run("gate 1 g")
        .exits(0)
        .says("revision 2 by alice, accepted by bob: be stricter")
        .says("counted < 5")
        .says("counted < 4");
    // So does another piece of evidence.
    let second = seen();
    assert_ne!(second, first);
    place.write("photo2.txt", "it is there, too");
    place
        .run("reject 1 g --reason 'one photo more' --as bob")
        .exits(0);
    place
        .run("retry 1.2 g --reason 'one photo more' --as alice")
        .exits(0);
    place
        .run("complete 1.2 g --all-pass --evidence photo.txt --evidence photo2.txt --as alice")
        .exits(0);
    place.run("status g --wait 60").exits(4);
    place
        .run(&format!("approve 1 g --as bob --seen {second}"))
        .exits(1)
        .complains("RB-ROLLOUT-50");
    place.run("gate 1 g").exits(0).says("photo2.txt");
    place
        .run(&format!("approve 1 g --as bob --seen {}", seen()))
        .exits(0);
}

#[test]
fn every_command_shows_the_version_and_number_of_the_plan_in_force() {
    let place = Place::new();
    let _up = waiting(&place);
    let numbered = |number: u32, version: &str| {
        let status = place.run("status g --json").exits(0).json();
        assert_eq!(status["data"]["revision"], number, "{status}");
        assert_eq!(status["data"]["runbook_version"], version, "{status}");
        let listed = place.run("list --json").exits(0).json();
        let listed = listed.to_string();
        assert!(
            listed.contains(&format!("\"revision\":{number}")),
            "{listed}"
        );
        let gate = place.run("gate 1 g --json").exits(0).json();
        assert_eq!(gate["shown"]["revision"], number, "{gate}");
        place
            .run("status g")
            .exits(0)
            .says(&format!("test {version} · local"));
        place
            .run("report g")
            .exits(0)
            .says(&format!("| Runbook | test {version} |"))
            .says(&format!("(revision {number})"));
    };
    numbered(1, "1.0");
    let changed = runbook(SIGNED).replace("version: \"1.0\"", "version: \"2.0\"");
    let file = place.write("changed.yaml", &changed).to_owned();
    place
        .run(&format!(
            "revise {file} g --reason 'say it better' --as alice"
        ))
        .exits(0);
    numbered(1, "1.0");
    place.run("accept 2 g --as bob").exits(0);
    numbered(2, "2.0");
}

fn command(place: &Place, person: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}/v1/rollouts/g/commands", place.endpoint());
    ask(Method::POST, &url, |request| {
        request.header("rollbook-actor", person).json(body)
    })
}

#[test]
fn a_signature_covers_only_what_was_shown() {
    let place = Place::new();
    let _up = waiting(&place);
    let shown = place.run("gate 1 g --json").exits(0).json();
    let pieces = shown["shown"]["evidence"].as_array().unwrap();
    let photo = pieces.iter().find(|piece| piece["name"] == "photo.txt");
    let photo = photo.unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(photo["size_bytes"], 11);
    place
        .run("gate 1 g")
        .exits(0)
        .says("statement: Seen.")
        .says("counted=3")
        .says(photo["sha256"].as_str().unwrap())
        .says("1 × crew");

    // Without a terminal and a digest nothing is signed, and what would be signed is printed.
    let before = place.run("log g --json").exits(0).out;
    let asked = place.run("approve 1 g --as bob").exits(2);
    let asked = asked.says("counted=3").complains("RB-CLI-83");
    let seen = shown["seen"].as_str().unwrap();
    let typed = format!("rollbook approve 1 g --as bob --seen {seen}");
    assert!(asked.err.contains(&typed), "{}", asked.err);
    place
        .run("approve 1 g --as bob --json")
        .exits(2)
        .complains("RB-CLI-83");
    for (body, status, code) in [
        (json!({"command": "approve", "gate": "1"}), 422, "RB-API-8"),
        (
            json!({"command": "approve", "gate": "1", "seen": "x"}),
            409,
            "RB-ROLLOUT-50",
        ),
    ] {
        let (found, answer) = command(&place, "bob", &body);
        assert_eq!(
            (found, answer["code"].as_str()),
            (status, Some(code)),
            "{answer}"
        );
    }
    assert_eq!(place.run("log g --json").exits(0).out, before);

    // The gate changes: the old digest no longer signs anything.
    place.run("reject 1 g --reason 'again' --as bob").exits(0);
    place.write("count", "4 counted\n");
    place
        .run("retry 1.1 g --reason 'again' --as alice")
        .exits(0);
    place.run("status g --wait 60").exits(4);
    place
        .run(&format!("approve 1 g --as bob --seen {seen}"))
        .exits(1)
        .complains("RB-ROLLOUT-50")
        .complains("rollbook gate 1 g");
    place.approve("1 g --as bob").exits(0);
    let log = place.run("log g --json").exits(0).json_lines();
    let given = log
        .iter()
        .flat_map(|line| line["commit"]["events"].as_array().unwrap())
        .find_map(|event| event.get("signOffGiven"))
        .unwrap();
    let now = place.run("gate 1 g --json").exits(0).json();
    assert_eq!(given["seen"], now["seen"]);
    let listed: Vec<&Value> = now["shown"]["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|piece| &piece["sha256"])
        .collect();
    let recorded: Vec<&Value> = given["evidenceSeen"].as_array().unwrap().iter().collect();
    assert_eq!(listed, recorded);
    assert!(!recorded.is_empty());
}

/// Runs a command at a terminal and types this line.
fn at_a_terminal(place: &Place, line: &str, answer: &str) -> Ran {
    let typed = format!(
        "printf '{answer}\\n' | script -qec '{} {line}' /dev/null",
        env!("CARGO_BIN_EXE_rollbook")
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &typed]);
    place.clean(&mut shell);
    Process::start(&mut shell).finish()
}

#[test]
fn approving_at_a_terminal_takes_a_typed_yes() {
    let place = Place::new();
    let _up = waiting(&place);
    for no in ["", "y", "no", "YES"] {
        at_a_terminal(&place, "approve 1 g --as bob", no)
            .exits(2)
            .says("Seen.")
            .says("RB-CLI-84");
    }
    at_a_terminal(&place, "approve 1 g --as bob", "yes")
        .exits(0)
        .says("Seen.")
        .says("counted=3")
        .says("sign_off_given");
}

#[test]
fn evidence_that_was_not_stored_is_refused() {
    let place = Place::new();
    let file = place.write("gate.yaml", &runbook(SIGNED)).to_owned();
    place.write("count", "3 counted\n");
    let _up = place.up();
    place.waiting(&file, "g");
    let before = place.run("log g --json").exits(0).out;
    let url = format!("{}/v1/evidence?name=note", place.endpoint());
    let stored = ask(Method::POST, &url, |request| {
        request.header("rollbook-actor", "alice").body("a note")
    });
    assert_eq!(stored.0, 201, "{stored:?}");
    let mut longer = stored.1.clone();
    longer["sizeBytes"] = json!("7");
    let complete = |evidence: &Value| {
        json!({
            "command": "complete", "step": "1.2", "evidence": [evidence],
            "checklist": [{"item": "It is there", "answer": "pass"}],
        })
    };
    for wrong in [json!({"sha256": "0".repeat(64), "name": "x"}), longer] {
        let (status, answer) = command(&place, "alice", &complete(&wrong));
        assert_eq!(status, 422, "{answer}");
        assert_eq!(answer["code"], "RB-HANDLER-17", "{answer}");
    }
    let revise = json!({
        "command": "revise", "reason": "x",
        "plan": {"sha256": "0".repeat(64), "name": "plan"},
    });
    let (status, answer) = command(&place, "alice", &revise);
    assert!((400..500).contains(&status), "{answer}");
    assert_eq!(place.run("log g --json").exits(0).out, before);
    let (status, answer) = command(&place, "alice", &complete(&stored.1));
    assert_eq!(status, 200, "{answer}");
}

const TWO_ROLES: &str = r#"
apiVersion: rollbook/v1
kind: Runbook
metadata: {name: seats, version: "1", owner: field}
environments: {local: {}}
roles: {ROLES}
phases:
  - id: "1"
    title: Work
    steps:
      - {id: "1.1", title: Work, run: {command: "true"}, changes: nothing}
      - {id: "1.2", title: Look, manual: {instructions: look, role: doers}}
    gate:
      statement: done
      sign_offs: SIGN_OFFS
"#;

#[test]
fn lint_names_the_seats_that_nobody_can_take() {
    let place = Place::new();
    let lint = |roles: &str, sign_offs: &str| {
        let text = TWO_ROLES
            .replace("{ROLES}", roles)
            .replace("SIGN_OFFS", sign_offs);
        place.write("seats.yaml", &text);
        place.run("lint seats.yaml")
    };
    // One person in two roles; three required sign-offs for two persons.
    lint(
        "{doers: [dan], security: [cleo], legal: [cleo]}",
        "[{role: security}, {role: legal}]",
    )
    .exits(2)
    .says("RB-RUNBOOK-50")
    .says("`legal`");
    lint(
        "{doers: [dan], a: [x, y], b: [x, y], c: [x, y]}",
        "[{role: a}, {role: b}, {role: c}]",
    )
    .exits(2)
    .says("RB-RUNBOOK-50");
    // Two spellings of one name are one person.
    lint(
        "{doers: [dan], a: [\"am\u{e9}lie\"], b: [\"ame\u{301}lie\"]}",
        "[{role: a}, {role: b}]",
    )
    .exits(2)
    .says("RB-RUNBOOK-50");
    // A person who must do the step may not sign.
    lint("{doers: [mia]}", "[{role: doers}]")
        .exits(2)
        .says("RB-RUNBOOK-50")
        .says("mia");
    // A person who may do it might be missing at the gate.
    lint("{doers: [mia, max], chief: [max]}", "[{role: chief}]")
        .exits(0)
        .complains("warning RB-RUNBOOK-50")
        .complains("max");
    // Two roles with the same two persons: a person who signs as one cannot sign as the other.
    lint(
        "{doers: [dan], a: [x, y], b: [x, y]}",
        "[{role: a, quorum: 2}, {role: b}]",
    )
    .exits(2)
    .says("RB-RUNBOOK-50");
    let fine = lint("{doers: [mia, max], chief: [eve]}", "[{role: chief}]").exits(0);
    assert!(!fine.err.contains("RB-RUNBOOK-50"), "{}", fine.err);
}

#[test]
fn lint_warns_of_the_executors_that_would_block_the_gate() {
    let place = Place::new();
    let text = TWO_ROLES
        .replace("{ROLES}", "{doers: [mia, max], chief: [mia, max]}")
        .replace("SIGN_OFFS", "[{role: chief}]")
        .replace(
            "    gate:",
            "      - {id: \"1.3\", title: Look again, manual: {instructions: look, role: doers}}\n    gate:",
        );
    place.write("seats.yaml", &text);
    // Each of them alone leaves the other to sign.
    place
        .run("lint seats.yaml")
        .exits(0)
        .complains("warning RB-RUNBOOK-50")
        .complains("when max and mia do step 1.2, 1.3 of phase `1`");
    let _up = place.up();
    place
        .run("open seats.yaml --env local --id s --as mia --start")
        .exits(0);
    place.run("status s --wait 60").exits(4);
    place.run("complete 1.2 s --as mia").exits(0);
    place.run("complete 1.3 s --as max").exits(0);
    place.run("status s --wait 60").exits(4);
    place.run("status s").exits(0).says(
        "chief: no eligible signer remains (mia had a hand in step 1.2, max had a hand in step 1.3)",
    );
}

#[test]
fn status_advises_only_what_is_possible() {
    let place = Place::new();
    let text = TWO_ROLES
        .replace(
            "{ROLES}",
            "{doers: [mia, max], eng: [alice, bob], lead: [alice], chief: [max]}",
        )
        .replace("SIGN_OFFS", "[{role: eng}, {role: lead}, {role: chief}]");
    place.write("seats.yaml", &text);
    let _up = place.up();
    place
        .run("open seats.yaml --env local --id s --as mia --start")
        .exits(0);
    place.run("status s --wait 60").exits(4);
    place.run("complete 1.2 s --as mia").exits(0);
    let gate = |place: &Place| {
        place.run("status s --wait 60").exits(4);
        let status = place.run("status s --json").exits(0).json();
        let blocked = status["blocked"].as_array().unwrap().clone();
        blocked
            .into_iter()
            .find(|blocked| blocked["what"] == "gate 1")
            .unwrap()
    };
    // alice could sign as eng, but then nobody could as lead.
    assert_eq!(
        gate(&place)["who"],
        json!(["eng: bob", "lead: alice", "chief: max"])
    );
    place.approve("1 s --role eng --as alice").exits(0);
    let stuck = gate(&place);
    assert_eq!(
        stuck["who"][0],
        "lead: no eligible signer remains (alice has signed as eng)"
    );
    place.approve("1 s --as max").exits(0);
    let stuck = gate(&place);
    assert!(
        stuck["how"]
            .as_str()
            .unwrap()
            .starts_with("rollbook revise"),
        "{stuck}"
    );
}
