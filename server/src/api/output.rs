//! What a running step prints, line by line, while it prints it.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use rollbook_ledger::ids::{RolloutId, StepId};
use rollbook_workers::fleet::output_subject;

use super::{Api, ApiError};

pub(super) async fn output(
    State(api): State<Api>,
    Path((rollout, step)): Path<(RolloutId, StepId)>,
) -> Result<Response, ApiError> {
    let subject = output_subject(&api.ledger, &rollout, &step);
    let lines = api
        .nats
        .subscribe(subject)
        .await
        .map_err(|error| ApiError::unavailable("RB-API-5", format!("no live output: {error}")))?
        .map(|message| Ok::<Bytes, std::convert::Infallible>(message.payload));
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((headers, Body::from_stream(lines)).into_response())
}
