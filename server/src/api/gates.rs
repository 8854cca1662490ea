//! What is signed at a gate, and by which digest.

use axum::Json;
use axum::extract::{Path, State};
use rollbook_ledger::ids::{PhaseId, RolloutId};
use rollbook_ledger::rollout::{self, GateHold, Presented};
use serde::{Deserialize, Serialize};

use super::{Api, ApiError};

/// What there is to see at a gate before it is signed.
#[derive(Debug, Serialize, Deserialize)]
pub struct GateAnswer {
    /// What a signature names as seen: the digest over `shown`.
    pub seen: String,
    /// All that is signed.
    pub shown: Presented,
    /// Why nobody can sign it now; absent: it can be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<GateHold>,
    /// Sequence of the rollout's last commit when it was shown.
    pub sequence: u64,
}

pub(super) async fn gate(
    State(api): State<Api>,
    Path((id, gate)): Path<(RolloutId, PhaseId)>,
) -> Result<Json<GateAnswer>, ApiError> {
    let loaded = api.handler.rollout(&id).await?;
    let refused = rollbook_ledger::handler::HandlerError::Refused;
    let shown = rollout::presented(&loaded.state, &loaded.plan, &gate).map_err(refused)?;
    Ok(Json(GateAnswer {
        seen: shown.seen(),
        hold: rollout::gate_hold(&loaded.state, &loaded.plan, &gate),
        shown,
        sequence: loaded.sequence,
    }))
}
