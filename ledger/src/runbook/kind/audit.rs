//! The `audit` step: counts deals without a valid type.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::Path;
use crate::runbook::recorded::{ACTIVE, HEALTH_PERCENT, INVALID_COUNT, NULL_COUNT, TOTAL};

/// Audit deal types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditStep {
    /// The database source.
    pub source: String,
    /// Table; default `deals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Only record; do not fail on CRITICAL.
    #[serde(default)]
    pub record_only: bool,
}

impl StepKind for AuditStep {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        format!(
            "audit deal types in {}.{}",
            self.source,
            self.table.as_deref().unwrap_or("deals")
        )
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        vec![(path.key("source"), Referent::Database(&self.source))]
    }

    fn only_reads(&self) -> bool {
        true
    }

    fn records(&self) -> Vec<&str> {
        vec![HEALTH_PERCENT, NULL_COUNT, INVALID_COUNT, ACTIVE, TOTAL]
    }
}
