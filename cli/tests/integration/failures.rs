//! How things end: damage while a server is running, a stream that is replaced under it, a reader
//! that is cut off, and what clients are told then.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};

use crate::distributed::{nats, serve};
use crate::harness::{Place, Process, nats_server, wait_for};
use crate::http::ask;

/// Overwrites the content but keeps the size, like a disk that returns other bytes.
fn overwrite(place: &Place, name: &str, from: u64) {
    let path = place.data_dir().join(name);
    let size = fs::metadata(&path).unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    let rest = usize::try_from(size.saturating_sub(from)).unwrap();
    file.write_all(&vec![0xA5; rest]).unwrap();
}

/// The plan of a rollout as the server holds it.
fn plan(server: &str, id: &str) -> Value {
    let url = format!("{server}/v1/rollouts/{id}/plan");
    let (status, plan) = ask(Method::GET, &url, |request| request);
    assert_eq!(status, 200, "{plan}");
    plan
}

fn set_aside(place: &Place) -> bool {
    let entries = fs::read_dir(place.data_dir()).unwrap().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|name| name.starts_with("views.db.damaged-"))
}

#[test]
fn views_that_are_damaged_while_up_runs_are_rebuilt() {
    let place = Place::new();
    let file = place.hello();
    let up = place.up();
    place.waiting(file, "h");
    let timeline = || {
        let url = format!("{}/v1/rollouts/h/timeline", place.endpoint());
        ask(Method::GET, &url, |request| request).1["data"]["rows"].clone()
    };
    let before = timeline();
    assert!(before.as_array().unwrap().len() > 3, "{before}");
    overwrite(&place, "views.db", 0);
    overwrite(&place, "views.db-wal", 32);
    // Cached pages are read again once something is written.
    wait_for("the damage to be met", || {
        for line in [
            "pause h --reason r --as alice",
            "resume h --as alice",
            "doctor",
        ] {
            place.run(line);
        }
        assert!(!up.ended(), "`rollbook up` ended");
        set_aside(&place)
    });
    wait_for("the views to be there again", || {
        place.run("doctor").code == Some(0)
    });
    place.run("doctor").exits(0).says("rebuilt from the ledger");
    place.run("resume h --as alice");
    place.run("complete 1.2 h --all-pass --as alice").exits(0);
    place.run("status h --wait 60").exits(4);
    place.approve("1 h --as bob").exits(0);
    place.run("status h --wait 60").exits(0).says("succeeded");
    // The earlier content is back.
    let after = timeline();
    let after = after.as_array().unwrap();
    let rows = before.as_array().unwrap();
    assert_eq!(&after[..rows.len()], &rows[..]);
    up.signal(Signal::SIGTERM);
    up.finish().exits(0).complains("continuing with new ones");
    // The new one is intact.
    let up = place.up();
    place.run("status h").exits(0).says("succeeded");
    assert!(!up.ended());
}

#[test]
fn a_server_whose_stream_was_replaced_ends_with_6() {
    let place = Place::new();
    let (first_nats, url) = nats(&place, "always");
    let (server, address) = serve(&place, &url, "--database sqlite:views.db");
    let file = place.hello();
    let open = |id: &str, server: &str| {
        place.run(&format!(
            "open {file} --env local --id {id} --as alice --server {server}"
        ))
    };
    open("ours", &address).exits(0);
    first_nats.signal(Signal::SIGKILL);
    first_nats.finish();
    fs::remove_dir_all(place.path().join("js")).unwrap();
    let mut again = Command::new(nats_server());
    again.args(["-c", "nats.conf"]).current_dir(place.path());
    let _again = Process::start(&mut again);
    let address_of_nats = url.strip_prefix("nats://").unwrap();
    wait_for("nats-server", || {
        TcpStream::connect(address_of_nats).is_ok()
    });
    // A ledger of the same name, longer than the first.
    let (_other, elsewhere) = serve(&place, &url, "--database sqlite:other.db");
    for id in ["a", "b", "c", "d"] {
        open(id, &elsewhere).exits(0);
    }
    let ended = server.finish().exits(6);
    assert!(ended.err.contains("RB-"), "{}", ended.err);
    let log = place.run(&format!("log --json --server {elsewhere}"));
    let log = log.exits(0).out;
    assert!(!log.contains("\"ours\""), "{log}");
    // It is refused as long as its views remember the first.
    place
        .run(&format!(
            "serve --nats {url} --objects objects --listen 127.0.0.1:0 --database sqlite:views.db"
        ))
        .exits(6)
        .complains("RB-INTEGRITY-");
}

#[test]
fn an_error_reveals_no_path_of_the_server() {
    let place = Place::new();
    let file = place.hello();
    let up = place.up();
    place.open(file, "h");
    let base = place.endpoint();
    let plan = plan(&base, "h");
    // The store is no longer a directory.
    let objects = place.data_dir().join("objects");
    fs::rename(&objects, place.data_dir().join("elsewhere")).unwrap();
    fs::write(&objects, "a file").unwrap();
    let here = place.path().display().to_string();
    let stored = ask(
        Method::POST,
        &format!("{base}/v1/evidence?name=x"),
        |request| request.header("rollbook-actor", "alice").body("bytes"),
    );
    let opened = ask(Method::POST, &format!("{base}/v1/rollouts"), |request| {
        request
            .header("rollbook-actor", "alice")
            .json(&json!({"id": "new", "plan": plan, "environment": "local", "params": {}}))
    });
    for (status, answer) in [&stored, &opened] {
        assert_eq!(*status, 503, "{answer}");
        assert!(!answer.to_string().contains(&here), "{answer}");
    }
    assert!(
        stored.1["code"]
            .as_str()
            .unwrap()
            .starts_with("RB-EVIDENCE-"),
        "{stored:?}"
    );
    for path in [
        format!("/v1/evidence/{}", "0".repeat(64)),
        "/v1/rollouts/h/plan".to_owned(),
        "/health?report=true".to_owned(),
        "/v1/rollouts/h".to_owned(),
    ] {
        let (_, answer) = ask(Method::GET, &format!("{base}{path}"), |request| request);
        assert!(!answer.to_string().contains(&here), "{path}: {answer}");
    }
    up.signal(Signal::SIGTERM);
    // The operator finds it in the server's log.
    up.finish()
        .exits(0)
        .complains(&objects.display().to_string());
}

#[test]
fn an_interrupted_log_says_how_to_continue() {
    let place = Place::new();
    let file = place.hello();
    let up = place.up();
    place.open(file, "h");
    place
        .run("log --follow --after 100000")
        .exits(2)
        .complains("RB-API-22");
    let lines = place.run("log h --json").exits(0).json_lines();
    let last = &lines.last().unwrap()["sequence"];
    let log = Process::start(&mut place.command("log h --follow --json"));
    log.until_says(&format!("\"sequence\":{last}"));
    up.signal(Signal::SIGKILL);
    up.finish();
    log.finish().exits(7).complains(&format!(
        "continue with: rollbook log h --follow --json --after {last}"
    ));

    // A server that says why it ends the connection.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let _ = connection.read(&mut [0; 4096]).unwrap();
        let body = format!(
            "{}\n{}\n",
            json!({"sequence": 7, "commit": {}}),
            json!({"code": "RB-API-31", "message": "RB-API-31: too many", "class": "unavailable"}),
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(body.as_bytes()).unwrap();
    });
    let ran = place
        .run(&format!("log --follow --server {server}"))
        .exits(7);
    answering.join().unwrap();
    assert!(!ran.out.contains("RB-API-31"), "{}", ran.out);
    ran.complains("RB-API-31").complains(&format!(
        "continue with: rollbook log --follow --server {server} --after 7"
    ));
}

#[test]
fn a_truncated_list_says_so() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place.open(file, "r0");
    let plan = plan(&place.endpoint(), "r0");
    let url = format!("{}/v1/rollouts", place.endpoint());
    for number in 1..51 {
        let body =
            json!({"id": format!("r{number}"), "plan": plan, "environment": "local", "params": {}});
        let (status, answer) = ask(Method::POST, &url, |request| {
            request.header("rollbook-actor", "alice").json(&body)
        });
        assert_eq!(status, 201, "{answer}");
    }
    let list = place
        .run("list")
        .exits(0)
        .says("the 50 newest; there are more");
    assert!(!list.out.contains("r0 "), "{}", list.out);
    let all = place.run("list --limit 60").exits(0);
    assert!(!all.out.contains("there are more"), "{}", all.out);
    let all = place.run("list --limit 60 --json").exits(0).json();
    assert_eq!(all["data"].as_array().unwrap().len(), 51);
}
