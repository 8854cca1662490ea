//! A cluster of three nats-servers: the server decides the number of copies, and a lost quorum is
//! reported.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::cluster::Cluster;
use crate::harness::{Place, Process, wait_for};
use crate::http::ask;

/// Without a quorum every command says so within 15 seconds; the rest is for a busy machine.
const SAID_WITHIN: Duration = Duration::from_secs(15 + 5);

/// Every stream that a server creates.
const STREAMS: [&str; 6] = [
    "ROLLBOOK",
    "ROLLBOOK_WORK",
    "ROLLBOOK_DLQ",
    "ROLLBOOK_SHARDS",
    "KV_rollbook_workers",
    "KV_rollbook_progress",
];

fn url(cluster: &Cluster) -> String {
    let ports = cluster.servers.iter().map(|server| server.port);
    let urls: Vec<String> = ports
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .collect();
    urls.join(",")
}

/// A ready `rollbook serve` on the cluster, and its address.
fn serve(place: &Place, url: &str, replicas: u32) -> (Process, String) {
    let server = Process::start(&mut place.command(&format!(
        "serve --nats {url} --objects objects --database sqlite:views.db --listen 127.0.0.1:0 --replicas {replicas}"
    )));
    server.until_says("serves ledger main at ");
    let said = server.said();
    let address = said.split(" at ").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    (server, address)
}

/// Asserts that every stream has this many copies.
fn assert_copies(runtime: &Runtime, cluster: &Cluster, copies: usize) {
    runtime.block_on(async {
        let context = async_nats::jetstream::new(cluster.client().await);
        for name in STREAMS {
            let stream = context.get_stream(name).await.unwrap();
            assert_eq!(stream.cached_info().config.num_replicas, copies, "{name}");
        }
    });
}

fn stop(process: Process) {
    process.signal(Signal::SIGTERM);
    process.finish().exits(0);
}

#[test]
fn every_stream_gets_more_replicas_when_a_server_asks_for_them() {
    let runtime = Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    let place = Place::new();
    let file = place.hello();
    let url = url(&cluster);
    let (server, address) = serve(&place, &url, 1);
    let worker = Process::start(
        &mut place.command(&format!("worker --nats {url} --objects objects --name one")),
    );
    place
        .run(&format!(
            "run {file} --env local --id h --as alice --timeout 90 --server {address}"
        ))
        .exits(4);
    // The check itself creates the bucket that it writes to.
    wait_for("the doctor to find nothing", || {
        place.run(&format!("doctor --server {address}")).code == Some(0)
    });
    assert_copies(&runtime, &cluster, 1);
    stop(worker);
    stop(server);
    let (server, address) = serve(&place, &url, 3);
    assert_copies(&runtime, &cluster, 3);
    // The new copies are filled meanwhile.
    wait_for("the doctor to find three copies", || {
        let doctor = place.run(&format!("doctor --server {address}"));
        doctor.code == Some(0) && doctor.out.contains("3 of 3 copies")
    });
    place
        .run(&format!("status h --server {address}"))
        .exits(0)
        .says("hello");
    stop(server);
}

#[test]
fn streams_have_the_requested_replicas_and_a_lost_quorum_is_reported() {
    let runtime = Runtime::new().unwrap();
    let mut cluster = runtime.block_on(Cluster::start());
    let place = Place::new();
    let file = place.hello();
    let url = url(&cluster);
    let worker = Process::start(&mut place.command(&format!(
        "worker --nats {url} --objects objects --name early"
    )));
    // It must not create streams with one copy meanwhile.
    worker.until_complains("RB-CLI-76");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let (server, address) = serve(&place, &url, 3);
    let run = |line: &str| place.run(&format!("{line} --server {address}"));
    worker.until_says("takes tasks");
    run(&format!(
        "run {file} --env local --id h --as alice --timeout 90"
    ))
    .exits(4);
    wait_for("the worker to be there", || {
        run("fleet").out.contains("early")
    });
    // A cluster with newly created streams may still be electing their leaders.
    wait_for("the doctor to find three copies", || {
        let doctor = run("doctor");
        doctor.code == Some(0) && doctor.out.contains("3 of 3 copies")
    });
    assert_copies(&runtime, &cluster, 3);
    // One may fail.
    cluster.servers[2].kill();
    // Each stream that it led elects another leader first.
    wait_for("the two that are left to go on", || {
        ["doctor", "fleet"]
            .iter()
            .all(|line| run(line).code == Some(0))
    });
    run("pause h --reason r --as alice").exits(0);
    for flag in ["F", "G"] {
        run(&format!(
            "flag define {flag} --env local --owner me --description x --as alice"
        ))
        .exits(0);
    }
    run("fleet").exits(0);
    cluster.servers[1].kill();
    // It is unknown whether it was recorded: the line to type again contains the id of the command.
    let began = Instant::now();
    let left = || SAID_WITHIN.saturating_sub(began.elapsed());
    let typed = [
        "resume h --as alice".to_owned(),
        "flag set F on --env local --reason r --as alice".to_owned(),
        "environment set other --role 'crew=alice,bob' --reason r --as alice".to_owned(),
        format!("open {file} --env local --id late --as alice"),
    ];
    let typed = typed.map(|line| {
        let command = format!("{line} --server {address}");
        (Process::start(&mut place.command(&command)), line)
    });
    let url = format!("{address}/v1/flags/local/G/commands");
    let over_http = |within: Duration| {
        ask(Method::POST, &url, |request| {
            request
                .timeout(within)
                .header("rollbook-actor", "alice")
                .header("idempotency-key", "g-on")
                .json(&json!({"command": "set", "to": {"mode": "ON"}, "reason": "r"}))
        })
    };
    let (status, answer) = over_http(left());
    assert_eq!(status, 503, "{answer}");
    assert_eq!(answer["unknown"], true, "{answer}");
    let again = typed.map(|(process, line)| {
        let unknown = process.finish_within(left()).exits(7).complains("unknown:");
        let again = unknown.err.lines().last().unwrap().trim().to_owned();
        let (repeated, id) = again.split_once(" --command-id ").unwrap();
        assert!(repeated.starts_with(&format!("rollbook {line}")), "{again}");
        assert!(unknown.err.contains(&format!("its id is {id}:")), "{again}");
        again
    });
    run("doctor").exits(7);
    for index in [1, 2] {
        cluster.servers[index].start();
    }
    wait_for("the cluster to be back", || run("doctor").code == Some(0));
    for line in &again {
        let line = line.trim_start_matches("rollbook ");
        wait_for("the command to be applied", || {
            place.run(line).code == Some(0)
        });
    }
    wait_for("the request to be applied", || {
        over_http(SAID_WITHIN).0 == 200
    });
    // Each once, whatever happened to it before.
    let log = run("log --json").exits(0).out;
    for (event, times) in [
        ("rolloutResumed", 1),
        ("flagChanged", 2),
        ("environmentRecorded", 1),
        ("rolloutOpened", 2),
    ] {
        assert_eq!(log.matches(event).count(), times, "{event}: {log}");
    }
    stop(worker);
    stop(server);
}
