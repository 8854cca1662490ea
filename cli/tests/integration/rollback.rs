//! Rollback: flags first, then everything, in reverse order.

use std::fs;

use serde_json::json;

use crate::harness::{Place, wait_for};
use crate::http::post;

const RUNBOOK: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: back, version: "1.0", owner: tests}
environments: {local: {}}
flags:
  NEW_PATH: {description: The new path, owner: tests}
phases:
  - id: "1"
    title: Change
    steps:
      - id: "1.1"
        title: First file
        run: {command: touch first}
        verify: {run: {command: test -e first}}
        undo: {run: {command: "rm first; echo first >> undone"}}
      - id: "1.2"
        title: Second file
        run: {command: touch second}
        verify: {run: {command: test -e second}}
        undo: {run: {command: "rm second; echo second >> undone"}}
      - id: "1.3"
        title: Turn it on
        flag: {key: NEW_PATH, to: on}
      - id: "1.4"
        title: Look at the costs
        run: {command: "echo costs are off; exit 3"}
        changes: nothing
"#;

#[test]
fn flags_then_everything_in_reverse_order() {
    let place = Place::new();
    let file = place.write("back.yaml", RUNBOOK);
    let _up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id b --as alice --start"
        ))
        .exits(0);
    place
        .run("status b --wait 60")
        .exits(1)
        .says("attempt 1 is")
        .says("rollbook retry 1.4 b");
    let flag = || {
        place
            .run("flag get NEW_PATH --env local --json")
            .exits(0)
            .json()
    };
    assert_eq!(flag()["value"], true);
    let ofrep = format!("{}/ofrep/v1/evaluate/flags/NEW_PATH", place.endpoint());
    let context = json!({ "context": { "environment": "local", "targetingKey": "deal-1" } });
    let (status, answer) = post(&ofrep, &context);
    assert_eq!(
        (status, &answer["value"], &answer["key"]),
        (200, &json!(true), &json!("NEW_PATH"))
    );

    let listed = place.run("rollback full --dry-run --json").exits(0).json();
    let steps: Vec<&str> = listed["undo"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["step"].as_str())
        .collect();
    assert_eq!(steps, ["1.3", "1.2", "1.1"]);
    place
        .run("rollback flags --as erin")
        .exits(2)
        .complains("--reason");
    place
        .run("rollback flags --reason 'costs are off' --as erin")
        .exits(0);
    wait_for("the flag to be off", || flag()["value"] == false);
    let (status, answer) = post(&ofrep, &context);
    assert_eq!((status, &answer["value"]), (200, &json!(false)));
    assert!(
        place.has("first") && place.has("second"),
        "a rollback of flags touched files"
    );
    wait_for("the first rollback to end", || {
        place.run("status b --json").exits(0).json()["data"]["status"] != "rolling_back"
    });

    place
        .run("rollback full --reason 'all of it' --as erin")
        .exits(0);
    place
        .run("status b --wait 60")
        .exits(1)
        .says("closed as rolled_back");
    assert!(!place.has("first") && !place.has("second"));
    assert_eq!(
        fs::read_to_string(place.path().join("undone")).unwrap(),
        "second\nfirst\n"
    );
    assert_eq!(flag()["value"], false);
    place
        .run("report b")
        .exits(0)
        .says("costs are off")
        .says("all of it");
    let history = place.run("flag history NEW_PATH --env local").exits(0);
    assert!(
        history.out.contains("on") && history.out.contains("off"),
        "{}",
        history.out
    );
}

#[test]
fn a_failed_undo_stops_the_rollback_and_says_so() {
    let place = Place::new();
    let text = RUNBOOK.replace(
        "rm second; echo second >> undone",
        "test -e mended && rm second",
    );
    let file = place.write("back.yaml", &text);
    let _up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id b --as alice --start"
        ))
        .exits(0);
    place.run("status b --wait 60").exits(1);
    place
        .run("rollback full --reason 'costs are off' --as erin")
        .exits(0);
    place.until_step("b", "1.2", &["undo_failed"]);
    place
        .run("status b")
        .exits(0)
        .says("undo attempt 1 of step 1.2 failed")
        .says("rollbook undo 1.2 b --reason");
    assert!(
        place.has("first"),
        "a step was undone before the one that came after it"
    );
    place.write("mended", "");
    place
        .run("undo 1.2 b --reason 'mended the cause' --as erin")
        .exits(0);
    wait_for("the rollback to end", || {
        place.run("status b --json").exits(0).json()["data"]["status"] == "closed"
    });
    assert!(!place.has("first") && !place.has("second"));
}
