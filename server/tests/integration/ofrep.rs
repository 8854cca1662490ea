//! The evaluation of all flags of an environment.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use rollbook_ledger::flag::FlagCommand;
use rollbook_ledger::projection::replay::PastBounds;
use rollbook_proto::v1::{FlagMode, FlagSetting};
use rollbook_server::auth::{ACTOR_HEADER, AssertedName};
use serde::Serialize;
use serde_json::{Value, json};

use crate::harness::{Answer, Server};

const ALL: &str = "/ofrep/v1/evaluate/flags";

async fn post(server: &Server, path: &str, body: &impl Serialize) -> Answer {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .header(ACTOR_HEADER, "alice")
        .body(Body::from(serde_json::to_vec(body).unwrap()))
        .unwrap();
    server.send(request).await
}

async fn command(server: &Server, key: &str, command: &FlagCommand) {
    let path = format!("/v1/flags/staging/{key}/commands");
    let answer = post(server, &path, command).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

async fn define(server: &Server, key: &str) {
    let on = FlagSetting {
        mode: FlagMode::On.into(),
        ..FlagSetting::default()
    };
    let define = FlagCommand::Define {
        description: "the new path".to_owned(),
        owner: "engineering".to_owned(),
        safe: on.clone(),
        initial: on,
        retire_by: String::new(),
        salt: None,
    };
    command(server, key, &define).await;
}

fn staging() -> Value {
    json!({"context": {"environment": "staging"}})
}

#[tokio::test]
async fn all_flags_come_in_order_without_archived_ones() {
    let server = Server::with(Arc::new(AssertedName), PastBounds::default()).await;
    let mut keys: Vec<String> = (10..50).map(|number| format!("FLAG_{number}")).collect();
    for key in keys.iter().rev() {
        define(&server, key).await;
    }
    let reason = "it is gone".to_owned();
    command(&server, "FLAG_20", &FlagCommand::Archive { reason }).await;
    keys.retain(|key| key != "FLAG_20");
    let answer = post(&server, ALL, &staging()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let flags = answer.json["flags"].as_array().unwrap();
    let found: Vec<&str> = flags
        .iter()
        .filter_map(|flag| flag["key"].as_str())
        .collect();
    assert_eq!(found, keys);
}

#[tokio::test]
async fn views_that_lag_are_unavailable_instead_of_a_shorter_list() {
    let server = Server::with(Arc::new(AssertedName), PastBounds::default()).await;
    define(&server, "FIRST").await;
    server.stop_projecting();
    define(&server, "SECOND").await;
    let answer = post(&server, ALL, &staging()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.json["errorDetails"].is_string(), "{answer:?}");
    // A single flag does not need them.
    let one = post(&server, &format!("{ALL}/SECOND"), &staging()).await;
    assert_eq!(one.json["value"], true, "{one:?}");
}

#[tokio::test]
async fn an_environment_that_cannot_exist_is_a_wrong_context() {
    let server = Server::with(Arc::new(AssertedName), PastBounds::default()).await;
    let context = json!({"context": {"environment": "no name"}});
    for path in [ALL.to_owned(), format!("{ALL}/FIRST")] {
        let answer = post(&server, &path, &context).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        assert_eq!(answer.json["errorCode"], "INVALID_CONTEXT");
    }
}
