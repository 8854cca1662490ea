//! A span for each request, part of the caller's trace.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use rollbook_ledger::trace;
use tracing::Instrument;
use tracing::field::Empty;

use super::caller::traceparent;

/// Asked every few seconds by whoever watches the server; their spans would bury the others.
const UNTRACED: [&str; 2] = ["/health", "/metrics"];

/// Traces a request until the head of its answer. A body that follows the ledger takes as long as its
/// reader likes.
pub(super) async fn traced(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    if UNTRACED.contains(&route) {
        return next.run(request).await;
    }
    let span = tracing::info_span!(
        parent: None,
        "request",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %request.method(),
        http.route = route,
        http.response.status_code = Empty
    );
    trace::continue_from(&span, traceparent(request.headers()));
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}
