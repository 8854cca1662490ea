//! An OFREP server with one flag.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Serves until it is dropped.
pub(crate) struct FlagServer {
    on: Arc<AtomicBool>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl FlagServer {
    pub(crate) async fn start(on: bool) -> Self {
        let on = Arc::new(AtomicBool::new(on));
        let router = Router::new()
            .route("/ofrep/v1/evaluate/flags/{key}", post(evaluate))
            .with_state(Arc::clone(&on));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { on, address, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    /// From here on nothing answers at the address.
    pub(crate) async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn evaluate(
    State(on): State<Arc<AtomicBool>>,
    Path(key): Path<String>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    if key != "DEAL_TYPE_AWARENESS" {
        return (
            StatusCode::NOT_FOUND,
            Json(json!({ "key": key, "errorCode": "FLAG_NOT_FOUND" })),
        );
    }
    if body["context"]["targetingKey"] != "cost-service"
        || body["context"]["environment"] != "staging"
    {
        return (
            StatusCode::BAD_REQUEST,
            Json(json!({ "key": key, "errorCode": "INVALID_CONTEXT" })),
        );
    }
    let value = on.load(Ordering::SeqCst);
    (
        StatusCode::OK,
        Json(
            json!({ "key": key, "value": value, "variant": value.to_string(), "reason": "STATIC" }),
        ),
    )
}
