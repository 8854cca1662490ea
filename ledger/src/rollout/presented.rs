//! What a person sees at a gate before signing it, and the digest that binds the signature to
//! exactly that content.

use rollbook_proto::v1;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::refusal::Refusal;
use super::rules::measures;
use super::state::RolloutState;
use crate::ids::{EnvironmentId, PhaseId, RolloutId, StepId};
use crate::runbook::model::{Gate, SignOffRule};
use crate::runbook::plan::has_effect;
use crate::runbook::{Plan, difference};

/// Maximum number of evidence items named by one sign-off, so that its commit stays within bounds.
const MAX_EVIDENCE: usize = 400;

/// Maximum number of uses of break-glass that a gate shows; the report has all.
const MAX_GLASS: usize = 50;

/// A check of the gate with its current result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCheck {
    /// The plan's expression.
    pub check: String,
    /// True if the check does not block the gate.
    pub holds: bool,
    /// The result, with its figures.
    pub says: String,
}

/// A step of the gate's phase with its current status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownStep {
    /// The step.
    pub step: StepId,
    /// Display title.
    pub title: String,
    /// Its status, in the words of `rollbook status`.
    pub status: String,
    /// Its last attempt.
    pub attempt: u32,
    /// The message of the last result, or the reason given by the person who skipped it.
    pub message: String,
}

/// What one person did alone by breaking glass, anywhere in the rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownGlass {
    /// For display: `skip step 1.6`.
    pub what: String,
    /// The person.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// Id of its review.
    pub review: String,
    /// Who reviewed it; empty while the review is open.
    pub reviewed_by: String,
    /// The reviewer would have agreed.
    pub agreed: bool,
}

/// An evidence item of the phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownEvidence {
    /// The step it belongs to.
    pub step: StepId,
    /// Display name.
    pub name: String,
    /// SHA-256 of its bytes, by which they can be fetched.
    pub sha256: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The output was longer than what was stored.
    pub truncated: bool,
}

/// A revision of the plan that has been accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRevision {
    /// Its number.
    pub revision: u32,
    /// Digest of the revised plan.
    pub plan_digest: String,
    /// Who proposed it.
    pub by: String,
    /// Who accepted it.
    pub accepted_by: String,
    /// The reason.
    pub reason: String,
    /// Its changes, one line each, as far as they were recorded.
    pub changes: Vec<String>,
    /// SHA-256 of the full difference, which is stored as evidence; empty if it was not recorded.
    pub difference_sha256: String,
}

/// Everything that a sign-off at a gate covers. It excludes who has signed, so that several people
/// can sign the same content concurrently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatePresentation {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its environment.
    pub environment: EnvironmentId,
    /// The gate.
    pub gate: PhaseId,
    /// The statement signed, unless the person gives another one.
    pub statement: String,
    /// The sign-offs required.
    pub sign_offs: Vec<SignOffRule>,
    /// Digest of the plan in force.
    pub plan_digest: String,
    /// Its revision; 1 is the plan with which the rollout was opened.
    pub revision: u32,
    /// The accepted revisions, oldest first.
    pub revisions: Vec<ShownRevision>,
    /// The checks of the gate.
    pub checks: Vec<ShownCheck>,
    /// The steps of its phase.
    pub steps: Vec<ShownStep>,
    /// What was done alone by breaking glass, the newest first; absent if nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken_glass: Vec<ShownGlass>,
    /// The phase's evidence, that of checks first.
    pub evidence: Vec<ShownEvidence>,
    /// How many further evidence items are omitted because there are too many; the steps list them.
    pub evidence_left_out: usize,
    /// SHA-256 over the digests of the omitted items; empty if none are omitted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence_left_out_sha256: String,
}

impl GatePresentation {
    /// Returns the digest that a sign-off names as seen: the lower-case hex SHA-256 of the
    /// canonical JSON (RFC 8785) of this value.
    pub fn seen(&self) -> String {
        // Serialization cannot fail: the value holds only texts, numbers and lists.
        let canonical = serde_json_canonicalizer::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(canonical))
    }
}

/// Returns what a gate presents now. Pure: the same state and plan give the same content.
pub fn presented(
    state: &RolloutState,
    plan: &Plan,
    gate: &PhaseId,
) -> Result<GatePresentation, Refusal> {
    let spec = plan.phase(gate).and_then(|phase| phase.gate.as_ref());
    let (Some(spec), true) = (spec, state.gates.contains_key(gate)) else {
        return Err(Refusal::no_such_gate(state, gate));
    };
    let mut evidence = evidence(state, plan, gate);
    let left_out = evidence.len().saturating_sub(MAX_EVIDENCE);
    let left_out_sha256 = digest_of(evidence.get(MAX_EVIDENCE..).unwrap_or_default());
    evidence.truncate(MAX_EVIDENCE);
    Ok(GatePresentation {
        rollout: state.id.clone(),
        environment: state.environment.clone(),
        gate: gate.clone(),
        statement: statement(spec, gate),
        sign_offs: spec.sign_offs.clone(),
        plan_digest: state.plan_digest.clone(),
        revision: state.revision,
        revisions: state
            .accepted_revisions
            .iter()
            .map(|accepted| ShownRevision {
                revision: accepted.revision,
                plan_digest: accepted.plan_digest.clone(),
                by: accepted.by.clone(),
                accepted_by: accepted.accepted_by.clone(),
                reason: accepted.reason.clone(),
                changes: accepted.difference.as_ref().map_or_else(Vec::new, |all| {
                    all.changes.iter().map(difference::line).collect()
                }),
                difference_sha256: accepted
                    .difference
                    .as_ref()
                    .map_or_else(String::new, |all| all.sha256.clone()),
            })
            .collect(),
        checks: spec
            .checks
            .iter()
            .map(|text| {
                let (holds, says) = measures::check(state, plan, text, spec.no_data);
                ShownCheck {
                    check: text.clone(),
                    holds,
                    says,
                }
            })
            .collect(),
        steps: state
            .steps
            .iter()
            .filter(|(_, at)| at.phase == *gate)
            .map(|(id, at)| ShownStep {
                step: id.clone(),
                title: at.title.clone(),
                status: at.status.as_str().to_owned(),
                attempt: at.attempt,
                message: at.message.clone(),
            })
            .collect(),
        broken_glass: state
            .broken_glass
            .iter()
            .rev()
            .take(MAX_GLASS)
            .map(|used| {
                let reviewed = used.reviewed.as_ref();
                ShownGlass {
                    what: used.what.clone(),
                    by: used.by.clone(),
                    reason: used.reason.clone(),
                    review: used.review.clone(),
                    reviewed_by: reviewed.map_or_else(String::new, |(by, _)| by.clone()),
                    agreed: reviewed.is_some_and(|(_, agreed)| *agreed),
                }
            })
            .collect(),
        evidence,
        evidence_left_out: left_out,
        evidence_left_out_sha256: left_out_sha256,
    })
}

/// Returns the evidence-store digests that a sign-off at a gate depends on: the plan, its
/// revisions, and all evidence of the phase, listed or omitted.
pub fn rests_on(state: &RolloutState, plan: &Plan, gate: &PhaseId) -> Vec<String> {
    let revised = state.accepted_revisions.iter().filter_map(|accepted| {
        let difference = accepted.difference.as_ref()?;
        Some(difference.sha256.clone())
    });
    let pieces = evidence(state, plan, gate);
    std::iter::once(state.plan_digest.clone())
        .chain(pieces.into_iter().map(|piece| piece.sha256))
        .chain(revised)
        .filter(|sha256| !sha256.is_empty())
        .collect()
}

/// Returns the evidence-store digests that a rollout depends on: its plan, its revisions and all
/// evidence.
pub fn all_evidence(state: &RolloutState) -> Vec<String> {
    let revised = state.accepted_revisions.iter().flat_map(|accepted| {
        let difference = accepted.difference.as_ref();
        let difference = difference.map(|difference| difference.sha256.clone());
        std::iter::once(accepted.plan_digest.clone()).chain(difference)
    });
    let pieces = state.steps.values().flat_map(|at| &at.evidence);
    std::iter::once(state.plan_digest.clone())
        .chain(pieces.map(|piece| piece.sha256.clone()))
        .chain(revised)
        .filter(|sha256| !sha256.is_empty())
        .collect()
}

/// Returns the addresses of the texts that its commands keep as evidence. One that is missing was
/// erased: the commits hold their beginnings.
pub fn long_texts(state: &RolloutState) -> Vec<String> {
    let texts = state.long_texts.iter();
    texts.map(|text| text.sha256.clone()).collect()
}

/// Returns one digest over the omitted items.
fn digest_of(pieces: &[ShownEvidence]) -> String {
    if pieces.is_empty() {
        return String::new();
    }
    let mut digest = Sha256::new();
    for piece in pieces {
        digest.update(piece.sha256.as_bytes());
        digest.update(b"\n");
    }
    hex::encode(digest.finalize())
}

/// Returns the gate's statement, or a default one.
pub(super) fn statement(spec: &Gate, gate: &PhaseId) -> String {
    spec.statement
        .clone()
        .unwrap_or_else(|| format!("Phase {gate} may pass"))
}

/// Returns the phase's evidence, starting with that of steps without an effect, because those are
/// the proof.
fn evidence(state: &RolloutState, plan: &Plan, gate: &PhaseId) -> Vec<ShownEvidence> {
    let mut pieces: Vec<(bool, ShownEvidence)> = state
        .steps
        .iter()
        .filter(|(_, at)| at.phase == *gate)
        .flat_map(|(id, at)| {
            let effect = plan.step(id).is_some_and(|(_, step)| has_effect(step));
            at.evidence
                .iter()
                .map(move |piece| (effect, shown(id, piece)))
        })
        .collect();
    pieces.sort_by_key(|(effect, _)| *effect);
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

fn shown(step: &StepId, piece: &v1::Evidence) -> ShownEvidence {
    ShownEvidence {
        step: step.clone(),
        name: piece.name.clone(),
        sha256: piece.sha256.clone(),
        size_bytes: piece.size_bytes,
        truncated: piece.truncated,
    }
}
