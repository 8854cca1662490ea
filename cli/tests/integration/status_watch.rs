//! `status --watch`: redrawn in place at a terminal, a line for each change elsewhere.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{Place, Process, runbook, wait_for};
use crate::terminal::Terminal;

const WATCHING: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: watching, version: "1.0", owner: tests, contacts: {on-call: "+1 555 0100"}}
environments: {local: {}}
roles: {crew: [alice, bob]}
metrics:
  error_rate: {unit: "%", run: {command: "cat rate"}}
phases:
  - id: "0"
    title: Prepare
    steps:
      - {id: "0.1", title: Look around, run: {command: "true"}, changes: nothing}
  - id: "1"
    title: Watch
    planned: 2h
    responsible: Night shift
    steps:
      - {id: "1.1", title: Watch the errors, watch: {for: 1h, every: 1s, thresholds: [{metric: error_rate, fail: value > 5}]}}
  - id: "2"
    title: Finish
    steps:
      - {id: "2.1", title: Say goodbye, run: {command: "true"}, changes: nothing}
      - {id: "2.2", title: Leave, run: {command: "true"}, changes: nothing}
"#;

/// A rollout `w` whose watch has begun.
fn watching() -> (Place, Process) {
    let place = Place::new();
    let file = place.write("watching.yaml", WATCHING);
    place.write("rate", "0.25\n");
    let up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id w --as alice --start"
        ))
        .exits(0);
    place.until_step("w", "1.1", &["running"]);
    (place, up)
}

fn times(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn at_a_terminal_the_frame_is_redrawn_in_place() {
    let (place, _up) = watching();
    let mut terminal = Terminal::start(&place, "status w --watch", 40, 100);
    terminal.until("sample ");
    terminal.until("error_rate 0.25 % ok, fails when value > 5");
    terminal.until(" of 3601");
    let screen = terminal.screen();
    for part in [
        "w · watching 1.0 · local · running",
        "✔ 0 Prepare",
        "1 of 1 step",
        "(planned 2 h)",
        "▶ 1 Watch",
        "· 2 Finish",
        "2 steps",
    ] {
        assert!(screen.contains(part), "`{part}`:\n{screen}");
    }
    assert!(
        !screen.contains("0.1"),
        "a finished phase is folded:\n{screen}"
    );
    // A new value is drawn over the old one.
    fs::write(place.path().join("rate"), "3.5\n").unwrap();
    terminal.until("error_rate 3.5 % ok");
    let history = terminal.history();
    for part in [
        "w · watching 1.0",
        "running now",
        "error_rate",
        "✔ 0 Prepare",
        "as of sequence",
    ] {
        assert_eq!(times(&history, part), 1, "`{part}`:\n{history}");
    }
    assert!(
        !terminal.written().contains("\u{1b}[?1049h"),
        "an alternate screen"
    );

    // A lower terminal hides what matters least, a higher one shows it again.
    terminal.resize(12, 100);
    terminal.until("… hidden: ");
    let screen = terminal.screen();
    assert!(
        screen.contains("error_rate 3.5 %") && !screen.contains("2 Finish"),
        "{screen}"
    );
    terminal.resize(40, 80);
    terminal.until("· 2 Finish");
    assert_eq!(
        times(&terminal.screen(), "running now"),
        1,
        "{}",
        terminal.screen()
    );

    // Ctrl-C leaves the last frame, and the cursor below it.
    terminal.types("\u{3}");
    assert_eq!(terminal.ends(), Some(130));
    terminal.until("w goes on; `rollbook status w --watch` watches it again");
    let ((row, column), hidden) = terminal.cursor();
    let lines = terminal.screen().lines().count();
    assert_eq!((usize::from(row), column, hidden), (lines, 0, false));
    assert!(terminal.screen().contains("error_rate 3.5 %"));
}

#[test]
fn a_lost_server_is_shown_until_it_answers_again() {
    let (place, up) = watching();
    let mut terminal = Terminal::start(&place, "status w --watch", 40, 100);
    terminal.until("sample ");
    up.signal(Signal::SIGTERM);
    terminal.until("trying again: RB-CLI-5");
    assert!(
        terminal.screen().contains("running now"),
        "{}",
        terminal.screen()
    );
    up.finish();
    let _up = place.up();
    wait_for("the server to be found again", || {
        !terminal.screen().contains("trying again")
    });
    place.run("abort w --reason enough --as alice").exits(0);
    terminal.until("closed as ");
    assert_eq!(terminal.ends(), Some(1));
    assert_eq!(times(&terminal.history(), "w · watching 1.0"), 1);
}

#[test]
fn without_a_terminal_each_change_is_a_line_and_nothing_is_lost() {
    let (place, _up) = watching();
    let watch = Process::start(&mut place.command("status w --watch"));
    watch.until_says("as of sequence");
    fs::write(place.path().join("rate"), "3.5\n").unwrap();
    watch.until_says("error_rate 3.5 %");
    fs::write(place.path().join("rate"), "50\n").unwrap();
    watch.until_says("blocked: step 1.1");
    place
        .run("skip 1.1 w --reason 'known, harmless' --as alice")
        .exits(0);
    let out = watch.finish().exits(0).out;
    assert_eq!(
        times(&out, "w · watching 1.0"),
        1,
        "the tree comes once:\n{out}"
    );
    assert!(!out.contains('\u{1b}'), "{out}");
    for part in [
        "UTC  alice skipped step 1.1: known, harmless",
        "UTC  no longer blocked: step 1.1",
        "UTC  Step 2.1 finished, attempt 1: pass",
        "UTC  Step 2.2 finished, attempt 1: pass",
        "UTC  The rollout was closed as succeeded",
    ] {
        assert_eq!(times(&out, part), 1, "`{part}`:\n{out}");
    }
    // Every event from then on has its line.
    let log = place.run("log w --json").exits(0).json_lines();
    let measured = log
        .iter()
        .flat_map(|line| line["commit"]["events"].as_array().unwrap())
        .filter(|event| event.get("stepMeasured").is_some())
        .count();
    let lines: Vec<&str> = out.lines().filter(|line| line.contains("UTC  ")).collect();
    let samples = lines
        .iter()
        .filter(|line| line.contains("error_rate"))
        .count();
    assert!(
        samples + 3 >= measured,
        "{samples} of {measured} samples:\n{out}"
    );
}

#[test]
fn a_status_fits_into_eighty_columns_and_its_commands_stay_whole() {
    let place = Place::new();
    let text = "this failure has a message that is much longer than a line of a terminal, so it has to be broken";
    let phases = format!(
        "  - id: \"1\"\n    title: Work\n    steps:\n      - {{id: \"1.1\", title: Try something that has a very long title which cannot fit into any row, run: {{command: \"echo {text}; exit 3\"}}, changes: nothing}}\n"
    );
    let file = place.write("long.yaml", &runbook(&phases)).to_owned();
    let _up = place.up();
    place
        .run(&format!("run {file} --env local --id long --as alice"))
        .exits(1);
    let out = place.run("status long").exits(0).out;
    for line in out.lines() {
        let fits = line.chars().count() <= 80;
        assert!(fits || line.contains("rollbook "), "{line}\n{out}");
    }
    assert!(
        out.contains(": rollbook retry 1.1 long --reason …\n"),
        "{out}"
    );
    let blocked = out.find("why it is blocked").unwrap();
    assert!(blocked < out.find("1 Work").unwrap(), "{out}");
}
