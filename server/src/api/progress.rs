//! Progress of running steps: the latest state, and each new one as it comes.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use rollbook_ledger::handler::LoadedRollout;
use rollbook_ledger::ids::{RolloutId, StepId};
use rollbook_ledger::rollout::{Status, StepState, StepStatus};
use rollbook_ledger::runbook::plan::PlannedStep;
use rollbook_workers::executor::StepProgress;
use rollbook_workers::fleet::QueueError;
use serde::Deserialize;

use super::followers::holding;
use super::until::until;
use super::{Api, ApiError};

/// The last states of a step arrive at most this long after its result.
const LAST_WITHIN: Duration = Duration::from_millis(500);

/// How long a status waits for progress.
const STATUS_WAIT: Duration = Duration::from_secs(1);

/// Whether to follow.
#[derive(Debug, Deserialize)]
pub(super) struct ProgressQuery {
    /// Keep the connection open until the rollout is over, and deliver each new state as it is
    /// reported.
    #[serde(default)]
    follow: bool,
}

/// The latest state of each step that reported within the last hour, ordered by step. With
/// `follow`: the same as JSON lines, then every new one, at most one a second per step.
pub(super) async fn progress(
    State(api): State<Api>,
    Path(rollout): Path<RolloutId>,
    Query(query): Query<ProgressQuery>,
) -> Result<Response, ApiError> {
    let loaded = api.handler.rollout(&rollout).await?;
    if query.follow {
        let place = api.followers.place()?;
        let states = api.live.signals.source().progress_of(&rollout).await;
        let states = states.map_err(unknown)?;
        let lines = states
            .map(|state| {
                let mut line = serde_json::to_vec(&state).unwrap_or_default();
                line.push(b'\n');
                Ok::<Bytes, std::convert::Infallible>(line.into())
            })
            .take_until(over(api, rollout));
        let lines = holding(lines, place);
        let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
        return Ok((headers, Body::from_stream(lines)).into_response());
    }
    let states = of_steps(&api, &rollout, &loaded, |step| step.attempt > 0).await?;
    Ok(Json(states).into_response())
}

/// The progress of the running steps, for a status. Without NATS there is none.
pub(super) async fn of_running(
    api: &Api,
    rollout: &RolloutId,
    loaded: &LoadedRollout,
) -> Vec<StepProgress> {
    let runs = |step: &StepState| step.status == StepStatus::Running;
    let states = of_steps(api, rollout, loaded, runs);
    let states = tokio::time::timeout(STATUS_WAIT, states).await;
    let mut states = states.unwrap_or(Ok(Vec::new())).unwrap_or_default();
    // The last report of a killed attempt says nothing about the next one.
    states.retain(|state| {
        let step = loaded.state.step(&state.step);
        step.is_some_and(|step| step.attempt == state.attempt)
    });
    states
}

/// The latest states of the given steps that have reported any.
async fn of_steps(
    api: &Api,
    rollout: &RolloutId,
    loaded: &LoadedRollout,
    wanted: impl Fn(&StepState) -> bool,
) -> Result<Vec<StepProgress>, ApiError> {
    let reports = |planned: &PlannedStep<'_>| {
        let step = loaded.state.step(planned.id);
        planned.step.action.kind().reports_progress() && step.is_some_and(&wanted)
    };
    let steps: Vec<StepId> = loaded
        .plan
        .steps()
        .filter(reports)
        .map(|planned| planned.id.clone())
        .collect();
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let latest = api.live.signals.source().latest(rollout, &steps).await;
    latest.map_err(unknown)
}

fn unknown(error: QueueError) -> ApiError {
    ApiError::unavailable(
        "RB-API-11",
        format!("no progress: {error}; check the NATS server with `rollbook doctor`"),
    )
}

/// Returns when nothing in the rollout will run any more.
async fn over(api: Api, rollout: RolloutId) {
    until(&api, &rollout, is_over).await;
    tokio::time::sleep(LAST_WITHIN).await;
}

fn is_over(loaded: &LoadedRollout) -> bool {
    let mut steps = loaded.plan.steps();
    let runs = steps.any(|planned| {
        let step = loaded.state.step(planned.id);
        step.is_some_and(|step| step.status == StepStatus::Running)
    });
    !runs && matches!(loaded.state.status, Status::Aborted | Status::Closed(_))
}
