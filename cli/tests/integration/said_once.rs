//! An error is said once: what a library and its wrappers say in turn is not printed again.

use std::collections::HashSet;

use serde_json::Value;

use crate::harness::{Place, runbook};

/// Fails if a part of a text comes twice.
#[track_caller]
fn once(what: &str, text: &str) {
    let mut seen = HashSet::new();
    for part in text.split([':', ';', '\n', '(', ')']).map(str::trim) {
        let is_word = part.chars().count() < 12;
        assert!(
            is_word || seen.insert(part),
            "`{part}` comes twice in {what}:\n{text}"
        );
    }
    // They only say that something they wrap has failed.
    let wrappers = [
        "client error",
        "tcp connect error",
        "error sending request",
        "error communicating with database",
        "error returned from database",
    ];
    for wrapper in wrappers {
        assert!(!text.contains(wrapper), "{what}: {text}");
    }
}

#[test]
fn commands_say_an_error_once() {
    let place = Place::new();
    place.write("file", "x");
    place.write(
        "broken.sqlite",
        "this is no database at all, whatever its name says",
    );
    let database = "--database postgres://u:p@127.0.0.1:1/db";
    let nobody = "0".repeat(64);
    for line in [
        "list --server http://127.0.0.1:1",
        "start x --as alice --server http://127.0.0.1:1",
        "status --watch --server http://127.0.0.1:1",
        "doctor --server http://127.0.0.1:1",
        "list --data-dir file --server http://127.0.0.1:1",
        "up --data-dir file --listen 127.0.0.1:0",
        "up --listen nowhere",
        "worker --nats nats://127.0.0.1:1 --objects o",
        "serve --nats nats://127.0.0.1:1 --database sqlite:v.db --objects o",
        "lint missing.yaml",
        "list --config missing.toml",
        &format!("deals generate --count 3 {database}"),
        "deals generate --count 3 --database sqlite:broken.sqlite",
        &format!("snapshot take --label a {database}"),
        "snapshot take --label a --database sqlite:broken.sqlite",
        "snapshot take --label a --database sqlite:missing.sqlite",
        "snapshot take --label a --database parquet:missing.parquet",
        "snapshot take --label a --database sqlite:broken.sqlite --objects file/x",
        &format!("snapshot show {nobody}"),
        &format!("compare {nobody} {nobody}"),
        &format!("audit {database}"),
    ] {
        let ran = place.run(line);
        assert_ne!(ran.code, Some(0), "{line}");
        // What `up` and `worker` log has its time and level before it.
        once(line, &ran.err);
        once(line, &ran.out);
    }
}

const STEPS: &str = r#"
  - id: "1"
    title: One
    steps:
      - {id: http, title: A, http: {source: web, path: /}, changes: nothing, needs: [], on_fail: continue}
      - {id: postgres, title: A, sql: {source: pg, query: "select 1"}, changes: nothing, needs: [], on_fail: continue}
      - {id: sqlite, title: A, sql: {source: lite, query: "select 1"}, changes: nothing, needs: [], on_fail: continue}
      - {id: webhook, title: A, notify: {channel: hook, subject: a, body: b}, needs: [], on_fail: continue}
      - {id: file, title: A, notify: {channel: file, subject: a, body: b}, needs: [], on_fail: continue}
      - {id: snapshot, title: A, snapshot: {of: deals, label: x}, needs: [], on_fail: continue}
      - {id: audit, title: A, audit: {source: pg}, needs: [], on_fail: continue}
      - {id: run, title: A, run: {command: exit 9}, changes: nothing, needs: [], on_fail: continue}
"#;

#[test]
fn steps_say_an_error_once() {
    let place = Place::new();
    let _up = place.up();
    let sources = r#"sources:
  web: {kind: http, url: {local: {value: "http://127.0.0.1:1"}}}
  pg: {kind: postgres, url: {local: {value: "postgres://u@127.0.0.1:1/db"}}}
  lite: {kind: sqlite, url: {local: {value: "sqlite:/no/such/file.db"}}}
channels:
  hook: {webhook: {value: "http://127.0.0.1:1/x"}}
  file: {file: /no/such/directory/x}
snapshots:
  deals: {source: pg}
phases:"#;
    place.write("fails.yaml", &runbook(STEPS).replace("phases:", sources));
    place
        .run("run fails.yaml --env local --id f --as alice --timeout 90")
        .exits(0);
    let status = place.run("status f --json").exits(0).json();
    let steps = status["data"]["phases"][0]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 8);
    for step in steps {
        let message = step["message"].as_str().unwrap();
        assert_ne!(message, "", "{step}");
        once(step["step"].as_str().unwrap_or_default(), message);
        assert_ne!(step["verdict"], Value::from("pass"), "{step}");
    }
}
