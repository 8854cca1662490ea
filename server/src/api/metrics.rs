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
    let open = open_rollouts(&api).await?;
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
    gauge(
        "rollbook_rollouts_open",
        "Rollouts that are not closed",
        open,
    );
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}

/// All that are not closed, page by page.
async fn open_rollouts(api: &Api) -> Result<u64, ApiError> {
    let mut filter = RolloutFilter {
        open_only: true,
        ..RolloutFilter::default()
    };
    let mut count = 0_u64;
    loop {
        let page = api.views.rollouts(&filter).await?.data;
        let Some(last) = page.last() else {
            return Ok(count);
        };
        count = count.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
        filter.before_sequence = Some(last.opened_sequence);
    }
}
