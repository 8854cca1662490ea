//! Requests to a rollout: from people over the API, from the orchestrator and from workers.

use std::collections::BTreeMap;

use rollbook_proto::v1;
use serde::{Deserialize, Serialize, Serializer};

use crate::ids::{EnvironmentId, PhaseId, StepId};
use crate::runbook::RollbackLevel;

/// Maximum number of evidence items in the completion of one manual step.
pub const MAX_EVIDENCE: usize = 50;

/// Opens a rollout; the only command that needs no existing state.
#[derive(Debug, Clone, Serialize)]
pub struct Open {
    /// Display name; empty means the runbook's name and the environment.
    pub name: String,
    /// The canonical plan, already in the evidence store.
    pub plan: v1::Evidence,
    /// Target environment; the runbook must declare it.
    pub environment: EnvironmentId,
    /// Effective parameters.
    pub params: BTreeMap<String, String>,
}

/// A command from a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Starts the rollout.
    Start {},
    /// Pauses the rollout: no new step starts, running steps finish.
    Pause {
        /// The reason.
        reason: String,
    },
    /// Resumes a paused rollout.
    Resume {
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Aborts the rollout without undoing anything.
    Abort {
        /// The reason.
        reason: String,
    },
    /// Skips a step.
    Skip {
        /// The step.
        step: StepId,
        /// The reason.
        reason: String,
    },
    /// Runs a failed, interrupted, skipped or inconclusive step again.
    Retry {
        /// The step.
        step: StepId,
        /// The reason.
        reason: String,
    },
    /// Completes a manual step; any `fail` answer makes it fail.
    Complete {
        /// The step.
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
    /// Claims that a step does not apply; another person must agree.
    ProposeNotApplicable {
        /// The step.
        step: StepId,
        /// The reason.
        reason: String,
    },
    /// Accepts or rejects a claim that a step does not apply.
    ReviewNotApplicable {
        /// The step.
        step: StepId,
        /// True to accept the claim.
        accept: bool,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Signs a gate.
    Approve {
        /// The gate.
        gate: PhaseId,
        /// The signer's role; optional if exactly one of the person's roles is required by the
        /// gate.
        #[serde(default)]
        role: Option<String>,
        /// The statement signed; defaults to the gate's statement.
        #[serde(default)]
        statement: Option<String>,
        /// Digest of what the person was shown (`GET /v1/rollouts/{id}/gates/{gate}`); the command
        /// is refused if the gate has changed since.
        seen: String,
    },
    /// Rejects a gate.
    Reject {
        /// The gate.
        gate: PhaseId,
        /// The person's role.
        #[serde(default)]
        role: Option<String>,
        /// The reason.
        reason: String,
    },
    /// Undoes one step's effect.
    Undo {
        /// The step.
        step: StepId,
        /// The reason.
        reason: String,
    },
    /// Rolls back.
    Rollback {
        /// The level.
        level: RollbackLevel,
        /// Steps to undo; only for level `partial`.
        #[serde(default)]
        steps: Vec<StepId>,
        /// The reason.
        reason: String,
    },
    /// Proposes a changed plan; voids open sign-offs and waits for acceptance.
    Revise {
        /// The canonical plan, already in the evidence store.
        plan: v1::Evidence,
        /// Parameters that are meant to change, with their new values. Any other parameter that
        /// both plans have must keep its value.
        #[serde(default)]
        params: BTreeMap<String, String>,
        /// The reason.
        reason: String,
    },
    /// Accepts the pending revision.
    AcceptRevision {
        /// Its number.
        revision: u32,
        /// Digest of the difference that the person reviewed; refused if it does not match.
        #[serde(default)]
        difference: Option<String>,
        /// The reason; required only when breaking glass.
        #[serde(default)]
        reason: String,
    },
    /// Withdraws or refuses a proposed plan.
    WithdrawRevision {
        /// Its number.
        revision: u32,
        /// The reason.
        reason: String,
    },
    /// Confirms another person's request, which executes the requested command.
    Confirm {
        /// Its id.
        request: String,
    },
    /// Withdraws or refuses a request.
    Withdraw {
        /// Its id.
        request: String,
        /// The reason.
        reason: String,
    },
    /// Executes at once, alone, a command that takes two persons, where a rule allows it; opens a
    /// review.
    BreakGlass {
        /// The command.
        of: Box<Command>,
    },
    /// Closes the review of a command that another person executed by breaking glass.
    Review {
        /// Its id.
        review: String,
        /// True if the reviewer would have agreed.
        agreed: bool,
        /// The reviewer's findings.
        note: String,
    },
}

/// Matches the commands that give a reason, and binds it.
macro_rules! gives_reason {
    ($reason:ident) => {
        Self::Pause { $reason }
            | Self::Resume { $reason }
            | Self::Abort { $reason }
            | Self::Skip { $reason, .. }
            | Self::Retry { $reason, .. }
            | Self::ProposeNotApplicable { $reason, .. }
            | Self::ReviewNotApplicable { $reason, .. }
            | Self::Reject { $reason, .. }
            | Self::Undo { $reason, .. }
            | Self::Rollback { $reason, .. }
            | Self::Revise { $reason, .. }
            | Self::AcceptRevision { $reason, .. }
            | Self::WithdrawRevision { $reason, .. }
            | Self::Withdraw { $reason, .. }
    };
}

impl Command {
    /// Returns the reason given; empty for commands that take none.
    pub fn reason(&self) -> &str {
        match self {
            gives_reason!(reason) => reason,
            Self::BreakGlass { of } => of.reason(),
            Self::Start {}
            | Self::Complete { .. }
            | Self::Approve { .. }
            | Self::Confirm { .. }
            | Self::Review { .. } => "",
        }
    }

    /// Returns the free texts, each with the name of its field.
    pub(crate) fn texts_mut(&mut self) -> Vec<(String, &mut String)> {
        match self {
            gives_reason!(reason) => vec![("reason".to_owned(), reason)],
            Self::BreakGlass { of } => of.texts_mut(),
            Self::Review { note, .. } => vec![("note".to_owned(), note)],
            Self::Approve { statement, .. } => {
                let given = statement.iter_mut();
                given.map(|text| ("statement".to_owned(), text)).collect()
            }
            Self::Complete {
                checklist, note, ..
            } => {
                let notes = checklist.iter_mut().enumerate();
                let notes = notes.map(|(n, it)| (format!("checklist.{n}.note"), &mut it.note));
                notes.chain([("note".to_owned(), note)]).collect()
            }
            Self::Start {} | Self::Confirm { .. } => Vec::new(),
        }
    }

    /// Returns the wrapped command if this one breaks glass, otherwise the command itself.
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
    /// The item, exactly as written in the plan.
    pub item: String,
    /// The answer.
    pub answer: AnswerValue,
    /// Free text.
    #[serde(default)]
    pub note: String,
}

/// The answer to a checklist item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerValue {
    /// Done, and correct.
    Pass,
    /// Done, and not correct.
    Fail,
    /// Does not apply; allowed only where the plan accepts it.
    NotApplicable,
}

/// A worker's report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum WorkerCommand {
    /// Records the intent before any effect; refused unless the step is ready at this attempt.
    StartStep {
        /// The step.
        step: StepId,
        /// Counted from 1; must be the next attempt.
        attempt: u32,
        /// The worker.
        worker: String,
        /// What will run, redacted.
        intent: String,
    },
    /// Records a sample while the step runs.
    Measure {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The sample.
        measurement: v1::Measurement,
    },
    /// Records the result.
    FinishStep {
        /// The fact to record; refused unless this attempt is running, or was interrupted because
        /// its worker was presumed lost.
        finished: v1::StepFinished,
        /// Facts recorded in the same commit: `SnapshotTaken`, `ComparisonMade`, `AuditTaken`.
        #[serde(serialize_with = "as_events")]
        details: Vec<v1::event::Kind>,
    },
    /// After a crash, records that an attempt has an intent but no result, so its effect is
    /// unknown.
    InterruptStep {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The reason.
        reason: String,
    },
    /// After a crash, lets this worker continue an attempt of a step that only reads.
    ResumeStep {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The worker that continues.
        worker: String,
        /// What happened to the previous worker.
        reason: String,
    },
    /// Records the intent to undo a step.
    StartUndo {
        /// The step.
        step: StepId,
        /// The undo attempt, counted from 1.
        attempt: u32,
        /// The worker.
        worker: String,
        /// What will run, redacted.
        intent: String,
    },
    /// Records the result of an undo.
    FinishUndo {
        /// The fact to record.
        finished: v1::UndoFinished,
    },
}

/// A command from the orchestrator: whatever time and state make due. Each is decided again on the
/// state at append, so two orchestrators do no harm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum SystemCommand {
    /// Records everything that is due now and needs no worker: gates that pass or become blocked,
    /// expired sign-offs, steps whose `when` is false, finished waits, automatic retries, advice,
    /// automatic rollbacks, the end of a rollback, the close.
    Settle,
    /// Gives up an attempt for which no worker could be found.
    GiveUp {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The reason.
        reason: String,
    },
    /// Records that a notice was sent, or could not be.
    RecordNotice {
        /// The fact.
        sent: v1::NoticeSent,
    },
}

/// A command from any kind of actor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Request {
    /// From a person.
    Person(Command),
    /// From a worker.
    Worker(WorkerCommand),
    /// From the orchestrator.
    System(SystemCommand),
}

/// Serializes event kinds as events, because only events have a JSON form.
fn as_events<S: Serializer>(kinds: &[v1::event::Kind], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(kinds.iter().map(|kind| v1::Event {
        kind: Some(kind.clone()),
    }))
}
