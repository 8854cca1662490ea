//! Server and workers as processes of their own, on a nats-server they did not start.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Place, Process, nats_server, runbook, wait_for};

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

struct Apart {
    _nats: Process,
    server: Process,
    address: String,
    nats: String,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn start(place: &Place) -> Apart {
    let (nats_port, http_port) = (free_port(), free_port());
    let config = format!(
        "listen: \"127.0.0.1:{nats_port}\"\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n",
        place.path().join("js").display()
    );
    place.write("nats.conf", &config);
    let mut command = Command::new(nats_server());
    command.args(["-c", "nats.conf"]).current_dir(place.path());
    let nats_process = Process::start(&mut command);
    wait_for("nats-server", || {
        std::net::TcpStream::connect(("127.0.0.1", nats_port)).is_ok()
    });
    let nats = format!("nats://127.0.0.1:{nats_port}");
    let line = format!(
        "serve --nats {nats} --objects objects --database sqlite:views.db --listen 127.0.0.1:{http_port}"
    );
    let server = Process::start(&mut place.command(&line));
    let address = format!("http://127.0.0.1:{http_port}");
    wait_for("`rollbook serve`", || {
        place.run(&format!("list --server {address}")).code == Some(0)
    });
    Apart {
        _nats: nats_process,
        server,
        address,
        nats,
    }
}

fn worker(place: &Place, apart: &Apart, name: &str) -> Process {
    Process::start(&mut place.command(&format!(
        "worker --nats {} --objects objects --name {name}",
        apart.nats
    )))
}

#[test]
fn hello_with_two_workers() {
    let place = Place::new();
    let file = place.hello();
    let apart = start(&place);
    let workers = ["one", "two"].map(|name| worker(&place, &apart, name));
    let run = |line: &str| place.run(&format!("{line} --server {}", apart.address));
    run("doctor").exits(0);
    run(&format!(
        "run {file} --env local --id h --as alice --timeout 60"
    ))
    .exits(4);
    run("complete 1.2 --all-pass --as alice").exits(0);
    run("status --wait 60").exits(4);
    run("approve 1 --as bob").exits(0);
    run("status h --wait 60").exits(0);
    for worker in workers {
        worker.signal(Signal::SIGTERM);
        worker.finish().exits(0);
    }
    apart.server.signal(Signal::SIGTERM);
    apart.server.finish().exits(0);
}

#[test]
fn another_worker_takes_over_from_a_killed_one() {
    let place = Place::new();
    let file = place.write("work.yaml", &runbook(WORK));
    let apart = start(&place);
    let first = worker(&place, &apart, "one");
    let run = |line: &str| place.run(&format!("{line} --server {}", apart.address));
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
    let _second = worker(&place, &apart, "two");
    wait_for("the step to begin again", || began() == 2);
    fs::write(place.path().join("go"), "").unwrap();
    run("status w --wait 90").exits(0);
    let step = run("show 1.1 w --json").exits(0).json();
    assert_eq!(step["worker"], "two");
    assert_eq!(step["verdict"], "pass");
}

#[test]
fn what_is_missing_is_said() {
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
