//! History that no rule of the rollout could have written.

/// Why a commit does not continue a rollout's history: damage, or a foreign writer. Data to
/// report; never retryable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// The first event of a rollout is not `RolloutOpened`.
    #[error(
        "RB-FOLD-1: sequence {sequence}: {event} comes before the rollout was opened; verify the ledger"
    )]
    NotOpened {
        /// Where.
        sequence: u64,
        /// Which event.
        event: String,
    },
    /// The commit belongs to another aggregate.
    #[error(
        "RB-FOLD-2: sequence {sequence} belongs to {found}, not to {expected}; verify the ledger"
    )]
    Foreign {
        /// Where.
        sequence: u64,
        /// Whose history is folded.
        expected: String,
        /// Whose commit it is.
        found: String,
    },
    /// The commit does not follow the one before it.
    #[error(
        "RB-FOLD-3: sequence {sequence} follows {found} by its own word, but {expected} is the one before it; verify the ledger"
    )]
    OutOfOrder {
        /// Where.
        sequence: u64,
        /// The last sequence folded.
        expected: u64,
        /// What the commit says.
        found: u64,
    },
    /// A field without which the event says nothing.
    #[error(
        "RB-FOLD-4: sequence {sequence}: {event} has no usable {field}; verify the ledger, or use the version that wrote it"
    )]
    Malformed {
        /// Where.
        sequence: u64,
        /// Which event.
        event: String,
        /// Which field.
        field: &'static str,
    },
    /// The event names a step, phase or gate that the plan does not have.
    #[error("RB-FOLD-5: sequence {sequence}: {event} names {what}, which the plan does not have")]
    Unknown {
        /// Where.
        sequence: u64,
        /// Which event.
        event: String,
        /// What it names.
        what: String,
    },
    /// The event cannot follow on this state.
    #[error("RB-FOLD-6: sequence {sequence}: {event} cannot follow: {reason}; verify the ledger")]
    Transition {
        /// Where.
        sequence: u64,
        /// Which event.
        event: String,
        /// What stands against it.
        reason: String,
    },
    /// The same command twice.
    #[error("RB-FOLD-7: sequence {sequence} applies command {command_id} a second time")]
    CommandTwice {
        /// Where.
        sequence: u64,
        /// Which command.
        command_id: String,
    },
}
