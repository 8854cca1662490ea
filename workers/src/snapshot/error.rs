//! What can go wrong with a snapshot.

use rollbook_ledger::error_code::Coded;
use rollbook_ledger::evidence::EvidenceError;

use super::source::DealTable;

/// Why a snapshot could not be taken or read. No message contains a password.
#[derive(Debug, thiserror::Error, Coded)]
pub enum SnapshotError {
    /// The database URL cannot be used.
    #[error("RB-SNAPSHOT-1: the database URL `{database}` cannot be used: {reason}")]
    Url {
        /// The URL without credentials.
        database: String,
        /// What is wrong.
        reason: String,
    },
    /// The database does not respond. Retryable.
    #[error(
        "RB-SNAPSHOT-2: the database {database} cannot be reached: {reason}; check that it is running"
    )]
    Unreachable {
        /// The URL without credentials.
        database: String,
        /// The driver's message.
        reason: String,
    },
    /// The database refused the credentials.
    #[error(
        "RB-SNAPSHOT-3: the database {database} refused access: {reason}; check user, password and rights"
    )]
    Denied {
        /// The URL without credentials.
        database: String,
        /// The server's message.
        reason: String,
    },
    /// The table, a column or the query does not match the database.
    #[error(
        "RB-SNAPSHOT-4: {database} cannot run the query on `{table}`: {reason}; check table, columns, where and query of the source"
    )]
    Query {
        /// The URL without credentials.
        database: String,
        /// The table of the source.
        table: String,
        /// The server's message.
        reason: String,
    },
    /// The read was interrupted. Nothing was recorded; retryable.
    #[error(
        "RB-SNAPSHOT-5: reading from {database} was interrupted after {rows} rows: {reason}; take the snapshot again"
    )]
    Interrupted {
        /// The URL without credentials.
        database: String,
        /// Rows read before the interruption.
        rows: u64,
        /// The driver's message.
        reason: String,
    },
    /// The source returned an id twice, out of order, or NULL.
    #[error(
        "RB-SNAPSHOT-6: the deals of `{table}` are not in strict id order: {reason}; ids must be unique and not NULL"
    )]
    Order {
        /// The table of the source.
        table: String,
        /// Which ids, and what is wrong with them.
        reason: String,
    },
    /// The evidence store failed.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A part could not be written.
    #[error("RB-SNAPSHOT-7: a part cannot be encoded: {reason}")]
    Encode {
        /// What is wrong.
        reason: String,
    },
    /// The stored bytes match their address but are not a snapshot this version can read.
    #[error("RB-SNAPSHOT-8: {what} {sha256} cannot be read: {reason}")]
    Malformed {
        /// `manifest` or `part`.
        what: &'static str,
        /// Its SHA-256 address.
        sha256: String,
        /// What is wrong.
        reason: String,
    },
    /// The request is not valid.
    #[error("RB-SNAPSHOT-9: {field}: {reason}")]
    Request {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The compute threads could not be started or did not return a result.
    #[error("RB-SNAPSHOT-10: the compute pool failed: {reason}")]
    Compute {
        /// What happened.
        reason: String,
    },
    /// A source file cannot be opened or read.
    #[error("RB-SNAPSHOT-11: the file {path} cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A deal in a source file is out of order.
    #[error(
        "RB-SNAPSHOT-12: {path}, {place}: {reason}; give every deal once, sorted by id, and take the snapshot again"
    )]
    FileOrder {
        /// The file.
        path: String,
        /// `line 12` or `row 12`, from 1.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A line or row of a source file is not a deal.
    #[error(
        "RB-SNAPSHOT-18: {path}, {place}: {reason}; correct it there and take the snapshot again"
    )]
    FileRow {
        /// The file.
        path: String,
        /// `line 12` or `row 12`, from 1.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A source file is no longer the one that was planned. Nothing was recorded; retryable with a
    /// new plan.
    #[error(
        "RB-SNAPSHOT-13: the file {path} changed while it was read; take the snapshot again when nothing writes to it"
    )]
    FileChanged {
        /// The file.
        path: String,
    },
    /// The plan's consistent read has ended, so its shards can no longer be read as of the same
    /// moment. Nothing was recorded; retryable with a new plan.
    #[error(
        "RB-SNAPSHOT-14: the consistent read of {database} that this shard belongs to is over: {reason}; take the snapshot again"
    )]
    ReadOver {
        /// The database without credentials.
        database: String,
        /// The server's message.
        reason: String,
    },
    /// A shard cannot be done by this worker, or the reports do not match the plan.
    #[error("RB-SNAPSHOT-15: shard {shard}: {reason}")]
    Shard {
        /// Its index in the plan, from 0.
        shard: u32,
        /// What does not match.
        reason: String,
    },
    /// Computed rows cannot be buffered in the directory for temporary files. Nothing was recorded.
    #[error(
        "RB-SNAPSHOT-17: {directory} cannot keep rows until their parts are written: {reason}; free space there, or name another directory by TMPDIR"
    )]
    Spill {
        /// The directory.
        directory: String,
        /// The system's message.
        reason: String,
    },
    /// Exported rows cannot be written.
    #[error(
        "RB-SNAPSHOT-19: {to}: the rows cannot be written: {reason}; free space there, or name another place"
    )]
    Export {
        /// Where they go.
        to: String,
        /// The system's message.
        reason: std::io::Error,
    },
    /// The calculator cannot compute any deal. Nothing was recorded.
    #[error(
        "RB-SNAPSHOT-16: the calculator failed: {reason}; correct it and take the snapshot again"
    )]
    Calculator {
        /// What happened.
        reason: String,
    },
}

impl SnapshotError {
    /// The error for a table in which an id occurs twice.
    pub(super) fn twice(table: &DealTable, deal_id: &str) -> Self {
        Self::Order {
            table: table.table.clone(),
            reason: format!("id {deal_id:?} occurs twice"),
        }
    }

    /// Whether the plan's shards can no longer be read, so that only a new plan helps.
    pub fn needs_new_plan(&self) -> bool {
        matches!(self, Self::ReadOver { .. } | Self::FileChanged { .. })
    }

    /// Whether the same request may succeed if retried later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            Self::ReadOver { .. } | Self::FileChanged { .. } => true,
            Self::Evidence(error) => error.is_retryable(),
            _ => false,
        }
    }
}
