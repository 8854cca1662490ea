//! Numbers are exact from measurement to judgement, and truncated output gives no figure.

use rollbook_deals::Model;
use serde_json::Value;

use crate::harness::Place;

const HEAD: &str = "apiVersion: rollbook/v1
kind: Runbook
metadata: {name: numbers, version: \"1\", owner: team}
environments: {local: {}}
sources: {db: {kind: sqlite, url: {local: {value: \"sqlite:deals.db\"}}}}
metrics:
  failures: {run: {command: \"cat failures\"}}
  added: {run: {command: \"echo x >> seen; wc -l < seen\"}}
";

/// Runs a runbook to its end and returns its directory.
fn ran(
    phases: &str,
    prepare: impl FnOnce(&Place),
) -> (Place, crate::harness::Process, Option<i32>) {
    let place = Place::new();
    place
        .run("deals generate --count 1 --database sqlite:deals.db")
        .exits(0);
    prepare(&place);
    let file = place
        .write("numbers.yaml", &format!("{HEAD}{phases}"))
        .to_owned();
    let up = place.up();
    let run = place.run(&format!(
        "run {file} --env local --id n --as alice --timeout 120"
    ));
    (place, up, run.code)
}

fn verdict(place: &Place, step: &str) -> String {
    place.step("n", step)["verdict"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn measured(place: &Place, step: &str, metric: &str) -> Value {
    let step = place.step("n", step);
    let measurements = step["measurements"].as_array().unwrap().clone();
    let found = measurements.into_iter().find(|it| it["metric"] == metric);
    found.unwrap_or_else(|| panic!("no {metric}: {step}"))
}

#[test]
fn neighbours_beyond_two_to_the_53_are_distinguished_everywhere() {
    let query = "SELECT 9007199254740992 AS copied, 9007199254740993 AS original";
    let phases = format!(
        r#"
phases:
  - id: "1"
    title: Compare
    steps:
      - id: "1.1"
        title: By a query
        critical: false
        on_fail: continue
        changes: nothing
        sql: {{source: db, query: "{query}"}}
        expect: [copied == original]
      - id: "1.2"
        title: By output
        needs: []
        changes: nothing
        run: {{command: "echo n 9007199254740993", measure: {{printed: 'n (\d+)'}}}}
        expect: [printed == 9007199254740993, printed != 9007199254740992]
      - id: "1.3"
        title: Too many digits are no number
        needs: []
        critical: false
        on_fail: continue
        changes: nothing
        run: {{command: "echo n 12345678901234567890123456789", measure: {{long: 'n (\d+)'}}}}
        expect: [long > 0]
    gate:
      statement: The same
      checks: [original - copied == 1]
decide:
  - {{when: copied == original, then: flags}}
success:
  - {{name: Copied, metric: original, target: value == 9007199254740993}}
"#
    );
    let (place, _up, code) = ran(&phases, |_| {});
    assert_eq!(code, Some(0), "the gate sees a difference of one");
    assert_eq!(verdict(&place, "1.1"), "fail");
    assert_eq!(verdict(&place, "1.2"), "pass");
    assert_eq!(verdict(&place, "1.3"), "inconclusive");
    assert_eq!(
        measured(&place, "1.1", "original")["decimal"],
        "9007199254740993"
    );
    let long = measured(&place, "1.3", "long");
    assert!(long["decimal"].is_null(), "{long}");
    assert!(
        long["text"].as_str().unwrap().contains("28 digits"),
        "{long}"
    );
    let status = place.run("status n --json").json();
    assert!(
        status["data"]["advice"].as_array().unwrap().is_empty(),
        "{status}"
    );
    let success = &status["data"]["success_metrics"][0];
    assert_eq!(success["status"], "pass", "{success}");
    assert_eq!(success["actual"], "9007199254740993");
}

#[test]
fn a_figure_of_cut_output_is_the_last_one_or_none() {
    let filler = "yes 'filler line of text' | head -c 15000000; echo";
    let step = |id: &str, command: &str, expect: &str| {
        format!(
            "      - id: \"{id}\"\n        title: Step {id}\n        needs: []\n        critical: false\n        \
             on_fail: continue\n        changes: nothing\n        run:\n          command: \"{command}\"\n          \
             measure: {{n: 'n (\\d+)'}}\n        expect: [{expect}]\n"
        )
    };
    let line = "head -c 31457280 /dev/zero | tr '\\\\0' 'x'; echo";
    let phases = format!(
        "phases:\n  - id: \"1\"\n    title: Output\n    steps:\n{}{}{}{}{}",
        step(
            "1.1",
            &format!("echo 'n 41'; {line}; echo 'n 42'"),
            "n == 42"
        ),
        step("1.2", &format!("{filler}; echo 'n 3'; {filler}"), "n == 0"),
        step(
            "1.3",
            &format!("echo 'n 0'; {filler}; echo 'n 9'; {filler}"),
            "n == 0"
        ),
        step("1.4", "echo 'n 1'; echo 'n 2'", "n == 2"),
        step("1.5", "echo 'n 7'; kill -9 $$", "n == 7"),
    );
    let (place, _up, code) = ran(&phases, |_| {});
    assert_eq!(code, Some(0), "none of the steps is critical");
    let verdicts = ["1.1", "1.2", "1.3", "1.4", "1.5"].map(|step| verdict(&place, step));
    assert_eq!(
        verdicts,
        ["pass", "inconclusive", "inconclusive", "pass", "error"]
    );
    let head = measured(&place, "1.3", "n");
    assert!(head["value"].is_null(), "{head}");
    assert!(
        head["text"].as_str().unwrap().contains("what was cut"),
        "{head}"
    );
    let killed = measured(&place, "1.5", "n");
    assert!(killed["value"].is_null(), "{killed}");
    let message = place.step("n", "1.3")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("what was cut"), "{message}");
}

#[test]
fn the_earlier_value_of_a_counter_does_not_count() {
    let phases = r#"
phases:
  - id: "1"
    title: Watch
    steps:
      - id: "1.1"
        title: Old failures
        changes: nothing
        watch:
          for: 2s
          every: 1s
          thresholds: [{metric: failures, fail: "delta(value) > 0 || rate(value, hour) > 0"}]
    gate:
      statement: Nothing new
      checks: [delta(failures) == 0, "rate(failures, hour) == 0"]
success:
  - {name: Nothing new, metric: failures, target: delta(value) == 0}
"#;
    let (place, _up, code) = ran(phases, |place| {
        place.write("failures", "17");
    });
    assert_eq!(code, Some(0));
    let status = place.run("status n --json").json();
    let success = &status["data"]["success_metrics"][0];
    assert_eq!(success["actual"], "17, delta(value) = 0", "{success}");
}

#[test]
fn growth_of_a_counter_fails_its_watch() {
    let phases = r#"
phases:
  - id: "1"
    title: Watch
    steps:
      - id: "1.1"
        title: New failures
        changes: nothing
        watch:
          for: 10m
          every: 1s
          thresholds: [{metric: added, fail: "rate(value, hour) > 1"}]
"#;
    let (place, _up, code) = ran(phases, |_| {});
    assert_eq!(code, Some(1));
    let added = measured(&place, "1.1", "added");
    assert_eq!(
        added["decimal"], "3",
        "the first is what growth is counted from: {added}"
    );
}

#[test]
fn carve_outs_beyond_their_bounds_fail_without_a_runbook() {
    let place = Place::new();
    let deals = "--database sqlite:deals.db";
    place
        .run(&format!(
            "deals generate --count 200 --seed 7 --no-invalid-types {deals}"
        ))
        .exits(0);
    let mut model = serde_json::to_value(Model::built_in()).unwrap();
    for factor in model["multipliers"]["carveout"]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        *factor = Value::from(factor.as_i64().unwrap() * 5);
    }
    place.write("five.json", &model.to_string());
    let taken = |options: &str| {
        let ran = place.run(&format!("snapshot take {deals} --json {options}"));
        ran.exits(0).json()["snapshot"].as_str().unwrap().to_owned()
    };
    let before = taken("--label before --flag-off");
    let after = taken("--label after");
    let five = taken("--label five --model five.json");
    place.run(&format!("compare {before} {after}")).exits(0);
    let compare = format!("compare {before} {five} --allow-model-change");
    let result = place.run(&format!("{compare} --json")).exits(1).json()["result"].clone();
    assert!(result["regressions"].as_u64().unwrap() > 0, "{result}");
    assert_eq!(result["unexpected"], 0);
    assert!(
        result["by_rule"]["carveout-one-time"]["regression"]
            .as_u64()
            .unwrap()
            > 0
    );
    let worst = &result["worst"][0];
    assert!(
        worst["rule"].as_str().unwrap().starts_with("carveout-"),
        "{worst}"
    );
}
