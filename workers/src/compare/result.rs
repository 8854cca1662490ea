//! What a comparison found, in a form whose size does not grow with the number of deals.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rollbook_proto::v1::{self, ComparisonMade, Verdict};
use serde::{Deserialize, Serialize};

use super::merge::{Change, Difference, ERROR_RULE, MISSING_RULE};
use super::rules::{Class, Rules};
use super::{CompareError, Comparison};
use crate::snapshot::Snapshot;
use crate::snapshot::manifest::Total;

/// Regressions listed in the result and in the event; all of them are in the differences.
pub const WORST: usize = 20;
/// Deal types and rules counted apart.
const MAX_KEYS: usize = 256;
/// Where the others are counted.
const OTHER: &str = "(other)";
/// Upper edges of the histogram below zero, in percent; the first bucket has no lower edge.
const FALLS: [i64; 5] = [-50, -25, -10, -5, -1];
/// Upper edges above zero, in percent; beyond the last is one more bucket.
const RISES: [i64; 7] = [1, 5, 10, 25, 50, 100, 200];

/// A regression as results and events show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regression {
    /// The deal.
    pub deal_id: String,
    /// Its type before.
    pub deal_type: String,
    /// The metric; `deal` for a missing one, `status` for an error on one side.
    pub metric: String,
    /// The figure before, if there is one.
    pub before: Option<i64>,
    /// The figure after, if there is one.
    pub after: Option<i64>,
    /// The rule that judged.
    pub rule: String,
    /// Its threshold in words.
    pub threshold: String,
}

/// `cost_total` of the deals of one type, computed on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeTotals {
    /// Deals.
    pub deals: u64,
    /// Sum before, in cents.
    pub before_cents: Total,
    /// Sum after, in cents.
    pub after_cents: Total,
}

/// One bar of the histogram of the relative change of `cost_total`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The range in words: `-5 % … -1 %`.
    pub label: String,
    /// Deals in it.
    pub deals: u64,
}

/// Counts collected while merging.
///
/// Every deal of both snapshots is in exactly one of `equal`, `within_tolerance`, `ignored`,
/// `expected`, `warnings`, `unexpected`, `errors` and (`regressions` − `missing`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Deals of both snapshots.
    pub compared: u64,
    /// Deals whose figures are all the same.
    pub equal: u64,
    /// Deals whose differences are all tolerated.
    pub within_tolerance: u64,
    /// Deals whose worst difference is ignored by a rule.
    pub ignored: u64,
    /// Deals whose worst difference is an expected one.
    pub expected: u64,
    /// Deals whose worst difference is a warning.
    pub warnings: u64,
    /// Unguarded deals with a difference no rule expects.
    pub unexpected: u64,
    /// Deals with a regression, the missing ones included.
    pub regressions: u64,
    /// Deals only the before snapshot has.
    pub missing: u64,
    /// Deals only the after snapshot has.
    pub added: u64,
    /// Deals that could not be computed on either side.
    pub errors: u64,
    /// Deals whose type differs between the snapshots.
    pub type_changed: u64,
    /// Differing figures per class and rule.
    pub by_rule: BTreeMap<String, BTreeMap<Class, u64>>,
    /// `cost_total` per deal type before.
    pub totals: BTreeMap<String, TypeTotals>,
    /// The regressions with the largest relative change, largest first.
    pub worst: Vec<Regression>,
    histogram: Histogram,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Histogram {
    falls: [u64; FALLS.len() + 1],
    none: u64,
    rises: [u64; RISES.len() + 1],
    no_base: u64,
}

impl Summary {
    /// Counts the total cost of a deal that was computed on both sides.
    pub(super) fn totals(&mut self, deal_type: &str, before: i64, after: i64) {
        let entry = self.totals.entry(bounded(&self.totals, deal_type));
        let totals = entry.or_default();
        totals.deals += 1;
        totals.before_cents.0 += i128::from(before);
        totals.after_cents.0 += i128::from(after);
        self.histogram.count(before, after);
    }

    /// Counts a deal that differs.
    pub(super) fn count(&mut self, difference: &Difference) {
        match difference.change {
            Change::Added => {
                self.added += 1;
                return;
            }
            Change::ErrorOnBothSides => {
                self.errors += 1;
                return;
            }
            Change::Missing => self.missing += 1,
            Change::Changed | Change::ErrorOnOneSide => {}
        }
        match difference.class {
            Class::Equal => {}
            Class::WithinTolerance => self.within_tolerance += 1,
            Class::Ignored => self.ignored += 1,
            Class::Expected => self.expected += 1,
            Class::Warning => self.warnings += 1,
            Class::Unexpected => self.unexpected += 1,
            Class::Regression => self.regressions += 1,
        }
        for finding in &difference.findings {
            self.count_rule(&finding.rule, finding.class);
            if finding.class == Class::Regression {
                self.rank(Regression {
                    deal_id: difference.deal_id.clone(),
                    deal_type: difference.deal_type.clone(),
                    metric: finding.metric.clone(),
                    before: Some(finding.before),
                    after: Some(finding.after),
                    rule: finding.rule.clone(),
                    threshold: finding.threshold.clone(),
                });
            }
        }
        let (metric, rule, threshold) = match difference.change {
            Change::Missing => ("deal", MISSING_RULE, "no deal may be missing after"),
            Change::ErrorOnOneSide => ("status", ERROR_RULE, "computed on both sides or on none"),
            _ => return,
        };
        self.count_rule(rule, Class::Regression);
        self.rank(Regression {
            deal_id: difference.deal_id.clone(),
            deal_type: difference.deal_type.clone(),
            metric: metric.to_owned(),
            before: None,
            after: None,
            rule: rule.to_owned(),
            threshold: threshold.to_owned(),
        });
    }

    fn count_rule(&mut self, rule: &str, class: Class) {
        let key = bounded(&self.by_rule, rule);
        *self
            .by_rule
            .entry(key)
            .or_default()
            .entry(class)
            .or_default() += 1;
    }

    /// Keeps the worst regressions; of equals the first in key order stays first.
    fn rank(&mut self, regression: Regression) {
        let place = self
            .worst
            .partition_point(|kept| badness(kept, &regression) != Ordering::Less);
        if place < WORST {
            self.worst.insert(place, regression);
            self.worst.truncate(WORST);
        }
    }

    /// The relative change of `cost_total`, from the largest fall to the largest rise.
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        let mut bar = |label: String, deals: u64| buckets.push(Bucket { label, deals });
        let mut lower: Option<i64> = None;
        for (deals, upper) in self.histogram.falls.iter().zip(FALLS.iter().chain(&[0])) {
            match lower {
                None => bar(format!("below {upper} %"), *deals),
                Some(lower) => bar(format!("{lower} % … {upper} %"), *deals),
            }
            lower = Some(*upper);
        }
        bar("unchanged".to_owned(), self.histogram.none);
        let mut lower = 0;
        for (index, deals) in self.histogram.rises.iter().enumerate() {
            match RISES.get(index) {
                Some(upper) => bar(format!("{lower} % … {upper} %"), *deals),
                None => bar(format!("above {lower} %"), *deals),
            }
            lower = RISES.get(index).copied().unwrap_or(lower);
        }
        bar("no cost before".to_owned(), self.histogram.no_base);
        buckets
    }
}

/// The key to count under, when a map of free texts must stay bounded.
fn bounded<V>(map: &BTreeMap<String, V>, key: &str) -> String {
    if map.contains_key(key) || map.len() < MAX_KEYS {
        key.to_owned()
    } else {
        OTHER.to_owned()
    }
}

impl Histogram {
    /// Ranges include the edge farther from zero, so that exactly 5 % is not "above 5 %".
    fn count(&mut self, before: i64, after: i64) {
        let change = i128::from(after) - i128::from(before);
        let base = i128::from(before);
        let bar = match change.cmp(&0) {
            Ordering::Equal => Some(&mut self.none),
            _ if before <= 0 => Some(&mut self.no_base),
            Ordering::Less => {
                let place = FALLS.partition_point(|edge| change * 100 >= i128::from(*edge) * base);
                self.falls.get_mut(place)
            }
            Ordering::Greater => {
                let place = RISES.partition_point(|edge| change * 100 > i128::from(*edge) * base);
                self.rises.get_mut(place)
            }
        };
        if let Some(bar) = bar {
            *bar += 1;
        }
    }
}

/// Compares how bad two regressions are: by relative change, exactly; a change from zero or
/// below is beyond every percentage; regressions without figures come after those with.
fn badness(a: &Regression, b: &Regression) -> Ordering {
    let figures = |r: &Regression| r.before.zip(r.after);
    match (figures(a), figures(b)) {
        (Some((a_before, a_after)), Some((b_before, b_after))) => {
            let change = |before: i64, after: i64| i128::from(after.abs_diff(before));
            let (a_change, b_change) = (change(a_before, a_after), change(b_before, b_after));
            match (a_before > 0, b_before > 0) {
                // a/x against b/y is a·y against b·x; each factor is below 2^64.
                (true, true) => a_change
                    .checked_mul(i128::from(b_before))
                    .zip(b_change.checked_mul(i128::from(a_before)))
                    .map_or(Ordering::Equal, |(a, b)| a.cmp(&b)),
                (false, true) => Ordering::Greater,
                (true, false) => Ordering::Less,
                (false, false) => a_change.cmp(&b_change),
            }
        }
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => Ordering::Equal,
    }
}

/// One page of differences: JSON lines, one deal each, in key order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferencePage {
    /// The page's address in the evidence store.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
    /// Deals, one per line.
    pub deals: u64,
    /// The smallest deal id.
    pub first_id: String,
    /// The largest deal id.
    pub last_id: String,
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The manifest's address.
    pub manifest: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// `before`, `after` …
    pub label: String,
    /// The model.
    pub model_digest: String,
    /// Whether deal types changed the figures.
    pub deal_type_awareness: bool,
    /// Deals.
    pub deals: u64,
    /// Deals without figures.
    pub errors: u64,
}

/// Sums of one metric over each whole snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricTotals {
    /// The metric.
    pub metric: String,
    /// `cents` or `count`.
    pub unit: String,
    /// Sum before.
    pub before: Total,
    /// Sum after.
    pub after: Total,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonResult {
    /// The format's version, 1.
    pub version: u32,
    /// The snapshot compared against.
    pub before: Side,
    /// The snapshot compared.
    pub after: Side,
    /// Whether the two were made by different models.
    pub model_changed: bool,
    /// The rules that judged.
    pub rules: Rules,
    /// Deals of both snapshots.
    pub compared: u64,
    /// Of these: all figures the same.
    pub equal: u64,
    /// Of these: tolerated.
    pub within_tolerance: u64,
    /// Of these: ignored by a rule with its reason.
    pub ignored: u64,
    /// Of these: changed as expected.
    pub expected: u64,
    /// Of these: worth a look.
    pub warnings: u64,
    /// Of these: unguarded and changed as no rule expects.
    pub unexpected: u64,
    /// Of these: could not be computed on either side.
    pub errors: u64,
    /// Deals with a regression: of these, and the missing ones.
    pub regressions: u64,
    /// Deals only the before snapshot has.
    pub missing: u64,
    /// Deals only the after snapshot has.
    pub added: u64,
    /// Deals whose type differs.
    pub type_changed: u64,
    /// Differing figures per rule and class.
    pub by_rule: BTreeMap<String, BTreeMap<Class, u64>>,
    /// `cost_total` per deal type before, over deals computed on both sides.
    pub totals: BTreeMap<String, TypeTotals>,
    /// Every metric summed over each snapshot.
    pub metrics: Vec<MetricTotals>,
    /// The at most 20 regressions with the largest relative change.
    pub worst: Vec<Regression>,
    /// Relative change of `cost_total`.
    pub histogram: Vec<Bucket>,
    /// Every deal that differs by more than is tolerated.
    pub differences: Vec<DifferencePage>,
}

impl ComparisonResult {
    pub(super) fn new(
        before: &Snapshot,
        after: &Snapshot,
        rules: &Rules,
        summary: Summary,
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
        let sum = |snapshot: &Snapshot, metric: &str| {
            let totals = &snapshot.manifest.totals;
            totals.get(metric).copied().unwrap_or_default()
        };
        let metrics = before.manifest.metrics.iter().map(|metric| MetricTotals {
            metric: metric.name.clone(),
            unit: metric.unit.clone(),
            before: sum(before, &metric.name),
            after: sum(after, &metric.name),
        });
        Self {
            version: 1,
            before: side(before),
            after: side(after),
            model_changed: before.manifest.model_digest != after.manifest.model_digest,
            rules: rules.clone(),
            metrics: metrics.collect(),
            histogram: summary.buckets(),
            compared: summary.compared,
            equal: summary.equal,
            within_tolerance: summary.within_tolerance,
            ignored: summary.ignored,
            expected: summary.expected,
            warnings: summary.warnings,
            unexpected: summary.unexpected,
            errors: summary.errors,
            regressions: summary.regressions,
            missing: summary.missing,
            added: summary.added,
            type_changed: summary.type_changed,
            by_rule: summary.by_rule,
            totals: summary.totals,
            worst: summary.worst,
            differences,
        }
    }

    /// The bytes of the stored result.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CompareError> {
        serde_json::to_vec(self).map_err(|error| CompareError::Encode {
            reason: error.to_string(),
        })
    }

    /// `fail` with any regression; `error` when a deal could be computed on neither side, so
    /// that nothing is known about it; `inconclusive` when no deal was compared; else `pass`.
    pub fn verdict(&self) -> Verdict {
        if self.regressions > 0 {
            Verdict::Fail
        } else if self.errors > 0 {
            Verdict::Error
        } else if self.compared == 0 {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }
}

impl Comparison {
    /// The event that records this comparison for a step. Sums beyond 64 bits are clamped; the
    /// stored result has them exactly.
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
            worst: result
                .worst
                .iter()
                .map(|worst| v1::Regression {
                    deal_id: worst.deal_id.clone(),
                    deal_type: worst.deal_type.clone(),
                    metric: worst.metric.clone(),
                    before: worst.before,
                    after: worst.after,
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
