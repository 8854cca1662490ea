//! What a signature at a gate covers, and its digest.

use axum::Json;
use axum::extract::{Path, State};
use rollbook_ledger::evidence::{EvidenceError, Verification};
use rollbook_ledger::handler::{HandlerError, LoadedRollout};
use rollbook_ledger::ids::{PhaseId, RolloutId};
use rollbook_ledger::rollout::{self, GateBlock, GatePresentation};
use serde::{Deserialize, Serialize};

use super::{Api, ApiError};

/// What a person sees of a gate before signing it.
#[derive(Debug, Serialize, Deserialize)]
pub struct GateAnswer {
    /// The digest over `shown`, which a signature passes as seen.
    pub seen: String,
    /// Everything a signature covers.
    pub shown: GatePresentation,
    /// Why nobody can sign the gate now; absent: somebody can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<GateBlock>,
    /// Sequence of the rollout's last commit when the gate was shown.
    pub sequence: u64,
    /// Pieces of evidence that exist but were too large to read and verify.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unread: usize,
}

/// Evidence read before a gate is shown or signed, in bytes.
const MAX_READ_BYTES: u64 = 256 * 1024 * 1024;

fn is_none(unread: &usize) -> bool {
    *unread == 0
}

/// Refuses if evidence that a signature at the gate depends on is missing or altered.
pub(super) async fn check_evidence(
    api: &Api,
    loaded: &LoadedRollout,
    gate: &PhaseId,
) -> Result<Verification, ApiError> {
    let addresses = rollout::rests_on(&loaded.state, &loaded.plan, gate);
    let store = api.handler.evidence();
    let looked = store.verify_all(addresses, MAX_READ_BYTES).await?;
    match looked.damaged.first() {
        None => Ok(looked),
        Some(found) => Err(lost(found.clone()).into()),
    }
}

/// The ledger names the evidence, so it was stored once: it is lost, not unknown.
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
    let looked = check_evidence(&api, &loaded, &gate).await?;
    Ok(Json(GateAnswer {
        seen: shown.seen(),
        hold: rollout::why_gate_is_blocked(&loaded.state, &loaded.plan, &gate),
        shown,
        sequence: loaded.sequence,
        unread: looked.unread,
    }))
}
