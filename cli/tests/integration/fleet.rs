//! `rollbook fleet`: present and departed workers.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::distributed::{self, start};
use crate::harness::{Place, wait_for};

#[test]
fn the_worker_of_up_is_listed() {
    let place = Place::new();
    let _up = place.up();
    let listed = || place.run("fleet --json").exits(0).json();
    wait_for("a worker", || {
        listed()["workers"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    });
    assert_eq!(listed()["workers"][0]["concurrency"], 4);
    place.run("fleet").exits(0).says("steps 0/4");
}

/// The row of a worker on the record; null if there is none.
fn recorded(answer: &Value, worker: &str) -> Value {
    let rows = answer["recorded"]["data"].as_array().unwrap();
    let row = rows.iter().find(|row| row["worker"] == worker);
    row.cloned().unwrap_or_default()
}

#[test]
fn a_killed_worker_is_lost_and_a_stopped_one_has_drained() {
    let place = Place::new();
    let setup = start(&place);
    let ask = |line: &str| place.run(&format!("{line} --server {}", setup.address));
    let fleet = || ask("fleet --json").exits(0).json();
    let until = |worker: &str, status: &str| {
        wait_for(&format!("{worker} to be {status}"), || {
            recorded(&fleet(), worker)["status"] == status
        });
    };
    let killed = distributed::worker(&place, &setup, "killed");
    let told = distributed::worker(&place, &setup, "told --label db --concurrency 3");
    until("killed", "present");
    until("told", "present");
    let row = recorded(&fleet(), "told");
    assert_eq!(
        (&row["labels"][0], &row["concurrency"]),
        (&"db".into(), &3.into())
    );
    assert_eq!(row["version"], env!("CARGO_PKG_VERSION"));

    killed.signal(Signal::SIGKILL);
    told.signal(Signal::SIGTERM);
    told.finish().exits(0);
    until("told", "drained");
    // Not heard from for the presence time, and then missed in several checks.
    until("killed", "lost");
    let answer = fleet();
    assert_eq!(answer["workers"].as_array().map(Vec::len), Some(0));
    assert!(answer["recorded"]["as_of"]["sequence"].as_u64() >= Some(4));
    ask("fleet").exits(0).says("drained").says("lost");
    for (worker, events) in [
        ("killed", ["workerJoined", "workerLeft"]),
        ("told", ["workerJoined", "workerLeft"]),
    ] {
        let told: Vec<_> = ask(&format!("log {worker} --json"))
            .exits(0)
            .json_lines()
            .into_iter()
            .flat_map(|line| line["commit"]["events"].as_array().unwrap().clone())
            .map(|event| event.as_object().unwrap().keys().next().unwrap().clone())
            .collect();
        assert_eq!(told, events, "{worker}");
    }
    ask("log killed")
        .exits(0)
        .says("worker killed joined")
        .says("orchestrator")
        .says("worker killed left");

    // Its name is free again.
    let back = distributed::worker(&place, &setup, "killed");
    until("killed", "present");
    assert_eq!(recorded(&fleet(), "killed")["joins"], 2);
    drop(back);
}

#[test]
fn an_invalid_worker_name_is_refused() {
    let place = Place::new();
    let long = "w".repeat(129);
    place
        .run(&format!(
            "worker --nats nats://127.0.0.1:1 --objects objects --name {long}"
        ))
        .exits(2)
        .complains("RB-ID-2");
}
