//! Several people at once: each decision is made once, and the others are told.

use crate::harness::{Place, Process, Ran, runbook};

const MANUAL: &str = r#"
  - id: "1"
    title: Look
    steps:
      - id: "1.1"
        title: Look at it
        manual:
          instructions: Look.
          checklist: [It is there]
          role: crew
    gate:
      statement: Seen.
      not_executor: false
      sign_offs: [{role: crew, quorum: 2}]
"#;

/// Runs all commands at the same time.
fn at_once(place: &Place, lines: &[String]) -> Vec<Ran> {
    let started: Vec<Process> = lines
        .iter()
        .map(|line| Process::start(&mut place.command(line)))
        .collect();
    started.into_iter().map(Process::finish).collect()
}

fn codes(ran: &[Ran]) -> Vec<i32> {
    let mut codes: Vec<i32> = ran.iter().filter_map(|one| one.code).collect();
    codes.sort_unstable();
    codes
}

#[test]
fn only_one_of_several_completions_counts() {
    let place = Place::new();
    let file = place.write("look.yaml", &runbook(MANUAL));
    let _up = place.up();
    place.waiting(file, "l");

    let lines =
        ["alice", "bob", "carol"].map(|name| format!("complete 1.1 l --all-pass --as {name}"));
    let ran = at_once(&place, &lines);
    assert_eq!(codes(&ran), [0, 1, 1], "{ran:?}");
    for refused in ran.iter().filter(|one| one.code == Some(1)) {
        assert!(refused.err.contains("RB-ROLLOUT-"), "{refused:?}");
    }
    let log = place.run("log l --json").exits(0).out;
    assert_eq!(log.matches("stepFinished").count(), 1, "{log}");

    let seen = place.run("gate 1 l --digest").exits(0).out;
    let lines =
        ["alice", "bob"].map(|name| format!("approve 1 l --as {name} --seen {}", seen.trim()));
    let ran = at_once(&place, &lines);
    assert_eq!(codes(&ran), [0, 0], "{ran:?}");
    place.run("status l --wait 60").exits(0);
    let log = place.run("log l --json").exits(0).out;
    assert_eq!(log.matches("signOffGiven").count(), 2, "{log}");
    assert_eq!(log.matches("rolloutClosed").count(), 1, "{log}");
}

#[test]
fn skipping_and_completing_at_once_leaves_one_result() {
    let place = Place::new();
    let file = place.write("look.yaml", &runbook(MANUAL));
    let _up = place.up();
    place.waiting(file, "l");
    let ran = at_once(
        &place,
        &[
            "skip 1.1 l --reason hurry --as alice".to_owned(),
            "complete 1.1 l --all-pass --as bob".to_owned(),
        ],
    );
    let codes = codes(&ran);
    assert!(codes == [0, 1] || codes == [0, 0], "{ran:?}");
    let step = place.step("l", "1.1");
    let both = place.run("log l --json").exits(0).out;
    let skipped = both.contains("stepSkipped");
    let finished = both.contains("stepFinished");
    assert!(skipped || finished);
    assert_ne!(step["status"], "pending");
    // A completed step has its result; skipping it afterwards is refused.
    assert!(!(skipped && finished), "{both}");
}

#[test]
fn the_same_rollout_is_opened_once() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    let lines = ["alice", "bob", "carol"]
        .map(|name| format!("open {file} --env local --id same --as {name}"));
    let ran = at_once(&place, &lines);
    assert_eq!(codes(&ran), [0, 1, 1], "{ran:?}");
    assert_eq!(place.run("log same --json").exits(0).json_lines().len(), 1);
}
