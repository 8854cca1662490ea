//! Two hundred clients of the live feed while server and nats-server are killed: each gets every
//! event once and in order.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::distributed::{DistributedSetup, start, worker};
use crate::events::{EventReader, camel, logged};
use crate::harness::{Place, runbook, wait_for};

const CLIENTS: usize = 200;
/// A client that has not seen the end by then has failed.
const AT_MOST: Duration = Duration::from_secs(400);
/// How long a disconnected client waits before it reconnects.
const RETRY: Duration = Duration::from_millis(200);

const STEPS: &str = r#"
  - id: "1"
    title: Work
    steps:
      - {id: "1.1", title: Look, run: {command: "true"}, changes: nothing}
      - {id: "1.2", title: Look, run: {command: "true"}, changes: nothing}
      - {id: "1.3", title: Look, run: {command: "true"}, changes: nothing}
"#;

/// What a client received.
#[derive(Debug, Default)]
struct ClientResult {
    /// Id and type of each event.
    events: Vec<(String, String)>,
    /// How often it was disconnected or refused.
    reconnects: usize,
}

/// Follows until the flag `the-end` is defined, resuming after its last id whenever it is
/// disconnected.
fn client(server: String, query: &'static str) -> JoinHandle<ClientResult> {
    let follow = move || {
        let begun = Instant::now();
        let mut result = ClientResult::default();
        let mut last: Option<String> = None;
        while begun.elapsed() < AT_MOST {
            let Ok(mut reader) = EventReader::open(&server, query, last.as_deref()) else {
                result.reconnects += 1;
                std::thread::sleep(RETRY);
                continue;
            };
            while let Some(received) = reader.next() {
                last = received.id.clone().or(last);
                if received.event.is_empty() || received.event == "dropped" {
                    continue;
                }
                result
                    .events
                    .push((received.id.unwrap_or_default(), received.event));
                if received.data["aggregate_id"] == "local/the-end" {
                    return result;
                }
            }
            result.reconnects += 1;
        }
        panic!("the end did not arrive within {AT_MOST:?}, after {last:?}")
    };
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    small.spawn(follow).unwrap()
}

#[test]
fn two_hundred_clients_get_every_event_once_through_restarts() {
    let place = Place::new();
    let file = place.write("steps.yaml", &runbook(STEPS));
    let mut setup = start(&place);
    let _worker = worker(&place, &setup, "one");
    let run = |setup: &DistributedSetup, line: &str| {
        place.run(&format!("{line} --server {}", setup.address))
    };
    let works = |setup: &DistributedSetup, id: &str| {
        run(
            setup,
            &format!("run {file} --env local --id {id} --as alice --timeout 110"),
        )
        .exits(0);
    };
    let answers = |setup: &DistributedSetup| {
        wait_for("the server to answer", || {
            run(setup, "list").code == Some(0)
        });
    };
    let queries = [
        "?after=0",
        "?after=0&environment=local",
        "?after=0&type=step_finished&type=flag_defined",
        "?after=0&type=rollout_closed&type=flag_defined&environment=local",
    ];
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| client(setup.address.clone(), queries[number % queries.len()]))
        .collect();
    works(&setup, "quiet");

    setup.kill_server(&place);
    answers(&setup);
    works(&setup, "after-the-server");

    setup.kill_nats(&place);
    answers(&setup);
    works(&setup, "after-nats");

    // Both, in the middle of the work.
    run(
        &setup,
        &format!("open {file} --env local --id middle --as alice --start"),
    )
    .exits(0);
    setup.kill_nats(&place);
    setup.kill_server(&place);
    answers(&setup);
    run(&setup, "status middle --wait 110").exits(0);
    run(
        &setup,
        "flag define the-end --env local --as alice --description End --owner tests --retire-by 2099-01-01",
    )
    .exits(0);

    let result: Vec<ClientResult> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let log = run(&setup, "log --json").exits(0).json_lines();
    let of_workers: Vec<String> = log
        .iter()
        .filter(|line| line["commit"]["aggregate"] == "worker")
        .map(|line| line["sequence"].to_string())
        .collect();
    let all = logged(&log);
    let end = all.iter().position(|(_, name, _)| name == "flagDefined");
    let all = &all[..=end.unwrap()];
    for (number, result) in result.iter().enumerate() {
        let query = queries[number % queries.len()];
        let wanted: Vec<(String, String)> = all
            .iter()
            .filter(|(_, name, _)| {
                let types: Vec<_> = query.split("type=").skip(1).collect();
                types.is_empty()
                    || types
                        .iter()
                        .any(|rest| &camel(rest.split('&').next().unwrap()) == name)
            })
            .filter(|(id, _, _)| {
                let sequence = id.split('.').next().unwrap();
                let elsewhere = of_workers.iter().any(|worker| worker == sequence);
                !(elsewhere && query.contains("environment"))
            })
            .map(|(id, name, _)| (id.clone(), name.clone()))
            .collect();
        let received: Vec<(String, String)> = result
            .events
            .iter()
            .map(|(id, name)| (id.clone(), camel(name)))
            .collect();
        assert_eq!(received, wanted, "client {number} of {query}");
        assert!(
            result.reconnects >= 2,
            "client {number} was not cut off: {result:?}"
        );
    }
}
