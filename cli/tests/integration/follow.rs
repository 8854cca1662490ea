//! Commands that follow: they show new output, and end with what they follow.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Place, Process, runbook, wait_for};

const SLOW: &str = r#"
  - id: "1"
    title: Work
    steps:
      - id: "1.1"
        title: Talk and wait
        run: {command: "until [ -e listening ]; do sleep 0.1; done; echo line-one; touch said; until [ -e go ]; do sleep 0.1; done; echo line-two"}
        changes: nothing
"#;

fn opened() -> (Place, Process) {
    let place = Place::new();
    let file = place.write("slow.yaml", &runbook(SLOW));
    let up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id s --as alice --start"
        ))
        .exits(0);
    place.until_step("s", "1.1", &["running"]);
    (place, up)
}

#[test]
fn a_watch_ends_with_the_rollout_and_a_log_with_the_server() {
    let (place, up) = opened();
    let watch = Process::start(&mut place.command("status s --watch"));
    let output = Process::start(&mut place.command("show 1.1 s --follow"));
    let log = Process::start(&mut place.command("log s --follow --json"));
    watch.until_says("running");
    log.until_says("stepStarted");
    fs::write(place.path().join("listening"), "").unwrap();
    wait_for("the step to speak", || place.has("said"));
    fs::write(place.path().join("go"), "").unwrap();
    watch
        .finish()
        .exits(0)
        .says("running")
        .says("closed as succeeded");
    let closed = |log: &str| log.contains("rolloutClosed");
    assert!(closed(&place.run("log s --json").exits(0).out));
    // `show --follow` ends with the step, even for a late reader.
    output.finish().exits(0).complains("1.1 has ended");
    place
        .run("show 1.1 s --follow")
        .exits(0)
        .complains("show 1.1 s --output");
    place
        .run("show 9.9 s --follow")
        .exits(2)
        .complains("RB-HANDLER-1");
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
    let log = log.finish();
    assert!(closed(&log.out), "{log:?}");
    assert!(log.code == Some(0) || log.code == Some(7), "{log:?}");
}

#[test]
fn a_stop_lets_a_running_step_finish() {
    let (place, up) = opened();
    fs::write(place.path().join("listening"), "").unwrap();
    wait_for("the step to speak", || place.has("said"));
    up.signal(Signal::SIGTERM);
    fs::write(place.path().join("go"), "").unwrap();
    up.finish().exits(0);
    assert!(place.nats_servers().is_empty());
    let _up = place.up();
    place.run("status s --wait 90").exits(0);
    let step = place.step("s", "1.1");
    assert_eq!(
        (&step["attempt"], &step["verdict"]),
        (&1.into(), &"pass".into()),
        "{step}"
    );
    place
        .run("show 1.1 s --output")
        .exits(0)
        .says("line-one")
        .says("line-two");
}

#[test]
fn a_second_signal_ends_at_once() {
    let (place, up) = opened();
    up.signal(Signal::SIGTERM);
    wait_for("the first signal to be taken", || {
        // A second signal of the same kind that comes too early is merged with the first.
        up.signal(Signal::SIGINT);
        up.ended()
    });
    up.finish().exits(7);
    let _up = place.up();
    assert_eq!(place.nats_servers().len(), 1);
}

#[test]
fn the_output_of_a_step_is_shown_while_it_runs() {
    let place = Place::new();
    let talks = "until [ -e go ]; do echo tick; sleep 0.1; done";
    let text = runbook(SLOW).lines().fold(String::new(), |text, line| {
        match line.split_once("command: ") {
            Some((before, _)) => format!("{text}{before}command: \"{talks}\"}}\n"),
            None => format!("{text}{line}\n"),
        }
    });
    let file = place.write("talks.yaml", &text);
    let _up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id s --as alice --start"
        ))
        .exits(0);
    place.until_step("s", "1.1", &["running"]);
    let follow = |options: &str, to: &str| {
        let mut shell = Command::new("sh");
        let line = format!("exec \"$0\" show 1.1 s --follow {options} > {to}");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_rollbook")]);
        place.clean(&mut shell);
        Process::start(&mut shell)
    };
    let readers = [follow("", "shown"), follow("--json", "shown.json")];
    let shown = |name: &str| fs::read_to_string(place.path().join(name)).unwrap_or_default();
    wait_for("both readers to see a line", || {
        ["shown", "shown.json"]
            .iter()
            .all(|name| shown(name).contains('\n'))
    });
    assert_eq!(place.step("s", "1.1")["status"], "running");
    fs::write(place.path().join("go"), "").unwrap();
    for reader in readers {
        reader.finish().exits(0);
    }
    assert!(
        shown("shown").lines().all(|line| line == "tick"),
        "{}",
        shown("shown")
    );
    for line in shown("shown.json").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["text"], &line["stream"]),
            (&"tick".into(), &"stdout".into())
        );
    }
}
