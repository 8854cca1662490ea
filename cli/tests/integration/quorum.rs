//! A cluster of three nats-servers: copies are the server's to say, and a lost quorum is told.

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;

use crate::cluster::Cluster;
use crate::harness::{Place, Process, wait_for};

#[test]
fn streams_have_the_copies_asked_for_and_a_lost_quorum_is_said() {
    let runtime = Runtime::new().unwrap();
    let mut cluster = runtime.block_on(Cluster::start());
    let place = Place::new();
    let file = place.hello();
    let url = cluster
        .servers
        .iter()
        .map(|server| format!("nats://127.0.0.1:{}", server.port))
        .collect::<Vec<_>>()
        .join(",");
    let worker = Process::start(&mut place.command(&format!(
        "worker --nats {url} --objects objects --name early"
    )));
    // It must not make streams of one copy meanwhile.
    worker.until_complains("RB-CLI-76");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let server = Process::start(&mut place.command(&format!(
        "serve --nats {url} --objects objects --database sqlite:views.db --listen 127.0.0.1:0 --replicas 3"
    )));
    server.until_says("serves ledger main at ");
    let said = server.said();
    let address = said
        .split(" at ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let run = |line: &str| place.run(&format!("{line} --server {address}"));
    worker.until_says("takes tasks");
    run(&format!(
        "run {file} --env local --id h --as alice --timeout 90"
    ))
    .exits(4);
    wait_for("the worker to be there", || {
        run("fleet").out.contains("early")
    });
    let copies = || {
        runtime.block_on(async {
            let context = async_nats::jetstream::new(cluster.client().await);
            let mut copies = Vec::new();
            for name in [
                "ROLLBOOK",
                "ROLLBOOK_WORK",
                "ROLLBOOK_DLQ",
                "ROLLBOOK_SHARDS",
                "KV_rollbook_workers",
            ] {
                let stream = context.get_stream(name).await.unwrap();
                copies.push((name, stream.cached_info().config.num_replicas));
            }
            copies
        })
    };
    for (name, count) in copies() {
        assert_eq!(count, 3, "{name}");
    }
    run("doctor").exits(0).says("3 of 3 copies");
    // One may fail.
    cluster.servers[2].kill();
    run("pause h --reason r --as alice").exits(0);
    run("fleet").exits(0);
    cluster.servers[1].kill();
    run("resume h --as alice").exits(7);
    run("doctor").exits(7);
    for index in [1, 2] {
        cluster.servers[index].start();
    }
    wait_for("the cluster to be back", || run("doctor").code == Some(0));
    worker.signal(Signal::SIGTERM);
    worker.finish().exits(0);
    server.signal(Signal::SIGTERM);
    server.finish().exits(0);
}
