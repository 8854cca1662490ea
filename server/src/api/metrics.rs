//! Figures for Prometheus.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use rollbook_ledger::projection::views::RolloutFilter;

use super::{Api, ApiError};

pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let last = api.handler.journal().last_sequence().await?;
    let applied = api.applied.applied().sequence;
    let rollouts = api
        .views
        .rollouts(&RolloutFilter {
            limit: 1_000,
            ..RolloutFilter::default()
        })
        .await?;
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: u64| {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
        );
    };
    gauge(
        "rollbook_ledger_last_sequence",
        "Sequence of the last commit",
        last,
    );
    gauge(
        "rollbook_projection_applied_sequence",
        "Sequence the views stand at",
        applied,
    );
    gauge(
        "rollbook_projection_lag_events",
        "Commits the views are behind",
        last.saturating_sub(applied),
    );
    let open = rollouts
        .data
        .iter()
        .filter(|rollout| rollout.closed_at.is_none())
        .count();
    gauge(
        "rollbook_rollouts_open",
        "Rollouts that are not closed",
        u64::try_from(open).unwrap_or(0),
    );
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
