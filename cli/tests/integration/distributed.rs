//! Server and workers as separate processes, on a nats-server they did not start.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Place, Process, nats_server, runbook, wait_for, workspace};

const WORK: &str = r#"
  - id: "1"
    title: Work
    steps:
      - id: "1.1"
        title: Work until told
        run: {command: "echo $PPID >> began; until [ -e go ]; do sleep 0.1; done; touch done"}
        verify: {run: {command: test -e done}}
        undo: {run: {command: rm done}}
        idempotent: true
      - id: "1.2"
        title: After it
        run: {command: echo after}
        changes: nothing
"#;

pub(crate) struct DistributedSetup {
    nats_process: Process,
    pub(crate) server: Process,
    pub(crate) address: String,
    pub(crate) nats: String,
}

impl DistributedSetup {
    /// Kills the server and starts it again at the same address.
    pub(crate) fn kill_server(&mut self, place: &Place) {
        kill(&self.server);
        let listen = self.address.trim_start_matches("http://");
        let line = format!(
            "serve --nats {} --objects objects --listen {listen} --database sqlite:views.db",
            self.nats
        );
        self.server = Process::start(&mut place.command(&line));
    }

    /// Kills the nats-server and starts it again on the same port and data.
    pub(crate) fn kill_nats(&mut self, place: &Place) {
        kill(&self.nats_process);
        let mut again = Command::new(nats_server());
        again.args(["-c", "nats.conf"]).current_dir(place.path());
        self.nats_process = Process::start(&mut again);
    }
}

fn kill(process: &Process) {
    process.signal(Signal::SIGKILL);
    wait_for("a killed process to end", || process.ended());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The read-only user, as documented in the guide of the live feed.
fn reader() -> String {
    let guide = std::fs::read_to_string(workspace().join("docs/live-feed.md")).unwrap();
    let (_, user) = guide.split_once("```nats\n").unwrap();
    user.split_once("```").unwrap().0.to_owned()
}

/// The URL of that user.
pub(crate) fn reader_of(nats: &str) -> String {
    nats.replace("nats://", "nats://reader:CHANGE-ME@")
}

/// A nats-server with this `sync_interval`, a read-only user, and a user `sys` of its system
/// account; and its URL.
pub(crate) fn nats(place: &Place, sync_interval: &str) -> (Process, String) {
    let port = free_port();
    let config = format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\", sync_interval: {sync_interval} }}\n\
         accounts {{ SYS {{ users: [{{user: sys, password: sys}}] }}\n\
         APP {{ jetstream: enabled, users: [{{user: app, password: app}}, {}] }} }}\n\
         system_account: SYS\nno_auth_user: app\n",
        place.path().join("js").display(),
        reader()
    );
    place.write("nats.conf", &config);
    let mut command = Command::new(nats_server());
    command.args(["-c", "nats.conf"]).current_dir(place.path());
    let process = Process::start(&mut command);
    wait_for("nats-server", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    (process, format!("nats://127.0.0.1:{port}"))
}

/// A `rollbook serve` that is ready, and its address.
pub(crate) fn serve(place: &Place, nats: &str, options: &str) -> (Process, String) {
    let port = free_port();
    let line = format!("serve --nats {nats} --objects objects --listen 127.0.0.1:{port} {options}");
    let server = Process::start(&mut place.command(&line));
    let address = format!("http://127.0.0.1:{port}");
    wait_for("`rollbook serve`", || {
        assert!(!server.ended(), "`rollbook {line}` ended");
        place.run(&format!("list --server {address}")).code == Some(0)
    });
    (server, address)
}

pub(crate) fn start(place: &Place) -> DistributedSetup {
    let (nats_process, nats) = nats(place, "always");
    let (server, address) = serve(place, &nats, "--database sqlite:views.db");
    DistributedSetup {
        nats_process,
        server,
        address,
        nats,
    }
}

pub(crate) fn worker(place: &Place, setup: &DistributedSetup, name: &str) -> Process {
    Process::start(&mut place.command(&format!(
        "worker --nats {} --objects objects --name {name}",
        setup.nats
    )))
}

#[test]
fn hello_with_two_workers() {
    let place = Place::new();
    let file = place.hello();
    let setup = start(&place);
    let workers = ["one", "two"].map(|name| worker(&place, &setup, name));
    let run = |line: &str| place.run(&format!("{line} --server {}", setup.address));
    run("doctor").exits(0);
    run(&format!(
        "run {file} --env local --id h --as alice --timeout 60"
    ))
    .exits(4);
    run("complete 1.2 --all-pass --as alice").exits(0);
    run("status --wait 60").exits(4);
    place
        .approve(&format!("1 --as bob --server {}", setup.address))
        .exits(0);
    run("status h --wait 60").exits(0);
    for worker in workers {
        worker.signal(Signal::SIGTERM);
        worker.finish().exits(0);
    }
    setup.server.signal(Signal::SIGTERM);
    setup.server.finish().exits(0);
}

#[test]
fn another_worker_takes_over_from_a_killed_one() {
    let place = Place::new();
    let file = place.write("work.yaml", &runbook(WORK));
    let setup = start(&place);
    let first = worker(&place, &setup, "one");
    let run = |line: &str| place.run(&format!("{line} --server {}", setup.address));
    run(&format!(
        "open {file} --env local --id w --as alice --start"
    ))
    .exits(0);
    let began = || {
        fs::read_to_string(place.path().join("began"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    wait_for("the step to begin", || began() == 1);
    first.signal(Signal::SIGKILL);
    first.finish();
    let _second = worker(&place, &setup, "two");
    wait_for("the step to begin again", || began() == 2);
    fs::write(place.path().join("go"), "").unwrap();
    run("status w --wait 90").exits(0);
    let step = run("show 1.1 w --json").exits(0).json();
    assert_eq!(step["worker"], "two");
    assert_eq!(step["verdict"], "pass");
}

#[test]
fn missing_options_and_servers_are_reported() {
    let place = Place::new();
    place
        .run("serve --nats nats://127.0.0.1:1")
        .exits(2)
        .complains("RB-CLI-75");
    place
        .run("worker --objects o")
        .exits(2)
        .complains("RB-CLI-75");
    place
        .run("worker --nats nats://127.0.0.1:1 --objects o")
        .exits(7)
        .complains("127.0.0.1:1");
}

const PROTECTED: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: careful, version: "1.0", owner: tests}
environments: {production: {protected: true}, local: {}}
roles: {crew: [alice, bob]}
phases:
  - id: "1"
    title: Work
    steps: [{id: "1.1", title: Look, run: {command: "true"}, changes: nothing}]
"#;

#[test]
fn no_protected_rollout_opens_on_a_server_that_does_not_sync() {
    for (sync_interval, opened) in [("2m", 5), ("always", 0)] {
        let place = Place::new();
        place.write("careful.yaml", PROTECTED);
        let (_nats, url) = nats(&place, sync_interval);
        let system = url.replace("//", "//sys:sys@");
        let options = format!("--database sqlite:known.db --nats-system {system}");
        let (_known, known) = serve(&place, &url, &options);
        let (_unknown, unknown) = serve(&place, &url, "--database sqlite:unknown.db");
        let open = |id: &str, environment: &str, address: &str| {
            place.run(&format!(
                "open careful.yaml --env {environment} --id {id} --as alice --server {address}"
            ))
        };
        let answer = open("protected", "production", &known).exits(opened);
        let doctor = place.run(&format!("doctor --server {known}"));
        if opened == 0 {
            assert_eq!(answer.err.lines().count(), 1, "{answer:?}");
            answer.complains("production is recorded as protected");
            doctor.exits(0).says("sync_interval always");
        } else {
            answer
                .complains("RB-HANDLER-4")
                .complains("sync_interval: always");
            doctor.exits(7).says("sync_interval is not `always`");
            place
                .run(&format!("show 1.1 protected --server {known}"))
                .exits(2);
        }
        let local = open("local", "local", &known).exits(0);
        assert_eq!(local.err, "");
        // If it is unknown, the rollout is opened with a warning.
        open("doubtful", "production", &unknown)
            .exits(0)
            .complains("--nats-system");
        place
            .run(&format!("doctor --server {unknown}"))
            .exits(0)
            .says("sync_interval unknown");
    }
}
