//! The `compare` step: compares two captures of a snapshot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::{Code, Path};
use crate::runbook::lint::{Linter, StepPart};
use crate::runbook::recorded::{
    ADDED, AFFECTED_PERCENT, CARVEOUT_RATIO_MAX, CARVEOUT_RATIO_MIN, COMPARED, EQUAL, ERRORS,
    MISSING, REGRESSIONS, TSA_DEALS, TSA_ELSEWHERE, UNEXPECTED, WARNINGS, WORST_CHANGE_PERCENT,
};

/// The measurements that every comparison records.
pub const COMPARE_RECORDS: &[&str] = &[
    REGRESSIONS,
    WARNINGS,
    COMPARED,
    EQUAL,
    MISSING,
    ADDED,
    ERRORS,
    UNEXPECTED,
    AFFECTED_PERCENT,
    WORST_CHANGE_PERCENT,
    CARVEOUT_RATIO_MIN,
    CARVEOUT_RATIO_MAX,
    TSA_DEALS,
    TSA_ELSEWHERE,
];

/// Compare two captures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareStep {
    /// A snapshot of `snapshots`.
    pub of: String,
    /// Label of the earlier capture.
    pub before: String,
    /// Label of the later capture.
    pub after: String,
    /// Cost tolerance in percent; default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_percent: Option<f64>,
}

impl StepKind for CompareStep {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        format!(
            "compare `{}` {} with {}, tolerance {} %",
            self.of,
            self.before,
            self.after,
            self.tolerance_percent.unwrap_or(5.0)
        )
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        vec![(path.key("of"), Referent::Snapshot(&self.of))]
    }

    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        if self
            .tolerance_percent
            .is_some_and(|t| !(0.0..=1_000.0).contains(&t))
        {
            linter.error(
                Code::Bounds,
                &part.path.key("tolerance_percent"),
                "the tolerance is not between 0 and 1000 percent",
                None,
            );
        }
    }

    fn reports_progress(&self) -> bool {
        true
    }

    fn only_reads(&self) -> bool {
        true
    }

    fn records(&self) -> Vec<&str> {
        COMPARE_RECORDS.to_vec()
    }

    fn comparison(&self) -> Option<&CompareStep> {
        Some(self)
    }
}
