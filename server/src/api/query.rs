//! The query parameters that each path accepts. Others are refused: a filter with a misspelt name
//! must not be silently ignored.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ApiError;

/// The parameters that a path accepts.
fn understood(path: &str) -> &'static [&'static str] {
    match path {
        "/v1/rollouts" => &[
            "at",
            "environment",
            "runbook",
            "status",
            "open_only",
            "before_sequence",
            "limit",
        ],
        "/v1/rollouts/{id}" => &["at_least"],
        "/v1/rollouts/{id}/plan" => &["revision"],
        "/v1/rollouts/{id}/difference" => &["from", "to"],
        "/v1/rollouts/{id}/timeline" => &[
            "at",
            "subject",
            "after_sequence",
            "after_idx",
            "after_ordinal",
            "limit",
        ],
        "/v1/rollouts/{id}/steps/{step}/measurements" | "/v1/anomalies" => &[
            "at",
            "after_sequence",
            "after_idx",
            "after_ordinal",
            "limit",
        ],
        "/v1/flags" => &["at", "environment"],
        "/v1/flags/{environment}/{key}/history" => &["at"],
        "/v1/snapshots" | "/v1/comparisons" | "/v1/audits" => &["at", "rollout"],
        "/v1/regressions" => &[
            "at",
            "rollout",
            "comparison",
            "current_only",
            "after_sequence",
            "after_idx",
            "after_ordinal",
            "limit",
        ],
        "/v1/alerts" => &["at", "rollout", "open_only"],
        "/v1/rollouts/{id}/rollback/{level}" => &["steps"],
        "/v1/rollouts/{id}/progress" => &["follow"],
        "/v1/requests" => &["request", "rollout", "open_only"],
        "/v1/log" => &[
            "after",
            "limit",
            "follow",
            "aggregate",
            "actor",
            "since",
            "until",
            "rollout",
            "type",
            "environment",
        ],
        "/v1/events" => &["after", "rollout", "type", "environment"],
        "/v1/evidence" => &["name"],
        "/health" => &["report"],
        _ => &[],
    }
}

/// Refuses a request whose query has a parameter that its path does not accept.
pub(super) async fn known(request: Request, next: Next) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let known = understood(path);
    let query = request.uri().query().unwrap_or_default();
    let unknown = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default())
        .find(|name| !name.is_empty() && !known.contains(name));
    match unknown {
        // An unknown path is answered as such.
        Some(name) if !path.is_empty() => {
            let list = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            ApiError::usage(
                "RB-API-21",
                format!("{path} has no query parameter `{name}`; it understands: {list}"),
            )
            .into_response()
        }
        _ => next.run(request).await,
    }
}
