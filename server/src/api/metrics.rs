//! Metrics for Prometheus.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use rollbook_ledger::projection::store::{ViewError, ViewStore};
use rollbook_ledger::projection::views::RolloutFilter;

use super::{Api, ApiError};

pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let last = api.handler.journal().last_sequence().await?;
    let applied = api.applied.applied().sequence;
    let open = open_rollouts(&*api.views).await?;
    let mut text = String::new();
    let mut metric = |kind: &str, name: &str, help: &str, value: u64| {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
    };
    metric(
        "counter",
        "rollbook_past_views_replays_total",
        "Replays of the ledger for answers as of an earlier moment",
        api.past.replays(),
    );
    let mut gauge = |name: &str, help: &str, value: u64| metric("gauge", name, help, value);
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

/// All rollouts that are not closed, page by page.
async fn open_rollouts(views: &dyn ViewStore) -> Result<u64, ViewError> {
    let mut filter = RolloutFilter {
        open_only: true,
        ..RolloutFilter::default()
    };
    let mut count = 0_u64;
    loop {
        let page = views.rollouts(&filter).await?.data;
        let Some(last) = page.last() else {
            return Ok(count);
        };
        count = count.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
        filter.before_sequence = Some(last.opened_sequence);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::Timestamp;
    use rollbook_ledger::journal::StoredCommit;
    use rollbook_ledger::projection::sqlite;
    use rollbook_proto::SCHEMA_VERSION;
    use rollbook_proto::v1::{Commit, Event, RolloutOpened, event::Kind};

    use super::*;

    #[tokio::test]
    async fn all_open_rollouts_are_counted_not_only_a_page_of_them() {
        let views = sqlite::in_memory().await.unwrap();
        let opened = |sequence: u64| {
            StoredCommit::new(
                sequence,
                Timestamp::UNIX_EPOCH,
                Commit {
                    id: format!("00000000-0000-4000-8000-{sequence:012}"),
                    ledger: "main".to_owned(),
                    schema_version: SCHEMA_VERSION,
                    aggregate: "rollout".to_owned(),
                    aggregate_id: format!("r{sequence}"),
                    events: vec![Event {
                        kind: Some(Kind::RolloutOpened(RolloutOpened::default())),
                    }],
                    ..Commit::default()
                },
            )
        };
        let commits: Vec<StoredCommit> = (1..=1_234).map(opened).collect();
        views.apply(&commits).await.unwrap();
        assert_eq!(open_rollouts(&*views).await.unwrap(), 1_234);
    }
}
