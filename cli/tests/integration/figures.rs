//! Figures over what watches and steps measure, from a runbook to its gate and its review.

use serde_json::Value;

use crate::harness::{Place, Process};

/// A step that measures before, one that changes something, a watch and a gate. Each sample counts
/// one error in twenty requests.
fn runbook(after: &str) -> String {
    format!(
        r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {{name: figures, version: "1", owner: team}}
environments: {{local: {{}}}}
metrics:
  latency: {{run: {{command: "cat latency"}}}}
  errors: {{run: {{command: "echo x >> errors; wc -l < errors"}}}}
  requests: {{run: {{command: "seq 20 >> requests; wc -l < requests"}}}}
phases:
  - id: "0"
    title: Before
    steps:
      - id: "0.1"
        title: Measure
        changes: nothing
        run: {{command: cat latency, measure: {{latency: '(\d+)'}}}}
      - id: "0.2"
        title: Change
        changes: nothing
        run: {{command: echo {after} > latency}}
  - id: "1"
    title: After
    steps:
      - id: "1.1"
        title: Watch
        changes: nothing
        watch:
          for: 2s
          every: 1s
          thresholds:
            - {{metric: latency, fail: "avg(value) > 1.1 * baseline(value)"}}
            - {{metric: errors, fail: "share(value, requests) > 5"}}
            - {{metric: requests}}
    gate:
      statement: No slower, few errors
      checks:
        - avg(latency) == 215
        - p95(latency) <= 220 && min(latency) == max(latency)
        - latency <= 1.1 * baseline(latency)
        - "share(errors, requests) == 5"
success:
  - {{name: No slower, metric: latency, target: p95(value) <= 1.1 * baseline(value)}}
"#
    )
}

fn ran(after: &str) -> (Place, Process, Option<i32>) {
    let place = Place::new();
    place.write("latency", "200");
    let file = place.write("figures.yaml", &runbook(after)).to_owned();
    let up = place.up();
    let command = format!("run {file} --env local --id n --as alice --timeout 120");
    let code = place.run(&command).code;
    (place, up, code)
}

#[test]
fn figures_pass_a_watch_a_gate_and_the_success_metrics() {
    let (place, _up, code) = ran("215");
    let status = place.run("status n --json").json();
    assert_eq!(code, Some(0), "{status}");
    let success = &status["data"]["success_metrics"][0];
    assert_eq!(
        success["actual"], "215, p95(value) = 215, baseline(value) = 200",
        "{success}"
    );
}

#[test]
fn a_figure_slower_than_its_baseline_fails_the_watch() {
    let (place, _up, code) = ran("221");
    assert_eq!(code, Some(1));
    let step: Value = place.step("n", "1.1");
    assert_eq!(step["verdict"], "fail", "{step}");
    let rule = step["rule"].as_str().unwrap();
    assert!(
        rule.contains("avg(value) > 1.1 * baseline(value)"),
        "{rule}"
    );
}
