//! Which workers there are, and which there were.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use rollbook_ledger::projection::views::{Answer, WorkerRow};
use rollbook_workers::fleet::presence::{Presence, workers};
use serde::{Deserialize, Serialize};

use super::{Api, ApiError};

/// The workers heard of within the last seconds, and those on the record.
#[derive(Debug, Serialize, Deserialize)]
pub struct FleetAnswer {
    /// By name.
    pub workers: Vec<Presence>,
    /// When they were asked for.
    pub as_of: Timestamp,
    /// The record of who joined and left: those that are there, then those that left of late.
    pub recorded: Answer<Vec<WorkerRow>>,
}

pub(super) async fn fleet(State(api): State<Api>) -> Result<Json<FleetAnswer>, ApiError> {
    let workers = workers(&api.nats, &api.ledger).await.map_err(|error| {
        ApiError::unavailable(
            "RB-API-10",
            format!("no list of workers: {error}; check the NATS server with `rollbook doctor`"),
        )
    })?;
    let as_of = api.handler.now();
    let recorded = api.views.workers().await?;
    let last = api.handler.journal().last_sequence().await?;
    Ok(Json(FleetAnswer {
        workers,
        as_of,
        recorded: recorded.with_lag_behind(last),
    }))
}
