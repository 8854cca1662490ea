//! Stored history that differs from what was acknowledged is refused before anything is appended,
//! with the sequences named.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::harness::{Place, runbook, wait_for};

/// The files of the ledger's messages.
pub(crate) fn blocks(place: &Place) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![place.data_dir().join("nats/jetstream")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "blk")
                && path.to_string_lossy().contains("streams/ROLLBOOK/msgs")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Makes nats-server read the blocks again instead of trusting its own index.
fn forget_index(block: &Path) {
    let _ = fs::remove_file(block.with_file_name("index.db"));
}

/// A stopped `up` with a rollout and some flags on its ledger; returns its last sequence.
pub(crate) fn history(place: &Place, flags: usize) -> u64 {
    let file = place.hello();
    let up = place.up();
    place.waiting(file, "h");
    for number in 0..flags {
        place
            .run(&format!("pause h --reason r{number} --as alice"))
            .exits(0);
        place.run("resume h --as alice").exits(0);
    }
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
    acknowledged(place)
}

fn acknowledged(place: &Place) -> u64 {
    let text = fs::read(place.data_dir().join("acknowledged.json")).unwrap();
    let position: serde_json::Value = serde_json::from_slice(&text).unwrap();
    position["sequence"].as_u64().unwrap()
}

#[test]
fn a_torn_last_block_is_refused_until_the_loss_is_accepted() {
    let place = Place::new();
    let last = history(&place, 0);
    let block = blocks(&place).pop().unwrap();
    let bytes = fs::read(&block).unwrap();
    fs::write(&block, &bytes[..bytes.len() - 20]).unwrap();
    forget_index(&block);
    // Twice: the refusal itself appends nothing that would take the lost sequence.
    for _ in 0..2 {
        place
            .run("up --listen 127.0.0.1:0")
            .exits(6)
            .complains("RB-INTEGRITY-1")
            .complains(&format!("missing: {last}"));
    }
    // A sequence that the refusal does not name accepts nothing.
    place
        .run(&format!(
            "up --listen 127.0.0.1:0 --accept-loss {}",
            last - 1
        ))
        .exits(6);
    let up = place.up_with(&format!("--accept-loss {last}"));
    place.run("log h").exits(0).says("opened");
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
    let up = place.up();
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
}

#[test]
fn a_flipped_byte_in_the_middle_is_refused() {
    let place = Place::new();
    let last = history(&place, 6);
    let block = blocks(&place).remove(0);
    let mut bytes = fs::read(&block).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&block, bytes).unwrap();
    forget_index(&block);
    let refused = place.run("up --listen 127.0.0.1:0").exits(6);
    assert!(refused.err.contains("RB-INTEGRITY-"), "{}", refused.err);
    assert!(refused.err.contains("missing: "), "{}", refused.err);
    assert_eq!(acknowledged(&place), last);
}

#[test]
fn views_of_another_ledger_are_refused() {
    let (one, other) = (Place::new(), Place::new());
    history(&one, 0);
    history(&other, 2);
    for end in ["", "-wal", "-shm"] {
        let name = format!("views.db{end}");
        let _ = fs::remove_file(other.data_dir().join(&name));
        let _ = fs::copy(one.data_dir().join(&name), other.data_dir().join(&name));
    }
    other
        .run("up --listen 127.0.0.1:0")
        .exits(6)
        .complains("RB-INTEGRITY-2")
        .complains("the views stand");
}

#[test]
fn lost_evidence_of_an_open_rollout_is_damage() {
    let place = Place::new();
    let file = place.hello();
    let up = place.up();
    place.open(file, "h");
    place.run("doctor").exits(0).says("none missing");
    fs::remove_dir_all(place.data_dir().join("objects")).unwrap();
    // A running process has cached what it read; a new one has not.
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
    let _up = place.up();
    place.run("status h").exits(6).complains("RB-HANDLER-20");
    place.run("doctor").exits(6).says("of an open rollout");
}

#[test]
fn an_erased_text_is_no_damage_and_an_altered_one_is() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place.waiting(file, "h");
    for person in ["Jane Doe", "John Roe"] {
        place
            .run(&format!(
                "pause h --as alice --reason 'Call of {person}\nto stop'"
            ))
            .exits(0);
        place.run("resume h --as alice --reason done").exits(0);
    }
    place.run("report h").exits(0);
    let texts: Vec<_> = place.run("log h --json").json_lines();
    let texts: Vec<&str> = texts
        .iter()
        .filter_map(|line| line["commit"]["texts"][0]["evidence"]["sha256"].as_str())
        .collect();
    let [first, second] = texts[..] else {
        panic!("{texts:?}")
    };
    let object = |sha256: &str| {
        place
            .data_dir()
            .join("objects")
            .join(&sha256[..2])
            .join(sha256)
    };
    assert_eq!(
        fs::read_to_string(object(first)).unwrap(),
        "Call of Jane Doe\nto stop"
    );
    fs::remove_file(object(first)).unwrap();
    place
        .run("report h")
        .exits(0)
        .says("1 long texts were erased")
        .says(first);
    fs::write(object(second), "Call of nobody").unwrap();
    place.run("report h").exits(6).complains("RB-EVIDENCE-3");
}

#[test]
fn a_restart_does_not_evaluate_ended_rollouts() {
    let place = Place::new();
    let file = place.write(
        "one.yaml",
        &runbook(
            r#"
  - id: "1"
    title: Work
    steps: [{id: "1.1", title: Look, run: {command: "true"}, changes: nothing}]
"#,
        ),
    );
    let up = place.up();
    for id in ["a", "b"] {
        place
            .run(&format!(
                "run {file} --env local --id {id} --as alice --timeout 90"
            ))
            .exits(0);
    }
    let stop = |up: crate::harness::Process| {
        up.signal(Signal::SIGTERM);
        up.finish().exits(0)
    };
    stop(up);
    let up = place.up();
    let healthy = || {
        let health = place.run("doctor --json").json();
        let checks = health.as_array().unwrap().clone();
        let beat = checks.iter().find(|check| check["name"] == "orchestrator");
        beat.unwrap()["message"]
            .as_str()
            .unwrap()
            .contains("did everything")
    };
    wait_for("the orchestrator to have looked", healthy);
    stop(up);
    // Their plans are gone, so folding them fails.
    fs::remove_dir_all(place.data_dir().join("objects")).unwrap();
    let up = place.up();
    wait_for("the orchestrator to have looked", healthy);
    let ended = stop(up);
    assert!(!ended.err.contains("could not advance"), "{}", ended.err);
}

#[test]
fn a_ledger_cannot_take_the_name_of_another_stream() {
    for name in ["work", "shards", "dlq"] {
        let mut place = Place::new();
        place.set(vec![("ROLLBOOK_LEDGER", name.to_owned())]);
        place
            .run("up --listen 127.0.0.1:0")
            .exits(2)
            .complains("RB-JOURNAL-9");
    }
}

#[test]
fn damaged_views_are_set_aside_and_rebuilt() {
    let place = Place::new();
    history(&place, 1);
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(place.data_dir().join(format!("views.db{end}")));
    }
    fs::write(place.data_dir().join("views.db"), "no database any more").unwrap();
    let up = place.up();
    wait_for("the views to be rebuilt", || {
        place.run("list --json").out.contains("\"h\"")
    });
    let aside = fs::read_dir(place.data_dir()).unwrap().flatten();
    let names: Vec<String> = aside
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("views.db.damaged-")),
        "{names:?}"
    );
    up.signal(Signal::SIGTERM);
    up.finish().exits(0).complains("damaged");
}
