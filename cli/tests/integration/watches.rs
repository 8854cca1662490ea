//! Watches hold no place of a step, however many there are, and end as soon as their rollout does.

use std::fmt::Write;

use crate::harness::{Place, wait_for};

/// More than steps that a worker carries out at a time.
const WATCHES: usize = 40;

fn runbook() -> String {
    let mut text = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: watches, version: "1.0", owner: tests}
environments: {local: {}}
metrics:
  rate: {run: {command: "echo x >> sampled; echo 0"}}
phases:
  - id: "1"
    title: Watch
    steps:
"#
    .to_owned();
    for number in 1..=WATCHES {
        writeln!(
            text,
            "      - {{id: \"1.{number}\", title: Watch {number}, needs: [], watch: {{for: 24h, every: 1h, thresholds: [{{metric: rate, fail: value > 1}}]}}}}"
        )
        .unwrap();
    }
    text.push_str(
        r#"      - {id: "1.100", title: Work beside them, needs: [], run: {command: "true"}, changes: nothing}
"#,
    );
    text
}

/// Starts the runbook, waits until all its watches run and have sampled, and ends it.
fn end_while_watching(command: &str) {
    let place = Place::new();
    let file = place.write("watches.yaml", &runbook());
    let _up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id w --as alice --start"
        ))
        .exits(0);
    place.until_step("w", "1.100", &["finished"]);
    let running = || {
        let status = place.run("status w --json").exits(0).json();
        let phases = status["data"]["phases"].as_array().unwrap().clone();
        let steps = phases
            .iter()
            .flat_map(|phase| phase["steps"].as_array().unwrap());
        steps.filter(|step| step["status"] == "running").count()
    };
    wait_for("all watches to run at the same time", || {
        running() == WATCHES
    });
    // Each has taken its first sample; the next is due in an hour.
    wait_for("the first samples", || {
        let sampled = std::fs::read_to_string(place.path().join("sampled"));
        sampled.unwrap_or_default().lines().count() == WATCHES
    });
    place.run(command).exits(0);
    wait_for("all watches to end", || running() == 0);
}

#[test]
fn watches_take_no_step_slot_and_end_when_their_rollout_is_aborted() {
    end_while_watching("abort w --reason enough --as alice");
}

#[test]
fn a_rollback_with_nothing_to_wait_for_ends_watches() {
    end_while_watching("rollback full w --reason enough --as alice");
}
