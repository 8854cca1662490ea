//! Queries. Every answer carries `as_of`; every query takes `at` (a sequence or an RFC 3339 time)
//! and is then answered as of that moment, by views replayed up to it. A moment that the ledger has
//! not reached is refused.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use rollbook_ledger::clock::from_proto;
use rollbook_ledger::evidence::without_paths;
use rollbook_ledger::ids::{EnvironmentId, FlagKey, RolloutId, StepId};
use rollbook_ledger::projection::replay::{PastError, Until};
use rollbook_ledger::projection::rows::{
    AlertRow, AnomalyRow, AuditRow, ComparisonRow, FlagHistoryRow, FlagRow, MeasurementRow,
    RegressionRow, RolloutRow, SnapshotRow, TimelineRow,
};
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::views::{
    Page, PageCursor, RegressionFilter, RolloutFilter, TimelineFilter, ViewAnswer,
};
use rollbook_ledger::projection::words::RolloutStatus;
use serde::Deserialize;

use super::{Api, ApiError};

/// The parameters that every query accepts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ViewQuery {
    at: Option<String>,
    rollout: Option<String>,
    environment: Option<String>,
    runbook: Option<String>,
    subject: Option<String>,
    status: Option<RolloutStatus>,
    comparison: Option<u64>,
    current_only: bool,
    open_only: bool,
    before_sequence: Option<u64>,
    after_sequence: u64,
    after_idx: u32,
    after_ordinal: u32,
    limit: u32,
}

impl ViewQuery {
    fn after(&self) -> PageCursor {
        PageCursor {
            sequence: self.after_sequence,
            idx: self.after_idx,
            ordinal: self.after_ordinal,
        }
    }
}

type Found<T> = Result<Json<ViewAnswer<T>>, ApiError>;

impl Api {
    /// The current views, or those as of an earlier moment.
    pub(super) async fn views_at(&self, at: Option<&str>) -> Result<Arc<dyn ViewStore>, ApiError> {
        let Some(at) = at else {
            return Ok(Arc::clone(&self.views));
        };
        let until = Until::named(at).ok_or_else(|| {
            let message = format!("`{at}` is neither a sequence nor an RFC 3339 time");
            ApiError::usage("RB-API-6", message)
        })?;
        self.refuse_beyond(at, until).await?;
        self.past.at(until).await.map_err(|error| {
            if let PastError::Busy { .. } = error {
                return ApiError::unavailable_as(error);
            }
            let told = without_paths(&error.to_string());
            if error.is_damage() {
                ApiError::damage("RB-API-7", told)
            } else {
                ApiError::unavailable("RB-API-7", told)
            }
        })
    }

    /// Refuses a moment that the ledger has not reached: what holds then is not known yet. A time
    /// between the last commit and now is reached, since nothing was recorded after it.
    async fn refuse_beyond(&self, at: &str, until: Until) -> Result<(), ApiError> {
        let journal = self.handler.journal();
        let last = journal.last_sequence().await?;
        let is_beyond = match until {
            Until::Sequence(sequence) => sequence > last,
            Until::Time(time) => time > self.handler.now(),
        };
        if !is_beyond {
            return Ok(());
        }
        let end = journal.at(last).await?;
        let recorded = end.and_then(|end| from_proto(end.commit.recorded_at.as_ref()));
        // The clock of another server may be ahead of ours.
        if matches!(until, Until::Time(time) if recorded.is_some_and(|recorded| time <= recorded)) {
            return Ok(());
        }
        let recorded = recorded.map(|at| format!(", recorded at {at}"));
        Err(ApiError::usage(
            "RB-API-60",
            format!(
                "`{at}` is beyond the end of the ledger, whose last sequence is {last}{}; ask for that or an earlier moment",
                recorded.unwrap_or_default()
            ),
        ))
    }

    async fn answer<T>(&self, query: &ViewQuery, answer: ViewAnswer<T>) -> Json<ViewAnswer<T>> {
        // An answer about the past has no lag.
        let lag = if query.at.is_none() {
            self.lag().await
        } else {
            None
        };
        Json(ViewAnswer { lag, ..answer })
    }
}

pub(super) async fn rollouts(
    State(api): State<Api>,
    Query(query): Query<ViewQuery>,
) -> Found<Vec<RolloutRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    let filter = RolloutFilter {
        environment: query.environment.clone(),
        status: query.status,
        runbook: query.runbook.clone(),
        open_only: query.open_only,
        before_sequence: query.before_sequence,
        limit: query.limit,
    };
    Ok(api.answer(&query, views.rollouts(&filter).await?).await)
}

pub(super) async fn timeline(
    State(api): State<Api>,
    Path(id): Path<RolloutId>,
    Query(query): Query<ViewQuery>,
) -> Found<Page<TimelineRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    let filter = TimelineFilter {
        rollout: Some(id.to_string()),
        subject: query.subject.clone(),
        after: query.after(),
        limit: query.limit,
    };
    let page = views.timeline(&filter).await?;
    if page.data.rows.is_empty() {
        // Either the rollout has none, or it does not exist.
        api.handler.rollout(&id).await?;
    }
    Ok(api.answer(&query, page).await)
}

pub(super) async fn measurements(
    State(api): State<Api>,
    Path((rollout, step)): Path<(RolloutId, StepId)>,
    Query(query): Query<ViewQuery>,
) -> Found<Page<MeasurementRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    let page = views
        .measurements(rollout.as_str(), step.as_str(), query.after(), query.limit)
        .await?;
    if page.data.rows.is_empty() {
        api.known_step(&rollout, &step).await?;
    }
    Ok(api.answer(&query, page).await)
}

pub(super) async fn flags(
    State(api): State<Api>,
    Query(query): Query<ViewQuery>,
) -> Found<Vec<FlagRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    Ok(api
        .answer(&query, views.flags(query.environment.as_deref()).await?)
        .await)
}

pub(super) async fn flag_history(
    State(api): State<Api>,
    Path((environment, key)): Path<(EnvironmentId, FlagKey)>,
    Query(query): Query<ViewQuery>,
) -> Found<Vec<FlagHistoryRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    let history = views
        .flag_history(environment.as_str(), key.as_str())
        .await?;
    if history.data.is_empty() {
        api.known_flag(&environment, &key).await?;
    }
    Ok(api.answer(&query, history).await)
}

pub(super) async fn snapshots(
    State(api): State<Api>,
    Query(query): Query<ViewQuery>,
) -> Found<Vec<SnapshotRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    Ok(api
        .answer(&query, views.snapshots(query.rollout.as_deref()).await?)
        .await)
}

pub(super) async fn comparisons(
    State(api): State<Api>,
    Query(query): Query<ViewQuery>,
) -> Found<Vec<ComparisonRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    Ok(api
        .answer(&query, views.comparisons(query.rollout.as_deref()).await?)
        .await)
}

pub(super) async fn regressions(
    State(api): State<Api>,
    Query(query): Query<ViewQuery>,
) -> Found<Page<RegressionRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    let filter = RegressionFilter {
        rollout: query.rollout.clone(),
        comparison: query.comparison,
        current_only: query.current_only,
        after: query.after(),
        limit: query.limit,
    };
    Ok(api.answer(&query, views.regressions(&filter).await?).await)
}

pub(super) async fn audits(
    State(api): State<Api>,
    Query(query): Query<ViewQuery>,
) -> Found<Vec<AuditRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    Ok(api
        .answer(&query, views.audits(query.rollout.as_deref()).await?)
        .await)
}

pub(super) async fn alerts(
    State(api): State<Api>,
    Query(query): Query<ViewQuery>,
) -> Found<Vec<AlertRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    Ok(api
        .answer(
            &query,
            views
                .alerts(query.rollout.as_deref(), query.open_only)
                .await?,
        )
        .await)
}

pub(super) async fn anomalies(
    State(api): State<Api>,
    Query(query): Query<ViewQuery>,
) -> Found<Page<AnomalyRow>> {
    let views = api.views_at(query.at.as_deref()).await?;
    Ok(api
        .answer(&query, views.anomalies(query.after(), query.limit).await?)
        .await)
}
