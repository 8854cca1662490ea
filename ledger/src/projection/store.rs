//! The port of the views: written by the projector, queried by everyone else.

use async_trait::async_trait;

use super::proof::TableRows;
use super::row::RowError;
use super::views::{
    AlertRow, AnomalyRow, AsOf, AuditRow, ComparisonRow, EnvironmentRow, FlagHistoryRow, FlagRow,
    HealthRow, MeasurementRow, Page, PageCursor, RegressionFilter, RegressionRow, RequestFilter,
    RequestRow, RolloutDetail, RolloutFilter, RolloutRow, SnapshotRow, TimelineFilter, TimelineRow,
    ViewAnswer, WorkerRow,
};
use crate::error_code::Coded;
use crate::ids::Aggregate;
use crate::journal::{Position, StoredCommit};

/// The version of tables and projection. A store of another version is emptied when opened and
/// rebuilt by replay.
pub const VIEWS_VERSION: i64 = 11;

/// Why the views could not be written or read. No error text contains a password.
#[derive(Debug, thiserror::Error, Coded)]
pub enum ViewError {
    /// The database could not be reached, was locked too long, or the connection broke. Retryable:
    /// either nothing was applied, or applying it again is harmless.
    #[error(
        "RB-VIEW-1: the views' database is unavailable: {reason}; check that it runs and is reachable"
    )]
    Unavailable {
        /// The cause.
        reason: String,
    },
    /// The database refused an operation.
    #[error("RB-VIEW-2: the views' database refused to {action}: {reason}")]
    Database {
        /// The operation.
        action: &'static str,
        /// The database's message.
        reason: String,
    },
    /// The database cannot store a value: it is too long for an index, or the column cannot hold
    /// it. Nothing was applied; retrying the same rows fails again.
    #[error("RB-VIEW-8: the views' database does not take a value: {reason}")]
    Value {
        /// The database's message.
        reason: String,
    },
    /// The tables do not match this version.
    #[error(
        "RB-VIEW-3: the tables of the views are not usable: {reason}; empty the views and let them be rebuilt"
    )]
    Schema {
        /// The problem.
        reason: String,
    },
    /// The batch does not continue at the store's position: another process emptied or moved the
    /// store. Read the position again and follow from there.
    #[error(
        "RB-VIEW-4: the views stand at sequence {position}, a batch that begins at {first} leaves a gap; follow again from {position}"
    )]
    Gap {
        /// The store's position.
        position: u64,
        /// The batch's first new sequence.
        first: u64,
    },
    /// The database file is damaged.
    #[error(
        "RB-VIEW-7: the views' database is damaged: {reason}; stop, set it aside and start again: views are rebuilt from the ledger"
    )]
    Damaged {
        /// The database's message.
        reason: String,
    },
    /// A stored row cannot be read back.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The location of the views is unusable.
    #[error("RB-VIEW-6: `{location}` is not a usable location for the views: {reason}")]
    Location {
        /// The refused location, without credentials.
        location: String,
        /// The problem.
        reason: String,
    },
}

impl ViewError {
    /// True if the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The views of one ledger.
///
/// Views are disposable: everything in them can be rebuilt from the journal. So a store need not
/// survive a power failure; but its rows and its position must always match.
#[async_trait]
pub trait ViewStore: Send + Sync + std::fmt::Debug {
    /// Returns the applied position.
    async fn position(&self) -> Result<AsOf, ViewError>;

    /// Returns the applied position with its ledger and commit id, for comparison with the journal.
    async fn standing(&self) -> Result<Position, ViewError>;

    /// Returns the last position known to be acknowledged to anyone. It is not a view:
    /// [`ViewStore::reset`] leaves it.
    async fn acknowledged(&self, ledger: &str) -> Result<Option<Position>, ViewError>;

    /// Records an acknowledged position, unless a later one of its ledger is recorded.
    async fn acknowledge(&self, position: &Position) -> Result<(), ViewError>;

    /// Deletes the acknowledged position of a ledger.
    async fn forget_acknowledged(&self, ledger: &str) -> Result<(), ViewError>;

    /// Returns the rollouts recorded as over, each as of a sequence. This is a hint for the
    /// orchestrator, emptied with the views and never needed for correctness.
    async fn rollouts_over(&self) -> Result<Vec<(String, u64)>, ViewError>;

    /// Records that a rollout is over as of a sequence.
    async fn note_rollout_over(&self, rollout: &str, sequence: u64) -> Result<(), ViewError>;

    /// Returns whether any rollout, open or closed, references evidence: as its plan or as a step's
    /// evidence.
    async fn names_evidence(&self, sha256: &str) -> Result<bool, ViewError>;

    /// Returns up to `limit` evidence digests that open rollouts depend on, their plans first.
    async fn evidence_of_open(&self, limit: u32) -> Result<Vec<String>, ViewError>;

    /// Applies a batch of consecutive commits and moves the position to its last one, in one
    /// transaction: after an error or a crash none of it is visible. Commits at or before the
    /// position are skipped, so redelivery is harmless. The first new commit must directly follow
    /// the position, otherwise nothing is applied and the error is [`ViewError::Gap`]. Any history
    /// is accepted: an inconsistent event becomes an anomaly, and so does a row that the database
    /// cannot store; a batch with such a row is applied in parts. Returns the position reached.
    async fn apply(&self, batch: &[StoredCommit]) -> Result<AsOf, ViewError>;

    /// Empties every view and sets the position to 0, in one transaction. New and emptied views
    /// have no indexes: queries return the same answers, more slowly.
    async fn reset(&self) -> Result<(), ViewError>;

    /// Closes the database; on return nothing of it is open, and later calls are `Unavailable`.
    async fn close(&self);

    /// Creates the missing indexes; call it once the views have caught up.
    async fn index(&self) -> Result<(), ViewError>;

    /// Returns rollouts, newest first.
    async fn rollouts(
        &self,
        filter: &RolloutFilter,
    ) -> Result<ViewAnswer<Vec<RolloutRow>>, ViewError>;

    /// Returns one rollout with everything that belongs to it; `None` if it does not exist.
    async fn rollout(&self, rollout: &str) -> Result<ViewAnswer<Option<RolloutDetail>>, ViewError>;

    /// Returns every stored row that [belongs to](super::proof::Owned) an aggregate, in stored
    /// form; empty for an unknown aggregate.
    async fn rows_of(&self, aggregate: &Aggregate)
    -> Result<ViewAnswer<Vec<TableRows>>, ViewError>;

    /// Returns the health of one rollout; `None` if it does not exist.
    async fn health(&self, rollout: &str) -> Result<ViewAnswer<Option<HealthRow>>, ViewError>;

    /// Returns up to `limit` measurements of one step, in order, after a cursor.
    async fn measurements(
        &self,
        rollout: &str,
        step: &str,
        after: PageCursor,
        limit: u32,
    ) -> Result<ViewAnswer<Page<MeasurementRow>>, ViewError>;

    /// Returns the flags of one environment or of all, by environment and key.
    async fn flags(&self, environment: Option<&str>)
    -> Result<ViewAnswer<Vec<FlagRow>>, ViewError>;

    /// Returns one flag's changes in order; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn flag_history(
        &self,
        environment: &str,
        key: &str,
    ) -> Result<ViewAnswer<Vec<FlagHistoryRow>>, ViewError>;

    /// Returns the snapshots of one rollout or of all, in order; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn snapshots(
        &self,
        rollout: Option<&str>,
    ) -> Result<ViewAnswer<Vec<SnapshotRow>>, ViewError>;

    /// Returns the comparisons of one rollout or of all, in order; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn comparisons(
        &self,
        rollout: Option<&str>,
    ) -> Result<ViewAnswer<Vec<ComparisonRow>>, ViewError>;

    /// Returns a page of regressions.
    async fn regressions(
        &self,
        filter: &RegressionFilter,
    ) -> Result<ViewAnswer<Page<RegressionRow>>, ViewError>;

    /// Returns the audits of one rollout or of all, in order; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn audits(&self, rollout: Option<&str>) -> Result<ViewAnswer<Vec<AuditRow>>, ViewError>;

    /// Returns the alerts of one rollout or of all, open ones only or all, in the order they were
    /// raised; the latest [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn alerts(
        &self,
        rollout: Option<&str>,
        open_only: bool,
    ) -> Result<ViewAnswer<Vec<AlertRow>>, ViewError>;

    /// Returns the workers recorded as present, by name, at most
    /// [`MAX_WORKERS`](super::views::MAX_WORKERS); then those that left, latest first, at most
    /// [`MAX_LEFT_WORKERS`](super::views::MAX_LEFT_WORKERS).
    async fn workers(&self) -> Result<ViewAnswer<Vec<WorkerRow>>, ViewError>;

    /// Returns the recorded environments, by name; at most
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn environments(&self) -> Result<ViewAnswer<Vec<EnvironmentRow>>, ViewError>;

    /// Returns requests and reviews in the order they were made; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn requests(
        &self,
        filter: &RequestFilter,
    ) -> Result<ViewAnswer<Vec<RequestRow>>, ViewError>;

    /// Returns a page of the timeline.
    async fn timeline(
        &self,
        filter: &TimelineFilter,
    ) -> Result<ViewAnswer<Page<TimelineRow>>, ViewError>;

    /// Returns a page of anomalies, in order.
    async fn anomalies(
        &self,
        after: PageCursor,
        limit: u32,
    ) -> Result<ViewAnswer<Page<AnomalyRow>>, ViewError>;

    /// Returns every table with every row as text, ordered by key, to compare two stores. Holds
    /// everything in memory; meant for verifying small ledgers and for tests.
    async fn dump(&self) -> Result<Vec<(&'static str, Vec<String>)>, ViewError>;
}
