//! Which workers there are.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use rollbook_workers::fleet::presence::{Presence, workers};
use serde::{Deserialize, Serialize};

use super::{Api, ApiError};

/// The workers heard of within the last seconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct FleetAnswer {
    /// By name.
    pub workers: Vec<Presence>,
    /// When they were asked for.
    pub as_of: Timestamp,
}

pub(super) async fn fleet(State(api): State<Api>) -> Result<Json<FleetAnswer>, ApiError> {
    let workers = workers(&api.nats, &api.ledger).await.map_err(|error| {
        ApiError::unavailable(
            "RB-API-10",
            format!("no list of workers: {error}; check the NATS server with `rollbook doctor`"),
        )
    })?;
    let as_of = api.handler.now();
    Ok(Json(FleetAnswer { workers, as_of }))
}
