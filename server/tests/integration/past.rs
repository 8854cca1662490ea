//! Queries about earlier moments: `?at=`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures::future::join_all;
use rollbook_ledger::ids::{Aggregate, WorkerName};
use rollbook_ledger::projection::replay::PastBounds;
use rollbook_proto::SCHEMA_VERSION;
use rollbook_proto::v1::{Commit, Event, WorkerJoined, WorkerLeft, event::Kind};
use rollbook_server::auth::AssertedName;

use crate::harness::Server;

/// A ledger of three commits.
async fn server(bounds: PastBounds) -> Server {
    let server = Server::with(Arc::new(AssertedName), bounds).await;
    let worker = Aggregate::Worker(WorkerName::new("w").unwrap());
    for previous in 0..3 {
        let joins = Kind::WorkerJoined(WorkerJoined::default());
        let leaves = Kind::WorkerLeft(WorkerLeft::default());
        let kind = if previous % 2 == 0 { joins } else { leaves };
        let commit = Commit {
            id: format!("00000000-0000-4000-8000-{previous:012}"),
            ledger: "main".to_owned(),
            schema_version: SCHEMA_VERSION,
            aggregate: worker.kind().to_owned(),
            aggregate_id: worker.id(),
            command_id: previous.to_string(),
            previous_sequence: previous,
            events: vec![Event { kind: Some(kind) }],
            ..Commit::default()
        };
        server.journal.append(&worker, commit).await.unwrap();
    }
    server
}

#[tokio::test]
async fn equal_questions_about_the_past_cost_one_replay() {
    let server = server(PastBounds::default()).await;
    let path = "/v1/flags?at=2";
    let asked = join_all((0..20).map(|_| server.get(path))).await;
    for answer in asked {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json["as_of"]["sequence"], 2);
    }
    // Another query about the same moment.
    let rollouts = server.get("/v1/rollouts?at=2").await;
    assert_eq!(rollouts.json["as_of"]["sequence"], 2);
    assert_eq!(server.past.replays(), 1);
    let metrics = server.get("/metrics").await.text;
    let counted =
        "# TYPE rollbook_past_views_replays_total counter\nrollbook_past_views_replays_total 1\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn too_many_replays_are_refused_with_a_code() {
    let server = server(PastBounds {
        replays: 0,
        begins_within: Duration::from_millis(1),
        ..PastBounds::default()
    })
    .await;
    let refused = server.get("/v1/flags?at=2").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json["code"], "RB-PROJECTOR-4", "{refused:?}");
    assert_eq!(refused.json["class"], "unavailable");
}
