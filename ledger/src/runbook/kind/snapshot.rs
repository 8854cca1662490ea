//! The `snapshot` step: captures the outputs of all deals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::Path;
use crate::runbook::recorded::{DEALS, ERRORS};

/// Capture outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotStep {
    /// A snapshot of `snapshots`.
    pub of: String,
    /// Label, unique per snapshot: `before`.
    pub label: String,
    /// Deals that may be error rows before the step fails; default 0.
    #[serde(default)]
    pub max_errors: u64,
}

impl StepKind for SnapshotStep {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        format!("capture `{}` as `{}`", self.of, self.label)
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        vec![(path.key("of"), Referent::Capture(&self.of))]
    }

    fn reports_progress(&self) -> bool {
        true
    }

    fn only_reads(&self) -> bool {
        true
    }

    fn records(&self) -> Vec<&str> {
        vec![DEALS, ERRORS]
    }

    fn capture(&self) -> Option<&SnapshotStep> {
        Some(self)
    }
}
