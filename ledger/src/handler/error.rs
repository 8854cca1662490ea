//! Why a request did not lead to a commit.

use crate::evidence::EvidenceError;
use crate::flag::{FlagRefusal, IllegalFlagEvent};
use crate::ids::RolloutId;
use crate::journal::JournalError;
use crate::rollout::{IllegalEvent, Refusal};
use crate::runbook::PlanError;

/// Why a request did not lead to a commit. Nothing was recorded, except after
/// [`JournalError::Unavailable`], where repeating the request is safe.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// A rule of the rollout refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A rule of the flag refused.
    #[error(transparent)]
    FlagRefused(#[from] FlagRefusal),
    /// There is no such thing.
    #[error(
        "RB-HANDLER-1: {what} does not exist; `rollbook list`, `rollbook flag list` and `rollbook status` show what there is"
    )]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The id is taken.
    #[error("RB-HANDLER-2: rollout {id} exists already; open it under another id")]
    Exists {
        /// The id.
        id: RolloutId,
    },
    /// Others kept appending first.
    #[error(
        "RB-HANDLER-3: {aggregate} kept changing while this was decided ({tries} tries); try again"
    )]
    Contention {
        /// Whose.
        aggregate: String,
        /// How often.
        tries: u32,
    },
    /// The stored history breaks the rules; verify the ledger.
    #[error(transparent)]
    IllegalHistory(#[from] IllegalEvent),
    /// The stored history of a flag breaks the rules; verify the ledger.
    #[error(transparent)]
    IllegalFlagHistory(#[from] IllegalFlagEvent),
    /// The journal refused or failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The evidence store refused or failed.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A stored plan does not read.
    #[error(transparent)]
    Plan(#[from] PlanError),
}
