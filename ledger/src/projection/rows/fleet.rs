//! Rows of the fleet.

use jiff::Timestamp;

use crate::projection::row::{Json, view_row};
use crate::projection::words::WorkerStatus;

view_row!(
    /// A worker, as of when it last joined or left.
    WorkerRow, table "workers", key 1, {
        /// Its name.
        worker: String,
        /// The session (one run of its process) that joined last.
        session: String,
        /// Whether it is present, or how it left.
        status: WorkerStatus,
        /// Labels whose tasks it takes.
        labels: Json<Vec<String>>,
        /// Maximum number of concurrent steps.
        concurrency: u32,
        /// Maximum number of concurrent shards.
        threads: u32,
        /// Its program's version.
        version: String,
        /// When that session started.
        started_at: Option<Timestamp>,
        /// When it last joined.
        joined_at: Option<Timestamp>,
        /// When it left; absent while it is present.
        left_at: Option<Timestamp>,
        /// How often it joined.
        joins: u32,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);
