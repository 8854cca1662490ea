//! What the API reports about what it stands on.

use std::sync::Arc;

use axum::http::StatusCode;
use rollbook_ledger::projection::replay::PastBounds;
use rollbook_server::auth::AssertedName;

use crate::harness::Server;

#[tokio::test]
async fn the_api_reports_on_whatever_adapters_it_was_given() {
    let server = Server::with(Arc::new(AssertedName), PastBounds::default()).await;
    let ledger = server.get("/v1/ledger").await;
    assert_eq!(ledger.status, StatusCode::OK, "{ledger:?}");
    assert_eq!(ledger.json["stream"], "main");
    assert_eq!(ledger.json["sync"], "unknown");
    let fleet = server.get("/v1/fleet").await;
    assert_eq!(fleet.json["workers"], serde_json::json!([]), "{fleet:?}");
    let health = server.get("/health").await;
    assert_eq!(health.status, StatusCode::OK, "{health:?}");
    assert_eq!(health.json["status"], "ok");
}
