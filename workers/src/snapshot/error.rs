//! What can go wrong with a snapshot.

use rollbook_ledger::evidence::EvidenceError;

use super::source::DealTable;

/// Why a snapshot could not be taken or read. No message holds a password.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The database URL cannot be used.
    #[error("RB-SNAPSHOT-1: the database URL `{database}` cannot be used: {reason}")]
    Url {
        /// The URL without credentials.
        database: String,
        /// What is wrong.
        reason: String,
    },
    /// The database does not answer. Retryable.
    #[error(
        "RB-SNAPSHOT-2: the database {database} cannot be reached: {reason}; check that it is running"
    )]
    Unreachable {
        /// The URL without credentials.
        database: String,
        /// The driver's words.
        reason: String,
    },
    /// The database refused the credentials.
    #[error(
        "RB-SNAPSHOT-3: the database {database} refused access: {reason}; check user, password and rights"
    )]
    Denied {
        /// The URL without credentials.
        database: String,
        /// The server's words.
        reason: String,
    },
    /// Table, column or query are not what the database has.
    #[error(
        "RB-SNAPSHOT-4: {database} cannot run the query on `{table}`: {reason}; check table, columns, where and query of the source"
    )]
    Query {
        /// The URL without credentials.
        database: String,
        /// The table of the source.
        table: String,
        /// The server's words.
        reason: String,
    },
    /// The read broke off. Nothing was recorded; retryable.
    #[error(
        "RB-SNAPSHOT-5: reading from {database} broke off after {rows} rows: {reason}; take the snapshot again"
    )]
    Interrupted {
        /// The URL without credentials.
        database: String,
        /// How far the read came.
        rows: u64,
        /// The driver's words.
        reason: String,
    },
    /// The source gave an id twice, out of order, or none.
    #[error(
        "RB-SNAPSHOT-6: the deals of `{table}` are not in strict id order: {reason}; ids must be unique and not NULL"
    )]
    Order {
        /// The table of the source.
        table: String,
        /// Which ids.
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
    /// Stored bytes are what was once stored but no snapshot this version understands.
    #[error("RB-SNAPSHOT-8: {what} {sha256} cannot be read: {reason}")]
    Malformed {
        /// `manifest` or `part`.
        what: &'static str,
        /// Its address.
        sha256: String,
        /// What is wrong.
        reason: String,
    },
    /// The request makes no sense.
    #[error("RB-SNAPSHOT-9: {field}: {reason}")]
    Request {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The compute threads cannot be used.
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
    /// A deal of a source file stands in the wrong place.
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
    /// A line or row of a source file is no deal.
    #[error("RB-SNAPSHOT-18: {path}, {place}: {reason}; mend it there and take the snapshot again")]
    FileRow {
        /// The file.
        path: String,
        /// `line 12` or `row 12`, from 1.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A source file is not the one the plan was made from. Nothing was recorded; retryable
    /// with a new plan.
    #[error(
        "RB-SNAPSHOT-13: the file {path} changed while it was read; take the snapshot again when nothing writes to it"
    )]
    FileChanged {
        /// The file.
        path: String,
    },
    /// The consistent read of the plan has ended, so its shards can no longer be read as of
    /// the same moment. Nothing was recorded; retryable with a new plan.
    #[error(
        "RB-SNAPSHOT-14: the consistent read of {database} that this shard belongs to is over: {reason}; take the snapshot again"
    )]
    ReadOver {
        /// The database without credentials.
        database: String,
        /// The server's words.
        reason: String,
    },
    /// A shard cannot be done here, or reports do not belong to the plan.
    #[error("RB-SNAPSHOT-15: shard {shard}: {reason}")]
    Shard {
        /// Its place in the plan, from 0.
        shard: u32,
        /// What does not fit.
        reason: String,
    },
    /// Rows on their way to their parts cannot be kept in the directory for temporary files.
    /// Nothing was recorded.
    #[error(
        "RB-SNAPSHOT-17: {directory} cannot keep rows until their parts are written: {reason}; free space there, or name another directory by TMPDIR"
    )]
    Spill {
        /// The directory.
        directory: String,
        /// The system's words.
        reason: String,
    },
    /// The calculator computes no deal any more. Nothing was recorded.
    #[error("RB-SNAPSHOT-16: the calculator failed: {reason}; mend it and take the snapshot again")]
    Calculator {
        /// What happened.
        reason: String,
    },
}

impl SnapshotError {
    /// The refusal of a table in which an id occurs twice.
    pub(super) fn twice(table: &DealTable, deal_id: &str) -> Self {
        Self::Order {
            table: table.table.clone(),
            reason: format!("id {deal_id:?} occurs twice"),
        }
    }

    /// Whether the shards of the plan can no longer be read, so that only a new plan helps.
    pub fn needs_new_plan(&self) -> bool {
        matches!(self, Self::ReadOver { .. } | Self::FileChanged { .. })
    }

    /// Whether taking the snapshot may succeed later without any change to the request.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            Self::ReadOver { .. } | Self::FileChanged { .. } => true,
            Self::Evidence(error) => error.is_retryable(),
            _ => false,
        }
    }
}
