//! What is signed at a gate, and by which digest.

use axum::Json;
use axum::extract::{Path, State};
use rollbook_ledger::evidence::{EvidenceError, Looked};
use rollbook_ledger::handler::{HandlerError, Loaded};
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
    /// Pieces of evidence that are there and, being too large, were not read to see whether they are
    /// what they were.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unread: usize,
}

/// Evidence read before a gate is shown or signed, in bytes.
const MAX_READ_BYTES: u64 = 256 * 1024 * 1024;

fn is_none(unread: &usize) -> bool {
    *unread == 0
}

/// Refuses when what a signature at a gate rests on is not there, or not what it was.
pub(super) async fn sound(api: &Api, loaded: &Loaded, gate: &PhaseId) -> Result<Looked, ApiError> {
    let addresses = rollout::rests_on(&loaded.state, &loaded.plan, gate);
    let store = api.handler.evidence();
    let looked = store.look_through(addresses, MAX_READ_BYTES).await?;
    match looked.damaged.first() {
        None => Ok(looked),
        Some(found) => Err(lost(found.clone()).into()),
    }
}

/// What the ledger names was stored once: it is lost, not unknown.
pub(super) fn lost(found: EvidenceError) -> HandlerError {
    match found {
        EvidenceError::NotFound { sha256, .. } => HandlerError::EvidenceLost { sha256 },
        other => HandlerError::Evidence(other),
    }
}

pub(super) async fn gate(
    State(api): State<Api>,
    Path((id, gate)): Path<(RolloutId, PhaseId)>,
) -> Result<Json<GateAnswer>, ApiError> {
    let loaded = api.handler.rollout(&id).await?;
    let shown = rollout::presented(&loaded.state, &loaded.plan, &gate);
    let shown = shown.map_err(HandlerError::Refused)?;
    let looked = sound(&api, &loaded, &gate).await?;
    Ok(Json(GateAnswer {
        seen: shown.seen(),
        hold: rollout::gate_hold(&loaded.state, &loaded.plan, &gate),
        shown,
        sequence: loaded.sequence,
        unread: looked.unread,
    }))
}
