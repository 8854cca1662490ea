//! What can be asked of a rollout. People's commands come over the API; the others from the
//! orchestrator and the workers.

use std::collections::BTreeMap;

use rollbook_proto::v1;
use serde::{Deserialize, Serialize, Serializer};

use crate::ids::{EnvironmentId, PhaseId, StepId};
use crate::runbook::RollbackLevel;

/// How many pieces of evidence one manual step takes.
pub const MAX_EVIDENCE: usize = 50;

/// Opens a rollout: the only command without a state before it.
#[derive(Debug, Clone, Serialize)]
pub struct Open {
    /// Name for people; empty: runbook and environment.
    pub name: String,
    /// The canonical plan, already in the evidence store.
    pub plan: v1::Evidence,
    /// Environment of this rollout; declared by the runbook.
    pub environment: EnvironmentId,
    /// Effective parameters.
    pub params: BTreeMap<String, String>,
}

/// A person's command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Begin.
    Start {},
    /// No new step starts; running ones finish.
    Pause {
        /// Why.
        reason: String,
    },
    /// Go on after a pause.
    Resume {
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// End without undoing.
    Abort {
        /// Why.
        reason: String,
    },
    /// Do without a step.
    Skip {
        /// Which.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// Run a failed, interrupted, skipped or inconclusive step again.
    Retry {
        /// Which.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// A manual step is done (or has failed, when an answer is `fail`).
    Complete {
        /// Which.
        step: StepId,
        /// One answer per checklist item.
        #[serde(default)]
        checklist: Vec<Answer>,
        /// Digests of evidence already stored.
        #[serde(default)]
        evidence: Vec<v1::Evidence>,
        /// Free text.
        #[serde(default)]
        note: String,
    },
    /// Claim that a step does not apply; another person must agree.
    ProposeNotApplicable {
        /// Which.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// Agree or disagree with such a claim.
    ReviewNotApplicable {
        /// Which.
        step: StepId,
        /// Agree.
        accept: bool,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Sign a gate.
    Approve {
        /// Which.
        gate: PhaseId,
        /// In which role; may be left out when the person has exactly one that the gate asks for.
        #[serde(default)]
        role: Option<String>,
        /// What is stated; default: the gate's statement.
        #[serde(default)]
        statement: Option<String>,
        /// Digest of what the person was shown (`GET /v1/rollouts/{id}/gates/{gate}`); refused when
        /// the gate has changed since.
        seen: String,
    },
    /// Refuse a gate.
    Reject {
        /// Which.
        gate: PhaseId,
        /// In which role.
        #[serde(default)]
        role: Option<String>,
        /// Why.
        reason: String,
    },
    /// Take one step's effect back.
    Undo {
        /// Which.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// Go back.
    Rollback {
        /// How far.
        level: RollbackLevel,
        /// Steps to undo, for level `partial` only.
        #[serde(default)]
        steps: Vec<StepId>,
        /// Why.
        reason: String,
    },
    /// Put a changed plan on the record; voids open sign-offs, waits for acceptance.
    Revise {
        /// The canonical plan, already in the evidence store.
        plan: v1::Evidence,
        /// Parameters that are meant to change, with their new values. Any other parameter that
        /// both plans have must keep its value.
        #[serde(default)]
        params: BTreeMap<String, String>,
        /// Why.
        reason: String,
    },
    /// Accept the revision that waits.
    AcceptRevision {
        /// Its number.
        revision: u32,
        /// The digest of the difference that the person looked at; refused when it is another.
        #[serde(default)]
        difference: Option<String>,
        /// Why; needed only to break glass.
        #[serde(default)]
        reason: String,
    },
    /// Take a proposed plan back, or refuse it.
    WithdrawRevision {
        /// Its number.
        revision: u32,
        /// Why.
        reason: String,
    },
    /// Confirm another person's request: what it asks for is done.
    Confirm {
        /// Its id.
        request: String,
    },
    /// Take a request back, or refuse it.
    Withdraw {
        /// Its id.
        request: String,
        /// Why.
        reason: String,
    },
    /// Do alone and at once what takes two persons, where a rule allows it. Opens a review.
    BreakGlass {
        /// The command.
        of: Box<Command>,
    },
    /// Close the review of what another person did by breaking glass.
    Review {
        /// Its id.
        review: String,
        /// The reviewer would have agreed.
        agreed: bool,
        /// What was found.
        note: String,
    },
}

impl Command {
    /// The reason given; empty for commands that take none.
    pub fn reason(&self) -> &str {
        match self {
            Self::Pause { reason }
            | Self::Resume { reason }
            | Self::Abort { reason }
            | Self::Skip { reason, .. }
            | Self::Retry { reason, .. }
            | Self::ProposeNotApplicable { reason, .. }
            | Self::ReviewNotApplicable { reason, .. }
            | Self::Reject { reason, .. }
            | Self::Undo { reason, .. }
            | Self::Rollback { reason, .. }
            | Self::Revise { reason, .. }
            | Self::AcceptRevision { reason, .. }
            | Self::WithdrawRevision { reason, .. }
            | Self::Withdraw { reason, .. } => reason,
            Self::BreakGlass { of } => of.reason(),
            Self::Start {}
            | Self::Complete { .. }
            | Self::Approve { .. }
            | Self::Confirm { .. }
            | Self::Review { .. } => "",
        }
    }

    /// The command itself, when glass is broken for it.
    pub fn inner(&self) -> &Self {
        match self {
            Self::BreakGlass { of } => of,
            other => other,
        }
    }
}

/// An answer to one checklist item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The item as it stands in the plan.
    pub item: String,
    /// `pass`, `fail` or `not_applicable`.
    pub answer: AnswerValue,
    /// Free text.
    #[serde(default)]
    pub note: String,
}

/// `pass`, `fail` or `not_applicable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerValue {
    /// Done and right.
    Pass,
    /// Done and wrong.
    Fail,
    /// Does not apply; only where the plan accepts it.
    NotApplicable,
}

/// A worker's record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum WorkerCommand {
    /// Intent, before any effect. Refused unless the step is ready at this attempt.
    StartStep {
        /// Which.
        step: StepId,
        /// From 1; must be the next attempt.
        attempt: u32,
        /// Who.
        worker: String,
        /// What will run, redacted.
        intent: String,
    },
    /// A sample, recorded while the step runs.
    Measure {
        /// Which.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// The sample.
        measurement: v1::Measurement,
    },
    /// The result.
    FinishStep {
        /// The fact to record; refused unless this attempt is running, or was interrupted because its
        /// worker was taken for lost.
        finished: v1::StepFinished,
        /// Facts that belong to it, in the same commit: `SnapshotTaken`, `ComparisonMade`,
        /// `AuditTaken`.
        #[serde(serialize_with = "as_events")]
        details: Vec<v1::event::Kind>,
    },
    /// After a crash: intent without result, effect unknown.
    InterruptStep {
        /// Which.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// After a crash, of a step that only reads: this worker goes on with the attempt.
    ResumeStep {
        /// Which.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// Who goes on.
        worker: String,
        /// What became of the one before.
        reason: String,
    },
    /// Intent of an undo.
    StartUndo {
        /// Which.
        step: StepId,
        /// From 1 within the undo.
        attempt: u32,
        /// Who.
        worker: String,
        /// What will run, redacted.
        intent: String,
    },
    /// Result of an undo.
    FinishUndo {
        /// The fact to record.
        finished: v1::UndoFinished,
    },
}

/// The orchestrator's command: what time and state make due. Each is decided again on the
/// state at append, so that two orchestrators are harmless.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum SystemCommand {
    /// Everything that is due now and needs no worker: gates that pass or are newly blocked,
    /// expired sign-offs, steps whose `when` is false, waits that are over, automatic retries,
    /// advice, automatic rollback, rollback completion, close.
    Settle,
    /// A worker could not be had for this attempt: its task was given up.
    GiveUp {
        /// Which.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// A notice was sent, or could not be.
    RecordNotice {
        /// The fact.
        sent: v1::NoticeSent,
    },
}

/// Any command, with who and when.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Request {
    /// From a person.
    Person(Command),
    /// From a worker.
    Worker(WorkerCommand),
    /// From the orchestrator.
    System(SystemCommand),
}

/// Kinds of events have JSON only as events.
fn as_events<S: Serializer>(kinds: &[v1::event::Kind], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(kinds.iter().map(|kind| v1::Event {
        kind: Some(kind.clone()),
    }))
}
