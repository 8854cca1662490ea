//! Going back is verified, waits for nobody, and is reported the same everywhere.

use std::fs;

use crate::harness::{Place, runbook, wait_for};

fn status(place: &Place, id: &str) -> serde_json::Value {
    let answer = place.run(&format!("status {id} --json")).exits(0).json();
    answer["data"]["status"].clone()
}

fn open(place: &Place, id: &str, phases: &str) {
    let text = runbook(phases).replace(
        "phases:",
        "flags: {NEW_PATH: {description: The new path, owner: tests}}\nphases:",
    );
    let name = format!("{id}.yaml");
    fs::write(place.path().join(&name), text).unwrap();
    place
        .run(&format!(
            "open {name} --env local --id {id} --as alice --start"
        ))
        .exits(0);
}

const EFFECT: &str = r#"
  - id: "1"
    title: Change
    steps:
      - id: "1.1"
        title: A file
        run: {command: touch file}
        verify: {run: {command: test -e file}}
        undo: {run: {command: UNDO}}
      - id: "1.2"
        title: Turn it on
        flag: {key: NEW_PATH, to: on}
      - id: "1.3"
        title: Hold
        manual: {instructions: hold}
"#;

#[test]
fn an_undo_that_leaves_its_effect_does_not_count() {
    let place = Place::new();
    let _up = place.up();
    open(&place, "u", &EFFECT.replace("UNDO", "\"true\""));
    place.run("status u --wait 60").exits(4);
    let listed = place.run("rollback full u --dry-run").exits(0);
    assert!(
        listed.out.contains("flag NEW_PATH: on → off")
            && listed.out.contains("`verify` no longer passes"),
        "{}",
        listed.out
    );
    place
        .run("rollback full u --reason 'costs are off' --as erin")
        .exits(0);
    place
        .run("status u --wait 60")
        .exits(1)
        .says("the effect is still there");
    assert!(place.has("file"));
    // The list of the dry run equals the recorded list.
    let log = place.run("log u --json").exits(0).out;
    assert!(log.contains(r#""undoSteps":["1.2","1.1"]"#), "{log}");
    place
        .run("skip 1.1 u --reason 'we keep the file' --as erin")
        .exits(0);
    place
        .run("status u --wait 60")
        .exits(1)
        .says("closed as failed");
}

#[test]
fn a_manual_undo_is_verified() {
    let place = Place::new();
    let _up = place.up();
    let phases = EFFECT.replace(
        "undo: {run: {command: UNDO}}",
        "undo: {manual: Remove the file., verify: {run: {command: \"! test -e file\"}}}",
    );
    open(&place, "h", &phases);
    place.run("status h --wait 60").exits(4);
    place
        .run("rollback full h --dry-run")
        .exits(0)
        .says("`undo.verify` holds");
    place
        .run("undo 1.1 h --reason 'file removed' --as erin")
        .exits(0);
    place.until_step("h", "1.1", &["undo_failed"]);
    place
        .run("status h --wait 60")
        .says("the effect is still there");
    fs::remove_file(place.path().join("file")).unwrap();
    place
        .run("undo 1.1 h --reason 'now it is removed' --as erin")
        .exits(0);
    place.until_step("h", "1.1", &["undone"]);
    let log = place.run("log h --json").exits(0).out;
    assert!(
        log.contains(r#""verification":"VERIFIED""#) && log.contains("now it is removed"),
        "{log}"
    );
}

#[test]
fn a_flag_that_was_switched_off_meanwhile_stays_off() {
    let place = Place::new();
    let _up = place.up();
    open(
        &place,
        "f",
        &EFFECT.replace("UNDO", "rm file").replace(
            "      - id: \"1.2\"",
            "      - {id: \"1.0\", title: Half, flag: {key: NEW_PATH, to: {percentage: 50}}}\n      - id: \"1.2\"",
        ),
    );
    place.run("status f --wait 60").exits(4);
    place
        .run("flag set NEW_PATH off --env local --reason 'page is red' --as erin")
        .exits(0);
    place
        .run("rollback full f --dry-run")
        .exits(0)
        .says("page is red");
    place
        .run("rollback full f --reason 'costs are off' --as erin")
        .exits(0);
    place
        .run("status f --wait 60")
        .exits(1)
        .says("closed as rolled_back");
    let flag = place
        .run("flag get NEW_PATH --env local --json")
        .exits(0)
        .json();
    assert_eq!(flag["value"], false);
    let history = place
        .run("flag history NEW_PATH --env local --json")
        .exits(0);
    let rows = history.json()["data"].as_array().unwrap().clone();
    let last = rows.iter().max_by_key(|row| row["sequence"].as_u64());
    assert_eq!(
        last.unwrap()["reason"],
        "page is red",
        "nothing came after it"
    );
}

#[test]
fn status_report_and_exit_code_tell_of_a_rollback_after_the_end() {
    let place = Place::new();
    let _up = place.up();
    let phases = EFFECT.replace("UNDO", "sleep 1; rm file").replace(
        "      - id: \"1.3\"\n        title: Hold\n        manual: {instructions: hold}\n",
        "",
    );
    open(&place, "r", &phases);
    place
        .run("status r --wait 60")
        .exits(0)
        .says("closed as succeeded");
    place
        .run("rollback full r --reason 'costs are off' --as erin")
        .exits(0);
    place
        .run("status r --wait 60")
        .exits(1)
        .says("closed as rolled_back");
    let report = place.run("report r").exits(0);
    assert!(
        report.out.contains(
            "| Outcome | rolled back; after a rollback; undone and not done again: 1.1, 1.2 |"
        ) && !report.out.contains("HEALTHY (100"),
        "{}",
        report.out
    );
    assert!(!place.has("file"));
}

#[test]
fn a_flag_is_restored_while_every_worker_is_busy() {
    let place = Place::new();
    let _up = place.up();
    let mut busy = String::from("\n  - id: \"1\"\n    title: Long\n    steps:\n");
    for step in 1..=4 {
        busy.push_str(&format!(
            "      - {{id: \"1.{step}\", title: Long, needs: [], changes: nothing, run: {{command: \"until test -e go; do sleep 0.1; done\"}}}}\n"
        ));
    }
    open(&place, "flagged", &EFFECT.replace("UNDO", "rm file"));
    place.run("status flagged --wait 60").exits(4);
    open(&place, "busy", &busy);
    let running = || {
        let answer = place.run("status busy --json").exits(0).json();
        let steps = answer["data"]["phases"][0]["steps"]
            .as_array()
            .unwrap()
            .clone();
        steps
            .iter()
            .filter(|step| step["status"] == "running")
            .count()
    };
    wait_for("all four hands to be full", || running() == 4);
    place
        .run("rollback flags flagged --reason 'costs are off' --as erin")
        .exits(0);
    place
        .run("status flagged --wait 60")
        .exits(4)
        .says("paused");
    assert_eq!(status(&place, "flagged"), "paused");
    let flag = place
        .run("flag get NEW_PATH --env local --json")
        .exits(0)
        .json();
    assert_eq!(flag["value"], false);
    assert_eq!(running(), 4, "no step had to end for it");
    place.write("go", "");
    place.run("status busy --wait 60").exits(0);
}

#[test]
fn on_fail_undoes_the_named_step_when_a_step_fails() {
    let place = Place::new();
    let _up = place.up();
    let phases = r#"
  - id: "1"
    title: Maintenance
    steps:
      - id: stop
        title: Stop the application
        run: {command: touch stopped}
        verify: {run: {command: test -e stopped}}
        undo: {run: {command: rm stopped}}
      - id: migrate
        title: Migrate
        run: {command: exit 1}
        verify: {run: {command: "true"}}
        undo: none
        on_fail: {undo: [stop]}
"#;
    open(&place, "m", phases);
    place.run("status m --wait 60").exits(1).says("rollback-1");
    assert!(!place.has("stopped"), "the application runs again");
    // The advised command leads out, and starts no further rollback.
    place.run("resume m --as alice").exits(0);
    place
        .run("status m --wait 60")
        .exits(1)
        .says("rollbook retry stop m");
    place
        .run("skip stop m --reason 'not needed' --as alice")
        .exits(0);
    place
        .run("skip migrate m --reason 'by hand' --as alice")
        .exits(0);
    place.run("status m --wait 60").exits(0);
}

#[test]
fn a_retried_watch_is_judged_by_its_own_samples() {
    let place = Place::new();
    place.write("rate", "5");
    let phases = r#"
  - id: "1"
    title: Watch
    steps:
      - id: "1.1"
        title: Watch the rate
        watch: {for: 3s, every: 1s, thresholds: [{metric: rate, fail: value > 1}]}
"#;
    let text = runbook(phases).replace(
        "phases:",
        "metrics: {rate: {run: {command: cat rate}}}\nphases:",
    );
    let _up = place.up();
    fs::write(place.path().join("w.yaml"), text).unwrap();
    place
        .run("open w.yaml --env local --id w --as alice --start")
        .exits(0);
    place
        .run("status w --wait 60")
        .exits(1)
        .says("attempt 1 is failed");
    place.write("rate", "0.1");
    place.run("retry 1.1 w --reason mended --as alice").exits(0);
    place.run("status w --wait 60").exits(0).says("HEALTHY 100");
    let message = place.step("w", "1.1")["message"].to_string();
    assert!(message.contains("rate: 0 of "), "{message}");
}
