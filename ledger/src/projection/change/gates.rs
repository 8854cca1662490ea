//! Projects gates and sign-offs.

use rollbook_proto::v1::event::Kind;

use super::{At, Out};
use crate::projection::row::{Json, clean};
use crate::projection::rows::SignOffRow;
use crate::projection::state::RolloutRows;
use crate::projection::words::{GateStatus, SignOffStatus, time};

pub(super) fn apply(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    match kind {
        Kind::SignOffGiven(given) => {
            let mut row = signed(rollout, at, &given.gate_id, &given.role, out)?;
            row.statement = clean(&given.statement);
            row.plan_digest = clean(&given.plan_digest);
            // Signing withdraws the person's own rejection.
            let (gate, person) = (row.gate.clone(), row.person.clone());
            void_refusals(rollout, at, &gate, Some(&person), "signed", out);
            row.evidence_seen = Json(given.evidence_seen.iter().map(|sha| clean(sha)).collect());
            row.on_behalf_of = clean(&given.on_behalf_of);
            row.expires_at = time(given.expires_at.as_ref());
            if row.plan_digest != rollout.rollout.plan_digest {
                out.note("the sign-off names another plan than the one in force");
            }
            out.put(&row);
            rollout.sign_offs.push(row);
        }
        Kind::SignOffRefused(refused) => {
            let mut row = signed(rollout, at, &refused.gate_id, &refused.role, out)?;
            row.status = SignOffStatus::Refused;
            row.statement = clean(&refused.reason);
            out.put(&row);
            rollout.sign_offs.push(row);
        }
        Kind::SignOffVoided(voided) => {
            let (gate, person, role) = (
                clean(&voided.gate_id),
                clean(&voided.person),
                clean(&voided.role),
            );
            let last_named = |status| {
                rollout.sign_offs.iter().rposition(|row| {
                    row.status == status
                        && row.gate == gate
                        && row.person == person
                        && row.role == role
                })
            };
            // Prefer a sign-off; void a rejection only if the person has nothing else there.
            let place =
                last_named(SignOffStatus::Given).or_else(|| last_named(SignOffStatus::Refused));
            let row = place
                .and_then(|place| rollout.sign_offs.get_mut(place))
                .ok_or_else(|| format!("{person} has nothing signed for gate {gate} as {role}"))?;
            row.status = SignOffStatus::Voided;
            row.voided_cause = clean(&voided.cause);
            row.voided_at = at.recorded_at;
            row.updated_sequence = at.sequence;
            out.put(row);
        }
        Kind::GatePassed(passed) => {
            decide(
                rollout,
                at,
                &passed.gate_id,
                GateStatus::Passed,
                &passed.reasons,
                out,
            )?;
        }
        Kind::GateBlocked(blocked) => {
            let mut reasons = blocked.reasons.clone();
            if !blocked.reasons_sha256.is_empty() {
                reasons.push(format!(
                    "{} reasons in all, shortened here; SHA-256 of them whole {}",
                    blocked.reasons_total, blocked.reasons_sha256
                ));
            }
            decide(
                rollout,
                at,
                &blocked.gate_id,
                GateStatus::Blocked,
                &reasons,
                out,
            )?;
        }
        _ => return Err("not an event of a gate".to_owned()),
    }
    Ok(())
}

/// Reopens the gate of a phase of which a step runs again; rejections no longer apply.
pub(super) fn reopen(rollout: &mut RolloutRows, at: &At<'_>, phase: &str, out: &mut Out) {
    void_refusals(rollout, at, phase, None, "step_retried", out);
    let Some(row) = rollout.gates.get_mut(phase) else {
        return;
    };
    if row.status != GateStatus::Waiting {
        row.status = GateStatus::Waiting;
        row.reasons = Json::default();
        row.decided_at = None;
        row.decided_by.clear();
        row.updated_sequence = at.sequence;
        out.put(row);
    }
}

/// Voids rejections at a gate, of one person or of all.
fn void_refusals(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    gate: &str,
    person: Option<&str>,
    cause: &str,
    out: &mut Out,
) {
    for row in &mut rollout.sign_offs {
        if row.status == SignOffStatus::Refused
            && row.gate == gate
            && person.is_none_or(|person| row.person == person)
        {
            row.status = SignOffStatus::Voided;
            row.voided_cause = cause.to_owned();
            row.voided_at = at.recorded_at;
            row.updated_sequence = at.sequence;
            out.put(row);
        }
    }
}

fn signed(
    rollout: &RolloutRows,
    at: &At<'_>,
    gate: &str,
    role: &str,
    out: &mut Out,
) -> Result<SignOffRow, String> {
    let gate = clean(gate);
    let known = rollout
        .gates
        .get(&gate)
        .ok_or_else(|| format!("the plan has no gate {gate}"))?;
    if known.dropped {
        out.note(format!("the plan no longer has gate {gate}"));
    }
    Ok(SignOffRow {
        sequence: at.sequence,
        idx: at.idx,
        rollout: rollout.rollout.rollout.clone(),
        gate,
        person: at.actor.clone(),
        authentication: clean(at.authentication),
        role: clean(role),
        on_behalf_of: String::new(),
        status: SignOffStatus::Given,
        statement: String::new(),
        plan_digest: String::new(),
        evidence_seen: Json::default(),
        given_at: at.recorded_at,
        expires_at: None,
        voided_cause: String::new(),
        voided_at: None,
        updated_sequence: at.sequence,
    })
}

fn decide(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    gate: &str,
    status: GateStatus,
    reasons: &[String],
    out: &mut Out,
) -> Result<(), String> {
    let gate = clean(gate);
    let row = rollout
        .gates
        .get_mut(&gate)
        .ok_or_else(|| format!("the plan has no gate {gate}"))?;
    if row.status == GateStatus::Passed {
        out.note(format!("gate {gate} had passed already"));
    }
    row.status = status;
    row.reasons = Json(reasons.iter().map(|reason| clean(reason)).collect());
    row.decided_at = at.recorded_at;
    row.decided_by = at.actor.clone();
    row.updated_sequence = at.sequence;
    out.put(row);
    Ok(())
}
