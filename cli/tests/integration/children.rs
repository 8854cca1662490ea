//! Programs that steps start: what they receive, what is kept of their output, and how they end.

use std::fs;

use nix::sys::signal::Signal;

use crate::distributed::{nats, serve};
use crate::harness::{Place, Process, runbook, wait_for};

/// Whether a process is running; a zombie is not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

/// One phase with these steps, each given by its lines after the title.
fn steps(all: &[&str]) -> String {
    let mut text = "  - id: \"1\"\n    title: One\n    steps:\n".to_owned();
    for (n, step) in all.iter().enumerate() {
        text.push_str(&format!(
            "      - id: \"1.{}\"\n        title: Step\n",
            n + 1
        ));
        for line in step.lines() {
            text.push_str(&format!("        {line}\n"));
        }
    }
    runbook(&text)
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG";

#[test]
fn credentials_of_the_worker_never_reach_a_command_or_a_record() {
    let mut place = Place::new();
    place.set(vec![
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("DATABASE", "postgres://app:hunter2-pass@db/x".to_owned()),
        ("TAKEN_OVER", "of-the-worker".to_owned()),
    ]);
    place.write("known", SECRET);
    place.write("other", "hunter2-pass");
    let file = place
        .write(
            "env.yaml",
            &steps(&[
                "run: {command: env}\nchanges: nothing",
                "run: {command: 'cat known; base64 known; cat other >&2; cp known copy'}\nchanges: nothing\nevidence: [copy]",
                "run: {command: 'test -n \"$T\" && echo \"$T\"', env: {T: {env: TAKEN_OVER}}}\nchanges: nothing",
            ]),
        )
        .to_owned();
    let _up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id e --as alice --start"
        ))
        .exits(0);
    place.run("status e --wait 60").exits(0);
    let shown = place.run("show 1.1 e --output").exits(0).out;
    for name in [
        "AWS_SECRET_ACCESS_KEY",
        "DATABASE",
        "TAKEN_OVER",
        "ROLLBOOK_NATS_SERVER",
    ] {
        assert!(!shown.contains(name), "{name}: {shown}");
    }
    assert!(shown.contains("ROLLBOOK_STEP=1.1"), "{shown}");
    let shown = place.run("show 1.2 e --output").exits(0).out;
    assert!(shown.contains("[redacted]"), "{shown}");
    assert!(
        place
            .run("show 1.3 e --output")
            .exits(0)
            .out
            .contains("[redacted]")
    );

    // Neither the ledger nor the evidence store contains any of them, in any encoding.
    let mut places = vec![place.data_dir()];
    while let Some(at) = places.pop() {
        if at.is_dir() {
            places.extend(
                fs::read_dir(&at)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let bytes = fs::read(&at).unwrap_or_default();
        for secret in [
            SECRET,
            "d0phbHJYVXRuRkVNSS9LN01ERU5H",
            "hunter2-pass",
            "of-the-worker",
        ] {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} in {}", at.display());
        }
    }
}

/// A prefix that drops root's rights over other processes from a command; empty if not root.
fn as_no_superuser() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = u64::from_str_radix(held.unwrap().trim(), 16).unwrap();
    let words: &[&str] = match held {
        0 => &["env"],
        _ => &["setpriv", "--bounding-set", "-all"],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn no_command_reads_the_environment_of_its_worker() {
    const READ: &str = "cat /proc/[0-9]*/environ > seen.new 2>/dev/null; mv seen.new seen";
    let place = Place::new();
    let file = place
        .write(
            "spy.yaml",
            &steps(&[&format!("run: {{command: '{READ}'}}\nchanges: nothing")]),
        )
        .to_owned();
    let secret = |name: &str| format!("{name}-{}", place.path().display());
    let started = |name: &str, line: &str| {
        let mut command = place.command_behind(&as_no_superuser(), line);
        command.env("AWS_SECRET_ACCESS_KEY", secret(name));
        Process::start(&mut command)
    };
    let spied = |id: &str, server: &str| {
        let opened = format!("open {file} --env local --id {id} --as alice --start {server}");
        place.run(&opened).exits(0);
        place
            .run(&format!("status {id} --wait 60 {server}"))
            .exits(0);
        let seen = fs::read(place.path().join("seen")).unwrap();
        fs::remove_file(place.path().join("seen")).unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    };
    // A process of the same user that hides nothing, to show what the command would see.
    let mut open_one = std::process::Command::new(&as_no_superuser()[0]);
    open_one
        .args(&as_no_superuser()[1..])
        .args(["sleep", "600"])
        .env("OPEN_ONE", secret("open"));
    let _open_one = Process::start(&mut open_one);

    let up = started("up", "up --listen 127.0.0.1:0");
    wait_for("`rollbook up` to answer", || {
        place.run("list").code == Some(0)
    });
    // Not printed on failure: these are environments of unrelated processes.
    let seen = spied("u", "");
    assert!(seen.contains(&secret("open")));
    assert!(seen.contains("ROLLBOOK_STEP=1.1"));
    assert!(!seen.contains(&secret("up")));
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);

    let (_nats, url) = nats(&place, "always");
    let (_server, address) = serve(&place, &url, "--database sqlite:views.db");
    let worker = started("worker", &format!("worker --nats {url} --objects objects"));
    worker.until_says("takes tasks");
    let seen = spied("w", &format!("--server {address}"));
    assert!(seen.contains(&secret("open")));
    assert!(!seen.contains(&secret("worker")));
}

#[test]
fn evidence_outside_the_directory_is_refused_before_anything_runs() {
    let place = Place::new();
    let file = place
        .write(
            "escape.yaml",
            &steps(&["run: {command: 'true'}\nchanges: nothing\nevidence: [/etc/hostname, ../../etc/passwd]"]),
        )
        .to_owned();
    let lint = place.run(&format!("lint {file}"));
    let said = format!("{}{}", lint.out, lint.err);
    assert_eq!(said.matches("RB-RUNBOOK-52").count(), 2, "{said}");
    assert_ne!(lint.code, Some(0));
}

/// A step that leaves a process running on purpose, and one that does not end and ignores signals.
fn two_kinds() -> String {
    steps(&[
        "run: {command: 'sleep 600 >/dev/null 2>&1 & echo $! > stays'}\nchanges: nothing",
        "run: {command: 'trap \"\" TERM INT HUP; sleep 600 & echo $$ $! > ends.new; mv ends.new ends; wait; wait'}\nchanges: nothing",
    ])
}

fn begun(place: &Place) -> (Process, String, String) {
    let file = place.write("two.yaml", &two_kinds()).to_owned();
    let up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id t --as alice --start"
        ))
        .exits(0);
    wait_for("the second step to run", || place.has("ends"));
    let read = |name: &str| fs::read_to_string(place.path().join(name)).unwrap();
    let (stays, ends) = (read("stays"), read("ends"));
    assert!(runs(stays.trim()) && ends.split_whitespace().all(runs));
    (up, stays.trim().to_owned(), ends)
}

fn end(pid: &str) {
    let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
}

#[test]
fn a_command_ends_with_its_worker_but_processes_left_by_a_finished_step_stay() {
    let place = Place::new();
    let (up, stays, ends) = begun(&place);
    up.signal(Signal::SIGKILL);
    up.finish();
    wait_for("the command to end", || !ends.split_whitespace().any(runs));
    assert!(runs(&stays), "it was left on purpose");
    end(&stays);

    // The table in the operator guide: the step declares that it changes nothing, and no more.
    let _up = place.up();
    place.until_step("t", "1.2", &["interrupted"]);
}

#[test]
fn a_second_signal_ends_the_commands_of_running_steps_before_the_process_ends() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = Place::new();
        let (up, stays, ends) = begun(&place);
        up.signal(signal);
        up.until_complains("stopping");
        assert!(ends.split_whitespace().all(runs), "it gets a moment");
        up.signal(signal);
        up.finish().exits(7);
        assert!(
            !ends.split_whitespace().any(runs),
            "{signal}: it still runs"
        );
        assert!(runs(&stays), "it was left on purpose");
        end(&stays);
    }
}

#[test]
fn a_result_larger_than_a_commit_is_an_error_on_the_record() {
    let place = Place::new();
    let columns: Vec<String> = (0..1_500)
        .map(|n| format!("{n} AS column_number_{n}"))
        .collect();
    let text = steps(&[&format!(
        "sql: {{source: db, query: 'SELECT {}'}}\ntimeout: 60s",
        columns.join(", ")
    )])
    .replace(
        "phases:\n",
        "sources: {db: {kind: sqlite, url: {local: {value: 'sqlite:wide.db'}}}}\nphases:\n",
    );
    let file = place.write("wide.yaml", &text).to_owned();
    place.write("wide.db", "");
    let _up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id w --as alice --start"
        ))
        .exits(0);
    let step = place.until_step("w", "1.1", &["finished"]);
    assert_eq!(step["verdict"], "error", "{step}");
    let message = step["message"].as_str().unwrap();
    assert!(
        message.contains("measured 1500 figures, at most 200"),
        "{message}"
    );
    place.run("status w").exits(0).says("rollbook retry 1.1 w");
    // All output is kept.
    let shown = place.run("show 1.1 w --output").exits(0).out;
    assert!(shown.contains("column_number_1499"), "{shown}");
}
