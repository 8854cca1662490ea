//! Does a shard of either kind.

use std::sync::Arc;

use crate::compare::{CompareError, RangeWorker};
use crate::executor::{ShardResult, ShardWork};
use crate::snapshot::calculator::StopOnDrop;
use crate::snapshot::{ShardContext, ShardWorker, SnapshotError};

/// The source and calculator with which this worker does the shards of a run.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) context: ShardContext,
    /// The URL of the source; may hold a password.
    pub(super) url: String,
    /// Stops the programs of a calculator when the last session ends.
    pub(super) _stop: StopOnDrop,
}

/// Does the shards of one run, one after another, and keeps open between them what it has opened.
#[derive(Debug)]
pub(super) enum ShardProcessor {
    /// A session with the source of a snapshot.
    Snapshot {
        worker: ShardWorker,
        /// Held as long as the session.
        _source: Arc<Source>,
    },
    /// A comparison, with its manifests.
    Compare(RangeWorker),
}

/// Why a shard was not done.
#[derive(Debug)]
pub(super) struct Failure {
    /// The reason in words; contains no secret.
    pub(super) reason: String,
    /// Whether a retry may succeed.
    pub(super) is_retryable: bool,
    /// Whether only a new plan may succeed.
    pub(super) needs_new_plan: bool,
}

impl ShardProcessor {
    pub(super) async fn run(&mut self, work: &ShardWork) -> Result<ShardResult, Failure> {
        match (self, work) {
            (Self::Snapshot { worker, .. }, ShardWork::Snapshot(task)) => {
                Ok(ShardResult::Snapshot(worker.run(task).await?))
            }
            (Self::Compare(worker), ShardWork::Compare(task)) => {
                Ok(ShardResult::Compare(worker.run(task).await?))
            }
            _ => Err(Failure {
                reason: "it is of another kind than the shards before it in its run".to_owned(),
                is_retryable: false,
                needs_new_plan: false,
            }),
        }
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        Self {
            reason: error.to_string(),
            is_retryable: error.is_retryable(),
            needs_new_plan: error.needs_new_plan(),
        }
    }
}

impl From<CompareError> for Failure {
    fn from(error: CompareError) -> Self {
        match error {
            CompareError::Snapshot(error) => error.into(),
            error => Self {
                reason: error.to_string(),
                is_retryable: error.is_retryable(),
                needs_new_plan: false,
            },
        }
    }
}
