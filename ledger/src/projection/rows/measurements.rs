//! Rows about measurements and their verdicts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::projection::row::{Json, view_row};
use crate::projection::words::{
    AlertSeverity, AlertStatus, DealTypeClasses, DealTypeTotal, EvidenceRef, Health, MeasuredValue,
    Verdict,
};

view_row!(
    /// One measured value of a step, for charts and reports.
    MeasurementRow, table "measurements", key 3, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// Position within the event.
        ordinal: u32,
        /// The rollout.
        rollout: String,
        /// The step that measured it.
        step: String,
        /// The attempt that measured it.
        attempt: u32,
        /// What was measured.
        metric: String,
        /// The number as the nearest double, for charts; absent if there is no data.
        value: Option<f64>,
        /// The exact number.
        decimal: Option<String>,
        /// The value if it is not a number.
        text: String,
        /// Unit of `value`.
        unit: String,
        /// The rule that judged it; empty if it was only recorded.
        rule: String,
        /// The rule's verdict.
        verdict: Option<Verdict>,
        /// When it was measured, or if unknown, when it was recorded.
        measured_at: Option<Timestamp>,
    }
);

view_row!(
    /// A snapshot.
    SnapshotRow, table "snapshots", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The rollout.
        rollout: String,
        /// The step that recorded it.
        step: String,
        /// Name in the plan.
        snapshot: String,
        /// `before`, `after` and so on.
        label: String,
        /// The manifest.
        manifest: Json<EvidenceRef>,
        /// Deals read.
        deals: u64,
        /// Deals that could not be computed.
        errors: u64,
        /// Digest of the model.
        model_digest: String,
        /// Ledger sequence at which the flags in force were read.
        flags_sequence: u64,
        /// The flags in force.
        flags: Json<BTreeMap<String, String>>,
        /// When it was taken.
        taken_at: Option<Timestamp>,
    }
);

view_row!(
    /// A comparison of two snapshots.
    ComparisonRow, table "comparisons", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The rollout.
        rollout: String,
        /// The step that recorded it.
        step: String,
        /// Name of the snapshot in the plan.
        snapshot: String,
        /// SHA-256 of the earlier manifest.
        before_manifest: String,
        /// SHA-256 of the later manifest.
        after_manifest: String,
        /// The full result.
        result: Json<EvidenceRef>,
        /// Deals present in both snapshots.
        compared: u64,
        /// Deals whose figures are all equal.
        equal: u64,
        /// Deals with a difference beyond its threshold, including missing deals.
        regressions: u64,
        /// Deals whose worst difference is beyond a warning threshold.
        warnings: u64,
        /// Deals whose worst difference the rules expect.
        expected: u64,
        /// Deals whose worst difference is ignored by a rule with a reason.
        ignored: u64,
        /// Deals only in the earlier snapshot.
        missing: u64,
        /// Deals only in the later snapshot.
        added: u64,
        /// Deals whose differences are all tolerated.
        within_tolerance: u64,
        /// Unguarded deals with a difference no rule expects.
        unexpected: u64,
        /// Deals that could not be computed on either side.
        errors: u64,
        /// Deals whose type differs.
        type_changed: u64,
        /// The verdict of the rules; absent in older comparisons.
        verdict: Option<Verdict>,
        /// Totals by deal type.
        totals: Json<Vec<DealTypeTotal>>,
        /// Deals by deal type and worst class.
        by_type: Json<Vec<DealTypeClasses>>,
        /// Sequence of the later comparison of the same snapshot in the same rollout: this one's
        /// regressions are no longer the current state. Absent: current.
        superseded_by: Option<u64>,
        /// When it was made.
        made_at: Option<Timestamp>,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// One of the worst regressions of a comparison (at most 20; all are in its result).
    RegressionRow, table "regressions", key 3, {
        /// Sequence of the comparison's commit.
        sequence: u64,
        /// Index of the comparison's event.
        idx: u32,
        /// Rank, 0 is the worst.
        ordinal: u32,
        /// The rollout.
        rollout: String,
        /// The step that recorded it.
        step: String,
        /// Name of the snapshot in the plan.
        snapshot: String,
        /// The deal's id.
        deal_id: String,
        /// Its type.
        deal_type: String,
        /// The type it was computed as and is judged by; empty if that is the same.
        judged_as: String,
        /// The compared figure.
        metric: String,
        /// Before; integer cents for cost figures, else a count.
        before: Option<i64>,
        /// After.
        after: Option<i64>,
        /// The text before, for a text metric; absent if NULL.
        before_text: Option<String>,
        /// The text after, for a text metric; absent if NULL.
        after_text: Option<String>,
        /// The rule it violates.
        rule: String,
        /// The rule's threshold.
        threshold: String,
    }
);

view_row!(
    /// A deal-type audit.
    AuditRow, table "audits", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The rollout.
        rollout: String,
        /// The step that recorded it.
        step: String,
        /// All deals.
        total: u64,
        /// Deals that are not deleted.
        active: u64,
        /// Deleted deals.
        deleted: u64,
        /// Active deals without a type.
        null_count: u64,
        /// Active deals with an unknown type.
        invalid_count: u64,
        /// Active deals by type.
        distribution: Json<BTreeMap<String, u64>>,
        /// Tenths of a percent, rounded down: 899 is 89.9 %.
        health_permille: u32,
        /// Health status.
        health: Health,
        /// The full report.
        report: Json<EvidenceRef>,
        /// When it was taken.
        taken_at: Option<Timestamp>,
    }
);

view_row!(
    /// An alert of a monitor.
    AlertRow, table "alerts", key 2, {
        /// Sequence of the commit that raised it.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The rollout.
        rollout: String,
        /// Its id in the plan.
        alert: String,
        /// The severity.
        severity: AlertSeverity,
        /// The step that raised it.
        step: String,
        /// Whether it is open.
        status: AlertStatus,
        /// The value that raised it, or the latest one if it was raised again while open.
        raised: Json<MeasuredValue>,
        /// When it was first raised.
        raised_at: Option<Timestamp>,
        /// The value that resolved it.
        resolved: Option<Json<MeasuredValue>>,
        /// When it was resolved.
        resolved_at: Option<Timestamp>,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// A success metric of the plan.
    SuccessMetricRow, table "success_metrics", key 2, {
        /// The rollout.
        rollout: String,
        /// Its name.
        metric: String,
        /// Its position in the plan.
        position: u32,
        /// The target; empty until recorded.
        target: String,
        /// The measured result; empty until recorded.
        actual: String,
        /// The verdict; absent until recorded.
        status: Option<Verdict>,
        /// When it was recorded.
        recorded_at: Option<Timestamp>,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);
