//! Sign-offs and rejections at gates.

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};
use serde::{Deserialize, Serialize};

use super::super::presented::presented;
use super::super::refusal::Refusal;
use super::super::remedy::{self, Remedy};
use super::super::rules::{gates, people, progress};
use super::super::settle;
use super::super::state::{GateState, RolloutState, Status};
use super::{Decided, Decider, lifecycle, required};
use crate::clock::to_proto;
use crate::error_code::{Coded, ErrorCode};
use crate::ids::PhaseId;
use crate::person;
use crate::runbook::Plan;
use crate::runbook::model::Gate;

impl Decider<'_> {
    pub(super) fn approve(
        &self,
        id: &PhaseId,
        role: Option<&str>,
        statement: Option<&str>,
        seen: &str,
    ) -> Decided {
        let (spec, at) = self.gate(id)?;
        self.gate_is_decided_now(id, at, "signed")?;
        let role = self.gate_role(id, spec, role)?;
        let person = self.actor();
        if spec.not_executor {
            let steps = people::executed_by(self.state, id, person);
            if !steps.is_empty() {
                return Err(Refusal::OwnWork {
                    person: person.to_owned(),
                    did: format!("had a hand in step {} of phase {id}", steps.join(", ")),
                    what: "sign its gate",
                });
            }
        }
        let shown = presented(self.state, self.plan, id)?;
        let digest = shown.seen();
        let mut kinds = Vec::new();
        if let Some(before) = at.sign_offs.iter().find(|s| s.person == person) {
            if !gates::is_expired(before, self.ctx.now) {
                return Err(Refusal::DecidedTwice {
                    person: person.to_owned(),
                    did: "signed",
                    gate: id.to_string(),
                    role: before.role.clone(),
                });
            }
            kinds.push(settle::void(id, before, "expired"));
        }
        if seen != digest {
            return Err(Refusal::GateChanged {
                gate: id.clone(),
                seen: seen.chars().take(64).collect(),
                now: digest,
                rollout: self.state.id.clone(),
            });
        }
        let statement = match statement {
            Some(given) => required("approve", "statement", given)?.to_owned(),
            None => shown.statement,
        };
        let expires_at: Option<Timestamp> = spec
            .expires
            .and_then(|span| self.ctx.now.checked_add(span.to_signed()).ok());
        kinds.push(Kind::SignOffGiven(v1::SignOffGiven {
            gate_id: id.to_string(),
            role: role.to_owned(),
            statement,
            plan_digest: self.state.plan_digest.clone(),
            evidence_seen: shown
                .evidence
                .into_iter()
                .map(|piece| piece.sha256)
                .collect(),
            expires_at: expires_at.map(to_proto),
            on_behalf_of: String::new(),
            seen: digest,
        }));
        Ok(kinds)
    }

    pub(super) fn reject(&self, id: &PhaseId, role: Option<&str>, reason: &str) -> Decided {
        let (spec, at) = self.gate(id)?;
        let reason = required("reject", "reason", reason)?.to_owned();
        self.gate_is_decided_now(id, at, "refused")?;
        let role = self.gate_role(id, spec, role)?;
        let person = self.actor();
        if let Some(before) = at.refusals.iter().find(|r| r.person == person) {
            return Err(Refusal::DecidedTwice {
                person: person.to_owned(),
                did: "refused",
                gate: id.to_string(),
                role: before.role.clone(),
            });
        }
        let mut kinds: Vec<Kind> = at
            .sign_offs
            .iter()
            .filter(|sign_off| sign_off.person == person)
            .map(|sign_off| settle::void(id, sign_off, "refused"))
            .collect();
        kinds.push(Kind::SignOffRefused(v1::SignOffRefused {
            gate_id: id.to_string(),
            role: role.to_owned(),
            reason,
        }));
        Ok(kinds)
    }

    fn gate(&self, id: &PhaseId) -> Result<(&Gate, &GateState), Refusal> {
        let spec = self.plan.phase(id).and_then(|phase| phase.gate.as_ref());
        match (spec, self.state.gates.get(id)) {
            (Some(spec), Some(at)) => Ok((spec, at)),
            _ => Err(Refusal::no_such_gate(self.state, id)),
        }
    }

    /// Checks that the gate can be decided now; see [`decided_now`].
    fn gate_is_decided_now(
        &self,
        id: &PhaseId,
        at: &GateState,
        what: &'static str,
    ) -> Result<(), Refusal> {
        decided_now(self.state, self.plan, id, at, what)
    }

    /// Returns the role in which the actor decides: the given one, or the only one that fits.
    fn gate_role<'g>(
        &self,
        id: &PhaseId,
        spec: &'g Gate,
        given: Option<&str>,
    ) -> Result<&'g str, Refusal> {
        let person = self.actor();
        let asked = people::gate_roles(spec);
        let mine: Vec<&'g str> = asked
            .iter()
            .copied()
            .filter(|role| people::has_role(self.plan, person, role))
            .filter(|role| given.is_none_or(|given| person::same(given, role)))
            .collect();
        match mine.as_slice() {
            [role] => Ok(role),
            [] => Err(Refusal::NotInRole {
                person: person.to_owned(),
                what: match given {
                    Some(given) => format!("decide on gate {id} as {given}"),
                    None => format!("decide on gate {id}"),
                },
                roles: if asked.is_empty() {
                    "nobody: the gate has only checks".to_owned()
                } else {
                    let roles: Vec<String> = asked
                        .iter()
                        .map(|role| people::role_text(self.plan, role))
                        .collect();
                    roles.join("; ")
                },
                remedies: Vec::new(),
            }),
            several => Err(Refusal::RoleUnclear {
                person: person.to_owned(),
                gate: id.to_string(),
                roles: several.join(", "),
            }),
        }
    }
}

/// Checks that the rollout is running or paused, no revision is pending, the phase is done and the
/// gate has not passed.
fn decided_now(
    state: &RolloutState,
    plan: &Plan,
    id: &PhaseId,
    at: &GateState,
    what: &'static str,
) -> Result<(), Refusal> {
    match state.status {
        Status::Running | Status::Paused => {}
        Status::Open => {
            return Err(super::status(
                state,
                "a gate decision",
                "start it",
                vec![remedy::start(&state.id)],
            ));
        }
        Status::RollingBack | Status::Aborted | Status::Closed(_) => {
            return Err(super::status(
                state,
                "a gate decision",
                "no phase passes any more",
                Vec::new(),
            ));
        }
    }
    lifecycle::no_revision_waits(state, "a gate decision")?;
    if let Some(at) = at.passed_at {
        return Err(Refusal::GatePassed {
            gate: id.to_string(),
            at,
        });
    }
    let phases = progress::missing_phases(state, plan, id);
    let mut open: Vec<String> = phases
        .iter()
        .map(|phase| format!("phase {phase} has not passed"))
        .collect();
    open.extend(
        progress::open_steps(state, plan, id)
            .into_iter()
            .map(|(step, at)| format!("step {step} is {}", at.status.as_str())),
    );
    if open.is_empty() {
        Ok(())
    } else {
        Err(Refusal::PhaseNotDone {
            gate: id.to_string(),
            what,
            open: open.join(", "),
        })
    }
}

/// Why nobody can decide on a gate now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateBlock {
    /// Code of the rule.
    pub code: ErrorCode,
    /// The rule's message, with what is still open.
    pub why: String,
    /// The commands that would help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<Remedy>,
}

/// Returns why a gate cannot be signed now by anyone; `None` if nothing prevents it or the gate
/// does not exist.
pub fn why_gate_is_blocked(state: &RolloutState, plan: &Plan, id: &PhaseId) -> Option<GateBlock> {
    let at = state.gates.get(id)?;
    let refusal = decided_now(state, plan, id, at, "signed").err()?;
    Some(GateBlock {
        code: refusal.code(),
        why: refusal.to_string(),
        remedies: refusal.remedies(),
    })
}
