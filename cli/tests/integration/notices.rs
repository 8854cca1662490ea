//! Notices: a channel that does not answer delays nothing, and two servers send no notice twice.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::distributed::{nats, serve};
use crate::harness::{Place, Process, wait_for};

/// A plan of one step with this channel and these notices.
fn plan(channel: &str, notices: &str) -> String {
    format!(
        r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {{name: told, version: "1.0", owner: tests}}
environments: {{local: {{}}}}
channels: {{crew: {channel}}}
notices:
{notices}
phases:
  - id: "1"
    title: Work
    steps: [{{id: "1.1", title: Look, run: {{command: "true"}}, changes: nothing}}]
"#
    )
}

fn notices(anchor: &str) -> String {
    let one = |number| {
        format!(
            "  - {{id: n{number}, channel: crew, audience: crew, anchor: {anchor}, subject: S, body: B}}\n"
        )
    };
    (0..5).map(one).collect()
}

#[test]
fn a_dead_webhook_delays_no_rollout() {
    let mut place = Place::new();
    // Accepts connections and never answers. Five notices one after the other would take minutes.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", dead.local_addr().unwrap());
    place.set(vec![("CREW_WEBHOOK", url)]);
    place.write(
        "told.yaml",
        &plan("{webhook: {env: CREW_WEBHOOK}}", &notices("opened")),
    );
    let _up = place.up();
    place
        .run("run told.yaml --env local --id told --as alice --timeout 100")
        .exits(0);
    let log = place.run("log told --json").exits(0).out;
    assert!(!log.contains("noticeSent"), "{log}");
}

/// Reads a request and answers it; returns the value of its `Idempotency-Key`.
fn answer(connection: TcpStream, status: &str) -> String {
    let mut reader = BufReader::new(connection);
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_lowercase().as_str() {
            "idempotency-key" => key = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    key
}

#[test]
fn a_webhook_gets_its_notice_once_it_is_back() {
    let mut place = Place::new();
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", hook.local_addr().unwrap());
    // More failures than the four tries of a step.
    let served = std::thread::spawn(move || {
        let mut keys = Vec::new();
        for status in [["503 Service Unavailable"; 5].as_slice(), &["200 OK"]].concat() {
            keys.push(answer(hook.accept().unwrap().0, status));
        }
        keys
    });
    place.set(vec![("CREW_WEBHOOK", url)]);
    let notice =
        "  - {id: n, channel: crew, audience: crew, anchor: opened, subject: S, body: B}\n";
    place.write("told.yaml", &plan("{webhook: {env: CREW_WEBHOOK}}", notice));
    let _up = place.up();
    place
        .run("run told.yaml --env local --id told --as alice --timeout 100")
        .exits(0);
    wait_for("the notice to be on the record", || {
        let log = place.run("log told --json").out;
        log.contains("noticeSent") && log.contains("answered 200")
    });
    assert_eq!(served.join().unwrap(), ["told/notice/n"; 6]);
}

#[test]
fn two_servers_send_each_notice_once() {
    let place = Place::new();
    let (_nats, url) = nats(&place, "always");
    let (_one, first) = serve(&place, &url, "--database sqlite:one.db");
    let (_two, _) = serve(&place, &url, "--database sqlite:two.db");
    let _worker =
        Process::start(&mut place.command(&format!("worker --nats {url} --objects objects")));
    place.write(
        "told.yaml",
        &plan("{file: told.jsonl}", &notices("started")),
    );
    let run = |line: &str| place.run(&format!("{line} --server {first}"));
    for id in ["a", "b", "c"] {
        run(&format!(
            "run told.yaml --env local --id {id} --as alice --timeout 100"
        ))
        .exits(0);
    }
    let recorded = || {
        ["a", "b", "c"]
            .iter()
            .map(|id| {
                run(&format!("log {id} --json"))
                    .out
                    .matches("noticeSent")
                    .count()
            })
            .sum::<usize>()
    };
    wait_for("all notices to be on the record", || recorded() == 15);
    let told = fs::read_to_string(place.path().join("told.jsonl")).unwrap();
    let mut ids: Vec<String> = told
        .lines()
        .map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            message["id"].as_str().unwrap().to_owned()
        })
        .collect();
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!((all, ids.len()), (15, 15), "{told}");
    assert_eq!(ids[0], "a/notice/n0");
}
