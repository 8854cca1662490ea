//! Illegal histories: commits that no rule of the rollout could have written.

use crate::error_code::Coded;

/// Why a commit cannot follow a rollout's history: the ledger is damaged or another program wrote
/// to it. It is data to report; never retryable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum IllegalEvent {
    /// The first event of a rollout is not `RolloutOpened`.
    #[error(
        "RB-FOLD-1: sequence {sequence}: {event} comes before the rollout was opened; verify the ledger"
    )]
    NotOpened {
        /// Sequence of the commit.
        sequence: u64,
        /// The event's name.
        event: String,
    },
    /// The commit belongs to another aggregate.
    #[error(
        "RB-FOLD-2: sequence {sequence} belongs to {found}, not to {expected}; verify the ledger"
    )]
    Foreign {
        /// Sequence of the commit.
        sequence: u64,
        /// The aggregate being folded.
        expected: String,
        /// The aggregate named by the commit.
        found: String,
    },
    /// The commit's expected previous sequence is not the last one folded.
    #[error(
        "RB-FOLD-3: sequence {sequence} claims to follow {found}, but {expected} is the one before it; verify the ledger"
    )]
    OutOfOrder {
        /// Sequence of the commit.
        sequence: u64,
        /// The last sequence folded.
        expected: u64,
        /// The previous sequence that the commit names.
        found: u64,
    },
    /// A required field of the event is missing or malformed.
    #[error(
        "RB-FOLD-4: sequence {sequence}: {event} has no usable {field}; verify the ledger, or use the version that wrote it"
    )]
    Malformed {
        /// Sequence of the commit.
        sequence: u64,
        /// The event's name.
        event: String,
        /// The field.
        field: &'static str,
    },
    /// The event names a step, phase or gate that the plan does not have.
    #[error("RB-FOLD-5: sequence {sequence}: {event} names {what}, which the plan does not have")]
    Unknown {
        /// Sequence of the commit.
        sequence: u64,
        /// The event's name.
        event: String,
        /// The unknown object.
        what: String,
    },
    /// The event is illegal in this state.
    #[error("RB-FOLD-6: sequence {sequence}: {event} cannot follow: {reason}; verify the ledger")]
    Transition {
        /// Sequence of the commit.
        sequence: u64,
        /// The event's name.
        event: String,
        /// Why it is illegal.
        reason: String,
    },
    /// The same command was applied twice.
    #[error("RB-FOLD-7: sequence {sequence} applies command {command_id} a second time")]
    CommandTwice {
        /// Sequence of the second commit.
        sequence: u64,
        /// The command id.
        command_id: String,
    },
}
