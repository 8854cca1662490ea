//! Audits deal types: how many deals have one of the three valid types.
//!
//! The database counts in one consistent read; the lists of faulty deals are bounded.

mod query;

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::runbook::recorded;
use rollbook_proto::v1::{AuditTaken, Verdict};
use rollbook_workers::audit::Audit;
use rollbook_workers::snapshot::SnapshotError;
use serde::{Deserialize, Serialize};

pub use query::take;

/// Maximum number of deals listed by id; the counts cover all.
pub const MAX_LISTED: usize = 100;
/// Maximum number of deal types in the distribution; the rest is under `(other)`.
pub const MAX_TYPES: usize = 256;
/// The media type of a stored report.
pub const MEDIA_TYPE: &str = "application/vnd.rollbook.audit+json";

/// How healthy the deal types are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuditHealth {
    /// At least 90 % of the active deals are valid.
    Healthy,
    /// At least 70 %.
    NeedsAttention,
    /// Below 70 %.
    Critical,
    /// There are no active deals.
    NoData,
}

impl AuditHealth {
    /// The value in reports and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::NeedsAttention => "NEEDS_ATTENTION",
            Self::Critical => "CRITICAL",
            Self::NoData => "NO_DATA",
        }
    }
}

/// A deal without a type, or with an invalid one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultyDeal {
    /// The deal.
    pub deal_id: String,
    /// Its type as stored.
    pub deal_type: Option<String>,
}

/// The share of valid deals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthScore {
    /// Active deals with a valid type.
    pub valid_deals: u64,
    /// Their share of the active deals in percent, rounded down to one decimal place, so that
    /// 89.96 never reads as 90.0.
    pub percentage: f64,
    /// Computed from the exact share.
    pub status: AuditHealth,
}

impl HealthScore {
    /// The score of `valid` among `active` deals.
    pub fn new(valid: u64, active: u64) -> Self {
        let status = if active == 0 {
            AuditHealth::NoData
        } else if at_least(valid, active, 9) {
            AuditHealth::Healthy
        } else if at_least(valid, active, 7) {
            AuditHealth::NeedsAttention
        } else {
            AuditHealth::Critical
        };
        Self {
            valid_deals: valid,
            percentage: f64::from(permille(valid, active)) / 10.0,
            status,
        }
    }
}

/// Whether `valid` is at least `tenths` tenths of `active`.
fn at_least(valid: u64, active: u64, tenths: u128) -> bool {
    u128::from(valid) * 10 >= u128::from(active) * tenths
}

/// `valid` of `active` in tenths of a percent, rounded down; 0 of 0.
fn permille(valid: u64, active: u64) -> u32 {
    let share = u128::from(valid) * 1000 / u128::from(active.max(1));
    u32::try_from(share).unwrap_or(u32::MAX)
}

/// The result of an audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// When the audit was taken, by the clock of the process that took it.
    pub audit_timestamp: Timestamp,
    /// All deals.
    pub total_deals: u64,
    /// Deals that are not deleted; everything below is about these.
    pub active_deals: u64,
    /// Deleted deals.
    pub deleted_deals: u64,
    /// Deals without a type, NULL or blank.
    pub null_count: u64,
    /// Deals with a type that is not valid, aliases included.
    pub invalid_count: u64,
    /// Deals per type as stored; `NULL` for those without.
    pub distribution: BTreeMap<String, u64>,
    /// The first invalid deals ordered by id, at most 100.
    pub invalid_deals: Vec<FaultyDeal>,
    /// The first deals without a type ordered by id, at most 100.
    pub null_deals: Vec<FaultyDeal>,
    /// The share of valid deals.
    pub health_score: HealthScore,
}

impl AuditReport {
    /// `fail` when critical, `inconclusive` without data, otherwise `pass`.
    pub fn verdict(&self) -> Verdict {
        match self.health_score.status {
            AuditHealth::Critical => Verdict::Fail,
            AuditHealth::NoData => Verdict::Inconclusive,
            AuditHealth::Healthy | AuditHealth::NeedsAttention => Verdict::Pass,
        }
    }

    /// The bytes of a stored report.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// What a step records of the audit.
    pub(super) fn into_audit(self) -> Result<Audit, SnapshotError> {
        let score = &self.health_score;
        // Without active deals there is no share.
        let percent = Decimal::from_f64(score.percentage)
            .ok()
            .filter(|_| self.active_deals > 0);
        let count = |name, deals: u64| (name, Some(Decimal::from(deals)), "deals");
        Ok(Audit {
            verdict: self.verdict(),
            rule: "health is not CRITICAL",
            message: format!(
                "{}: {} % of {} active deals have a valid type, {} have none, {} an invalid one",
                score.status.as_str(),
                score.percentage,
                self.active_deals,
                self.null_count,
                self.invalid_count,
            ),
            measurements: vec![
                (recorded::HEALTH_PERCENT, percent, "%"),
                count(recorded::NULL_COUNT, self.null_count),
                count(recorded::INVALID_COUNT, self.invalid_count),
                count(recorded::ACTIVE, self.active_deals),
                count(recorded::TOTAL, self.total_deals),
            ],
            report: self.to_bytes().map_err(|error| SnapshotError::Encode {
                reason: error.to_string(),
            })?,
            media_type: MEDIA_TYPE,
            event: self.event(),
        })
    }

    fn event(&self) -> AuditTaken {
        AuditTaken {
            total: self.total_deals,
            active: self.active_deals,
            deleted: self.deleted_deals,
            null_count: self.null_count,
            invalid_count: self.invalid_count,
            distribution: self.distribution.clone().into_iter().collect(),
            health_permille: permille(self.health_score.valid_deals, self.active_deals),
            health: self.health_score.status.as_str().to_owned(),
            ..AuditTaken::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_exact_and_the_printed_share_is_rounded_down() {
        for (valid, active, percentage, status) in [
            (0, 0, 0.0, AuditHealth::NoData),
            (1, 1, 100.0, AuditHealth::Healthy),
            (9, 10, 90.0, AuditHealth::Healthy),
            (8996, 10_000, 89.9, AuditHealth::NeedsAttention),
            (89_999, 100_000, 89.9, AuditHealth::NeedsAttention),
            (7, 10, 70.0, AuditHealth::NeedsAttention),
            (6999, 10_000, 69.9, AuditHealth::Critical),
            (0, 5, 0.0, AuditHealth::Critical),
            (u64::MAX - 1, u64::MAX, 99.9, AuditHealth::Healthy),
        ] {
            let score = HealthScore::new(valid, active);
            assert_eq!(score.percentage, percentage, "{valid}/{active}");
            assert_eq!(score.status, status, "{valid}/{active}");
        }
    }
}
