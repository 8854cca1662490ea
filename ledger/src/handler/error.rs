//! Why a request did not lead to a commit.

use crate::environment::{EnvironmentRefusal, IllegalEnvironmentEvent};
use crate::error_code::Coded;
use crate::evidence::EvidenceError;
use crate::flag::{FlagRefusal, IllegalFlagEvent};
use crate::fleet::{FleetRefusal, IllegalWorkerEvent};
use crate::ids::{EnvironmentId, RolloutId};
use crate::journal::{Contended, ExecuteError, JournalError};
use crate::rollout::{IllegalEvent, Refusal, Remedy};
use crate::runbook::{Diagnostics, PlanError};
use crate::suggestion::leading;

/// Why a request did not lead to a commit. Nothing was recorded, except possibly after
/// [`JournalError::Unavailable`], where repeating the request is safe.
#[derive(Debug, thiserror::Error, Coded)]
pub enum HandlerError {
    /// A rule of the rollout refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A rule of the flag refused.
    #[error(transparent)]
    FlagRefused(#[from] FlagRefusal),
    /// A rule of the environment refused.
    #[error(transparent)]
    EnvironmentRefused(#[from] EnvironmentRefusal),
    /// A rule of the fleet refused.
    #[error(transparent)]
    FleetRefused(#[from] FleetRefusal),
    /// The requested object does not exist.
    #[error(
        "RB-HANDLER-1: {what} does not exist; {}`rollbook list`, `rollbook flag list` and `rollbook status` show what there is",
        leading(meant)
    )]
    NotFound {
        /// The requested object.
        what: String,
        /// Which one may be meant, as a question.
        meant: Option<String>,
    },
    /// The rollout never had this revision of its plan.
    #[error(
        "RB-HANDLER-21: rollout {rollout} has no revision {revision} of its plan; it has 1 to {last}"
    )]
    NoSuchRevision {
        /// The rollout.
        rollout: RolloutId,
        /// The number named.
        revision: u32,
        /// The highest number there is.
        last: u32,
    },
    /// A rollout with this id already exists.
    #[error("RB-HANDLER-2: rollout {id} already exists; open it under another id")]
    Exists {
        /// The id.
        id: RolloutId,
    },
    /// The environment is protected, and the ledger's server may lose acknowledged commits.
    #[error(
        "RB-HANDLER-4: rollout {id} is not opened: {environment} is protected, and sync_interval of the NATS server is not `always`, so a power cut loses acknowledged commits; set `sync_interval: always` in the jetstream block of every nats-server, restart it, then the rollbook server"
    )]
    NotSynced {
        /// The id.
        id: RolloutId,
        /// The environment.
        environment: EnvironmentId,
    },
    /// The command id was used for a different command.
    #[error(
        "RB-HANDLER-15: command id `{command_id}` was used for another command, which is recorded at sequence {sequence}; nothing was done: give each command an id of its own, and repeat a command only as it was sent, by the same person"
    )]
    OtherCommand {
        /// The id.
        command_id: String,
        /// Sequence of the other command's commit.
        sequence: u64,
    },
    /// Evidence that the ledger references is missing from the evidence store.
    #[error(
        "RB-HANDLER-20: evidence {sha256}, which the ledger names, is not in the evidence store; restore the store from its backup, or name the right one with --objects"
    )]
    EvidenceLost {
        /// Its digest.
        sha256: String,
    },
    /// Concurrent writers won every time.
    #[error(transparent)]
    Contended(#[from] Contended),
    /// The stored history of a rollout violates the rules; verify the ledger.
    #[error(transparent)]
    IllegalHistory(#[from] IllegalEvent),
    /// The stored history of a flag violates the rules; verify the ledger.
    #[error(transparent)]
    IllegalFlagHistory(#[from] IllegalFlagEvent),
    /// The stored history of an environment violates the rules; verify the ledger.
    #[error(transparent)]
    IllegalEnvironmentHistory(#[from] IllegalEnvironmentEvent),
    /// The stored history of a worker violates the rules; verify the ledger.
    #[error(transparent)]
    IllegalWorkerHistory(#[from] IllegalWorkerEvent),
    /// The journal refused or failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The evidence store refused or failed.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The plan fails the checks that apply to a runbook.
    #[error(
        "RB-HANDLER-18: the plan is refused; correct the runbook until `rollbook lint` has no errors, and send its plan again:\n{0}"
    )]
    PlanRefused(Diagnostics),
    /// A command references evidence that is not in the store.
    #[error(
        "RB-HANDLER-17: no evidence {sha256} is stored here with {size_bytes} bytes; store it first (`rollbook complete --evidence FILE`, POST /v1/evidence) and name it as the answer does"
    )]
    NoSuchEvidence {
        /// The digest named.
        sha256: String,
        /// The size named.
        size_bytes: u64,
    },
    /// A command cannot be converted to its canonical form.
    #[error("RB-HANDLER-16: the command has no JSON form: {0}; nothing was done")]
    Unprintable(#[from] serde_json::Error),
    /// A stored plan cannot be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl HandlerError {
    /// Returns the commands that help if a rule refused; any one of them is enough.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Refused(refusal) => refusal.remedies(),
            Self::FlagRefused(refusal) => refusal.remedies(),
            Self::EnvironmentRefused(refusal) => refusal.remedies(),
            _ => Vec::new(),
        }
    }
}

impl From<ExecuteError<HandlerError>> for HandlerError {
    fn from(error: ExecuteError<HandlerError>) -> Self {
        match error {
            ExecuteError::Rejected(error) => error,
            ExecuteError::Journal(error) => error.into(),
            ExecuteError::Contended(contended) => contended.into(),
        }
    }
}
