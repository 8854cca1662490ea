//! Many concurrent connections: the API and the steps continue.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::harness::{Place, Process, runbook, wait_for};

const ONE_STEP: &str = r#"
  - id: "1"
    title: Work
    steps: [{id: "1.1", title: Look, run: {command: "true"}, changes: nothing}]
"#;

/// An `up` with a low soft limit of open files, and this hard limit.
fn up(place: &Place, hard: u32) -> Process {
    let limits = format!("ulimit -Sn 512; ulimit -Hn {hard}; exec \"$0\" \"$@\"");
    let words = ["sh", "-c", &limits].map(str::to_owned);
    let up = Process::start(&mut place.command_behind(&words, "up --listen 127.0.0.1:0"));
    up.until_says("is up");
    up
}

fn own_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).unwrap();
}

fn connect(place: &Place) -> TcpStream {
    let address = place.endpoint().replace("http://", "");
    TcpStream::connect(address).unwrap()
}

fn works(place: &Place, id: &str) {
    let file = place.write("one.yaml", &runbook(ONE_STEP));
    place
        .run(&format!(
            "run {file} --env local --id {id} --as alice --timeout 100"
        ))
        .exits(0);
}

#[test]
fn a_thousand_idle_connections_do_not_disturb_the_work() {
    own_limit();
    let place = Place::new();
    let up = up(&place, 8_192);
    let idle: Vec<TcpStream> = (0..1_000).map(|_| connect(&place)).collect();
    works(&place, "busy");
    // They are eventually closed.
    for mut connection in idle.iter().take(3) {
        connection
            .set_read_timeout(Some(Duration::from_secs(100)))
            .unwrap();
        assert_eq!(connection.read(&mut [0; 16]).unwrap(), 0);
    }
    drop(idle);
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
}

#[test]
fn connections_beyond_the_limit_are_refused_with_a_reason() {
    own_limit();
    let place = Place::new();
    // A quarter of the limit: 256 connections.
    let up = up(&place, 1_024);
    let idle: Vec<TcpStream> = (0..300).map(|_| connect(&place)).collect();
    let mut told = String::new();
    wait_for("a refusal", || {
        let mut one = connect(&place);
        one.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .unwrap();
        told.clear();
        let _ = one.read_to_string(&mut told);
        told.contains("RB-SERVE-5")
    });
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    drop(idle);
    wait_for("room", || place.run("list").code == Some(0));
    works(&place, "after");
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
}

#[test]
fn followers_beyond_the_limit_are_refused_and_the_others_get_every_commit() {
    own_limit();
    let place = Place::new();
    let up = up(&place, 8_192);
    let follow = |number: u32| {
        let mut reader = connect(&place);
        // Readers of the log and of the live feed share the slots.
        let path = ["log?follow=true", "events"][number as usize % 2];
        write!(reader, "GET /v1/{path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        reader
            .set_read_timeout(Some(Duration::from_secs(100)))
            .unwrap();
        reader
    };
    let head = |reader: &mut TcpStream| {
        let mut read = [0; 4096];
        let count = reader.read(&mut read).unwrap();
        String::from_utf8_lossy(&read[..count]).into_owned()
    };
    let mut readers = Vec::new();
    let mut refused = 0;
    for number in 0..600 {
        let mut reader = follow(number);
        let answer = head(&mut reader);
        if answer.starts_with("HTTP/1.1 429") {
            refused += 1;
        } else {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            readers.push(reader);
        }
    }
    assert_eq!((readers.len(), refused), (512, 88));
    works(&place, "followed");
    for reader in &mut readers {
        let mut seen = String::new();
        while !seen.contains("rolloutClosed") {
            seen.push_str(&head(reader));
        }
    }
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
}
