//! What the queries of a [`ViewStore`](super::store::ViewStore) answer and are asked with.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::row::Json;
pub use super::rows::*;
pub use super::words::*;

/// The most rows one page holds; a larger limit is cut to it.
pub const MAX_PAGE_ROWS: u32 = 1_000;

/// The most workers that are listed as there.
pub const MAX_WORKERS: u32 = 10_000;

/// The most workers that are listed as gone.
pub const MAX_LEFT_WORKERS: u32 = 100;

/// As of which point of the ledger an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AsOf {
    /// Everything up to this sequence is in the answer, nothing after it; 0: nothing yet.
    pub sequence: u64,
    /// When the commit of that sequence was recorded; absent for an empty ledger.
    pub recorded_at: Option<Timestamp>,
}

/// Data and the point of the ledger it was read at, both from one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// As of when.
    pub as_of: AsOf,
    /// How many commits the ledger is ahead; absent when it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// The data.
    pub data: T,
}

impl<T> Answer<T> {
    /// The answer with its lag behind a ledger whose last sequence is `last`.
    #[must_use]
    pub fn with_lag_behind(mut self, last: u64) -> Self {
        self.lag = Some(last.saturating_sub(self.as_of.sequence));
        self
    }

    /// The same answer with other data.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            as_of: self.as_of,
            lag: self.lag,
            data: change(self.data),
        }
    }
}

/// Which rollouts to list, newest first. Absent fields do not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutFilter {
    /// In this environment.
    pub environment: Option<String>,
    /// In this status.
    pub status: Option<RolloutStatus>,
    /// Of this runbook.
    pub runbook: Option<String>,
    /// Not closed.
    pub open_only: bool,
    /// Opened by a sequence less than this: the `opened_sequence` of the last row of the page
    /// before.
    pub before_sequence: Option<u64>,
    /// At most so many rows; 0 and anything above [`MAX_PAGE_ROWS`] mean that limit.
    pub limit: u32,
}

/// A place in an event-ordered list: what follows (sequence, idx, ordinal) is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// Sequence of the last row of the page before; 0 for the first page.
    pub sequence: u64,
    /// Index of that row.
    pub idx: u32,
    /// Ordinal of that row, for lists that have one.
    pub ordinal: u32,
}

/// Which requests and reviews to list. Absent fields do not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestFilter {
    /// Of this id.
    pub request: Option<String>,
    /// Of this rollout.
    pub rollout: Option<String>,
    /// Only those that somebody has yet to act on.
    pub open_only: bool,
}

/// Which timeline rows to list, in order of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineFilter {
    /// Of this rollout, flag changes it asked for included.
    pub rollout: Option<String>,
    /// After this place.
    pub after: Cursor,
    /// At most so many rows; 0 and anything above [`MAX_PAGE_ROWS`] mean that limit.
    pub limit: u32,
}

/// Which regressions to list, comparison by comparison, the worst of each first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RegressionFilter {
    /// Of this rollout.
    pub rollout: Option<String>,
    /// Of the comparison at this sequence.
    pub comparison: Option<u64>,
    /// Only of comparisons that no later one supersedes.
    pub current_only: bool,
    /// After this place.
    pub after: Cursor,
    /// At most so many rows; 0 and anything above [`MAX_PAGE_ROWS`] mean that limit.
    pub limit: u32,
}

/// A bounded part of a list and where it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page starts; absent: this is the last.
    pub next: Option<Cursor>,
}

/// A phase with what belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseDetail {
    /// The phase.
    #[serde(flatten)]
    pub phase: PhaseRow,
    /// Its steps in the order of the plan.
    pub steps: Vec<StepRow>,
    /// Its gate.
    pub gate_detail: Option<GateDetail>,
}

/// A gate with everything signed for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateDetail {
    /// The gate.
    #[serde(flatten)]
    pub gate: GateRow,
    /// Sign-offs, refusals and voided ones, in order.
    pub sign_offs: Vec<SignOffRow>,
}

/// A rollout with everything that belongs to it, the timeline apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutDetail {
    /// The rollout.
    #[serde(flatten)]
    pub rollout: RolloutRow,
    /// Its health with every deduction.
    pub health_detail: HealthRow,
    /// Its phases in the order of the plan.
    pub phases: Vec<PhaseDetail>,
    /// Alerts in the order they were raised.
    pub alerts: Vec<AlertRow>,
    /// Points it can be taken back to.
    pub rollback_points: Vec<RollbackPointRow>,
    /// Rollbacks in order.
    pub rollbacks: Vec<RollbackRow>,
    /// Advice of the decision tree in order.
    pub advice: Vec<AdviceRow>,
    /// Success metrics in the order of the plan.
    pub success_metrics: Vec<SuccessMetricRow>,
    /// Notices in order.
    pub notices: Vec<NoticeRow>,
    /// Snapshots in order.
    pub snapshots: Vec<SnapshotRow>,
    /// Comparisons in order.
    pub comparisons: Vec<ComparisonRow>,
    /// Audits in order.
    pub audits: Vec<AuditRow>,
    /// Changed plans in order, each with what it changes.
    pub revisions: Vec<RevisionRow>,
    /// What waits or waited for another person, in order.
    pub requests: Vec<RequestRow>,
}
