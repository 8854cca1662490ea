//! Gates that pass, become blocked, or lose an expired sign-off.

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};
use sha2::{Digest, Sha256};

use super::super::frontier::Look;
use super::super::rules::gates;
use super::super::state::{RolloutState, Status};
use crate::ids::PhaseId;

/// Voids expired sign-offs at gates that have not passed.
pub(super) fn expired(state: &RolloutState, now: Timestamp) -> Vec<Kind> {
    if state.status.is_closed() {
        return Vec::new();
    }
    state
        .gates
        .iter()
        .filter(|(_, gate)| gate.passed_at.is_none())
        .flat_map(|(id, gate)| {
            gate.sign_offs
                .iter()
                .filter(|sign_off| gates::is_expired(sign_off, now))
                .map(move |sign_off| super::void(id, sign_off, "expired"))
        })
        .collect()
}

/// Decides the gates of phases that are done; a block is recorded once per change of its reasons.
pub(super) fn decided(look: Look<'_>) -> Vec<Kind> {
    let Look {
        state,
        plan,
        frontier,
        now,
    } = look;
    if state.status != Status::Running || state.pending_revision.is_some() {
        return Vec::new();
    }
    for id in frontier.gates(state, plan) {
        let (Some(at), Some(answer)) = (
            state.gates.get(id),
            gates::evaluate_if_reached(state, plan, id, now),
        ) else {
            continue;
        };
        if answer.blocks.is_empty() {
            return vec![Kind::GatePassed(v1::GatePassed {
                gate_id: id.to_string(),
                reasons: shown(&answer.holds),
            })];
        }
        let blocked = blocked(id, &answer.blocks);
        if blocked.reasons != at.blocked || blocked.reasons_sha256 != at.blocked_sha256 {
            return vec![Kind::GateBlocked(blocked)];
        }
    }
    Vec::new()
}

/// Maximum number of reasons recorded; the digest covers all.
const MAX_REASONS: usize = 20;

/// Maximum size of a recorded reason, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Returns the first reasons, each cut to its maximum size, so that the event fits into a commit
/// whatever a plan and its results say.
fn shown(reasons: &[String]) -> Vec<String> {
    reasons
        .iter()
        .take(MAX_REASONS)
        .map(|reason| cut(reason, MAX_REASON_BYTES))
        .collect()
}

fn blocked(id: &PhaseId, reasons: &[String]) -> v1::GateBlocked {
    let shown = shown(reasons);
    let mut blocked = v1::GateBlocked {
        gate_id: id.to_string(),
        ..v1::GateBlocked::default()
    };
    if shown != reasons {
        let mut digest = Sha256::new();
        for reason in reasons {
            digest.update(reason.as_bytes());
            digest.update([0]);
        }
        blocked.reasons_total = u32::try_from(reasons.len()).unwrap_or(u32::MAX);
        blocked.reasons_sha256 = hex::encode(digest.finalize());
    }
    blocked.reasons = shown;
    blocked
}

/// Cuts a text to at most `bytes` at a character boundary and appends `…`.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes);
    format!("{}…", text.get(..end).unwrap_or_default())
}
