//! The HTTP API as programs see it: every refusal is JSON with a code, and changes nothing.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::Place;

/// One request and its response: status, and the body as JSON (null if it is not JSON).
pub(crate) fn ask(
    method: Method,
    url: &str,
    fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> (u16, Value) {
    let (status, _, body) = answered(method, url, fill);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// The same with the headers of the answer and its body as it is.
pub(crate) fn answered(
    method: Method,
    url: &str,
    fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> (u16, HeaderMap, String) {
    // Fails only if it is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method, url).timeout(Duration::from_secs(30));
        let answer = fill(request).send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        (status, headers, answer.text().await.unwrap())
    })
}

/// POST of JSON, as a dashboard or an OpenFeature SDK does.
pub(crate) fn post(url: &str, body: &Value) -> (u16, Value) {
    ask(Method::POST, url, |request| request.json(body))
}

#[test]
fn every_refusal_has_a_code_and_leaves_no_trace() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place.waiting(file, "h");
    let before = place.run("log --json").exits(0).out;
    let base = place.endpoint();
    let json_text = "application/json";
    let post_raw = |path: &str, content: &'static str, body: Vec<u8>| {
        ask(Method::POST, &format!("{base}{path}"), |request| {
            request
                .header("rollbook-actor", "alice")
                .header("content-type", content)
                .body(body)
        })
    };
    let get = |path: &str| ask(Method::GET, &format!("{base}{path}"), |request| request);
    let answers = [
        (get("/"), 404, "usage"),
        (get("/v1/rollouts/ghost"), 404, "usage"),
        (get("/v1/rollouts/..%2f..%2fetc"), 400, "usage"),
        (get("/v1/rollouts?limit=many"), 400, "usage"),
        (get("/v1/rollouts?enviroment=local"), 400, "usage"),
        (get("/v1/flags?rollout=h"), 400, "usage"),
        (get("/v1/fleet?limit=1"), 400, "usage"),
        (get("/v1/rollouts/h/timeline?at=-1"), 400, "usage"),
        (get("/v1/log?after=start"), 400, "usage"),
        (get("/v1/evidence/zz"), 400, "usage"),
        (
            get(&format!("/v1/evidence/{}", "0".repeat(64))),
            404,
            "usage",
        ),
        (
            ask(
                Method::DELETE,
                &format!("{base}/v1/rollouts/h"),
                |request| request,
            ),
            405,
            "usage",
        ),
        (
            post(
                &format!("{base}/v1/rollouts/h/commands"),
                &json!({"command": "start"}),
            ),
            400,
            "usage",
        ),
        (
            post_raw("/v1/rollouts/h/commands", json_text, b"{".to_vec()),
            400,
            "usage",
        ),
        (
            post_raw("/v1/rollouts/h/commands", "text/plain", b"{}".to_vec()),
            415,
            "usage",
        ),
        (
            post_raw(
                "/v1/rollouts/h/commands",
                json_text,
                b"{\"command\":\"explode\"}".to_vec(),
            ),
            422,
            "usage",
        ),
        (
            post_raw("/v1/rollouts/h/commands", json_text, b"\xff\xfe".to_vec()),
            400,
            "usage",
        ),
        (
            post_raw(
                "/v1/rollouts",
                json_text,
                br#"{"plan":{},"environment":"x","params":{}}"#.to_vec(),
            ),
            422,
            "usage",
        ),
        (
            post_raw("/v1/rollouts", json_text, vec![b' '; 9_000_000]),
            413,
            "usage",
        ),
        (
            post_raw("/v1/evidence", "text/plain", b"x".to_vec()),
            400,
            "usage",
        ),
        (
            post_raw(
                "/v1/rollouts/h/commands",
                json_text,
                br#"{"command":"retry","step":"1.3","reason":"x"}"#.to_vec(),
            ),
            409,
            "refused",
        ),
        (
            post_raw(
                "/v1/rollouts/h/commands",
                json_text,
                br#"{"command":"reject","gate":"1","reason":""}"#.to_vec(),
            ),
            422,
            "usage",
        ),
    ];
    for (index, ((status, body), wanted, class)) in answers.into_iter().enumerate() {
        assert_eq!(status, wanted, "request {index}: {body}");
        assert_eq!(body["class"], class, "request {index}: {body}");
        let code = body["code"].as_str().unwrap_or_default();
        let message = body["message"].as_str().unwrap_or_default();
        assert!(
            code.starts_with("RB-") && message.starts_with(code),
            "request {index}: {body}"
        );
    }
    assert_eq!(place.run("log --json").exits(0).out, before);
}

#[test]
fn a_command_sent_twice_is_applied_once() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place.open(file, "h");
    let url = format!("{}/v1/rollouts/h/commands", place.endpoint());
    let send = || {
        ask(Method::POST, &url, |request| {
            request
                .header("rollbook-actor", "alice")
                .header("idempotency-key", "start-1")
                .json(&json!({"command": "start"}))
        })
    };
    let (first, second) = (send(), send());
    assert_eq!((first.0, second.0), (200, 200), "{first:?} {second:?}");
    assert!(
        first.1["events"].to_string().contains("rolloutStarted"),
        "{first:?}"
    );
    assert_eq!(first.1["events"], second.1["events"]);
    assert_eq!(first.1["sequence"], second.1["sequence"]);
    let log = place.run("log h --json").exits(0).out;
    assert_eq!(log.matches("rolloutStarted").count(), 1, "{log}");
}

#[test]
fn what_does_not_exist_is_not_an_empty_list() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place.open(file, "h");
    place
        .run("flag define F --env local --owner eng --description d --as alice")
        .exits(0);
    let base = place.endpoint();
    let get = |path: &str| ask(Method::GET, &format!("{base}{path}"), |request| request);
    for path in [
        "/v1/flags/local/GHOST/history",
        "/v1/flags/moon/F/history",
        "/v1/flags/local/GHOST/history?at=1",
        "/v1/flags/local/GHOST",
        "/v1/rollouts/h/steps/9.9/measurements",
        "/v1/rollouts/ghost/steps/1.1/measurements",
        "/v1/rollouts/ghost/timeline",
        "/v1/rollouts/h/steps/9.9/output",
    ] {
        let (status, body) = get(path);
        assert_eq!(status, 404, "{path}: {body}");
        assert_eq!(body["code"], "RB-HANDLER-1", "{path}: {body}");
    }
    for path in [
        "/v1/flags/local/F/history",
        "/v1/rollouts/h/steps/1.1/measurements",
        "/v1/rollouts/h/timeline",
    ] {
        let (status, body) = get(path);
        assert_eq!(status, 200, "{path}: {body}");
    }
    for line in [
        "flag history GHOST --env local",
        "flag get GHOST --env local",
        "flag history F --env moon",
        "show 9.9 h",
        "show 9.9 h --follow",
        "replay ghost --at 1",
    ] {
        place.run(line).exits(2).complains("RB-");
        let failed = place.run(&format!("{line} --json")).exits(2);
        let error: Value = serde_json::from_str(&failed.err).unwrap();
        assert_eq!(error["exit"], 2, "{line}: {error}");
    }
}

#[test]
fn a_request_for_another_host_is_refused() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place.open(file, "h");
    place
        .run("flag define F --env production --owner eng --description d --as alice")
        .exits(0);
    let before = place.run("log --json").exits(0).out;
    let base = place.endpoint();
    let port = base.rsplit_once(':').unwrap().1;
    let send = |method: Method, path: &str, host: &str| {
        ask(method, &format!("{base}{path}"), |request| {
            request
                .header("host", host)
                .header("rollbook-actor", "alice")
                .json(&json!({"command": "start"}))
        })
    };
    let requests = [
        (Method::GET, "/health"),
        (Method::GET, "/v1/rollouts"),
        (Method::GET, "/v1/log?follow=true"),
        (Method::GET, "/v1/rollouts/h/steps/1.1/output"),
        (Method::GET, "/nowhere"),
        (Method::POST, "/v1/rollouts/h/commands"),
        (Method::POST, "/ofrep/v1/evaluate/flags/F"),
    ];
    for (method, path) in requests {
        for host in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            "localhost.evil.example".to_owned(),
            "192.168.0.1".to_owned(),
        ] {
            let (status, body) = send(method.clone(), path, &host);
            assert_eq!(status, 403, "{method} {path} for {host}: {body}");
            assert_eq!(body["code"], "RB-API-9", "{body}");
            assert_eq!(body["class"], "policy", "{body}");
        }
    }
    assert_eq!(place.run("log --json").exits(0).out, before);
    for host in [
        format!("localhost:{port}"),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]:80".to_owned(),
    ] {
        let (status, body) = send(Method::GET, "/v1/rollouts", &host);
        assert_eq!(status, 200, "{host}: {body}");
        let (status, body) = send(Method::POST, "/ofrep/v1/evaluate/flags/F", &host);
        assert_eq!(status, 200, "{host}: {body}");
    }
}
