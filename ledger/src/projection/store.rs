//! The port of the views: applied by the projector, asked by everyone else.

use async_trait::async_trait;

use super::proof::TableRows;
use super::row::RowError;
use super::views::{
    AlertRow, AnomalyRow, Answer, AsOf, AuditRow, ComparisonRow, Cursor, EnvironmentRow,
    FlagHistoryRow, FlagRow, HealthRow, MeasurementRow, Page, RegressionFilter, RegressionRow,
    RequestFilter, RequestRow, RolloutDetail, RolloutFilter, RolloutRow, SnapshotRow,
    TimelineFilter, TimelineRow, WorkerRow,
};
use crate::ids::Aggregate;
use crate::journal::{Position, StoredCommit};

/// The version of tables and of the projection. A store written by another version is emptied
/// when it is opened and rebuilt by replay.
pub const VIEWS_VERSION: i64 = 8;

/// Why the views could not be written or read. No error text contains a password.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The database could not be reached, was locked too long, or the connection broke.
    /// Retryable: nothing was applied, or it was and applying again is harmless.
    #[error(
        "RB-VIEW-1: the views' database is unavailable: {reason}; check that it runs and is reachable"
    )]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// The database refused.
    #[error("RB-VIEW-2: the views' database refused to {action}: {reason}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database's words.
        reason: String,
    },
    /// The database does not take a value: it is too long for an index, or of a kind that the column
    /// cannot hold. Nothing was applied; the same rows are refused again.
    #[error("RB-VIEW-8: the views' database does not take a value: {reason}")]
    Value {
        /// The database's words.
        reason: String,
    },
    /// The tables are not those of this version.
    #[error(
        "RB-VIEW-3: the tables of the views are not usable: {reason}; empty the views and let them be rebuilt"
    )]
    Schema {
        /// What is wrong.
        reason: String,
    },
    /// The batch does not follow on what is applied: another process emptied or moved the store.
    /// Read the position again and follow from there.
    #[error(
        "RB-VIEW-4: the views stand at sequence {position}, a batch that begins at {first} leaves a gap; follow again from {position}"
    )]
    Gap {
        /// What is applied.
        position: u64,
        /// The batch's first new sequence.
        first: u64,
    },
    /// The file is no database any more.
    #[error(
        "RB-VIEW-7: the views' database is damaged: {reason}; stop, set it aside and start again: views are rebuilt from the ledger"
    )]
    Damaged {
        /// The database's words.
        reason: String,
    },
    /// A stored row does not read back.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The location of the views is not usable.
    #[error("RB-VIEW-6: `{location}` is not a usable location for the views: {reason}")]
    Location {
        /// The refused location, without credentials.
        location: String,
        /// What is wrong.
        reason: String,
    },
}

impl ViewError {
    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The views of one ledger.
///
/// Views are disposable: everything in them is rebuilt from the journal. So a store need not
/// survive a power cut; it must only never hold rows of one position and another position.
#[async_trait]
pub trait ViewStore: Send + Sync + std::fmt::Debug {
    /// What is applied.
    async fn position(&self) -> Result<AsOf, ViewError>;

    /// What is applied, with the ledger and the commit it was: to be compared with the journal.
    async fn standing(&self) -> Result<Position, ViewError>;

    /// The last position that was acknowledged to anybody, as far as it was noted here. Not a
    /// view: [`ViewStore::reset`] leaves it.
    async fn acknowledged(&self, ledger: &str) -> Result<Option<Position>, ViewError>;

    /// Notes an acknowledged position, unless a later one of its ledger is noted.
    async fn acknowledge(&self, position: &Position) -> Result<(), ViewError>;

    /// Forgets the acknowledged position of a ledger.
    async fn forget_acknowledged(&self, ledger: &str) -> Result<(), ViewError>;

    /// Rollouts noted as over, each as of a sequence. A note of the orchestrator, no view: emptied
    /// with the views, and never needed for being right.
    async fn rollouts_over(&self) -> Result<Vec<(String, u64)>, ViewError>;

    /// Notes that a rollout is over as of a sequence.
    async fn note_rollout_over(&self, rollout: &str, sequence: u64) -> Result<(), ViewError>;

    /// Whether an open or closed rollout names evidence: the digest of its plan, or what a step
    /// stored.
    async fn names_evidence(&self, sha256: &str) -> Result<bool, ViewError>;

    /// Digests that open rollouts rest on, their plans first, at most `limit`.
    async fn evidence_of_open(&self, limit: u32) -> Result<Vec<String>, ViewError>;

    /// Applies a batch of consecutive commits and moves the position to its last, all in one
    /// transaction: after an error or a crash none of it is visible. Commits at or before the
    /// position are passed over, so redelivery is harmless. The first new commit must be the one
    /// after the position, else [`ViewError::Gap`] and nothing is applied. Any history is
    /// accepted: what does not make sense becomes an anomaly, and so does a row that the database
    /// does not take; a batch with such a row is applied in parts. Returns the position reached.
    async fn apply(&self, batch: &[StoredCommit]) -> Result<AsOf, ViewError>;

    /// Empties every view and sets the position to 0, in one transaction. New and emptied views
    /// have no indexes: queries answer the same, slower.
    async fn reset(&self) -> Result<(), ViewError>;

    /// Ends all use of the database, and returns when nothing of it is open any more; whatever is
    /// asked afterwards is unavailable.
    async fn close(&self);

    /// Makes the indexes that are missing; to be called once the views have caught up.
    async fn index(&self) -> Result<(), ViewError>;

    /// Rollouts, newest first.
    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Answer<Vec<RolloutRow>>, ViewError>;

    /// One rollout with everything that belongs to it; `None` when there is no such rollout.
    async fn rollout(&self, rollout: &str) -> Result<Answer<Option<RolloutDetail>>, ViewError>;

    /// Every stored row that [belongs to](super::proof::Owned) an aggregate, as it is stored; one that
    /// nobody knows has none.
    async fn rows_of(&self, aggregate: &Aggregate) -> Result<Answer<Vec<TableRows>>, ViewError>;

    /// The health of one rollout; `None` when there is no such rollout.
    async fn health(&self, rollout: &str) -> Result<Answer<Option<HealthRow>>, ViewError>;

    /// Measured values of one step in order, after a place, at most `limit`.
    async fn measurements(
        &self,
        rollout: &str,
        step: &str,
        after: Cursor,
        limit: u32,
    ) -> Result<Answer<Page<MeasurementRow>>, ViewError>;

    /// Flags, of one environment or all, by environment and key.
    async fn flags(&self, environment: Option<&str>) -> Result<Answer<Vec<FlagRow>>, ViewError>;

    /// The changes of one flag in order; the latest [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn flag_history(
        &self,
        environment: &str,
        key: &str,
    ) -> Result<Answer<Vec<FlagHistoryRow>>, ViewError>;

    /// Snapshots in order, of one rollout or all; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn snapshots(&self, rollout: Option<&str>)
    -> Result<Answer<Vec<SnapshotRow>>, ViewError>;

    /// Comparisons in order, of one rollout or all; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn comparisons(
        &self,
        rollout: Option<&str>,
    ) -> Result<Answer<Vec<ComparisonRow>>, ViewError>;

    /// A page of regressions.
    async fn regressions(
        &self,
        filter: &RegressionFilter,
    ) -> Result<Answer<Page<RegressionRow>>, ViewError>;

    /// Audits in order, of one rollout or all; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn audits(&self, rollout: Option<&str>) -> Result<Answer<Vec<AuditRow>>, ViewError>;

    /// Alerts in the order they were raised, of one rollout or all, open ones only or all; the
    /// latest [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn alerts(
        &self,
        rollout: Option<&str>,
        open_only: bool,
    ) -> Result<Answer<Vec<AlertRow>>, ViewError>;

    /// The workers that are there by the record, by name, at most
    /// [`MAX_WORKERS`](super::views::MAX_WORKERS); after them those that left, the latest first,
    /// at most [`MAX_LEFT_WORKERS`](super::views::MAX_LEFT_WORKERS).
    async fn workers(&self) -> Result<Answer<Vec<WorkerRow>>, ViewError>;

    /// Environments that are recorded, by name; at most
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn environments(&self) -> Result<Answer<Vec<EnvironmentRow>>, ViewError>;

    /// Requests and reviews in the order they were made; the latest
    /// [`MAX_PAGE_ROWS`](super::views::MAX_PAGE_ROWS).
    async fn requests(&self, filter: &RequestFilter) -> Result<Answer<Vec<RequestRow>>, ViewError>;

    /// A page of the timeline.
    async fn timeline(
        &self,
        filter: &TimelineFilter,
    ) -> Result<Answer<Page<TimelineRow>>, ViewError>;

    /// A page of the events that do not make sense, in order.
    async fn anomalies(
        &self,
        after: Cursor,
        limit: u32,
    ) -> Result<Answer<Page<AnomalyRow>>, ViewError>;

    /// Every table with every row, ordered by key, as text: to compare two stores. Holds all in
    /// memory; meant for verification of small ledgers and for tests.
    async fn dump(&self) -> Result<Vec<(&'static str, Vec<String>)>, ViewError>;
}
