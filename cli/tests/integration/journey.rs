//! One rollout of `hello.yaml` from opening to report, as text and as JSON.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Place, Process};

#[test]
fn hello_from_open_to_report() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();

    place.run(&format!("lint {file}")).exits(0).says("ok");
    place
        .run(&format!("plan {file} --env local"))
        .exits(0)
        .says("nothing has been opened");
    place.run("status").exits(2).complains("RB-CLI-10");
    place
        .run(&format!("open {file} --env local --id hello-1"))
        .exits(2)
        .complains("RB-CLI-1");
    place
        .run(&format!("open {file} --env local --id hello-1 --as alice"))
        .exits(0)
        .says("rollout_opened");
    place
        .run("status")
        .exits(0)
        .says("how: rollbook start hello-1");
    place
        .run(&format!("open {file} --env local --id hello-1 --as alice"))
        .exits(1);
    place
        .run("start hello-1 --as alice")
        .exits(0)
        .says("rollout_started");

    let waiting = place.run("status --wait 60").exits(4);
    assert!(
        waiting.out.contains("how: rollbook complete 1.2 hello-1"),
        "{}",
        waiting.out
    );
    place.run("show 1.1").exits(0).says("exit code 0");
    place
        .run("show 1.1 --output")
        .exits(0)
        .says("Hello, this is");
    place.run("show 9.9").exits(2).complains("RB-CLI-22");
    place
        .run("complete 1.2 --all-pass --as mallory")
        .exits(5)
        .complains("RB-ROLLOUT-17");
    place
        .run("complete 1.2 --as alice")
        .exits(2)
        .complains("is not answered");
    place
        .run("complete 1.2 --all-pass --note 'heard it' --as alice")
        .exits(0)
        .says("step_finished");

    let waiting = place.run("status --wait 60").exits(4);
    assert!(
        waiting.out.contains("how: rollbook approve 1 hello-1"),
        "{}",
        waiting.out
    );
    assert!(waiting.out.contains("listeners: bob"), "{}", waiting.out);
    place.run("show gate/1").exits(0).says("0 of 1 sign-offs");
    place
        .approve("1 --as alice")
        .exits(5)
        .complains("RB-ROLLOUT-19");
    place
        .approve("1 --as mallory")
        .exits(5)
        .complains("RB-ROLLOUT-17");
    place
        .approve("1 --role listeners --as bob")
        .exits(0)
        .says("sign_off_given");

    place
        .run("status hello-1 --wait 60")
        .exits(0)
        .says("closed");
    place
        .run("show gate/1 hello-1")
        .exits(0)
        .says("bob as listeners");
    place.run("approve 1 hello-1 --as bob").exits(1);
    place
        .run("log hello-1")
        .exits(0)
        .says("The rollout was closed as succeeded");
    place.run("list").exits(0).says("succeeded");
    place
        .run("list --env elsewhere")
        .exits(0)
        .says("no rollouts");
    let then = place.run("replay hello-1 --at 3").exits(0);
    assert!(then.out.contains("as of sequence 3"), "{}", then.out);
    assert!(!then.out.contains("bob"), "the future shows: {}", then.out);
    place.run("replay --at 2001-01-01T00:00:00Z").exits(0);
    place.run("replay --at yesterday").exits(2);

    place
        .run("report hello-1")
        .exits(0)
        .says("# Post-rollout report: ")
        .says("hello-1")
        .says("| 1 (passed) | bob | listeners | given |");
    place
        .run("report hello-1 --format html --output report.html")
        .exits(0);
    let html = std::fs::read_to_string(place.path().join("report.html")).unwrap();
    assert!(
        html.starts_with("<!DOCTYPE html>") || html.starts_with("<!doctype html>"),
        "{html}"
    );
    assert!(
        html.contains("hello-1") && html.contains("<table>"),
        "{html}"
    );
}

#[test]
fn every_answer_is_json_when_asked() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    let asked = |line: &str, code: i32| -> Value {
        place.run(&format!("{line} --json")).exits(code).json()
    };

    assert_eq!(asked(&format!("lint {file}"), 0)[0]["ok"], true);
    assert_eq!(
        asked(&format!("plan {file} --env local"), 0)
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert!(asked("schema", 0)["properties"]["phases"].is_object());
    let opened = asked(&format!("open {file} --env local --id h --as alice"), 0);
    assert_eq!(opened["rollout"], "h");
    // The worker of `up` joined first.
    assert_eq!(opened["sequence"], 2);
    asked("start h --as alice", 0);
    let status = asked("status --wait 60", 4);
    assert_eq!(status["data"]["status"], "running");
    assert_eq!(status["blocked"][0]["what"], "step 1.2");
    assert_eq!(asked("show 1.1", 0)["verdict"], "pass");
    assert_eq!(asked("show gate/1", 0)["gate"], "1");
    assert_eq!(asked("list", 0)["data"][0]["rollout"], "h");
    assert_eq!(asked("replay h --at 2", 0)["as_of"]["sequence"], 2);
    assert!(asked("config", 0)["data_dir"]["from"].is_string());
    assert!(
        asked("doctor", 0)
            .as_array()
            .unwrap()
            .iter()
            .all(|check| check["found"] == "pass")
    );
    assert!(
        asked("rollback full --dry-run", 0)["undo"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(asked("flag list", 0)["data"].as_array().unwrap().is_empty());
    assert!(
        asked("snapshot list", 0)["data"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let report = asked("report h", 0);
    assert_eq!(report["rollout"]["data"]["rollout"], "h");
    let version = asked("version", 0);
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));

    let log = place.run("log --json").exits(0).json_lines();
    let sequences: Vec<u64> = log
        .iter()
        .filter_map(|line| line["sequence"].as_u64())
        .collect();
    assert_eq!(
        sequences,
        (1..=u64::try_from(log.len()).unwrap()).collect::<Vec<_>>()
    );

    let refused = place
        .run("complete 1.2 --all-pass --as mallory --json")
        .exits(5);
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!(error["code"], "RB-ROLLOUT-17");
    assert_eq!(error["exit"], 5);
}

#[test]
fn a_flag_is_set_by_a_person() {
    let place = Place::new();
    let _up = place.up();
    place
        .run("flag set PRICING on --env production --reason why --as alice")
        .exits(2);
    place
        .run(
            "flag define PRICING --env production --owner eng --description 'new model' --as alice",
        )
        .exits(0)
        .says("recorded");
    let value = || {
        place
            .run("flag get PRICING --env production --json")
            .exits(0)
            .json()
    };
    assert_eq!(value()["value"], false);
    place
        .run("flag set PRICING sideways --env production --reason why --as alice")
        .exits(2)
        .complains("RB-CLI-41");
    place
        .run("flag set PRICING 101% --env production --reason why --as alice")
        .exits(2)
        .complains("RB-CLI-40");
    place
        .run("flag set PRICING 25% --env production --reason quarter --as alice")
        .exits(0);
    place
        .run("flag get PRICING --env production")
        .exits(0)
        .says("25");
    place
        .run("flag set PRICING on --env production --reason all --as bob")
        .exits(0);
    assert_eq!(value()["value"], true);
    place
        .run("flag set PRICING safe --env production --reason back --as bob")
        .exits(0);
    assert_eq!(value()["value"], false);
    place.run("flag list").exits(0).says("PRICING");
    let history = place.run("flag history PRICING --env production").exits(0);
    for word in ["quarter", "all", "back", "alice", "bob"] {
        assert!(history.out.contains(word), "{word}: {}", history.out);
    }
    place.run("flag get NONE --env production").exits(2);
}

#[test]
fn commands_that_need_no_server() {
    let place = Place::new();
    place
        .run("version")
        .exits(0)
        .says(env!("CARGO_PKG_VERSION"));
    place.run("--version").exits(0);
    place.run("--help").exits(0).says("Exit codes");
    place.run("").exits(7);
    place.run("frobnicate").exits(2);
    place.run("schema").exits(0).says("\"phases\"");
    place.run("config").exits(0).says("default");
    for shell in ["bash", "zsh", "fish"] {
        place
            .run(&format!("completions {shell}"))
            .exits(0)
            .says("rollbook");
    }
    for line in [
        "list",
        "status",
        "log",
        "flag list",
        "report x",
        "start x --as a",
    ] {
        place.run(line).exits(7).complains("RB-CLI-5");
    }
    place.run("doctor").exits(7).says("fail");
    let error: Value = serde_json::from_str(&place.run("list --json").exits(7).err).unwrap();
    assert_eq!(error["exit"], 7);
    place.write("rollbook.toml", "colour = true\n");
    place.run("config").exits(2).complains("RB-CLI-3");
    place.write("rollbook.toml", "as = \"alice\"\n");
    place
        .run("config")
        .exits(0)
        .says("alice")
        .says("rollbook.toml");
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let place = Place::new();
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "\"$0\" schema | head -n 1",
        env!("CARGO_BIN_EXE_rollbook"),
    ]);
    place.clean(&mut shell);
    let ran = Process::start(&mut shell).finish().exits(0);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}
