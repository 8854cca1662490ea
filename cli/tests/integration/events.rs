//! The live feed as programs read it: events, filters, refusals, and progress.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Place, runbook};
use crate::http::ask;

/// Longer than the interval between two heartbeats.
const SILENCE: Duration = Duration::from_secs(60);

const STEPS: &str = r#"
  - id: "1"
    title: Work
    steps:
      - {id: "1.1", title: Look, run: {command: "true"}, changes: nothing}
      - {id: "1.2", title: Look again, run: {command: "true"}, changes: nothing}
"#;

/// What a client received between two empty lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FeedBlock {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    /// Null if there is none.
    pub(crate) data: Value,
}

/// A connection to the live feed.
#[derive(Debug)]
pub(crate) struct EventReader(BufReader<TcpStream>);

impl EventReader {
    /// Requests `http://HOST:PORT` with a query such as `?type=gate_passed`; if the status is not
    /// 200, returns why.
    pub(crate) fn open(server: &str, query: &str, last_id: Option<&str>) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let address = server.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
        let header = last_id.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
        // With HTTP/1.0 the response is not chunked.
        write!(
            stream,
            "GET /v1/events{query} HTTP/1.0\r\nhost: localhost\r\n{header}\r\n"
        )
        .map_err(failed)?;
        let mut reader = Self(BufReader::new(stream));
        let head = reader.line().ok_or("no answer")?;
        if !head.contains(" 200 ") {
            return Err(head);
        }
        while !reader.line().ok_or("no end of the head")?.is_empty() {}
        Ok(reader)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(1..) if line.ends_with('\n') => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    /// The next block; `None`: the connection has ended.
    pub(crate) fn next(&mut self) -> Option<FeedBlock> {
        let mut received = FeedBlock::default();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(received);
            }
            match line.split_once(": ")? {
                ("id", id) => received.id = Some(id.to_owned()),
                ("event", event) => received.event = event.to_owned(),
                ("data", data) => received.data = serde_json::from_str(data).unwrap(),
                _ => {}
            }
        }
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn event(&mut self) -> FeedBlock {
        let end = Instant::now() + 2 * SILENCE;
        loop {
            let received = self.next().expect("the feed continues");
            if !received.event.is_empty() {
                return received;
            }
            assert!(Instant::now() < end, "nothing but heartbeats");
        }
    }

    /// Events up to one of this type.
    #[track_caller]
    fn until(&mut self, last: &str) -> Vec<FeedBlock> {
        // Heartbeats continue forever.
        let end = Instant::now() + 2 * SILENCE;
        let mut events = vec![self.event()];
        while events.last().is_some_and(|received| received.event != last) {
            assert!(Instant::now() < end, "no {last} after {events:?}");
            events.push(self.event());
        }
        events
    }
}

/// The ids of all events of the log, with their names and whether they belong to a rollout.
pub(crate) fn logged(log: &[Value]) -> Vec<(String, String, Value)> {
    let mut events = Vec::new();
    for line in log {
        for (index, event) in line["commit"]["events"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let id = format!("{}.{index}", line["sequence"]);
            let name = event.as_object().unwrap().keys().next().unwrap().clone();
            events.push((id, name, event.clone()));
        }
    }
    events
}

/// `stepStarted` of `step_started`.
pub(crate) fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        text + &word[..1].to_uppercase() + &word[1..]
    })
}

#[test]
fn events_match_the_log_and_the_views_already_contain_them() {
    let place = Place::new();
    let file = place.write("steps.yaml", &runbook(STEPS));
    let _up = place.up();
    let base = place.endpoint();
    let mut now = EventReader::open(&base, "?rollout=r", None).unwrap();
    let position = now.next().unwrap();
    assert!(position.id.is_some() && position.event.is_empty());
    place
        .run(&format!("run {file} --env local --id r --as alice"))
        .exits(0);
    let mut received = vec![now.event()];
    while received.last().unwrap().event != "rollout_closed" {
        let next = now.event();
        if next.event == "step_finished" {
            // The views contain the event that was sent.
            let sequence = next.data["sequence"].as_u64().unwrap();
            let url = format!("{base}/v1/rollouts/r/timeline");
            let (_, timeline) = ask(Method::GET, &url, |request| request);
            let as_of = timeline["as_of"]["sequence"].as_u64();
            assert!(as_of >= Some(sequence), "{timeline}");
        }
        received.push(next);
    }
    let log = place.run("log r --json").exits(0).json_lines();
    let logged = logged(&log);
    assert_eq!(received.len(), logged.len());
    for (received, (id, name, event)) in received.iter().zip(&logged) {
        assert_eq!(received.id.as_ref(), Some(id));
        assert_eq!(&camel(&received.event), name);
        assert_eq!(&received.data["event"], event);
        assert_eq!(received.data["rollout"], "r");
        assert_eq!(received.data["environment"], "local");
        assert!(received.data["recorded_at"].is_string(), "{received:?}");
    }

    // From the middle, by header, which overrides the query.
    let middle = &logged[logged.len() / 2].0;
    let mut rest = EventReader::open(&base, "?after=0&rollout=r", Some(middle)).unwrap();
    let rest = rest.until("rollout_closed");
    assert_eq!(rest, received[logged.len() / 2 + 1..]);
    // By query, filtered.
    let query = "?after=0&type=step_finished&type=rollout_closed&environment=local";
    let mut some = EventReader::open(&base, query, None).unwrap();
    let names: Vec<_> = some.until("rollout_closed");
    let names: Vec<_> = names
        .iter()
        .map(|received| received.event.as_str())
        .collect();
    assert_eq!(names, ["step_finished", "step_finished", "rollout_closed"]);
}

#[test]
fn impossible_filters_and_positions_are_refused() {
    let place = Place::new();
    let _up = place.up();
    let base = place.endpoint();
    for (query, code) in [
        ("?types=step_started", "RB-API-21"),
        ("?type=step_startet", "RB-API-34"),
        ("?rollout=a%20b", "RB-API-34"),
        ("?environment=", "RB-API-34"),
        ("?after=start", "RB-API-37"),
        ("?after=1.2.3", "RB-API-37"),
        ("?after=4000", "RB-API-22"),
    ] {
        let url = format!("{base}/v1/events{query}");
        let (status, body) = ask(Method::GET, &url, |request| request);
        assert_eq!(
            (status, &body["code"]),
            (400, &code.into()),
            "{query} {body}"
        );
    }
    let (status, body) = ask(Method::GET, &format!("{base}/v1/events"), |request| {
        request.header("last-event-id", "nothing")
    });
    assert_eq!((status, &body["code"]), (400, &"RB-API-37".into()));
}

const SNAPSHOT: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: test, version: "1.0", owner: tests}
environments: {local: {}}
sources: {deals: {kind: database, url: {local: {env: DEALS_URL}}}}
snapshots: {deals: {source: deals}}
phases:
  - id: "1"
    title: Capture
    steps: [{id: "1.1", title: Take it, snapshot: {of: deals, label: before}}]
"#;

#[test]
fn progress_is_sent_between_events_without_moving_the_position() {
    let mut place = Place::new();
    place.set(vec![("DEALS_URL", "sqlite:deals.db".to_owned())]);
    place
        .run("deals generate --count 300 --seed 7 --database sqlite:deals.db")
        .exits(0);
    let file = place.write("snapshot.yaml", SNAPSHOT);
    let _up = place.up();
    let base = place.endpoint();
    let mut all = EventReader::open(&base, "?rollout=s", None).unwrap();
    let mut only = EventReader::open(&base, "?type=progress&environment=local", None).unwrap();
    // It does not matter whether the step passes: one of these deals has no figures.
    place.run(&format!("run {file} --env local --id s --as alice"));
    let received = all.until("step_finished");
    let progress: Vec<_> = received
        .iter()
        .filter(|received| received.event == "progress")
        .collect();
    // The step's result may overtake its last progress.
    let one = only.event();
    for received in progress.into_iter().chain([&one]) {
        assert_eq!(received.id, None);
        assert_eq!(
            (
                &received.data["rollout"],
                &received.data["step"],
                &received.data["environment"]
            ),
            (&json!("s"), &json!("1.1"), &json!("local"))
        );
    }
    let events = received
        .iter()
        .filter(|received| received.event != "progress");
    assert!(events.into_iter().all(|received| received.id.is_some()));
}
