//! Runs the judge on directories of records, each with one violation put into it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

fn write(directory: &Path, file: &str, lines: &[Value]) {
    let text: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(directory.join(file), text.concat()).unwrap();
}

fn append(directory: &Path, file: &str, line: &str) {
    let path = directory.join(file);
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    text.push_str(line);
    text.push('\n');
    fs::write(path, text).unwrap();
}

fn commit(sequence: u64, kind: &str, events: &Value) -> Value {
    json!({"sequence": sequence, "commit": {
        "id": format!("c{sequence}"), "aggregate": "rollout", "aggregateId": "r",
        "commandId": format!("k{sequence}"), "previousSequence": (sequence - 1).to_string(),
        "actor": {"name": "alice", "kind": kind}, "events": [events],
    }})
}

/// The records of a storm of one rollout with one step, after its judge has collected them.
fn sound() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::create_dir(at.join("collected")).unwrap();
    write(
        at,
        "plans.jsonl",
        &[
            json!({"rollout": "r", "notices": ["begun"], "steps": [{"id": "1.1", "effect": "once"}]}),
        ],
    );
    write(
        at,
        "acknowledged.jsonl",
        &[
            json!({"rollout": "r", "what": "start", "actor": "alice", "command_id": "k2",
            "sequence": 2, "events": 1, "tries": 1}),
        ],
    );
    fs::write(at.join("markers"), "begin r 1.1 1\nend r 1.1 1\n").unwrap();
    write(
        at,
        "notices.jsonl",
        &[json!({"rollout": "r", "subject": "begun"})],
    );
    write(
        at,
        "collected/log.jsonl",
        &[
            commit(1, "PERSON", &json!({"rolloutOpened": {}})),
            commit(2, "PERSON", &json!({"rolloutStarted": {}})),
            commit(
                3,
                "WORKER",
                &json!({"stepStarted": {"stepId": "1.1", "attempt": 1}}),
            ),
            commit(
                4,
                "WORKER",
                &json!({"stepFinished": {"stepId": "1.1", "attempt": 1, "verdict": "PASS"}}),
            ),
            commit(5, "ORCHESTRATOR", &json!({"rolloutClosed": {}})),
        ],
    );
    write(
        at,
        "collected/statuses.jsonl",
        &[json!({"data": {"rollout": "r", "closed_at": "2026-01-01T00:00:00Z"}, "blocked": []})],
    );
    let views = |name: &str, rebuilt| json!({"name": name, "rebuilt": rebuilt, "sequence": 5, "tables": {"steps": ["1.1"]}});
    write(
        at,
        "collected/views.jsonl",
        &[views("views.db", false), views("rebuilt.db", true)],
    );
    directory
}

fn judge(directory: &TempDir) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollbook-loadtest"))
        .arg("judge")
        .arg(directory.path())
        .arg("--collected")
        .output()
        .unwrap()
}

#[track_caller]
fn finds(rule: &str, file: &str, line: &Value) {
    let directory = sound();
    let line = line
        .as_str()
        .map_or_else(|| line.to_string(), str::to_owned);
    append(directory.path(), file, &line);
    let ran = judge(&directory);
    let out = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1), "{out}");
    let found: Vec<&str> = out.lines().skip(1).collect();
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with(&format!("{rule}: "))),
        "{out}"
    );
    let report = fs::read_to_string(directory.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["findings"].as_array().unwrap().len(), 1);
}

#[test]
fn a_sound_record_passes() {
    let directory = sound();
    let ran = judge(&directory);
    let out = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(0), "{out}");
    assert!(out.contains("nothing found"), "{out}");
}

#[test]
fn violations_in_a_record_are_found() {
    let lost = json!({"rollout": "r", "what": "approve", "actor": "alice", "command_id": "k9",
        "sequence": 9, "events": 1, "tries": 1});
    finds("acknowledged", "acknowledged.jsonl", &lost);
    finds(
        "seen",
        "seen.jsonl",
        &json!({"sequence": 3, "commit": "other"}),
    );
    finds("effect once", "markers", &json!("begin r 1.1 1"));
    finds("intent", "markers", &json!("begin x 1.1 1"));
    finds(
        "orphan",
        "collected/processes.jsonl",
        &json!({"pid": 7, "line": "sleep 100", "directory": "/"}),
    );
    finds(
        "process",
        "ends.jsonl",
        &json!({"process": "worker-1", "end": {"deaf": {"after_ms": 90000}}}),
    );
    finds(
        "views",
        "collected/views.jsonl",
        &json!({"name": "views-2.db", "rebuilt": false, "sequence": 5, "tables": {}}),
    );
}

#[test]
fn an_unreadable_record_is_not_judged() {
    let directory = sound();
    append(directory.path(), "acknowledged.jsonl", "{\"rollout\":");
    let ran = judge(&directory);
    assert_eq!(ran.status.code(), Some(7));
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(
        err.contains("RB-STORM-1") && err.contains("acknowledged.jsonl"),
        "{err}"
    );
}
