//! Gates that pass, are newly blocked, or lose a sign-off by time.

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};

use super::super::rules::gates;
use super::super::state::{RolloutState, Status};
use crate::runbook::Plan;

/// Sign-offs that have run out while their gate is shut.
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

/// The gates of phases that are done. Blocked is recorded once per change of its reasons.
pub(super) fn decided(state: &RolloutState, plan: &Plan, now: Timestamp) -> Vec<Kind> {
    if state.status != Status::Running || state.pending_revision.is_some() {
        return Vec::new();
    }
    for (id, at) in &state.gates {
        let Some(answer) = gates::standing(state, plan, id, now) else {
            continue;
        };
        if answer.blocks.is_empty() {
            return vec![Kind::GatePassed(v1::GatePassed {
                gate_id: id.to_string(),
                reasons: answer.holds,
            })];
        }
        if answer.blocks != at.blocked {
            return vec![Kind::GateBlocked(v1::GateBlocked {
                gate_id: id.to_string(),
                reasons: answer.blocks,
            })];
        }
    }
    Vec::new()
}
