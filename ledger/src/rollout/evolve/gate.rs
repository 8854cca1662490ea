//! Events of gates.

use rollbook_proto::v1;

use super::super::illegal::IllegalEvent;
use super::super::state::{GateRefusal, GateState, RolloutState, SignOff};
use super::Meta;
use crate::clock::from_proto;

type Done = Result<(), IllegalEvent>;

fn gate_mut<'s>(
    state: &'s mut RolloutState,
    id: &str,
    meta: &Meta<'_>,
) -> Result<&'s mut GateState, IllegalEvent> {
    let id = meta.phase_id(id)?;
    state
        .gates
        .get_mut(&id)
        .ok_or_else(|| meta.unknown(format!("gate {id}")))
}

pub(super) fn given(state: &mut RolloutState, event: &v1::SignOffGiven, meta: &Meta<'_>) -> Done {
    let person = meta.person().ok_or_else(|| meta.malformed("actor"))?;
    let gate = gate_mut(state, &event.gate_id, meta)?;
    if gate.passed_at.is_some() {
        return Err(meta.transition(format!("gate {} has passed", event.gate_id)));
    }
    if gate.sign_offs.iter().any(|s| s.person == person) {
        return Err(meta.transition(format!("{person} has signed already")));
    }
    let expires_at = match &event.expires_at {
        None => None,
        Some(time) => Some(from_proto(Some(time)).ok_or_else(|| meta.malformed("expires_at"))?),
    };
    // Signing withdraws the person's own rejection.
    gate.refusals.retain(|refusal| refusal.person != person);
    gate.sign_offs.push(SignOff {
        person: person.to_owned(),
        role: event.role.clone(),
        at: meta.at,
        expires_at,
    });
    Ok(())
}

pub(super) fn refused(
    state: &mut RolloutState,
    event: &v1::SignOffRefused,
    meta: &Meta<'_>,
) -> Done {
    let person = meta.person().ok_or_else(|| meta.malformed("actor"))?;
    let gate = gate_mut(state, &event.gate_id, meta)?;
    if gate.passed_at.is_some() {
        return Err(meta.transition(format!("gate {} has passed", event.gate_id)));
    }
    if gate.refusals.iter().any(|r| r.person == person) {
        return Err(meta.transition(format!("{person} has refused already")));
    }
    gate.refusals.push(GateRefusal {
        person: person.to_owned(),
        role: event.role.clone(),
        reason: event.reason.clone(),
    });
    Ok(())
}

pub(super) fn voided(state: &mut RolloutState, event: &v1::SignOffVoided, meta: &Meta<'_>) -> Done {
    let gate = gate_mut(state, &event.gate_id, meta)?;
    let before = gate.sign_offs.len();
    gate.sign_offs
        .retain(|s| s.person != event.person || s.role != event.role);
    if gate.sign_offs.len() == before {
        return Err(meta.transition(format!(
            "{} has no sign-off as {} there",
            event.person, event.role
        )));
    }
    Ok(())
}

pub(super) fn passed(state: &mut RolloutState, event: &v1::GatePassed, meta: &Meta<'_>) -> Done {
    let gate = gate_mut(state, &event.gate_id, meta)?;
    if gate.passed_at.is_some() {
        return Err(meta.transition(format!("gate {} has passed already", event.gate_id)));
    }
    gate.passed_at = Some(meta.at);
    gate.blocked.clear();
    Ok(())
}

pub(super) fn blocked(state: &mut RolloutState, event: &v1::GateBlocked, meta: &Meta<'_>) -> Done {
    let gate = gate_mut(state, &event.gate_id, meta)?;
    if gate.passed_at.is_some() {
        return Err(meta.transition(format!("gate {} has passed", event.gate_id)));
    }
    gate.blocked.clone_from(&event.reasons);
    gate.blocked_sha256.clone_from(&event.reasons_sha256);
    Ok(())
}
