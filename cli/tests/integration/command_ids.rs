//! A command id identifies one command of one person: repeated, it gets its first answer; for
//! anything else it is refused; without an answer nobody claims that nothing happened.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Place, Process};
use crate::http::ask;

/// Sends a command as a person with a command id.
fn send(url: &str, person: &str, id: &str, body: &Value) -> (u16, Value) {
    ask(Method::POST, url, |request| {
        request
            .header("rollbook-actor", person)
            .header("idempotency-key", id)
            .json(body)
    })
}

#[test]
fn a_repeated_command_gets_the_first_answer() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place.open(file, "h");
    place
        .run("flag define F --env local --owner eng --description d --as alice")
        .exits(0);
    let base = place.endpoint();
    let rollout = format!("{base}/v1/rollouts/h/commands");
    let flag = format!("{base}/v1/flags/local/F/commands");
    let set = |mode: &str| json!({"command": "set", "to": {"mode": mode}, "reason": "x"});
    let first = [
        send(&rollout, "alice", "k", &json!({"command": "start"})),
        send(&flag, "alice", "k", &set("ON")),
    ];
    place.run("pause h --reason lunch --as bob").exits(0);
    place
        .run("flag set F off --env local --reason back --as bob")
        .exits(0);
    let again = [
        send(&rollout, "alice", "k", &json!({"command": "start"})),
        send(&flag, "alice", "k", &set("ON")),
    ];
    for ((status, first), (repeated_status, again)) in first.iter().zip(&again) {
        assert_eq!((*status, *repeated_status), (200, 200), "{first} {again}");
        assert_eq!(first["sequence"], again["sequence"]);
        assert_eq!(first["events"], again["events"]);
        assert_eq!(first["events"].as_array().unwrap().len(), 1);
        assert_eq!(again["repeated"], true);
    }
    // The spelling of the JSON does not matter.
    let spelled = ask(Method::POST, &rollout, |request| {
        request
            .header("rollbook-actor", "alice")
            .header("idempotency-key", "k")
            .header("content-type", "application/json")
            .body(" {\n\"command\" :\t\"start\"} ")
    });
    assert_eq!(spelled.0, 200, "{spelled:?}");

    let before = place.run("log --json").exits(0).out;
    for refused in [
        send(
            &rollout,
            "alice",
            "k",
            &json!({"command": "abort", "reason": "x"}),
        ),
        send(&rollout, "bob", "k", &json!({"command": "start"})),
        send(&flag, "alice", "k", &set("OFF")),
        send(&flag, "bob", "k", &set("ON")),
    ] {
        assert_eq!(refused.0, 409, "{refused:?}");
        assert_eq!(refused.1["code"], "RB-HANDLER-15", "{refused:?}");
        assert_eq!(refused.1["class"], "usage", "{refused:?}");
    }
    for id in ["", "a b", "é", &"x".repeat(129)] {
        let refused = ask(Method::POST, &rollout, |request| {
            request
                .header("rollbook-actor", "alice")
                .header("idempotency-key", id.as_bytes())
                .json(&json!({"command": "start"}))
        });
        assert_eq!(
            (refused.0, &refused.1["code"]),
            (400, &json!("RB-API-2")),
            "{id}"
        );
    }
    assert_eq!(place.run("log --json").exits(0).out, before);
}

#[test]
fn a_rollout_is_opened_once_with_and_without_an_id() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    for (line, count) in [
        (
            format!("open {file} --env local --id h --as alice --start"),
            1,
        ),
        (format!("open {file} --env local --as alice --start"), 2),
    ] {
        let id = format!("open-{count}");
        let line = format!("{line} --command-id {id} --json");
        let first = place.run(&line).exits(0).json();
        let again = place.run(&line).exits(0).json();
        assert_eq!(first["rollout"], again["rollout"]);
        assert_eq!(first["sequence"], again["sequence"]);
        assert_eq!(first["events"], again["events"]);
        let listed = place.run("list --json").exits(0).json();
        assert_eq!(listed["data"].as_array().unwrap().len(), count);
        place
            .run(&line.replace("--start", "--name other"))
            .exits(2)
            .complains("RB-HANDLER-15");
    }
    place
        .run("pause h --reason lunch --as alice --command-id p")
        .exits(0)
        .says("h recorded rollout_paused");
    place.run("resume h --as alice").exits(0);
    place
        .run("pause h --reason lunch --as alice --command-id p")
        .exits(0)
        .says("h had recorded rollout_paused");
    place
        .run("pause h --reason tea --as alice --command-id p")
        .exits(2)
        .complains("RB-HANDLER-15");
    place
        .run("pause h --reason tea --as alice --command-id é")
        .exits(2)
        .complains("RB-CLI-80");
    place
        .run("list --command-id p")
        .exits(2)
        .complains("RB-CLI-82");
}

/// A proxy that passes requests on to a server, but never its responses back.
fn request_only_proxy(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = pass_on(client, &server);
        }
    });
    address
}

fn pass_on(mut client: TcpStream, server: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&request) {
        match client.read(&mut chunk)? {
            0 => break,
            read => request.extend_from_slice(&chunk[..read]),
        }
    }
    let mut behind = TcpStream::connect(server)?;
    behind.write_all(&request)?;
    // By the time the server responds, it has applied the command.
    behind.read(&mut chunk).map(|_| ())
}

/// Whether the headers and the announced bytes of the body have arrived.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.trim().parse().unwrap());
    body.len() >= length
}

#[test]
fn a_command_without_an_answer_is_unknown_and_can_be_repeated() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place.open(file, "h");
    let url = place.endpoint();
    let proxy = request_only_proxy(&url);
    let line = format!("open {file} --env local --id second --name 'a b' --as alice");
    let mut typed = place.command(&line);
    typed.env("ROLLBOOK_SERVER", &proxy);
    let unknown = Process::start(&mut typed).finish().exits(7);
    let unknown = unknown.complains("RB-CLI-81").complains("unknown:");
    let again = unknown.err.lines().last().unwrap().trim().to_owned();
    assert!(again.starts_with("rollbook open hello.yaml"), "{again}");
    let again = again.trim_start_matches("rollbook ").to_owned();
    place
        .run(&again)
        .exits(0)
        .says("second had recorded rollout_opened");
    let log = place.run("log second --json").exits(0).out;
    assert_eq!(log.matches("rolloutOpened").count(), 1, "{log}");

    // Nobody listens: nothing was sent, and the error says so.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    place
        .run(&format!("{line} --server http://{nobody}"))
        .exits(7)
        .complains("RB-CLI-5");
}
