//! Ctrl-C and SIGTERM: every command ends with the documented code, and nothing is half-done.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{Place, Process, runbook, wait_for};

/// Whether the process has installed a handler for Ctrl-C instead of ending by default.
fn listens(process: &Process) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (Signal::SIGINT as u32 - 1)) != 0)
}

#[test]
fn commands_that_keep_running_end_with_130_on_interrupt() {
    let place = Place::new();
    let step = "  - id: \"1\"\n    title: Work\n    steps:\n      - id: \"1.1\"\n        title: Wait\n        \
                run: {command: \"until [ -e go ]; do sleep 0.1; done\"}\n        changes: nothing\n";
    let file = place.write("slow.yaml", &runbook(step)).to_owned();
    let _up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id s --as alice --start"
        ))
        .exits(0);
    place.until_step("s", "1.1", &["running"]);
    for line in [
        "status s --watch",
        "status s --watch --json",
        "status s --wait 600",
        "log --follow",
        "show 1.1 s --follow",
    ] {
        let process = Process::start(&mut place.command(line));
        wait_for("the command to listen", || listens(&process));
        process.signal(Signal::SIGINT);
        let ran = process.finish().exits(130);
        assert!(!ran.err.contains("panicked"), "{line}: {ran:?}");
    }
    let run = Process::start(&mut place.command(&format!(
        "run {file} --env local --id r --as ci --timeout 600"
    )));
    wait_for("the rollout to run", || {
        place.run("show 1.1 r --json").code == Some(0)
            && place.step("r", "1.1")["status"] == "running"
    });
    run.signal(Signal::SIGINT);
    run.finish()
        .exits(130)
        .complains("rollbook status r --wait");
    fs::write(place.path().join("go"), "").unwrap();
    place.run("status r --wait 90").exits(0);
}

#[test]
fn an_interrupted_generation_writes_no_deals() {
    let place = Place::new();
    let database = "--database sqlite:deals.db";
    let generate = Process::start(&mut place.command(&format!(
        "deals generate --count 1000000 --seed 1 {database}"
    )));
    // SQLite keeps an open transaction in a file next to the database.
    wait_for("deals to be written", || {
        place.has("deals.db-journal") || place.has("deals.db-wal")
    });
    wait_for("the command to listen", || listens(&generate));
    generate.signal(Signal::SIGINT);
    generate.finish().exits(130);
    let audit = place.run(&format!("audit {database} --json"));
    if audit.code != Some(2) {
        // The tables exist already, but are empty.
        assert_eq!(audit.exits(3).json()["total_deals"], 0);
    }
    place
        .run(&format!("deals generate --count 10 --seed 1 {database}"))
        .exits(0)
        .says("10 deals");
}

#[test]
fn an_interrupted_start_leaves_no_process() {
    let place = Place::new();
    let up = Process::start(&mut place.command("up --listen 127.0.0.1:0"));
    wait_for("the command to listen", || listens(&up));
    up.signal(Signal::SIGINT);
    up.finish().exits(0);
    assert!(place.nats_servers().is_empty());
    let _up = place.up();
    place.run("list").exits(0);
}

/// Whether a process is running; a zombie is not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

#[test]
fn the_programs_of_a_calculator_end_with_the_command() {
    let place = Place::new();
    place
        .run("deals generate --count 40 --seed 1 --database sqlite:deals.db")
        .exits(0);
    // Ignores everything except a kill, even the end of its input, and has a child.
    place.write(
        "deaf.sh",
        "trap '' INT TERM HUP PIPE\nsleep 600 &\necho $$ $! >> pids\nexec sleep 600\n",
    );
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        fs::write(place.path().join("pids"), "").unwrap();
        let take = Process::start(&mut place.command(
            "snapshot take --database sqlite:deals.db --exec 'sh deaf.sh' --metrics cost:cents --threads 1",
        ));
        let pids = || fs::read_to_string(place.path().join("pids")).unwrap_or_default();
        wait_for("the program to run", || pids().ends_with('\n'));
        wait_for("the command to listen", || listens(&take));
        let started = pids();
        assert!(started.split_whitespace().all(runs), "{started}");
        take.signal(signal);
        let ran = take.finish().exits(code);
        assert!(!ran.err.contains("panicked"), "{ran:?}");
        wait_for("the programs to end", || {
            !pids().split_whitespace().any(runs)
        });
    }
}
