//! The streaming sort-merge of two snapshots. Pure: rows in, differences and a summary out.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::CompareError;
use super::result::Summary;
use super::rules::{Class, Judge, Rules};
use crate::snapshot::reader::Cursor;

/// The rule that fails a deal which is gone.
pub const MISSING_RULE: &str = "missing-after";
/// The rule that fails a deal which can be computed on one side only.
pub const ERROR_RULE: &str = "error-on-one-side";

/// Rows in strict byte order of their ids. The accessors speak of the row `advance` moved to.
pub trait Rows {
    /// Moves to the next row; `false` at the end.
    fn advance(&mut self) -> Result<bool, CompareError>;
    /// The deal's id.
    fn deal_id(&self) -> &str;
    /// The deal's type.
    fn deal_type(&self) -> &str;
    /// Whether the row has an error in place of figures.
    fn is_error(&self) -> bool;
    /// The error's text.
    fn error(&self) -> Result<String, CompareError>;
    /// The row's digest; equal digests mean equal rows.
    fn digest(&self) -> &[u8];
    /// A figure.
    fn metric(&self, metric: usize) -> Result<i64, CompareError>;
}

impl Rows for Cursor {
    fn advance(&mut self) -> Result<bool, CompareError> {
        Ok(Cursor::advance(self)?)
    }

    fn deal_id(&self) -> &str {
        self.current().map_or("", |(group, row)| group.deal_id(row))
    }

    fn deal_type(&self) -> &str {
        self.current()
            .map_or("", |(group, row)| group.deal_type(row))
    }

    fn is_error(&self) -> bool {
        self.current()
            .is_some_and(|(group, row)| group.is_error(row))
    }

    fn error(&self) -> Result<String, CompareError> {
        match self.current() {
            Some((group, row)) => Ok(group.error(row)?.to_owned()),
            None => Ok(String::new()),
        }
    }

    fn digest(&self) -> &[u8] {
        self.current().map_or(&[], |(group, row)| group.digest(row))
    }

    fn metric(&self, metric: usize) -> Result<i64, CompareError> {
        match self.current() {
            Some((group, row)) => Ok(group.metric(row, metric)?.unwrap_or_default()),
            None => Ok(0),
        }
    }
}

/// What happened to a deal between the snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Figures differ.
    Changed,
    /// Only the before snapshot has it: a regression.
    Missing,
    /// Only the after snapshot has it.
    Added,
    /// It could be computed on one side only: a regression.
    ErrorOnOneSide,
    /// It could not be computed on either side.
    ErrorOnBothSides,
}

/// One figure that differs, and how it was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The metric.
    pub metric: String,
    /// The figure before.
    pub before: i64,
    /// The figure after.
    pub after: i64,
    /// What the difference means.
    pub class: Class,
    /// The rule that judged.
    pub rule: String,
    /// Its threshold in words.
    pub threshold: String,
}

/// One deal that differs: a line of the stored differences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The deal's id.
    pub deal_id: String,
    /// Its type before; of an added deal, after.
    pub deal_type: String,
    /// What happened.
    pub change: Change,
    /// The worst of the findings.
    pub class: Class,
    /// The figures that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Why there were no figures before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_before: Option<String>,
    /// Why there were no figures after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_after: Option<String>,
}

/// Merges two snapshots in key order.
///
/// `sink` receives every deal that differs by more than a rule tolerates, in key order; deals
/// within tolerance are counted only.
pub fn merge(
    before: &mut impl Rows,
    after: &mut impl Rows,
    metrics: &[String],
    rules: &Rules,
    sink: &mut impl FnMut(&Difference) -> Result<(), CompareError>,
) -> Result<Summary, CompareError> {
    let mut judge = Judge::new(rules, metrics);
    let total = metrics.iter().position(|metric| metric == "cost_total");
    let mut summary = Summary::default();
    let (mut left, mut right) = (before.advance()?, after.advance()?);
    while left || right {
        let order = match (left, right) {
            (true, false) => Ordering::Less,
            (false, _) => Ordering::Greater,
            _ => before.deal_id().as_bytes().cmp(after.deal_id().as_bytes()),
        };
        let difference = match order {
            Ordering::Less => Some(one_sided(before, Change::Missing)?),
            Ordering::Greater => Some(one_sided(after, Change::Added)?),
            Ordering::Equal => {
                if let Some(metric) = total
                    && !before.is_error()
                    && !after.is_error()
                {
                    summary.totals(
                        before.deal_type(),
                        before.metric(metric)?,
                        after.metric(metric)?,
                    );
                }
                both(before, after, metrics, &mut judge, &mut summary)?
            }
        };
        if let Some(difference) = difference {
            summary.count(&difference);
            if difference.class != Class::WithinTolerance {
                sink(&difference)?;
            }
        }
        if order != Ordering::Greater {
            left = before.advance()?;
        }
        if order != Ordering::Less {
            right = after.advance()?;
        }
    }
    Ok(summary)
}

fn one_sided(rows: &impl Rows, change: Change) -> Result<Difference, CompareError> {
    let error = rows.is_error().then(|| rows.error()).transpose()?;
    let missing = change == Change::Missing;
    Ok(Difference {
        deal_id: rows.deal_id().to_owned(),
        deal_type: rows.deal_type().to_owned(),
        change,
        class: if missing {
            Class::Regression
        } else {
            Class::Equal
        },
        findings: Vec::new(),
        error_before: error.clone().filter(|_| missing),
        error_after: error.filter(|_| !missing),
    })
}

/// A deal of both snapshots; `None` when all figures are equal.
fn both(
    before: &impl Rows,
    after: &impl Rows,
    metrics: &[String],
    judge: &mut Judge<'_>,
    summary: &mut Summary,
) -> Result<Option<Difference>, CompareError> {
    summary.compared += 1;
    if before.deal_type() != after.deal_type() {
        summary.type_changed += 1;
    }
    let mut difference = Difference {
        deal_id: String::new(),
        deal_type: String::new(),
        change: Change::Changed,
        class: Class::Equal,
        findings: Vec::new(),
        error_before: None,
        error_after: None,
    };
    if before.is_error() || after.is_error() {
        difference.error_before = before.is_error().then(|| before.error()).transpose()?;
        difference.error_after = after.is_error().then(|| after.error()).transpose()?;
        if before.is_error() && after.is_error() {
            difference.change = Change::ErrorOnBothSides;
        } else {
            difference.change = Change::ErrorOnOneSide;
            difference.class = Class::Regression;
        }
    } else {
        if before.digest() != after.digest() {
            for (index, metric) in metrics.iter().enumerate() {
                let (old, new) = (before.metric(index)?, after.metric(index)?);
                if old == new {
                    continue;
                }
                let judgement = judge.judge(before.deal_type(), index, old, new);
                let (rule, threshold) = judge.describe(judgement.rule);
                difference.class = difference.class.max(judgement.class);
                difference.findings.push(Finding {
                    metric: metric.clone(),
                    before: old,
                    after: new,
                    class: judgement.class,
                    rule,
                    threshold,
                });
            }
        }
        if difference.findings.is_empty() {
            summary.equal += 1;
            return Ok(None);
        }
    }
    before.deal_id().clone_into(&mut difference.deal_id);
    before.deal_type().clone_into(&mut difference.deal_type);
    Ok(Some(difference))
}

#[cfg(test)]
mod tests;
