//! `rollbook doctor`: what it finds about a server, and that it only reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Place, Ran};

/// Everything below a directory.
fn contents(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

fn check(ran: &Ran, name: &str) -> Value {
    let checks = ran.json();
    let mut all = checks.as_array().unwrap().iter();
    let found = all.find(|check| check["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name}: {checks}"))
        .clone()
}

#[test]
fn without_a_server_it_says_so_once_and_writes_nothing() {
    let place = Place::new();
    let nowhere = "doctor --server http://127.0.0.1:1";
    let ran = place.run(nowhere).exits(7);
    let said = ran.out.matches("no server answers at").count();
    assert_eq!(said, 1, "{}", ran.out);
    assert!(ran.out.contains("Connection refused"), "{}", ran.out);
    assert_eq!(contents(place.path()), BTreeSet::new());
    let ran = place.run(&format!("{nowhere} --json"));
    assert_eq!(check(&ran, "server")["found"], "fail");
    assert_eq!(check(&ran, "evidence")["found"], "skipped");
    assert_eq!(check(&ran, "nats-server")["found"], "pass");
    assert_eq!(contents(place.path()), BTreeSet::new());
}

#[test]
fn commands_that_only_read_evidence_create_no_store() {
    let place = Place::new();
    let nobody = "0".repeat(64);
    for line in [
        format!("snapshot show {nobody}"),
        format!("snapshot errors {nobody}"),
        format!("snapshot export {nobody} --format csv"),
        format!("snapshot export {nobody} --format csv --output rows.csv"),
        format!("compare {nobody} {nobody}"),
        format!("compare --result {nobody}"),
    ] {
        place.run(&line).exits(2).complains("RB-CLI-120");
        assert_eq!(contents(place.path()), BTreeSet::new(), "{line}");
    }
}

#[test]
fn it_checks_the_server_named_and_writes_nothing() {
    let place = Place::new();
    let _up = place.up();
    let elsewhere = Place::new();
    let doctor = format!("doctor --server {} --json", place.endpoint());
    // What is here matters only to what `up` starts here.
    let mut without = elsewhere.command(&doctor);
    without.env("ROLLBOOK_NATS_SERVER", "/no/such/nats-server");
    let ran = crate::harness::Process::start(&mut without)
        .finish()
        .exits(0);
    assert_eq!(check(&ran, "nats-server")["found"], "skipped");
    let server = check(&ran, "server");
    assert_eq!(server["found"], "pass");
    let message = server["message"].as_str().unwrap();
    assert!(message.contains(&place.endpoint()), "{message}");
    assert!(message.contains(env!("CARGO_PKG_VERSION")), "{message}");
    for name in [
        "ledger",
        "views",
        "orchestrator",
        "stream",
        "anomalies",
        "reviews",
    ] {
        assert_eq!(check(&ran, name)["found"], "pass", "{}", ran.out);
    }
    assert_eq!(contents(elsewhere.path()), BTreeSet::new());

    // Nor in the directory of the server: what its own files do meanwhile is not of `doctor`.
    let objects = place.data_dir().join("objects");
    let before = contents(&objects);
    place.run("doctor").exits(0).says("can be read");
    assert_eq!(contents(&objects), before);
}
