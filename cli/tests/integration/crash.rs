//! Processes killed at the worst moment: nothing acknowledged is lost, nothing is repeated blindly,
//! nothing is left behind.

use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::distributed;
use crate::harness::{Place, Process, runbook, wait_for, workspace};

/// A step that hangs until a file exists, and whose effect can be verified.
const HANGS: &str = r#"
  - id: "1"
    title: Work
    steps:
      - id: "1.1"
        title: Work until told
        run: {command: "echo began >> began; until [ -e go ]; do sleep 0.1; done; touch done"}
        verify: {run: {command: test -e done}}
        undo: {run: {command: rm done}}
      - id: "1.2"
        title: After it
        run: {command: echo after}
        changes: nothing
"#;

fn began(place: &Place) -> usize {
    fs::read_to_string(place.path().join("began"))
        .unwrap_or_default()
        .lines()
        .count()
}

#[test]
fn a_killed_process_loses_nothing_and_repeats_nothing() {
    let place = Place::new();
    let file = place.write("work.yaml", &runbook(HANGS));
    let up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id w --as alice --start"
        ))
        .exits(0);
    wait_for("the step to begin", || began(&place) == 1);
    place.until_step("w", "1.1", &["running"]);
    let before = place.run("log --json").exits(0).json_lines();
    up.signal(Signal::SIGKILL);
    assert_eq!(up.finish().code, None);

    let up = place.up();
    assert_eq!(place.nats_servers().len(), 1, "an orphan was left");
    let after = place.run("log --json").exits(0).json_lines();
    assert_eq!(
        after[..before.len()],
        before[..],
        "acknowledged commits changed or are gone"
    );

    place.until_step("w", "1.1", &["interrupted"]);
    let status = place.run("status w --wait 60").exits(4);
    for text in [
        "was interrupted",
        "any operator",
        "rollbook retry 1.1 w",
        "rollbook skip 1.1 w",
    ] {
        assert!(status.out.contains(text), "{text}: {}", status.out);
    }
    assert_eq!(began(&place), 1, "the step was repeated without asking");

    fs::write(place.path().join("go"), "").unwrap();
    place
        .run("retry 1.1 w --reason 'it did nothing' --as bob")
        .exits(0);
    place.run("status w --wait 60").exits(0).says("closed");
    assert_eq!(began(&place), 2);

    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
    assert!(
        place.nats_servers().is_empty(),
        "nats-server outlives its parent"
    );
    assert!(!place.data_dir().join("endpoint").exists());
}

#[test]
fn a_step_that_changes_nothing_survives_the_loss_of_five_workers() {
    let place = Place::new();
    let harmless = HANGS.replace("; touch done\"}", "\"}").replace(
        "        verify: {run: {command: test -e done}}\n        undo: {run: {command: rm done}}\n",
        "        changes: nothing\n        idempotent: true\n",
    );
    let file = place.write("work.yaml", &runbook(&harmless));
    let setup = distributed::start(&place);
    let run = |line: &str| place.run(&format!("{line} --server {}", setup.address));
    run(&format!(
        "open {file} --env local --id w --as alice --start"
    ))
    .exits(0);
    for attempt in 1..=5 {
        let worker = distributed::worker(&place, &setup, &format!("w{attempt}"));
        wait_for(&format!("attempt {attempt}"), || began(&place) == attempt);
        worker.signal(Signal::SIGKILL);
        worker.finish();
    }
    let _sixth = distributed::worker(&place, &setup, "w6");
    wait_for("attempt 6", || began(&place) == 6);
    fs::write(place.path().join("go"), "").unwrap();
    run("status w --wait 90").exits(0).says("closed");
    let log = run("log w --json").exits(0).out;
    assert!(
        !log.contains("stepRetried") && log.matches("stepInterrupted").count() == 5,
        "{log}"
    );
}

#[test]
fn an_effect_that_verify_proves_is_not_repeated() {
    let place = Place::new();
    // The effect is there, but the command has not ended.
    let done = HANGS.replace("touch done\"}", "touch done; sleep 600\"}");
    let file = place.write("work.yaml", &runbook(&done));
    let up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id w --as alice --start"
        ))
        .exits(0);
    fs::write(place.path().join("go"), "").unwrap();
    wait_for("the effect", || place.has("done"));
    up.signal(Signal::SIGKILL);
    up.finish();

    let _up = place.up();
    place.run("status w --wait 90").exits(0).says("closed");
    assert_eq!(began(&place), 1);
    assert_eq!(place.step("w", "1.1")["by_verification"], true);
}

#[test]
fn a_killed_nats_server_is_restarted() {
    let place = Place::new();
    let file = place.write("work.yaml", &runbook(HANGS));
    let up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id w --as alice --start"
        ))
        .exits(0);
    wait_for("the step to begin", || began(&place) == 1);
    let before = place.run("log --json").exits(0).json_lines();
    let [server] = place.nats_servers()[..] else {
        panic!("{:?}", place.nats_servers())
    };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), Signal::SIGKILL).unwrap();
    wait_for("another nats-server", || {
        place.nats_servers().iter().any(|pid| *pid != server)
    });
    fs::write(place.path().join("go"), "").unwrap();
    place.run("status w --wait 90").exits(0).says("closed");
    assert_eq!(began(&place), 1);
    let after = place.run("log --json").exits(0).json_lines();
    assert_eq!(after[..before.len()], before[..]);
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
    assert!(place.nats_servers().is_empty());
}

#[test]
fn the_data_directory_has_one_owner() {
    let place = Place::new();
    let up = place.up();
    let pid = up.pid().to_string();
    place
        .run("up --listen 127.0.0.1:0")
        .exits(7)
        .complains("RB-NATS-6")
        .complains(&pid);
    place.run("list").exits(0);
    assert_eq!(place.nats_servers().len(), 1);
    up.signal(Signal::SIGTERM);
    up.finish().exits(0).says("is up");
    assert!(place.nats_servers().is_empty());
}

#[test]
fn a_taken_port_is_reported_and_leaves_no_process() {
    let place = Place::new();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let ran = place.run(&format!("up --listen {address}")).exits(7);
    assert!(ran.err.contains(&address.to_string()), "{}", ran.err);
    assert!(place.nats_servers().is_empty());
}

#[test]
fn views_are_rebuilt_from_the_ledger() {
    let place = Place::new();
    let file = place.hello();
    let up = place.up();
    place.waiting(file, "h");
    let before = place.run("list --json").exits(0).json();
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
    for entry in fs::read_dir(place.data_dir()).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("views.db") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let _up = place.up();
    wait_for("the views to catch up", || {
        place.run("list --json").exits(0).json()["data"] == before["data"]
    });
}

/// The operator guide's command that finds what a dead worker left running.
fn left_running(rollout: &str, step: &str) -> String {
    let guide = fs::read_to_string(workspace().join("docs/operators.md")).unwrap();
    let block = guide
        .split("```sh\n")
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("/environ"))
        .unwrap();
    let block = block.replace("hello-1", rollout).replace("1.6", step);
    // The exit code only says whether a process ended during the listing: irrelevant.
    Process::start(Command::new("sh").args(["-c", &block]))
        .finish()
        .out
}

#[test]
fn a_process_that_left_its_group_outlives_the_worker_and_the_guide_finds_it() {
    let place = Place::new();
    let leaves = HANGS.replace("until [ -e go ]", "setsid sleep 600 & until [ -e go ]");
    let file = place.write("work.yaml", &runbook(&leaves));
    let up = place.up();
    // Tests run in parallel, so this one uses an id of its own.
    let id = format!("left-{}", up.pid());
    place
        .run(&format!(
            "open {file} --env local --id {id} --as alice --start"
        ))
        .exits(0);
    wait_for("the step to begin", || began(&place) == 1);
    wait_for("what leaves the group", || {
        left_running(&id, "1.1").contains("sleep 600")
    });
    up.signal(Signal::SIGKILL);
    up.finish();
    wait_for("the command to end", || {
        !left_running(&id, "1.1").contains("until [ -e go ]")
    });
    let listed = left_running(&id, "1.1");
    assert_eq!(left_running(&id, "1.2"), "");
    // PID, PPID, PGID: the process leads its group.
    let line = listed
        .lines()
        .find(|line| line.contains("sleep 600"))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[0], words[2], "{listed}");
    let group = Pid::from_raw(words[2].parse().unwrap());
    killpg(group, Signal::SIGTERM).unwrap();
    wait_for("the group to end", || left_running(&id, "1.1").is_empty());
    assert!(!place.has("done"));
}
