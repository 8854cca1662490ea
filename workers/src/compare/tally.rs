//! The counts collected while merging, whose size does not grow with the number of deals. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::figures::Extremes;
use super::histogram::{Bucket, Histogram};
use super::judge::{Judge, MAX_KINDS};
use super::merge::{Change, RowDifference};
use super::rules::{Class, Rules};
use crate::snapshot::manifest::Total;

/// Maximum number of regressions listed in the result and in the event; the differences have all.
pub const WORST: usize = 20;
/// Maximum number of deals without figures on both sides that the result lists; the differences
/// have all.
pub const UNCOMPUTED: usize = 5;
/// Maximum characters of the reason why such a deal has no figures.
const UNCOMPUTED_CHARS: usize = 200;
/// The name under which deal types beyond the first [`MAX_KINDS`] are counted.
pub(super) const OTHER: &str = "(other)";
/// The classes that are counted separately.
pub(super) const CLASSES: [Class; 7] = [
    Class::Equal,
    Class::WithinTolerance,
    Class::Ignored,
    Class::Expected,
    Class::Warning,
    Class::Unexpected,
    Class::Regression,
];

/// The id of the rule that fails a missing deal.
pub const MISSING_RULE: &str = "missing-after";
/// The id of the rule that fails a deal computed on one side only.
pub const ERROR_RULE: &str = "error-on-one-side";
/// The id shown for figures to which no rule applies.
pub const NO_RULE: &str = "no-rule";

/// A regression as shown in results and events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regression {
    /// The deal.
    pub deal_id: String,
    /// Its type before.
    pub deal_type: String,
    /// The type it was computed as and is judged by, if that differs from the stored word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_as: Option<String>,
    /// The metric; `deal` for a missing deal, `status` for an error on one side.
    pub metric: String,
    /// The figure before, if there is one.
    pub before: Option<i64>,
    /// The figure after, if there is one.
    pub after: Option<i64>,
    /// The text before of a text metric; absent for NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_text: Option<String>,
    /// The text after of a text metric; absent for NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_text: Option<String>,
    /// The rule that decided.
    pub rule: String,
    /// Its threshold in words.
    pub threshold: String,
}

/// A deal that was computed on neither side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncomputed {
    /// The deal.
    pub deal_id: String,
    /// Why there were no figures before.
    pub before: String,
    /// Why there were no figures after.
    pub after: String,
}

impl Uncomputed {
    fn of(difference: &RowDifference<'_>) -> Self {
        let reason = |error: Option<&str>| {
            let error = error.unwrap_or_default();
            error.chars().take(UNCOMPUTED_CHARS).collect()
        };
        Self {
            deal_id: difference.deal_id.to_owned(),
            before: reason(difference.error_before),
            after: reason(difference.error_after),
        }
    }
}

/// Counts by the index of the class in [`CLASSES`].
pub(super) type ClassCounts = [u64; CLASSES.len()];

/// The total of the deals of one type that were computed on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeTotals {
    /// Number of deals.
    pub deals: u64,
    /// Sum before, in cents.
    pub before_cents: Total,
    /// Sum after, in cents.
    pub after_cents: Total,
}

impl TypeTotals {
    pub(super) fn add(&mut self, other: Self) {
        self.deals += other.deals;
        self.before_cents.0 += other.before_cents.0;
        self.after_cents.0 += other.after_cents.0;
    }
}

/// Deals with figures on one side only: the deal is missing from the other snapshot, or in error
/// there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneSide {
    /// Number of deals.
    pub deals: u64,
    /// The sum of each metric over them, in the order of the manifest; 0 for a text.
    sums: Vec<Total>,
}

impl OneSide {
    /// Counts a deal; its figures follow by [`OneSide::add_figure`].
    pub(super) fn add_deal(&mut self) {
        self.deals += 1;
    }

    /// Adds a figure to the sum of the metric at an index of the manifest.
    pub(super) fn add_figure(&mut self, metric: usize, figure: i128) {
        if self.sums.len() <= metric {
            self.sums.resize(metric + 1, Total(0));
        }
        if let Some(sum) = self.sums.get_mut(metric) {
            sum.0 += figure;
        }
    }

    /// The sum of the metric at an index of the manifest.
    pub fn sum(&self, metric: usize) -> Total {
        self.sums.get(metric).copied().unwrap_or_default()
    }

    fn add(&mut self, other: &Self) {
        self.deals += other.deals;
        for (metric, sum) in other.sums.iter().enumerate() {
            self.add_figure(metric, sum.0);
        }
    }
}

/// The counts collected while merging.
///
/// Every deal that is in both snapshots is counted in exactly one of `equal`, `within_tolerance`,
/// `ignored`, `expected`, `warnings`, `unexpected`, `errors` and (`regressions` − `missing`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Deals in both snapshots.
    pub compared: u64,
    /// Deals whose figures are all equal.
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
    /// Deals with a regression, including the missing ones.
    pub regressions: u64,
    /// Deals only in the before snapshot.
    pub missing: u64,
    /// Deals only in the after snapshot.
    pub added: u64,
    /// Deals that were computed on neither side.
    pub errors: u64,
    /// Deals whose type differs between the snapshots.
    pub type_changed: u64,
    /// Differing figures per rule, by its index in the set, and class; the last entry is for
    /// figures to which no rule applies.
    by_rule: Vec<ClassCounts>,
    /// Deals in error on one side only.
    one_sided_errors: u64,
    /// Deals with figures before only.
    pub before_only: OneSide,
    /// Deals with figures after only.
    pub after_only: OneSide,
    /// The total per deal type before.
    pub totals: BTreeMap<String, TypeTotals>,
    /// Deals per worst class and per deal type before, or after if there is none before.
    by_type: BTreeMap<String, ClassCounts>,
    /// The regressions with the largest relative change, largest first.
    pub worst: Vec<Regression>,
    /// The first deals in key order that were computed on neither side.
    pub uncomputed: Vec<Uncomputed>,
    /// Figures that gates use and no rule counts.
    pub(super) extremes: Extremes,
    pub(super) histogram: Histogram,
}

impl Tally {
    /// Starts with nothing counted.
    pub(super) fn new(rules: usize) -> Self {
        Self {
            by_rule: vec![[0; CLASSES.len()]; rules + 1],
            ..Self::default()
        }
    }

    /// Deals with figures on both sides.
    pub(super) fn computed(&self) -> u64 {
        self.compared
            .saturating_sub(self.errors)
            .saturating_sub(self.one_sided_errors)
    }

    /// Adds sums of the total for a deal type.
    pub(super) fn add_totals(&mut self, deal_type: &str, totals: TypeTotals) {
        let full = self.totals.len() >= MAX_KINDS && !self.totals.contains_key(deal_type);
        let key = if full { OTHER } else { deal_type };
        self.totals.entry(key.to_owned()).or_default().add(totals);
    }

    /// Adds counts of deals of a type.
    pub(super) fn add_classes(&mut self, deal_type: &str, counts: &ClassCounts) {
        let full = self.by_type.len() >= MAX_KINDS && !self.by_type.contains_key(deal_type);
        let key = if full { OTHER } else { deal_type };
        let sums = self.by_type.entry(key.to_owned()).or_default();
        sums.iter_mut()
            .zip(counts)
            .for_each(|(to, from)| *to += from);
    }

    /// Counts a deal that differs.
    ///
    /// `judged_as` is the class as which deals of its type were computed, if that differs from the
    /// stored word.
    pub(super) fn count(
        &mut self,
        difference: &RowDifference<'_>,
        judged_as: Option<&'static str>,
        judge: &Judge<'_>,
    ) {
        let regression =
            |metric: &str, rule: (&str, &str)| regression(difference, judged_as, metric, rule);
        match difference.change {
            Change::Added => {
                self.added += 1;
                return;
            }
            Change::ErrorOnBothSides => {
                self.errors += 1;
                if self.uncomputed.len() < UNCOMPUTED {
                    self.uncomputed.push(Uncomputed::of(difference));
                }
                return;
            }
            Change::Missing => self.missing += 1,
            Change::ErrorOnOneSide => self.one_sided_errors += 1,
            Change::Changed => {}
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
        for finding in difference.findings {
            self.count_rule(finding.rule, finding.class);
            if finding.class == Class::Regression {
                let figures = Some((finding.before, finding.after));
                if let Some(place) = self.place_among_worst(figures) {
                    let metric = judge.metric(finding.metric);
                    let regression = regression(metric, judge.describe(finding.rule));
                    let (before, after) = (Some(finding.before), Some(finding.after));
                    self.insert_worst(
                        place,
                        Regression {
                            before,
                            after,
                            ..regression
                        },
                    );
                }
            }
        }
        for finding in difference.texts {
            self.count_rule(finding.rule, finding.class);
            if finding.class == Class::Regression
                && let Some(place) = self.place_among_worst(None)
            {
                let metric = judge.metric(finding.metric);
                let regression = regression(metric, judge.describe(finding.rule));
                self.insert_worst(
                    place,
                    Regression {
                        before_text: finding.before.clone(),
                        after_text: finding.after.clone(),
                        ..regression
                    },
                );
            }
        }
        let (metric, rule, threshold) = match difference.change {
            Change::Missing => ("deal", MISSING_RULE, super::merge::MISSING_THRESHOLD),
            Change::ErrorOnOneSide => ("status", ERROR_RULE, super::merge::ERROR_THRESHOLD),
            _ => return,
        };
        if let Some(place) = self.place_among_worst(None) {
            self.insert_worst(place, regression(metric, (rule, threshold)));
        }
    }

    /// Counts a differing figure or text under its rule.
    fn count_rule(&mut self, rule: Option<usize>, class: Class) {
        let last = self.by_rule.len().saturating_sub(1);
        let counts = self.by_rule.get_mut(rule.unwrap_or(last));
        if let Some(count) = counts.and_then(|c| c.get_mut(class as usize)) {
            *count += 1;
        }
    }

    /// The index among the worst at which a regression belongs; among equals the first in key order
    /// stays first.
    fn place_among_worst(&self, figures: Option<(i64, i64)>) -> Option<usize> {
        let place = self.worst.partition_point(|kept| {
            badness(kept.before.zip(kept.after), figures) != Ordering::Less
        });
        (place < WORST).then_some(place)
    }

    fn insert_worst(&mut self, place: usize, regression: Regression) {
        self.worst.insert(place, regression);
        self.worst.truncate(WORST);
    }

    /// Adds what was counted in the following key range.
    pub(super) fn add(&mut self, later: Self) {
        for (to, from) in [
            (&mut self.compared, later.compared),
            (&mut self.equal, later.equal),
            (&mut self.within_tolerance, later.within_tolerance),
            (&mut self.ignored, later.ignored),
            (&mut self.expected, later.expected),
            (&mut self.warnings, later.warnings),
            (&mut self.unexpected, later.unexpected),
            (&mut self.regressions, later.regressions),
            (&mut self.missing, later.missing),
            (&mut self.added, later.added),
            (&mut self.errors, later.errors),
            (&mut self.type_changed, later.type_changed),
            (&mut self.one_sided_errors, later.one_sided_errors),
        ] {
            *to += from;
        }
        for (to, from) in self.by_rule.iter_mut().zip(&later.by_rule) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        self.before_only.add(&later.before_only);
        self.after_only.add(&later.after_only);
        for (deal_type, totals) in later.totals {
            self.add_totals(&deal_type, totals);
        }
        for (deal_type, counts) in later.by_type {
            self.add_classes(&deal_type, &counts);
        }
        for regression in later.worst {
            let figures = regression.before.zip(regression.after);
            if let Some(place) = self.place_among_worst(figures) {
                self.worst.insert(place, regression);
                self.worst.truncate(WORST);
            }
        }
        self.uncomputed.extend(later.uncomputed);
        self.uncomputed.truncate(UNCOMPUTED);
        self.extremes.add(&later.extremes);
        self.histogram.add(&later.histogram);
    }

    /// Deals per type and class.
    pub(super) fn by_type(&self) -> BTreeMap<String, BTreeMap<Class, u64>> {
        let named = |counts: &ClassCounts| {
            let counts = CLASSES.iter().copied().zip(counts.iter().copied());
            counts.filter(|(_, count)| *count > 0).collect()
        };
        let types = self.by_type.iter();
        types
            .map(|(name, counts)| (name.clone(), named(counts)))
            .collect()
    }

    /// Differing figures per rule id and class.
    pub(super) fn by_rule(&self, rules: &Rules) -> BTreeMap<String, BTreeMap<Class, u64>> {
        let names = rules.rules.iter().map(|rule| rule.id.as_str());
        let mut named: BTreeMap<String, BTreeMap<Class, u64>> = BTreeMap::new();
        for (name, counts) in names.chain([NO_RULE]).zip(&self.by_rule) {
            for (class, count) in CLASSES.iter().zip(counts).filter(|(_, count)| **count > 0) {
                let entry = named.entry(name.to_owned()).or_default();
                *entry.entry(*class).or_default() += count;
            }
        }
        for (name, count) in [
            (MISSING_RULE, self.missing),
            (ERROR_RULE, self.one_sided_errors),
        ] {
            if count > 0 {
                let entry = named.entry(name.to_owned()).or_default();
                *entry.entry(Class::Regression).or_default() += count;
            }
        }
        named
    }

    /// The distribution of the relative change of the total, from the largest fall to the largest
    /// rise. `called` is the word for the total.
    pub fn buckets(&self, called: &str) -> Vec<Bucket> {
        self.histogram.buckets(called)
    }
}

/// A regression without values.
fn regression(
    difference: &RowDifference<'_>,
    judged_as: Option<&'static str>,
    metric: &str,
    (rule, threshold): (&str, &str),
) -> Regression {
    Regression {
        deal_id: difference.deal_id.to_owned(),
        deal_type: difference.deal_type.to_owned(),
        judged_as: judged_as.map(str::to_owned),
        metric: metric.to_owned(),
        before: None,
        after: None,
        before_text: None,
        after_text: None,
        rule: rule.to_owned(),
        threshold: threshold.to_owned(),
    }
}

/// Compares how severe two regressions are: by relative change, exactly. A change from zero or
/// below exceeds every percentage; regressions without figures, including those of texts, come
/// last.
fn badness(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Ordering {
    match (a, b) {
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
