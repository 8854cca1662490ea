//! Whether a gate passes, and what is missing.

use jiff::Timestamp;

use super::super::state::{GateState, RolloutState, SignOff, StepStatus};
use super::{measures, people, progress, sources};
use crate::ids::{PhaseId, StepId};
use crate::runbook::Plan;
use crate::runbook::model::Gate;
use crate::runbook::seats::{self, Seat};

/// A role that lacks sign-offs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) role: String,
    /// Members who may still sign such that all other required sign-offs remain possible. Empty:
    /// the gate cannot open with the current roles.
    pub(crate) eligible: Vec<String>,
    /// Why its other members may not sign.
    pub(crate) excluded: Vec<String>,
}

/// The evaluation of a gate.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    /// The reasons why it would pass.
    pub(crate) holds: Vec<String>,
    /// The reasons why it does not pass; empty if it passes.
    pub(crate) blocks: Vec<String>,
    /// The sign-offs still required.
    pub(crate) missing: Vec<Missing>,
    /// Steps that may run again and could change the result.
    pub(crate) again: Vec<StepId>,
    /// Number of failed steps in the phase.
    pub(crate) failed: usize,
    /// Number of checks that do not hold.
    pub(crate) unmet: usize,
}

/// Iterates over the unexpired sign-offs.
pub(crate) fn valid(gate: &GateState, now: Timestamp) -> impl Iterator<Item = &SignOff> {
    gate.sign_offs
        .iter()
        .filter(move |sign_off| !is_expired(sign_off, now))
}

/// True if the sign-off has expired.
pub(crate) fn is_expired(sign_off: &SignOff, now: Timestamp) -> bool {
    sign_off.expires_at.is_some_and(|at| at <= now)
}

/// Evaluates the gate of a phase; `None` if there is no gate, it has passed, or unfinished work
/// comes first. A failed step blocks the gate and is named.
pub(crate) fn evaluate_if_reached(
    state: &RolloutState,
    plan: &Plan,
    id: &PhaseId,
    now: Timestamp,
) -> Option<Answer> {
    let at = state.gates.get(id)?;
    let spec = plan.phase(id)?.gate.as_ref()?;
    if at.passed_at.is_some() || !progress::missing_phases(state, plan, id).is_empty() {
        return None;
    }
    let open = progress::open_steps(state, plan, id);
    let (failed_ids, failed): (Vec<StepId>, Vec<String>) = open
        .iter()
        .filter(|(step_id, step)| {
            step.status == StepStatus::Interrupted
                || step.status.is_failure()
                    && plan
                        .step(step_id)
                        .is_some_and(|(_, planned)| !progress::will_retry(step, planned))
        })
        .map(|(step_id, step)| {
            let why = format!(
                "step {step_id} is {}: {}",
                step.status.as_str(),
                step.message
            );
            ((*step_id).clone(), why)
        })
        .unzip();
    if failed.is_empty() && !open.is_empty() {
        return None;
    }
    let mut answer = if failed.len() == open.len() {
        evaluate(state, plan, id, spec, at, now)
    } else {
        Answer::default()
    };
    if !failed.is_empty() {
        // Nobody can sign while a step of the phase has failed.
        answer.missing.clear();
        answer.failed = failed.len();
        answer.blocks.splice(0..0, failed);
        answer.again = failed_ids;
    }
    Some(answer)
}

/// Returns the sign-offs still required, with those who may give them.
fn seats<'a>(
    state: &RolloutState,
    plan: &'a Plan,
    id: &PhaseId,
    spec: &'a Gate,
    at: &GateState,
    now: Timestamp,
) -> Vec<Seat<'a>> {
    let signed: Vec<(&str, &str)> = valid(at, now)
        .map(|sign_off| (sign_off.person.as_str(), sign_off.role.as_str()))
        .collect();
    seats::of_gate(
        spec,
        |role| plan.role_members(role),
        &signed,
        |person| people::has_hand_in(state, id, person),
    )
}

/// Returns the members of a role who may no longer sign, with the reason.
fn excluded(
    state: &RolloutState,
    plan: &Plan,
    id: &PhaseId,
    spec: &Gate,
    at: &GateState,
    now: Timestamp,
    role: &str,
) -> Vec<String> {
    let why = |person: &String| {
        if let Some(signed) = valid(at, now).find(|sign_off| sign_off.person == *person) {
            return Some(format!("{person} has signed as {}", signed.role));
        }
        let steps = people::executed_by(state, id, person);
        (spec.not_executor && !steps.is_empty())
            .then(|| format!("{person} had a hand in step {}", steps.join(", ")))
    };
    plan.role_members(role).iter().filter_map(why).collect()
}

/// Evaluates a gate whose phase is done.
fn evaluate(
    state: &RolloutState,
    plan: &Plan,
    id: &PhaseId,
    spec: &Gate,
    at: &GateState,
    now: Timestamp,
) -> Answer {
    let mut answer = Answer::default();
    let seats = seats(state, plan, id, spec, at, now);
    let empty = seats::left_empty(&seats);
    for rule in &spec.sign_offs {
        let signed: Vec<&str> = valid(at, now)
            .filter(|sign_off| sign_off.role == rule.role)
            .map(|sign_off| sign_off.person.as_str())
            .collect();
        let have = u32::try_from(signed.len()).unwrap_or(u32::MAX);
        if have >= rule.quorum {
            answer.holds.push(format!(
                "{} of {} sign-offs by {}: {}",
                have,
                rule.quorum,
                rule.role,
                progress::list(&signed)
            ));
            continue;
        }
        answer.blocks.push(format!(
            "{have} of {} sign-offs by {}",
            rule.quorum, rule.role
        ));
        // If some sign-off can be given by nobody, no other sign-off in that role helps; other
        // roles may still sign.
        let eligible: Vec<&str> = if empty.is_empty() {
            seats::helpful(&seats, &rule.role)
        } else if empty.iter().any(|seat| seat.role == rule.role) {
            Vec::new()
        } else {
            seats
                .iter()
                .find(|seat| seat.role == rule.role)
                .map(|seat| seat.persons.clone())
                .unwrap_or_default()
        };
        answer.missing.push(Missing {
            role: rule.role.clone(),
            excluded: excluded(state, plan, id, spec, at, now, &rule.role),
            eligible: eligible.into_iter().map(str::to_owned).collect(),
        });
    }
    for refusal in &at.refusals {
        answer.blocks.push(format!(
            "refused by {} as {}: {}",
            refusal.person, refusal.role, refusal.reason
        ));
    }
    // Tell the signers which alerts nobody is watching any more.
    answer.holds.extend(
        state
            .alerts
            .iter()
            .filter(|((step, _), _)| state.step(step).is_some_and(|at| at.phase == *id))
            .map(|((step, metric), alert)| {
                format!(
                    "{} ({}) on {metric} of step {step} is still open, and its watch has ended",
                    alert.id, alert.severity
                )
            }),
    );
    for text in &spec.checks {
        let (holds, reason) = measures::check(state, plan, text, spec.no_data);
        if holds {
            answer.holds.push(reason);
        } else {
            answer.blocks.push(reason);
            answer.unmet += 1;
            for source in sources::sources(state, plan, id, text) {
                if !answer.again.contains(&source) {
                    answer.again.push(source);
                }
            }
        }
    }
    answer
}
