//! The output of a running step, line by line as it is printed.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use rollbook_ledger::handler::LoadedRollout;
use rollbook_ledger::ids::{RolloutId, StepId};
use rollbook_ledger::rollout::{Status, StepStatus};

use super::followers::holding;
use super::until::until;
use super::{Api, ApiError};

/// The last lines of a step arrive at most this long after its result.
const LAST_WITHIN: Duration = Duration::from_millis(500);

/// Lines from now on, each as JSON ([`rollbook_workers::executor::OutputLine`]), until the step has
/// ended.
pub(super) async fn output(
    State(api): State<Api>,
    Path((rollout, step)): Path<(RolloutId, StepId)>,
) -> Result<Response, ApiError> {
    api.known_step(&rollout, &step).await?;
    let place = api.followers.place()?;
    let lines = api.live.signals.source().output(&rollout, &step).await;
    let lines = lines
        .map_err(|error| ApiError::unavailable("RB-API-5", format!("no live output: {error}")))?
        .map(|line| {
            let line = [line.as_ref(), b"\n"].concat();
            Ok::<Bytes, std::convert::Infallible>(line.into())
        })
        .take_until(ended(api, rollout, step));
    let lines = holding(lines, place);
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Returns when the step has ended or will never start.
async fn ended(api: Api, rollout: RolloutId, step: StepId) {
    until(&api, &rollout, |loaded| !may_still_print(loaded, &step)).await;
    tokio::time::sleep(LAST_WITHIN).await;
}

/// Whether more output can come.
fn may_still_print(loaded: &LoadedRollout, step: &StepId) -> bool {
    let over = matches!(loaded.state.status, Status::Aborted | Status::Closed(_));
    match loaded.state.step(step).map(|step| step.status) {
        Some(StepStatus::Running | StepStatus::Undoing) => true,
        Some(StepStatus::Pending) => !over,
        _ => false,
    }
}
