//! One struct per table. The first fields are the primary key; `sequence` and `idx` identify the
//! event that created a row, `updated_sequence` the commit that last changed it.

mod authority;
mod fleet;
mod measurements;
mod rollout;

pub use authority::*;
pub use fleet::*;
pub use measurements::*;
pub use rollout::*;

use super::row::{TableSpec, ViewRow};

/// All tables, each with its columns in order.
pub const TABLES: [&TableSpec; 25] = [
    RolloutRow::TABLE,
    PhaseRow::TABLE,
    StepRow::TABLE,
    MeasurementRow::TABLE,
    GateRow::TABLE,
    SignOffRow::TABLE,
    FlagRow::TABLE,
    FlagHistoryRow::TABLE,
    SnapshotRow::TABLE,
    ComparisonRow::TABLE,
    RegressionRow::TABLE,
    AuditRow::TABLE,
    AlertRow::TABLE,
    SuccessMetricRow::TABLE,
    NoticeRow::TABLE,
    RollbackPointRow::TABLE,
    RollbackRow::TABLE,
    AdviceRow::TABLE,
    HealthRow::TABLE,
    TimelineRow::TABLE,
    AnomalyRow::TABLE,
    WorkerRow::TABLE,
    EnvironmentRow::TABLE,
    RevisionRow::TABLE,
    RequestRow::TABLE,
];
