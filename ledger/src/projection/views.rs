//! Filters and answers of the queries of a [`ViewStore`](super::store::ViewStore).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::row::Json;
pub use super::rows::*;
pub use super::words::*;

/// Maximum number of rows per page; a larger limit is reduced to it.
pub const MAX_PAGE_ROWS: u32 = 1_000;

/// Maximum number of workers listed as present.
pub const MAX_WORKERS: u32 = 10_000;

/// Maximum number of workers listed as gone.
pub const MAX_LEFT_WORKERS: u32 = 100;

/// The point of the ledger at which an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AsOf {
    /// The answer includes everything up to this sequence and nothing after it; 0 means nothing
    /// yet.
    pub sequence: u64,
    /// When that commit was recorded; absent for an empty ledger.
    pub recorded_at: Option<Timestamp>,
}

/// Data with the point of the ledger it was read at, both from one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewAnswer<T> {
    /// The point of the ledger.
    pub as_of: AsOf,
    /// How many commits the ledger is ahead; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// The data.
    pub data: T,
}

impl<T> ViewAnswer<T> {
    /// Adds the lag behind a ledger whose last sequence is `last`.
    #[must_use]
    pub fn with_lag_behind(mut self, last: u64) -> Self {
        self.lag = Some(last.saturating_sub(self.as_of.sequence));
        self
    }

    /// Maps the data.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> ViewAnswer<U> {
        ViewAnswer {
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
    /// Only those of this environment.
    pub environment: Option<String>,
    /// Only those in this status.
    pub status: Option<RolloutStatus>,
    /// Only those of this runbook.
    pub runbook: Option<String>,
    /// Only those that are not closed.
    pub open_only: bool,
    /// Only those opened before this sequence: the `opened_sequence` of the previous page's last
    /// row.
    pub before_sequence: Option<u64>,
    /// Maximum number of rows; 0 and anything above [`MAX_PAGE_ROWS`] mean that limit.
    pub limit: u32,
}

/// A position in an event-ordered list; the rows after (sequence, idx, ordinal) are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PageCursor {
    /// Sequence of the previous page's last row; 0 for the first page.
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
    /// Only the one with this id.
    pub request: Option<String>,
    /// Only those of this rollout.
    pub rollout: Option<String>,
    /// Only those that wait for someone to act.
    pub open_only: bool,
}

/// Which timeline rows to list, in ledger order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineFilter {
    /// Only those of this rollout, including the flag changes it made.
    pub rollout: Option<String>,
    /// Only those that concern this step, gate or other part.
    pub subject: Option<String>,
    /// Only those after this position.
    pub after: PageCursor,
    /// Maximum number of rows; 0 and anything above [`MAX_PAGE_ROWS`] mean that limit.
    pub limit: u32,
}

/// Which regressions to list, by comparison, the worst of each first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RegressionFilter {
    /// Only those of this rollout.
    pub rollout: Option<String>,
    /// Only those of the comparison at this sequence.
    pub comparison: Option<u64>,
    /// Only those of comparisons that no later one supersedes.
    pub current_only: bool,
    /// Only those after this position.
    pub after: PageCursor,
    /// Maximum number of rows; 0 and anything above [`MAX_PAGE_ROWS`] mean that limit.
    pub limit: u32,
}

/// A page of a list, with the start of the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page starts; absent on the last page.
    pub next: Option<PageCursor>,
}

/// A phase with its steps and gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseDetail {
    /// The phase.
    #[serde(flatten)]
    pub phase: PhaseRow,
    /// Its steps, in plan order.
    pub steps: Vec<StepRow>,
    /// Its gate.
    pub gate_detail: Option<GateDetail>,
}

/// A gate with its sign-offs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateDetail {
    /// The gate.
    #[serde(flatten)]
    pub gate: GateRow,
    /// Sign-offs and rejections, including voided ones, in order.
    pub sign_offs: Vec<SignOffRow>,
}

/// A rollout with everything that belongs to it, except the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutDetail {
    /// The rollout.
    #[serde(flatten)]
    pub rollout: RolloutRow,
    /// Its health with every deduction.
    pub health_detail: HealthRow,
    /// Its phases, in plan order.
    pub phases: Vec<PhaseDetail>,
    /// Alerts in the order they were raised.
    pub alerts: Vec<AlertRow>,
    /// Its rollback points.
    pub rollback_points: Vec<RollbackPointRow>,
    /// Rollbacks in order.
    pub rollbacks: Vec<RollbackRow>,
    /// Advice of the decision tree in order.
    pub advice: Vec<AdviceRow>,
    /// Success metrics, in plan order.
    pub success_metrics: Vec<SuccessMetricRow>,
    /// Notices in order.
    pub notices: Vec<NoticeRow>,
    /// Snapshots in order.
    pub snapshots: Vec<SnapshotRow>,
    /// Comparisons in order.
    pub comparisons: Vec<ComparisonRow>,
    /// Audits in order.
    pub audits: Vec<AuditRow>,
    /// Plan revisions in order, each with its difference.
    pub revisions: Vec<RevisionRow>,
    /// Requests and reviews, in order.
    pub requests: Vec<RequestRow>,
}
