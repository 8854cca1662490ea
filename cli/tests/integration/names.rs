//! Persons, roles and checklists in any writing system: they act, answer and are shown in one
//! normal form.

use std::fs;

use reqwest::Method;
use serde_json::json;

use crate::distributed::{start, worker};
use crate::harness::{Place, wait_for};
use crate::http::ask;

const RUNBOOK: &str = r#"
apiVersion: rollbook/v1
kind: Runbook
metadata: {name: mise-en-production, title: "Déploiement « Artisanat »", version: "1", owner: équipe-dévops}
environments: {local: {}}
roles:
  Tech Lead: [amélie]
  DevOps: [benoît, 日本 太郎]
phases:
  - id: J-1
    title: Préparation
    steps:
      - id: J-1.1
        title: Vérifications
        manual:
          instructions: Tout vérifier.
          role: DevOps
          checklist: ["a: b=c", "Couverture ≥ 80%", "x=pass", "日本語の項目 ✅"]
    gate:
      statement: "Décision : GO"
      sign_offs: [{role: Tech Lead}]
"#;

#[test]
fn people_with_accents_act() {
    let place = Place::new();
    place.write("mise.yaml", RUNBOOK);
    let _up = place.up();
    place
        .run("open mise.yaml --env local --id m --start --as amélie")
        .exits(0);
    place.run("status m --wait 60").exits(4).says("benoît");
    let id = "J-1.1";
    place
        .run(&format!("complete {id} m --answer 1=pass --as Benoît"))
        .exits(5)
        .complains("RB-ROLLOUT-17");
    // The other spelling of the same name; items by number and by text, any note.
    let answers = "--answer 'a: b=c=pass:a: b=c=pass:note' --answer '2=pass' \
                   --answer 'x=pass=pass' --answer '日本語の項目 ✅=pass:はい'";
    place
        .run(&format!("complete {id} m {answers} --as benoi\u{302}t"))
        .exits(0);
    let step = place.step("m", id);
    let checklist = step["checklist"].to_string();
    assert!(checklist.contains("a: b=c=pass:note"), "{step}");
    place.run("status m --wait 60").exits(4);
    place
        .approve("J-1 m --as 'ame\u{301}lie' --role 'Tech Lead'")
        .exits(0);
    place.run("status m --wait 60").exits(0);
    let log = place.run("log m --json").exits(0).out;
    assert!(
        log.contains("\"am\u{e9}lie\"") && log.contains("\"beno\u{ee}t\""),
        "{log}"
    );
    assert!(
        !log.contains('\u{301}') && !log.contains('\u{302}'),
        "{log}"
    );
    place.run("report m").exits(0).says("amélie");
}

#[test]
fn a_header_carries_any_visible_name() {
    let place = Place::new();
    place.write("mise.yaml", RUNBOOK);
    let _up = place.up();
    place
        .run("open mise.yaml --env local --id m --as amélie")
        .exits(0);
    let url = format!("{}/v1/rollouts/m/commands", place.endpoint());
    let send = |actor: &[u8]| {
        ask(Method::POST, &url, |request| {
            request
                .header("rollbook-actor", actor)
                .json(&json!({"command": "start"}))
        })
    };
    for refused in [
        b"".as_slice(),
        b"%20",
        b"%ff",
        b"\xff",
        b"am%00elie",
        b"am%E2%80%8Belie",
        b"am%C2%A0elie",
        b"%E2%80%AEeila",
    ] {
        let (status, answer) = send(refused);
        assert_eq!(status, 400, "{refused:?}: {answer}");
        assert_eq!(answer["code"], "RB-API-1", "{refused:?}: {answer}");
    }
    place
        .run("start m --as 'am\u{200b}elie'")
        .exits(2)
        .complains("RB-PERSON-3");
    let (status, answer) = send(b"am%C3%A9lie");
    assert_eq!(status, 200, "{answer}");
    // As curl in a terminal sends it.
    let (status, answer) = send("日本 太郎".as_bytes());
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn lint_refuses_empty_or_repeated_items_and_invisible_names() {
    let place = Place::new();
    for (from, to, code) in [
        ("\"x=pass\"", "\"  \"", "RB-RUNBOOK-51"),
        ("\"x=pass\"", "\"a: b=c \"", "RB-RUNBOOK-51"),
        ("benoît, ", "\"beno\u{200d}it\", ", "RB-RUNBOOK-13"),
        ("benoît, ", "benoît, \"benoi\u{302}t\", ", "RB-RUNBOOK-12"),
    ] {
        place.write("mise.yaml", &RUNBOOK.replacen(from, to, 1));
        place.run("lint mise.yaml").exits(2).says(code);
    }
    place.write("mise.yaml", RUNBOOK);
    place.run("lint mise.yaml").exits(0);
}

const ANYWHERE: &str = r#"
apiVersion: rollbook/v1
kind: Runbook
metadata: {name: partout, version: "1", owner: équipe}
environments: {local: {}}
channels: {"équipe 日本": {file: "avis-日本.jsonl"}}
notices:
  - {id: debut-1, channel: "équipe 日本", audience: tous, anchor: started, subject: Début, body: 始}
  - {id: debut-2, channel: "équipe 日本", audience: tous, anchor: started, subject: Début, body: 始}
phases:
  - id: "1"
    title: Travail
    steps:
      - id: "1.1"
        title: Photos
        run: {command: "mkdir -p blätter; echo はい > blätter/日本-1.txt"}
        changes: nothing
        evidence: ["blätter/日本-*.txt"]
        runs_on: büro 日本
"#;

#[test]
fn channels_evidence_texts_and_labels_allow_any_script() {
    let place = Place::new();
    place.write("partout.yaml", ANYWHERE);
    place.run("lint partout.yaml").exits(0);
    let setup = start(&place);
    let _worker = worker(&place, &setup, "bürokraft --label 'büro 日本'");
    let ask = |line: &str| place.run(&format!("{line} --server {}", setup.address));
    ask("open partout.yaml --env local --id p --start --as amélie").exits(0);
    ask("status p --wait 60").exits(0).says("succeeded");
    ask("show 1.1 p").exits(0).says("evidence 日本-1.txt");
    ask("fleet").exits(0).says("büro 日本");
    wait_for("both notices", || {
        let told = fs::read_to_string(place.path().join("avis-日本.jsonl")).unwrap_or_default();
        told.contains("p/notice/debut-1") && told.contains("p/notice/debut-2")
    });
}

#[test]
fn lint_reports_fields_that_do_not_allow_any_script() {
    let place = Place::new();
    let http = "http: {source: app, path: /, method: GÄT}";
    for (from, to, says) in [
        ("{local: {}}", "{büro: {}}", "letters, digits, - and _"),
        (
            "metadata: {name: partout",
            "metadata: {name: überall",
            "letters, digits and `-`",
        ),
        ("id: debut-1", "id: début-1", "notice id `début-1` contains"),
        (
            "run: {command: \"mkdir -p blätter; echo はい > blätter/日本-1.txt\"}",
            http,
            "no method that a request can carry",
        ),
    ] {
        let text = ANYWHERE.replacen(from, to, 1);
        assert_ne!(text, ANYWHERE, "{from}");
        place.write("partout.yaml", &text);
        place
            .run("lint partout.yaml")
            .exits(2)
            .says("RB-RUNBOOK-13")
            .says(says);
    }
}
