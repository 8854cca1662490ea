//! The streaming sort-merge of two snapshots. Pure: rows in, differences and counts out.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::CompareError;
use super::figures::Extremes;
use super::judge::{Judge, MAX_KINDS};
use super::rules::Class;
use super::tally::{ClassCounts, OTHER, Tally, TypeTotals};
use crate::snapshot::MetricInfo;
use crate::snapshot::reader::Cursor;

/// The threshold shown for a missing deal.
pub(super) const MISSING_THRESHOLD: &str = "no deal may be missing after";
/// The threshold shown for a deal with an error on one side.
pub(super) const ERROR_THRESHOLD: &str = "computed on both sides or on none";

/// Rows in strict key order. The accessors refer to the row that `advance` moved to.
pub trait Rows {
    /// Moves to the next row; `false` at the end.
    fn advance(&mut self) -> Result<bool, CompareError>;
    /// Like `advance`; a reader may reuse what the rows of the other snapshot have decoded.
    fn advance_beside(&mut self, other: &Self) -> Result<bool, CompareError>;
    /// Whether a figure is known to equal that of the other row without being decoded.
    fn shares_metric(&self, other: &Self, metric: usize) -> bool;
    /// Whether the row is for the same deal as the other row.
    fn same_deal(&self, other: &Self) -> bool;
    /// The bytes of the deal's id.
    fn key(&self) -> &[u8];
    /// The deal's id.
    fn deal_id(&self) -> Result<&str, CompareError>;
    /// The deal's type.
    fn deal_type(&self) -> &str;
    /// Whether the row has an error instead of figures.
    fn is_error(&self) -> bool;
    /// The error's text.
    fn error(&mut self) -> Result<String, CompareError>;
    /// The row's digest; equal digests mean equal rows.
    fn digest(&self) -> &[u8];
    /// A figure.
    fn metric(&mut self, metric: usize) -> Result<i64, CompareError>;
    /// A text; `None` is NULL.
    fn text(&mut self, metric: usize) -> Result<Option<&str>, CompareError>;
}

impl Rows for Cursor {
    fn advance(&mut self) -> Result<bool, CompareError> {
        Ok(Cursor::advance(self)?)
    }

    fn advance_beside(&mut self, other: &Self) -> Result<bool, CompareError> {
        Ok(Cursor::advance_beside(self, other)?)
    }

    fn shares_metric(&self, other: &Self, metric: usize) -> bool {
        Cursor::shares_metric(self, other, metric)
    }

    fn same_deal(&self, other: &Self) -> bool {
        self.shares_deal(other) || self.key() == other.key()
    }

    fn key(&self) -> &[u8] {
        let (group, row) = self.at();
        group.key(row)
    }

    fn deal_id(&self) -> Result<&str, CompareError> {
        let (group, row) = self.at();
        Ok(group.deal_id(row)?)
    }

    fn deal_type(&self) -> &str {
        let (group, row) = self.at();
        group.deal_type(row)
    }

    fn is_error(&self) -> bool {
        let (group, row) = self.at();
        group.is_error(row)
    }

    fn error(&mut self) -> Result<String, CompareError> {
        match self.current() {
            Some((group, row)) => Ok(group.error(row)?.to_owned()),
            None => Ok(String::new()),
        }
    }

    fn digest(&self) -> &[u8] {
        let (group, row) = self.at();
        group.digest(row)
    }

    fn metric(&mut self, metric: usize) -> Result<i64, CompareError> {
        match self.current() {
            Some((group, row)) => {
                let column = group.metric_column(metric)?;
                Ok(column.get(row).copied().unwrap_or_default())
            }
            None => Ok(0),
        }
    }

    fn text(&mut self, metric: usize) -> Result<Option<&str>, CompareError> {
        match self.current() {
            Some((group, row)) => Ok(group.text(row, metric)?),
            None => Ok(None),
        }
    }
}

/// What happened to a deal between the snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Figures differ.
    Changed,
    /// Only the before snapshot contains it: a regression.
    Missing,
    /// Only the after snapshot contains it.
    Added,
    /// It was computed on one side only: a regression.
    ErrorOnOneSide,
    /// It was computed on neither side.
    ErrorOnBothSides,
}

/// One figure that differs, and how it was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The index of the metric.
    pub metric: usize,
    /// The figure before.
    pub before: i64,
    /// The figure after.
    pub after: i64,
    /// What the difference means.
    pub class: Class,
    /// The index of the rule that decided; `None` when no rule applies.
    pub rule: Option<usize>,
}

/// One text that differs, and how it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFinding {
    /// The index of the metric.
    pub metric: usize,
    /// The text before; `None` is NULL.
    pub before: Option<String>,
    /// The text after; `None` is NULL.
    pub after: Option<String>,
    /// What the difference means.
    pub class: Class,
    /// The index of the rule that decided; `None` when no rule applies.
    pub rule: Option<usize>,
}

/// One deal that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowDifference<'a> {
    /// The deal's id.
    pub deal_id: &'a str,
    /// Its type before; for an added deal, after.
    pub deal_type: &'a str,
    /// What happened to it.
    pub change: Change,
    /// The worst of the findings.
    pub class: Class,
    /// The figures that differ.
    pub findings: &'a [Finding],
    /// The texts that differ.
    pub texts: &'a [TextFinding],
    /// Why there were no figures before.
    pub error_before: Option<&'a str>,
    /// Why there were no figures after.
    pub error_after: Option<&'a str>,
}

/// Receives, in key order, every deal that differs by more than the rules tolerate.
pub trait Sink {
    /// Takes one deal.
    fn take(
        &mut self,
        difference: &RowDifference<'_>,
        judge: &Judge<'_>,
    ) -> Result<(), CompareError>;
}

/// Merges two snapshots, or the same key range of both, in key order.
///
/// Deals within tolerance are counted but not passed to `sink`.
pub fn merge<R: Rows>(
    before: &mut R,
    after: &mut R,
    order: fn(&[u8], &[u8]) -> Ordering,
    metrics: &[MetricInfo],
    judge: Judge<'_>,
    sink: &mut impl Sink,
) -> Result<Tally, CompareError> {
    let place = |name: &str| {
        let is = |metric: &MetricInfo| metric.name == name && !metric.is_text();
        metrics.iter().position(is)
    };
    let texts = 0..metrics.len();
    let is_text = |place: &usize| metrics.get(*place).is_some_and(MetricInfo::is_text);
    let measures = *judge.measures();
    let mut tally = Tally::new(judge.rules());
    tally.extremes = Extremes::new(&measures, |metric| place(metric).is_some());
    let mut merge = Merge {
        tally,
        judge,
        types: Vec::new(),
        findings: Vec::new(),
        text_metrics: texts.filter(is_text).collect(),
        texts: Vec::new(),
        total: measures.total.and_then(|total| place(total.metric)),
        ratios: measures
            .ratios
            .iter()
            .map(|it| (place(it.metric), it.class))
            .collect(),
        presences: measures
            .presences
            .iter()
            .map(|it| (place(it.metric), it.class))
            .collect(),
        sink,
    };
    let mut left = before.advance()?;
    let mut right = after.advance_beside(before)?;
    while left || right {
        let order = match (left, right) {
            (true, false) => Ordering::Less,
            (false, _) => Ordering::Greater,
            _ if after.same_deal(before) => Ordering::Equal,
            _ => order(before.key(), after.key()),
        };
        match order {
            Ordering::Less => {
                merge.only(before, Side::Before)?;
                merge.one_sided(before, Change::Missing)?;
            }
            Ordering::Greater => {
                merge.only(after, Side::After)?;
                merge.presences(after)?;
                merge.one_sided(after, Change::Added)?;
            }
            Ordering::Equal => merge.both(before, after)?,
        }
        if order != Ordering::Greater {
            left = before.advance()?;
        }
        if order != Ordering::Less {
            right = after.advance_beside(before)?;
        }
    }
    Ok(merge.finish())
}

/// One of the two snapshots.
#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

struct Merge<'r, 's, S> {
    judge: Judge<'r>,
    tally: Tally,
    /// Sums and counts by the judge's index of the deal type.
    types: Vec<(TypeTotals, ClassCounts)>,
    findings: Vec<Finding>,
    /// The indices of the text metrics.
    text_metrics: Vec<usize>,
    texts: Vec<TextFinding>,
    total: Option<usize>,
    /// For each ratio, the index of its metric, if the snapshots have it, and its class.
    ratios: Vec<(Option<usize>, &'static str)>,
    /// The same for each presence.
    presences: Vec<(Option<usize>, &'static str)>,
    sink: &'s mut S,
}

impl<S: Sink> Merge<'_, '_, S> {
    fn finish(mut self) -> Tally {
        for (kind, (totals, classes)) in self.types.iter().enumerate() {
            let name = match kind {
                MAX_KINDS => OTHER,
                kind => self.judge.kind_name(kind),
            };
            if totals.deals > 0 {
                self.tally.add_totals(name, *totals);
            }
            if classes.iter().any(|count| *count > 0) {
                self.tally.add_classes(name, classes);
            }
        }
        self.tally
    }

    /// Adds a deal that has figures in one snapshot only, if it has any: the sums of the snapshots
    /// are compared without it.
    fn only(&mut self, rows: &mut impl Rows, side: Side) -> Result<(), CompareError> {
        if rows.is_error() {
            return Ok(());
        }
        let sums = match side {
            Side::Before => &mut self.tally.before_only,
            Side::After => &mut self.tally.after_only,
        };
        sums.add_deal();
        for metric in 0..self.judge.metrics().len() {
            if !self.text_metrics.contains(&metric) {
                sums.add_figure(metric, i128::from(rows.metric(metric)?));
            }
        }
        Ok(())
    }

    fn one_sided(&mut self, rows: &mut impl Rows, change: Change) -> Result<(), CompareError> {
        let error = rows.is_error().then(|| rows.error()).transpose()?;
        let missing = change == Change::Missing;
        self.found(&RowDifference {
            deal_id: rows.deal_id()?,
            deal_type: rows.deal_type(),
            change,
            class: if missing {
                Class::Regression
            } else {
                Class::Equal
            },
            findings: &[],
            texts: &[],
            error_before: error.as_deref().filter(|_| missing),
            error_after: error.as_deref().filter(|_| !missing),
        })
    }

    fn found(&mut self, difference: &RowDifference<'_>) -> Result<(), CompareError> {
        let judged_as = match difference.class {
            Class::Regression => self.judge.judged_as(difference.deal_type),
            _ => None,
        };
        self.tally.count(difference, judged_as, &self.judge);
        if !matches!(difference.change, Change::Added | Change::ErrorOnBothSides) {
            let kind = self.judge.kind(difference.deal_type);
            self.class(kind, difference.class);
        }
        if difference.class == Class::WithinTolerance {
            return Ok(());
        }
        self.sink.take(difference, &self.judge)
    }

    /// Compares a deal that is in both snapshots.
    fn both<R: Rows>(&mut self, before: &mut R, after: &mut R) -> Result<(), CompareError> {
        self.tally.compared += 1;
        self.presences(after)?;
        if before.is_error() || after.is_error() {
            return self.errors(before, after);
        }
        let kind = self.judge.kind(before.deal_type());
        if before.digest() == after.digest() {
            self.tally.equal += 1;
            self.class(kind, Class::Equal);
            return self.equal(kind, before);
        }
        if before.deal_type() != after.deal_type() {
            self.tally.type_changed += 1;
        }
        self.findings.clear();
        let mut worst = Class::Equal;
        for metric in 0..self.judge.metrics().len() {
            let is_ratio = self.ratios.iter().any(|(it, _)| *it == Some(metric));
            let summed = self.total == Some(metric) || is_ratio;
            let shared = after.shares_metric(before, metric);
            if shared && !summed || self.text_metrics.contains(&metric) {
                continue;
            }
            let old = before.metric(metric)?;
            let new = if shared { old } else { after.metric(metric)? };
            if self.total == Some(metric) {
                self.total(kind, old, new);
            }
            if is_ratio {
                self.ratios(kind, metric, old, new);
            }
            if old == new {
                continue;
            }
            let judgement = self.judge.judge_kind(kind, metric, old, new);
            worst = worst.max(judgement.class);
            self.findings.push(Finding {
                metric,
                before: old,
                after: new,
                class: judgement.class,
                rule: judgement.rule,
            });
        }
        worst = worst.max(self.texts(kind, before, after)?);
        if self.findings.is_empty() && self.texts.is_empty() {
            self.tally.equal += 1;
            self.class(kind, Class::Equal);
            return Ok(());
        }
        let findings = std::mem::take(&mut self.findings);
        let texts = std::mem::take(&mut self.texts);
        let found = self.found(&RowDifference {
            deal_id: before.deal_id()?,
            deal_type: before.deal_type(),
            change: Change::Changed,
            class: worst,
            findings: &findings,
            texts: &texts,
            error_before: None,
            error_after: None,
        });
        (self.findings, self.texts) = (findings, texts);
        found
    }

    /// Finds the texts that differ and returns the worst class among them.
    fn texts<R: Rows>(
        &mut self,
        kind: usize,
        before: &mut R,
        after: &mut R,
    ) -> Result<Class, CompareError> {
        self.texts.clear();
        let mut worst = Class::Equal;
        for metric in self.text_metrics.iter().copied() {
            if after.shares_metric(before, metric) {
                continue;
            }
            let (old, new) = (before.text(metric)?, after.text(metric)?);
            if old == new {
                continue;
            }
            let judgement = self.judge.judge_text_kind(kind, metric, false);
            worst = worst.max(judgement.class);
            self.texts.push(TextFinding {
                metric,
                before: old.map(str::to_owned),
                after: new.map(str::to_owned),
                class: judgement.class,
                rule: judgement.rule,
            });
        }
        Ok(worst)
    }

    /// Records which of the counted figures a deal of the later snapshot has.
    fn presences(&mut self, after: &mut impl Rows) -> Result<(), CompareError> {
        for place in 0..self.presences.len() {
            if let Some((Some(metric), class)) = self.presences.get(place).copied()
                && !after.is_error()
                && after.metric(metric)? != 0
            {
                let kind = self.judge.kind(after.deal_type());
                let place = (self.ratios.len(), place);
                let is_elsewhere = !self.is_of(kind, class);
                self.tally.extremes.presence(place, is_elsewhere);
            }
        }
        Ok(())
    }

    /// Whether deals of a cached type were computed as this class.
    fn is_of(&self, kind: usize, class: &str) -> bool {
        let computed = self.judge.known(kind).and_then(|kind| kind.computed);
        computed == Some(class)
    }

    /// Records a figure for the ratios made of it.
    fn ratios(&mut self, kind: usize, metric: usize, before: i64, after: i64) {
        for (place, (of, class)) in self.ratios.iter().enumerate() {
            if *of == Some(metric) && self.is_of(kind, class) {
                self.tally.extremes.ratio(place, before, after);
            }
        }
    }

    /// Counts a deal whose figures are all equal; it still adds to the sums.
    fn equal(&mut self, kind: usize, rows: &mut impl Rows) -> Result<(), CompareError> {
        if let Some(metric) = self.total {
            let figure = rows.metric(metric)?;
            self.total(kind, figure, figure);
        }
        for place in 0..self.ratios.len() {
            if let Some((Some(metric), class)) = self.ratios.get(place).copied()
                && self.is_of(kind, class)
            {
                let figure = rows.metric(metric)?;
                self.tally.extremes.ratio(place, figure, figure);
            }
        }
        Ok(())
    }

    fn of_kind(&mut self, kind: usize) -> Option<&mut (TypeTotals, ClassCounts)> {
        if self.types.len() <= kind {
            self.types.resize(kind + 1, Default::default());
        }
        self.types.get_mut(kind)
    }

    fn class(&mut self, kind: usize, class: Class) {
        let counts = self.of_kind(kind).map(|(_, counts)| counts);
        if let Some(count) = counts.and_then(|counts| counts.get_mut(class as usize)) {
            *count += 1;
        }
    }

    fn total(&mut self, kind: usize, before: i64, after: i64) {
        if let Some((totals, _)) = self.of_kind(kind) {
            totals.deals += 1;
            totals.before_cents.0 += i128::from(before);
            totals.after_cents.0 += i128::from(after);
        }
        if self.judge.known(kind).is_some_and(|kind| kind.guarded) {
            self.tally.extremes.total(before, after);
        }
        self.tally.histogram.count(before, after);
    }

    /// Handles a deal with an error on at least one side.
    fn errors(
        &mut self,
        before: &mut impl Rows,
        after: &mut impl Rows,
    ) -> Result<(), CompareError> {
        if before.deal_type() != after.deal_type() {
            self.tally.type_changed += 1;
        }
        let both = before.is_error() && after.is_error();
        // At most one of them has figures.
        self.only(before, Side::Before)?;
        self.only(after, Side::After)?;
        let error_before = before.is_error().then(|| before.error()).transpose()?;
        let error_after = after.is_error().then(|| after.error()).transpose()?;
        let (change, class) = if both {
            (Change::ErrorOnBothSides, Class::Equal)
        } else {
            (Change::ErrorOnOneSide, Class::Regression)
        };
        self.found(&RowDifference {
            deal_id: before.deal_id()?,
            deal_type: before.deal_type(),
            change,
            class,
            findings: &[],
            texts: &[],
            error_before: error_before.as_deref(),
            error_after: error_after.as_deref(),
        })
    }
}

#[cfg(test)]
mod tests;
