//! The workers that are present, and the record of those that joined and left.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use rollbook_ledger::projection::views::{ViewAnswer, WorkerRow};
use rollbook_workers::fleet::presence::Presence;
use serde::{Deserialize, Serialize};

use super::{Api, ApiError};

/// The workers heard from within the last seconds, and those on the record.
#[derive(Debug, Serialize, Deserialize)]
pub struct FleetAnswer {
    /// Sorted by name.
    pub workers: Vec<Presence>,
    /// When the workers were asked.
    pub as_of: Timestamp,
    /// The record of joining and leaving: present workers, then recently departed ones.
    pub recorded: ViewAnswer<Vec<WorkerRow>>,
}

pub(super) async fn fleet(State(api): State<Api>) -> Result<Json<FleetAnswer>, ApiError> {
    let workers = api.fleet.workers().await.map_err(|error| {
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
