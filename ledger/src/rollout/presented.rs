//! What a person is shown at a gate before they sign it, and the digest by which the signature
//! names exactly that.

use rollbook_proto::v1;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::refusal::Refusal;
use super::rules::{measures, progress};
use super::state::RolloutState;
use crate::ids::{EnvironmentId, PhaseId, RolloutId, StepId};
use crate::runbook::model::{Gate, SignOffRule};
use crate::runbook::plan::has_effect;
use crate::runbook::{Plan, difference};

/// The most pieces of evidence that one sign-off names, so that its commit stays within its size.
const MAX_EVIDENCE: usize = 400;

/// A check of the gate, as it says now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCheck {
    /// The expression of the plan.
    pub check: String,
    /// Whether the gate may pass on it.
    pub holds: bool,
    /// What it says, with its figures.
    pub says: String,
}

/// A step of the gate's phase, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownStep {
    /// Which.
    pub step: StepId,
    /// Title for people.
    pub title: String,
    /// Where it stands, in the words of `status`.
    pub status: String,
    /// Its last attempt.
    pub attempt: u32,
    /// What the last result, or the person who left it out, said.
    pub message: String,
}

/// A piece of evidence of the phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownEvidence {
    /// Of which step.
    pub step: StepId,
    /// What the bytes are.
    pub name: String,
    /// Their SHA-256, by which they can be fetched.
    pub sha256: String,
    /// How many they are.
    pub size_bytes: u64,
    /// What was printed was longer.
    pub truncated: bool,
}

/// A revision of the plan that is in force by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRevision {
    /// Its number.
    pub revision: u32,
    /// Digest of the plan it brought.
    pub plan_digest: String,
    /// Who brought it.
    pub by: String,
    /// Who accepted it.
    pub accepted_by: String,
    /// Why.
    pub reason: String,
    /// What it changed, a line each, as far as the record keeps it.
    pub changes: Vec<String>,
    /// SHA-256 of the whole difference, which is evidence; empty where it was not recorded.
    pub difference_sha256: String,
}

/// Everything that a signature at a gate is about. Who has signed is not part of it, so that
/// several may sign what they have seen at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Presented {
    /// Which rollout.
    pub rollout: RolloutId,
    /// Where it runs.
    pub environment: EnvironmentId,
    /// Which gate.
    pub gate: PhaseId,
    /// What is stated, unless the person states something else.
    pub statement: String,
    /// Who must sign.
    pub sign_offs: Vec<SignOffRule>,
    /// Digest of the plan in force.
    pub plan_digest: String,
    /// Its revision; 1 is the plan that the rollout was opened with.
    pub revision: u32,
    /// How the plan changed on the way, oldest first.
    pub revisions: Vec<ShownRevision>,
    /// The checks of the gate.
    pub checks: Vec<ShownCheck>,
    /// The steps of its phase.
    pub steps: Vec<ShownStep>,
    /// Their evidence, that of checks first.
    pub evidence: Vec<ShownEvidence>,
    /// Further pieces that are not listed, because there are too many: the steps have them.
    pub evidence_left_out: usize,
    /// SHA-256 over the digests of those; empty: all are listed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence_left_out_sha256: String,
}

impl Presented {
    /// Lower-case hex SHA-256 of the canonical JSON (RFC 8785) of all of it: what a signature
    /// names as seen.
    pub fn seen(&self) -> String {
        // Texts, numbers and lists have JSON.
        let canonical = serde_json_canonicalizer::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(canonical))
    }
}

/// What there is to see at a gate now. Pure: the same state and plan show the same.
pub fn presented(state: &RolloutState, plan: &Plan, gate: &PhaseId) -> Result<Presented, Refusal> {
    let spec = plan.phase(gate).and_then(|phase| phase.gate.as_ref());
    let (Some(spec), true) = (spec, state.gates.contains_key(gate)) else {
        return Err(Refusal::NoSuchGate {
            gate: gate.to_string(),
            known: progress::list(state.gates.keys()),
        });
    };
    let mut evidence = evidence(state, plan, gate);
    let left_out = evidence.len().saturating_sub(MAX_EVIDENCE);
    let left_out_sha256 = digest_of(evidence.get(MAX_EVIDENCE..).unwrap_or_default());
    evidence.truncate(MAX_EVIDENCE);
    Ok(Presented {
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
        evidence,
        evidence_left_out: left_out,
        evidence_left_out_sha256: left_out_sha256,
    })
}

/// One digest for pieces that are not listed.
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

/// What a gate states.
pub(super) fn statement(spec: &Gate, gate: &PhaseId) -> String {
    spec.statement
        .clone()
        .unwrap_or_else(|| format!("Phase {gate} may pass"))
}

/// The evidence of a phase, that of steps without an effect first: it is what proves.
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
