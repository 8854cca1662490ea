//! NATS pauses, dies, or is cut off: workers take tasks again, and every process can be stopped
//! whatever NATS does.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::distributed::{nats, serve};
use crate::harness::{Place, Process, nats_server, runbook, wait_for};

const ONE_STEP: &str = r#"
  - id: "1"
    title: Work
    steps: [{id: "1.1", title: Look, run: {command: "true"}, changes: nothing}]
"#;

fn worker(place: &Place, nats: &str, name: &str) -> Process {
    let line = format!("worker --nats {nats} --objects objects --name {name}");
    let worker = Process::start(&mut place.command(&line));
    worker.until_says("takes tasks");
    worker
}

/// A rollout of one step succeeds.
fn works(place: &Place, server: &str, id: &str) {
    let file = place.write("one.yaml", &runbook(ONE_STEP));
    place
        .run(&format!(
            "run {file} --env local --id {id} --as alice --timeout 90 --server {server}"
        ))
        .exits(0);
}

#[test]
fn a_worker_whose_pull_was_lost_with_the_server_resumes_taking_tasks() {
    let place = Place::new();
    let (first, url) = nats(&place, "always");
    let (_server, address) = serve(&place, &url, "--database sqlite:views.db");
    let _worker = worker(&place, &url, "one");
    works(&place, &address, "before");
    // Pull requests pile up in a server that has stopped reading, and die with it.
    first.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(3));
    first.signal(Signal::SIGKILL);
    first.finish();
    let mut again = Command::new(nats_server());
    again.args(["-c", "nats.conf"]).current_dir(place.path());
    let _again = Process::start(&mut again);
    wait_for("the server to answer", || {
        place.run(&format!("list --server {address}")).code == Some(0)
    });
    works(&place, &address, "after");
}

/// Forwards connections. On request it stops serving the old ones: they stay open, but nothing
/// passes.
struct Partition {
    url: String,
    generation: Arc<AtomicU64>,
}

impl Partition {
    fn before(nats: &str) -> Self {
        let target = nats.strip_prefix("nats://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let generation = Arc::new(AtomicU64::new(0));
        let current = Arc::clone(&generation);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&target) else {
                    continue;
                };
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, server), back] {
                    let (current, born) = (current.clone(), current.load(Ordering::SeqCst));
                    std::thread::spawn(move || {
                        forward(from, to, || current.load(Ordering::SeqCst) == born)
                    });
                }
            }
        });
        Self { url, generation }
    }

    fn cut_off_old_connections(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, passes: impl Fn() -> bool) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut chunk) {
        if passes() && to.write_all(&chunk[..bytes]).is_err() {
            return;
        }
    }
}

#[test]
fn a_worker_resumes_taking_tasks_after_a_partition() {
    let place = Place::new();
    let (_nats, url) = nats(&place, "always");
    let (_server, address) = serve(&place, &url, "--database sqlite:views.db");
    let partition = Partition::before(&url);
    let _worker = worker(&place, &partition.url, "one");
    works(&place, &address, "before");
    partition.cut_off_old_connections();
    works(&place, &address, "after");
}

#[test]
fn idle_workers_end_on_sigterm_while_nats_is_paused() {
    let place = Place::new();
    let (nats, url) = nats(&place, "always");
    let (server, _) = serve(&place, &url, "--database sqlite:views.db");
    let workers = ["one", "two", "three"].map(|name| worker(&place, &url, name));
    nats.signal(Signal::SIGSTOP);
    for worker in &workers {
        worker.signal(Signal::SIGTERM);
    }
    for worker in workers {
        worker.finish().exits(0);
    }
    server.signal(Signal::SIGTERM);
    server.finish().exits(0);
    nats.signal(Signal::SIGCONT);
}

/// An `up` whose nats-server has died and cannot be restarted.
fn without_its_server(place: &Place) -> Process {
    let binary = place.path().join("nats-server");
    fs::copy(nats_server(), &binary).unwrap();
    let up = place.up_with(&format!("--nats-server {}", binary.display()));
    fs::remove_file(&binary).unwrap();
    for pid in place.nats_servers() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    up
}

#[test]
fn up_ends_when_its_nats_server_is_gone_for_good() {
    let place = Place::new();
    let up = without_its_server(&place);
    up.finish().exits(7).complains("RB-NATS-10");
    assert!(!place.data_dir().join("endpoint").exists());
}

#[test]
fn up_can_be_stopped_while_its_nats_server_is_gone() {
    let place = Place::new();
    let up = without_its_server(&place);
    wait_for("the server to be missed", || {
        place.nats_servers().is_empty()
    });
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
}
