//! Traces: one command is one trace from the command line to the child of a step and the views.

use std::fs;
use std::net::TcpListener;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::collector::{Collector, Seen};
use crate::harness::{Place, wait_for};

const RUNBOOK: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: traced, version: "1.0", owner: tests}
environments: {local: {}}
phases:
  - id: "1"
    title: Work
    steps:
      - id: "1.1"
        title: Say in which trace
        run: {command: printenv TRACEPARENT > first}
        changes: nothing
      - id: "1.2"
        title: Again
        run: {command: printenv TRACEPARENT > second}
        changes: nothing
"#;

const REASON: &str = "nobody-else-may-read-this";

/// The spans of one trace.
struct Tree(Vec<Seen>);

impl Tree {
    #[track_caller]
    fn one(&self, what: &str, found: impl Fn(&Seen) -> bool) -> &Seen {
        let found: Vec<&Seen> = self.0.iter().filter(|span| found(span)).collect();
        assert_eq!(found.len(), 1, "{what}: {found:#?}\nof {:#?}", self.0);
        found[0]
    }

    #[track_caller]
    fn child(&self, parent: &Seen, name: &str, attribute: (&str, &str)) -> &Seen {
        let (key, value) = attribute;
        self.one(&format!("{name} below {}", parent.name), |span| {
            let has = |it: &String| it.contains(value);
            span.parent == parent.id
                && span.name == name
                && (key.is_empty() || span.attributes.get(key).is_some_and(has))
        })
    }

    fn children(&self, parent: &Seen, name: &str) -> Vec<&Seen> {
        let is_child = |span: &&Seen| span.parent == parent.id && span.name == name;
        self.0.iter().filter(is_child).collect()
    }
}

/// The trace of a command, once the spans of both steps are there.
fn trace_of(collector: &Collector, command: &str) -> Tree {
    let mut tree = Tree(Vec::new());
    wait_for("the spans of both steps", || {
        let seen = collector.seen();
        let Some(root) = seen.iter().find(|span| span.name == command) else {
            return false;
        };
        let of_trace = seen.iter().filter(|span| span.trace == root.trace);
        tree = Tree(of_trace.cloned().collect());
        // Five commits: started, and each step begun and ended; a span ends after what it waits for.
        let count = |name| tree.0.iter().filter(|span| span.name == name).count();
        count("task") >= 2 && count("project") >= 5
    });
    tree
}

fn traced(protocol: &str) {
    let collector = Collector::start();
    let mut place = Place::new();
    place.set(collector.variables(protocol));
    let file = place.write("traced.yaml", RUNBOOK);
    let _up = place.up();
    place.open(file, "t");
    place.run("start t --as alice").exits(0);
    place.run("status t --wait 60").exits(0);

    let tree = trace_of(&collector, "rollbook start");
    let command = tree.one("the command", |span| span.parent.is_empty());
    assert_eq!(command.name, "rollbook start");
    let request = tree.child(command, "POST /v1/rollouts/{id}/commands", ("", ""));
    assert_eq!(request.attributes["http.response.status_code"], "200");
    assert!(!tree.children(request, "decide").is_empty());
    let append = tree.child(request, "append", ("", ""));
    let projected = tree.child(append, "project", ("", ""));
    assert_eq!(
        projected.attributes["sequence"],
        append.attributes["sequence"]
    );
    // Each step is a child of the command, and not of the step before it.
    for (step, file) in [("1.1", "first"), ("1.2", "second")] {
        let key = format!("t/{step}/execute/1");
        let publish = tree.child(append, "publish", ("task", &key));
        let task = tree.child(publish, "task", ("task", &key));
        let appended = tree.children(task, "append");
        assert_eq!(appended.len(), 2, "{:#?}", tree.0);
        for append in appended {
            tree.child(append, "project", ("", ""));
        }
        let execute = tree.child(task, "execute", ("kind", "run"));
        assert_eq!(execute.attributes["verdict"], "pass");
        let child = fs::read_to_string(place.path().join(file)).unwrap();
        let (trace, span) = (&execute.trace, &execute.id);
        assert_eq!(child.trim(), format!("00-{trace}-{span}-01"));
    }

    place.open(file, "u");
    place
        .run(&format!("abort u --as alice --reason {REASON}"))
        .exits(0);
    wait_for("the span of the last command", || {
        collector
            .seen()
            .iter()
            .any(|span| span.name == "rollbook abort")
    });
    for span in collector.seen() {
        assert!(span.service.starts_with("rollbook"), "{span:?}");
        assert!(!format!("{span:?}").contains(REASON), "{span:?}");
    }
}

#[test]
fn a_command_is_one_trace_down_to_the_child_and_the_views_over_http() {
    traced("http/protobuf");
}

#[test]
fn a_command_is_one_trace_down_to_the_child_and_the_views_over_grpc() {
    traced("grpc");
}

#[test]
fn commits_name_the_commit_that_led_to_them_and_an_outer_trace_is_continued() {
    let outer = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut place = Place::new();
    // Without traces there is none to say.
    let untraced = RUNBOOK.replace("printenv TRACEPARENT", "echo");
    let file = place.write("traced.yaml", &untraced);
    let _up = place.up();
    place.open(file, "t");
    // Nothing is traced here, and the context of the caller is passed on all the same.
    place.set(vec![("TRACEPARENT", outer.to_owned())]);
    place.run("start t --as alice").exits(0);
    place.run("status t --wait 60").exits(0);
    let commits = place.run("log t --json").exits(0).json_lines();
    let has = |commit: &Value, event: &str| {
        let events = commit["commit"]["events"].as_array().unwrap();
        events.iter().any(|it| it.get(event).is_some())
    };
    let started = commits
        .iter()
        .find(|it| has(it, "rolloutStarted"))
        .unwrap_or_else(|| panic!("{commits:#?}"));
    assert_eq!(started["commit"]["traceparent"], outer);
    let steps: Vec<&Value> = commits
        .iter()
        .filter(|it| has(it, "stepStarted") || has(it, "stepFinished"))
        .collect();
    assert_eq!(steps.len(), 4, "{commits:#?}");
    for step in &steps {
        assert_eq!(step["commit"]["traceparent"], outer);
    }
    // The first step because of the start, the second because the first had ended.
    assert_eq!(steps[0]["commit"]["causationId"], started["commit"]["id"]);
    assert_eq!(steps[1]["commit"]["causationId"], started["commit"]["id"]);
    assert_eq!(steps[2]["commit"]["causationId"], steps[1]["commit"]["id"]);
    assert_eq!(steps[3]["commit"]["causationId"], steps[1]["commit"]["id"]);
}

#[test]
fn a_hanging_or_missing_collector_disturbs_nothing() {
    // Takes connections, reads nothing and answers nothing.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (address, protocol) in [
        (hanging.local_addr().unwrap(), "http/protobuf"),
        (hanging.local_addr().unwrap(), "grpc"),
        (gone, "http/protobuf"),
        (gone, "grpc"),
    ] {
        let mut place = Place::new();
        place.set(vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ]);
        let file = place.write("traced.yaml", RUNBOOK);
        let up = place.up();
        let opened = place
            .run(&format!(
                "open {file} --env local --id t --as alice --start"
            ))
            .exits(0);
        assert!(opened.err.is_empty(), "{opened:?}");
        place.run("status t --wait 60").exits(0);
        up.signal(Signal::SIGTERM);
        up.finish().exits(0);
    }
}

#[test]
fn the_log_names_the_trace_and_bad_settings() {
    let collector = Collector::start();
    let mut place = Place::new();
    place.set(collector.variables("http/protobuf"));
    place.set(vec![
        ("ROLLBOOK_LOG", "debug".to_owned()),
        ("ROLLBOOK_LOG_FORMAT", "json".to_owned()),
    ]);
    let up = place.up();
    up.signal(Signal::SIGTERM);
    let log = up.finish().exits(0).err;
    let traces: Vec<String> = collector
        .seen()
        .into_iter()
        .map(|span| span.trace)
        .collect();
    let named = log.lines().any(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let trace = line["trace_id"].as_str().unwrap_or_default();
        line["level"].is_string() && traces.iter().any(|it| it == trace)
    });
    assert!(named, "{log}");

    let mut place = Place::new();
    place.set(vec![("OTEL_TRACES_EXPORTER", "zipkin".to_owned())]);
    place.run("version").exits(0).complains("RB-TELEMETRY-1");
}
