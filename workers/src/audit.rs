//! The port to an audit: whether the deals of a source are of the types that they may have.

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::decimal::Decimal;
use rollbook_proto::v1::{AuditTaken, Verdict};

use crate::snapshot::{SnapshotError, SnapshotSource};

/// Whoever knows which types deals may have.
#[async_trait]
pub trait Auditor: Send + Sync + std::fmt::Debug {
    /// Audits a source by one consistent read. `taken_at` is from the injected clock.
    async fn audit(
        &self,
        source: &SnapshotSource,
        taken_at: Timestamp,
    ) -> Result<Audit, SnapshotError>;
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// What it means.
    pub verdict: Verdict,
    /// The rule of the verdict, in words.
    pub rule: &'static str,
    /// What was found, in words.
    pub message: String,
    /// Metric, number and unit. `None`: there was nothing to measure.
    pub measurements: Vec<(&'static str, Option<Decimal>, &'static str)>,
    /// The bytes of the report.
    pub report: Vec<u8>,
    /// Their media type.
    pub media_type: &'static str,
    /// The event that records it, but for the step and where the report lies.
    pub event: AuditTaken,
}
