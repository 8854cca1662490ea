//! The port to an audit, which checks whether the deals of a source have allowed types.

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::decimal::Decimal;
use rollbook_proto::v1::{AuditTaken, Verdict};

use crate::snapshot::{SnapshotError, SnapshotSource};

/// An auditor, which knows the types that deals may have.
#[async_trait]
pub trait Auditor: Send + Sync + std::fmt::Debug {
    /// Audits a source in one consistent read. `taken_at` is from the injected clock.
    async fn audit(
        &self,
        source: &SnapshotSource,
        taken_at: Timestamp,
    ) -> Result<Audit, SnapshotError>;
}

/// The result of an audit.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// The verdict.
    pub verdict: Verdict,
    /// The rule behind the verdict, in words.
    pub rule: &'static str,
    /// The findings, in words.
    pub message: String,
    /// Metric, number and unit. `None`: there was nothing to measure.
    pub measurements: Vec<(&'static str, Option<Decimal>, &'static str)>,
    /// The bytes of the report.
    pub report: Vec<u8>,
    /// The media type of the report.
    pub media_type: &'static str,
    /// The event that records the audit, without the step and the address of the report.
    pub event: AuditTaken,
}
