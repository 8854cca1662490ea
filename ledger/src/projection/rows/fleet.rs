//! Rows of the fleet.

use jiff::Timestamp;

use crate::projection::row::{Json, view_row};
use crate::projection::words::WorkerStatus;

view_row!(
    /// A worker, as of its last joining or leaving.
    WorkerRow, table "workers", key 1, {
        /// Its name.
        worker: String,
        /// The run of its process that joined last.
        session: String,
        /// Whether it is there, and how it left.
        status: WorkerStatus,
        /// Labels whose tasks it takes.
        labels: Json<Vec<String>>,
        /// Steps at a time.
        concurrency: u32,
        /// Shards at a time.
        threads: u32,
        /// Of its program.
        version: String,
        /// When that run began.
        started_at: Option<Timestamp>,
        /// When it joined last.
        joined_at: Option<Timestamp>,
        /// When it left; absent while it is there.
        left_at: Option<Timestamp>,
        /// How often it joined.
        joins: u32,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);
