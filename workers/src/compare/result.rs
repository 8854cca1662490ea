//! The result of a comparison, whose size does not grow with the number of deals.

use std::collections::BTreeMap;

use rollbook_ledger::decimal::Decimal;
use rollbook_proto::v1::{self, ComparisonMade, Verdict};
use serde::{Deserialize, Serialize};

use super::declaration::Measures;
use super::differences::DifferencePage;
use super::figures::NamedFigures;
use super::histogram::Bucket;
use super::rules::{Class, Rules};
use super::tally::{Regression, Tally, TypeTotals, Uncomputed};
use super::{CompareError, Comparison, event};
use crate::snapshot::Snapshot;
use crate::snapshot::manifest::Total;

/// The result version that this code writes. Version 1 stored differences as JSON lines and is not
/// read any more.
const VERSION: u32 = 3;

/// The oldest version that is read: its sums of metrics are over each whole snapshot.
const OLDEST_VERSION: u32 = 2;

/// The name of the total when none is declared.
const TOTAL: &str = "total";

/// Maximum characters of a text in an event: 20 regressions must fit into one.
const EVENT_TEXT_CHARS: usize = 100;

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The manifest's address.
    pub manifest: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// `before`, `after` …
    pub label: String,
    /// The digest of the model.
    pub model_digest: String,
    /// Whether deal types changed the figures.
    pub deal_type_awareness: bool,
    /// Number of deals.
    pub deals: u64,
    /// Deals without figures.
    pub errors: u64,
}

/// Sums of one numeric metric. In results of version 2, `before` and `after` are over each whole
/// snapshot, and the others are 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricTotals {
    /// The metric.
    pub metric: String,
    /// `cents` or `count`.
    pub unit: String,
    /// Sum before, over the deals with figures in both snapshots.
    pub before: Total,
    /// Sum after, over the same deals.
    pub after: Total,
    /// Sum over the deals with figures before only.
    #[serde(default)]
    pub before_only: Total,
    /// Sum over the deals with figures after only.
    #[serde(default)]
    pub after_only: Total,
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonResult {
    /// The format's version.
    pub version: u32,
    /// The snapshot before.
    pub before: Side,
    /// The snapshot after.
    pub after: Side,
    /// Whether the two come from different models.
    pub model_changed: bool,
    /// The rules that were applied.
    pub rules: Rules,
    /// Deals in both snapshots.
    pub compared: u64,
    /// Compared deals whose figures are all equal.
    pub equal: u64,
    /// Compared deals whose differences are all tolerated.
    pub within_tolerance: u64,
    /// Compared deals with a difference that a rule ignores, with its reason.
    pub ignored: u64,
    /// Compared deals that changed as expected.
    pub expected: u64,
    /// Compared deals with a warning.
    pub warnings: u64,
    /// Compared deals that are unguarded and changed as no rule expects.
    pub unexpected: u64,
    /// Compared deals that were computed on neither side.
    pub errors: u64,
    /// Deals with a regression: compared ones, and the missing ones.
    pub regressions: u64,
    /// Deals only in the before snapshot.
    pub missing: u64,
    /// Deals only in the after snapshot.
    pub added: u64,
    /// Deals with figures in both snapshots, which all sums are over. Absent in results of version
    /// 2, whose `metrics` are over each whole snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<u64>,
    /// Deals with figures before only: missing after, or in error there.
    #[serde(default)]
    pub computed_before_only: u64,
    /// Deals with figures after only: added, or in error before.
    #[serde(default)]
    pub computed_after_only: u64,
    /// Deals whose type differs between the snapshots.
    pub type_changed: u64,
    /// Differing figures per rule and class.
    pub by_rule: BTreeMap<String, BTreeMap<Class, u64>>,
    /// Deals per deal type before and worst class; missing deals and those in error on one side
    /// count as regressions.
    pub by_type: BTreeMap<String, BTreeMap<Class, u64>>,
    /// The total per deal type before, over deals computed on both sides.
    pub totals: BTreeMap<String, TypeTotals>,
    /// The sums of every numeric metric.
    pub metrics: Vec<MetricTotals>,
    /// Up to 20 regressions with the largest relative change.
    pub worst: Vec<Regression>,
    /// The first 5 deals in key order that were computed on neither side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncomputed: Vec<Uncomputed>,
    /// The distribution of the relative change of the total.
    pub histogram: Vec<Bucket>,
    /// Figures that gates use.
    #[serde(default)]
    pub figures: NamedFigures,
    /// Every deal that differs by more than the rules tolerate, in key order.
    pub differences: Vec<DifferencePage>,
}

impl ComparisonResult {
    pub(super) fn new(
        before: &Snapshot,
        after: &Snapshot,
        rules: &Rules,
        measures: &Measures,
        tally: Tally,
        differences: Vec<DifferencePage>,
    ) -> Self {
        let side = |snapshot: &Snapshot| Side {
            manifest: snapshot.evidence.sha256.clone(),
            snapshot: snapshot.manifest.snapshot.clone(),
            label: snapshot.manifest.label.clone(),
            model_digest: snapshot.manifest.model_digest.clone(),
            deal_type_awareness: snapshot.manifest.deal_type_awareness,
            deals: snapshot.manifest.total,
            errors: snapshot.manifest.errors,
        };
        // The figures of most deals are never decoded, so the sums over deals of both snapshots are
        // those of the manifests less the deals of one side.
        let rest = |snapshot: &Snapshot, metric: &str, only: Total| {
            let totals = &snapshot.manifest.totals;
            let whole = totals.get(metric).copied().unwrap_or_default();
            Total(whole.0.saturating_sub(only.0))
        };
        let numbers = before.manifest.metrics.iter().enumerate();
        let numbers = numbers.filter(|(_, metric)| !metric.is_text());
        let metrics = numbers.map(|(place, metric)| {
            let before_only = tally.before_only.sum(place);
            let after_only = tally.after_only.sum(place);
            MetricTotals {
                metric: metric.name.clone(),
                unit: metric.unit.clone(),
                before: rest(before, &metric.name, before_only),
                after: rest(after, &metric.name, after_only),
                before_only,
                after_only,
            }
        });
        Self {
            version: VERSION,
            before: side(before),
            after: side(after),
            model_changed: before.manifest.model_digest != after.manifest.model_digest,
            rules: rules.clone(),
            metrics: metrics.collect(),
            histogram: tally.buckets(measures.total.map_or(TOTAL, |total| total.called)),
            compared: tally.compared,
            equal: tally.equal,
            within_tolerance: tally.within_tolerance,
            ignored: tally.ignored,
            expected: tally.expected,
            warnings: tally.warnings,
            unexpected: tally.unexpected,
            errors: tally.errors,
            regressions: tally.regressions,
            missing: tally.missing,
            added: tally.added,
            computed: Some(tally.computed()),
            computed_before_only: tally.before_only.deals,
            computed_after_only: tally.after_only.deals,
            type_changed: tally.type_changed,
            by_rule: tally.by_rule(rules),
            by_type: tally.by_type(),
            totals: tally.totals,
            worst: tally.worst,
            uncomputed: tally.uncomputed,
            figures: tally.extremes.figures(measures),
            differences,
        }
    }

    /// Reads a stored result.
    pub fn from_bytes(sha256: &str, bytes: &[u8]) -> Result<Self, CompareError> {
        let result: Self = serde_json::from_slice(bytes).map_err(|error| CompareError::Result {
            sha256: sha256.to_owned(),
            reason: error.to_string(),
        })?;
        if !(OLDEST_VERSION..=VERSION).contains(&result.version) {
            return Err(CompareError::Result {
                sha256: sha256.to_owned(),
                reason: format!(
                    "it has version {}, this program reads {OLDEST_VERSION} to {VERSION}",
                    result.version
                ),
            });
        }
        Ok(result)
    }

    /// The bytes of the stored result.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CompareError> {
        serde_json::to_vec(self).map_err(|error| CompareError::Encode {
            reason: error.to_string(),
        })
    }

    /// The percentage of deals before that have a regression. Deals before are those compared and
    /// those missing; a missing deal is a regression too. `None`: there was no deal before.
    pub fn affected_percent(&self) -> Option<Decimal> {
        let before = self.compared.saturating_add(self.missing);
        Decimal::from(100)
            .checked_mul(self.regressions.into())
            .and_then(|percent| percent.checked_div(before.into()))
            .ok()
    }

    /// `fail` with any regression; `error` when a deal was computed on neither side, so that
    /// nothing is known about it; `inconclusive` when no deal was compared; `warning` with a
    /// warning or an unexpected difference; otherwise `pass`.
    pub fn verdict(&self) -> Verdict {
        if self.regressions > 0 {
            Verdict::Fail
        } else if self.errors > 0 {
            Verdict::Error
        } else if self.compared == 0 {
            Verdict::Inconclusive
        } else if self.warnings + self.unexpected > 0 {
            Verdict::Warning
        } else {
            Verdict::Pass
        }
    }
}

/// Cuts a text to the length allowed in an event.
fn cut(text: &str) -> String {
    text.chars().take(EVENT_TEXT_CHARS).collect()
}

impl Comparison {
    /// The event that records this comparison for a step. Sums beyond 64 bits are clamped and long
    /// texts are cut; the stored result has them exactly.
    pub fn to_event(&self, step_id: &str) -> ComparisonMade {
        let result = &self.result;
        let clamp = |total: Total| {
            i64::try_from(total.0).unwrap_or(if total.0 < 0 { i64::MIN } else { i64::MAX })
        };
        ComparisonMade {
            step_id: step_id.to_owned(),
            snapshot: result.after.snapshot.clone(),
            before_manifest: result.before.manifest.clone(),
            after_manifest: result.after.manifest.clone(),
            result: Some(self.evidence.clone()),
            compared: result.compared,
            equal: result.equal,
            regressions: result.regressions,
            warnings: result.warnings,
            expected: result.expected,
            ignored: result.ignored,
            missing: result.missing,
            added: result.added,
            within_tolerance: result.within_tolerance,
            unexpected: result.unexpected,
            errors: result.errors,
            type_changed: result.type_changed,
            by_type: event::by_type(&result.by_type),
            verdict: result.verdict().into(),
            uncomputed: result
                .uncomputed
                .iter()
                .map(|deal| v1::UncomputedDeal {
                    deal_id: deal.deal_id.clone(),
                    before: cut(&deal.before),
                    after: cut(&deal.after),
                })
                .collect(),
            worst: result
                .worst
                .iter()
                .map(|worst| v1::Regression {
                    deal_id: worst.deal_id.clone(),
                    deal_type: worst.deal_type.clone(),
                    judged_as: worst.judged_as.clone().unwrap_or_default(),
                    metric: worst.metric.clone(),
                    before: worst.before,
                    after: worst.after,
                    before_text: worst.before_text.as_deref().map(cut),
                    after_text: worst.after_text.as_deref().map(cut),
                    rule: worst.rule.clone(),
                    threshold: worst.threshold.clone(),
                })
                .collect(),
            totals: result
                .totals
                .iter()
                .map(|(deal_type, totals)| v1::TypeTotal {
                    deal_type: deal_type.clone(),
                    deals: totals.deals,
                    before_cents: clamp(totals.before_cents),
                    after_cents: clamp(totals.after_cents),
                })
                .collect(),
        }
    }
}
