//! Why an action could not be judged.

/// Why a step's action gave no verdict of its own. Becomes verdict `error` on the record.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The plan asks for something that is not there. Lint finds most of these before.
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
    /// The command could not be started or watched.
    #[error("RB-EXECUTE-3: the command cannot be run: {reason}")]
    Command {
        /// What the system said.
        reason: String,
    },
    /// The endpoint could not be reached or did not answer in full.
    #[error("RB-EXECUTE-4: {source_name} does not answer: {reason}")]
    Http {
        /// The source as named in the plan.
        source_name: String,
        /// What went wrong, redacted.
        reason: String,
    },
    /// The database could not be reached.
    #[error("RB-EXECUTE-5: database {source_name} cannot be used: {reason}")]
    Database {
        /// The source as named in the plan.
        source_name: String,
        /// What went wrong, redacted, and what to do.
        reason: String,
    },
    /// The statement failed.
    #[error("RB-EXECUTE-6: {what} failed on {source_name}: {reason}")]
    Statement {
        /// Which script or query.
        what: String,
        /// The source as named in the plan.
        source_name: String,
        /// What the database said, redacted.
        reason: String,
    },
    /// Output or another document could not be kept.
    #[error("RB-EXECUTE-7: evidence `{name}` cannot be kept: {reason}")]
    Evidence {
        /// Which document.
        name: String,
        /// Why.
        reason: String,
    },
    /// A flag could not be read or set.
    #[error("RB-EXECUTE-8: flag {key} in {environment}: {reason}")]
    Flag {
        /// Which flag.
        key: String,
        /// Where.
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
    /// The action took longer than it may.
    #[error("RB-EXECUTE-10: timed out after {after}")]
    TimedOut {
        /// The step's timeout.
        after: String,
    },
    /// The rollout no longer wants the action.
    #[error("RB-EXECUTE-11: cancelled: {reason}")]
    Cancelled {
        /// Why.
        reason: String,
    },
    /// Not work for a machine.
    #[error("RB-EXECUTE-12: a `{kind}` step is not executed by a worker; {instead}")]
    NotForWorkers {
        /// The step's kind.
        kind: &'static str,
        /// Who does it and how.
        instead: &'static str,
    },
    /// Taking or comparing a snapshot, or auditing, failed.
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
        /// Which metric.
        metric: String,
        /// Why.
        reason: String,
    },
}
