//! Settling: everything that state and time make due and that needs no worker. This covers alerts
//! whose watch has ended, gates that pass or become blocked, expired sign-offs and requests, late
//! reviews, steps whose `when` is false, waits, automatic retries, advice and automatic rollbacks,
//! the end of rollbacks, and the close.

mod advice;
pub(super) mod alerts;
mod ending;
mod gates;
mod requests;
mod steps;

use jiff::Timestamp;
use prost::Message;
use rollbook_proto::v1::{self, event::Kind};

use super::evolve::{self, Meta};
use super::frontier::{Frontier, Look};
use super::illegal::IllegalEvent;
use super::limits::{MAX_EVENT_BYTES, shortened};
use super::rules::rollback_preview::RollbackPreview;
use super::state::{RolloutState, SignOff};
use crate::ids::{PhaseId, StepId};
use crate::runbook::Plan;

pub(super) use ending::closes_after_rollback;
pub(super) use steps::wait_ends;

/// Maximum number of events in one settle; the next settle continues.
const MAX_EVENTS: usize = 100;

/// Maximum size of the events of one settle, in bytes; well below the limit of a commit.
const MAX_BYTES: usize = 32 * 1024;

/// Returns everything due now that fits into one commit, each event decided on the state after
/// those before it. If a group does not fit, its rest is due at the next settle.
pub(super) fn settle(
    state: &RolloutState,
    plan: &Plan,
    now: Timestamp,
) -> Result<Vec<v1::Event>, IllegalEvent> {
    let mut events: Vec<v1::Event> = Vec::new();
    let mut bytes = 0_usize;
    let mut frontier = Frontier::of(state, plan);
    let mut at: Option<RolloutState> = None;
    while events.len() < MAX_EVENTS && bytes < MAX_BYTES {
        let due = due(Look {
            state: at.as_ref().unwrap_or(state),
            plan,
            frontier: &frontier,
            now,
        });
        if due.is_empty() {
            break;
        }
        let next = at.get_or_insert_with(|| state.clone());
        for kind in due {
            let event = v1::Event { kind: Some(kind) };
            if !events.is_empty() && bytes.saturating_add(event.encoded_len()) > MAX_EVENT_BYTES {
                return Ok(events);
            }
            let meta = Meta {
                sequence: state.sequence.saturating_add(1),
                at: now,
                actor: None,
                aggregate_id: state.id.as_str(),
                event: evolve::name(&event),
            };
            evolve::apply(next, &event, &meta)?;
            bytes = bytes.saturating_add(event.encoded_len()).saturating_add(8);
            events.push(event);
        }
        frontier.advance(next, plan);
    }
    Ok(events)
}

/// True if settling would record something.
pub(super) fn is_due(look: Look<'_>) -> bool {
    !due(look).is_empty()
}

/// Returns the first group of due events.
pub(super) fn due(look: Look<'_>) -> Vec<Kind> {
    let Look {
        state, plan, now, ..
    } = look;
    let groups: [&dyn Fn() -> Vec<Kind>; 13] = [
        &|| alerts::unwatched(state),
        &|| gates::expired(state, now),
        &|| requests::over(state, now),
        &|| steps::reactions(look),
        &|| steps::retries(look),
        &|| steps::stale(look),
        &|| steps::not_applicable(look),
        &|| steps::points(look),
        &|| steps::waits(look),
        &|| advice::given(state, plan),
        &|| ending::rolled_back(state, plan, now),
        &|| gates::decided(look),
        &|| ending::closed(look),
    ];
    groups
        .iter()
        .map(|group| group())
        .find(|kinds| !kinds.is_empty())
        .unwrap_or_default()
}

/// Builds the event that voids a sign-off.
pub(super) fn void(gate: &PhaseId, sign_off: &SignOff, cause: &str) -> Kind {
    Kind::SignOffVoided(v1::SignOffVoided {
        gate_id: gate.to_string(),
        person: sign_off.person.clone(),
        role: sign_off.role.clone(),
        cause: cause.to_owned(),
    })
}

/// Voids all sign-offs at a phase's gate.
pub(super) fn void_phase(state: &RolloutState, phase: &PhaseId, cause: &str) -> Vec<Kind> {
    state.gates.get(phase).map_or_else(Vec::new, |gate| {
        gate.sign_offs
            .iter()
            .map(|sign_off| void(phase, sign_off, cause))
            .collect()
    })
}

/// Maximum number of left effects named by the start of a rollback, because the event is bounded.
/// The list shown before it names all.
const MAX_LEFT: usize = 100;

/// Maximum size of the steps and effects named by the start of a rollback, in bytes.
const MAX_STARTED_BYTES: usize = 50 * 1024;

/// Builds the event that starts the listed rollback.
pub(super) fn rollback_started(state: &RolloutState, reason: &str, list: &RollbackPreview) -> Kind {
    let steps = |ids: &mut dyn Iterator<Item = &StepId>| -> Vec<String> {
        ids.map(ToString::to_string).collect()
    };
    let (undo_steps, running) = (steps(&mut list.steps()), steps(&mut list.running.iter()));
    let named: usize = undo_steps
        .iter()
        .chain(&running)
        .map(|id| id.len() + 8)
        .sum();
    let mut room = MAX_STARTED_BYTES.saturating_sub(named);
    Kind::RollbackStarted(v1::RollbackStarted {
        rollback_id: format!("rollback-{}", state.rollbacks.saturating_add(1)),
        level: list.level.to_wire().into(),
        reason: shortened(reason),
        undo_steps,
        running,
        left: list
            .left
            .iter()
            .take(MAX_LEFT)
            .map(|left| v1::EffectLeft {
                step_id: left.step.to_string(),
                why: shortened(&left.why),
            })
            .take_while(|left| {
                let bytes = left.encoded_len() + 8;
                let fits = bytes <= room;
                room = room.saturating_sub(bytes);
                fits
            })
            .collect(),
    })
}
