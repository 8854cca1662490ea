//! Why an action has no verdict of its own.

use rollbook_ledger::error_code::Coded;

/// Why an action has no verdict of its own; it is recorded with the verdict `error`.
#[derive(Debug, thiserror::Error, Coded)]
pub enum ExecutorError {
    /// The plan refers to something that does not exist. Lint finds most of these first.
    #[error("RB-EXECUTE-1: the plan cannot be carried out: {reason}")]
    Plan {
        /// What is missing, and where.
        reason: String,
    },
    /// A reference to a secret cannot be resolved.
    #[error("RB-EXECUTE-2: {reference} cannot be read: {reason}")]
    Secret {
        /// The reference, never the value.
        reference: String,
        /// Why.
        reason: String,
    },
    /// The command could not be started or supervised.
    #[error("RB-EXECUTE-3: the command cannot be run: {reason}")]
    Command {
        /// The system's message.
        reason: String,
    },
    /// The endpoint was unreachable or its response incomplete.
    #[error("RB-EXECUTE-4: {source_name} does not answer: {reason}")]
    Http {
        /// The source as named in the plan.
        source_name: String,
        /// The cause, redacted.
        reason: String,
    },
    /// The database could not be reached.
    #[error("RB-EXECUTE-5: database {source_name} cannot be used: {reason}")]
    Database {
        /// The source as named in the plan.
        source_name: String,
        /// The cause, redacted, and advice.
        reason: String,
    },
    /// The statement failed.
    #[error("RB-EXECUTE-6: {what} failed on {source_name}: {reason}")]
    Statement {
        /// Which script or query.
        what: String,
        /// The source as named in the plan.
        source_name: String,
        /// The database's message, redacted.
        reason: String,
    },
    /// Output or another document could not be stored.
    #[error("RB-EXECUTE-7: evidence `{name}` cannot be kept: {reason}")]
    Evidence {
        /// The document.
        name: String,
        /// Why.
        reason: String,
    },
    /// A flag could not be read or set.
    #[error("RB-EXECUTE-8: flag {key} in {environment}: {reason}")]
    Flag {
        /// The flag.
        key: String,
        /// The environment.
        environment: String,
        /// Why.
        reason: String,
    },
    /// The message could not be delivered.
    #[error("RB-EXECUTE-9: channel {channel} did not take the message: {reason}")]
    Channel {
        /// The channel as named in the plan.
        channel: String,
        /// Why, redacted.
        reason: String,
    },
    /// The action exceeded its time limit.
    #[error("RB-EXECUTE-10: timed out after {after}")]
    TimedOut {
        /// The step's timeout.
        after: String,
    },
    /// The rollout cancelled the action.
    #[error("RB-EXECUTE-11: cancelled: {reason}")]
    Cancelled {
        /// Why.
        reason: String,
    },
    /// The step's kind is not executed by workers.
    #[error("RB-EXECUTE-12: a `{kind}` step is not executed by a worker; {instead}")]
    NotForWorkers {
        /// The step's kind.
        kind: &'static str,
        /// Who executes it, and how.
        instead: &'static str,
    },
    /// A snapshot, comparison or audit failed.
    #[error("RB-EXECUTE-13: {what} failed: {reason}")]
    Deals {
        /// `snapshot`, `compare` or `audit`.
        what: &'static str,
        /// Why, redacted.
        reason: String,
    },
    /// A sample could not be recorded on the ledger.
    #[error("RB-EXECUTE-14: a sample of {metric} could not be recorded: {reason}")]
    Sample {
        /// The metric.
        metric: String,
        /// Why.
        reason: String,
    },
}
