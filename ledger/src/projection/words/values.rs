//! The small values that rows hold as JSON.

use std::fmt;

use jiff::Timestamp;
use rollbook_proto::v1;
use serde::{Deserialize, Serialize};

use super::{FlagMode, Verdict, time};
use crate::measurement;
use crate::projection::row::clean;

/// An effect that a rollback leaves in place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EffectLeft {
    /// The step.
    pub step: String,
    /// Why it stays in place.
    pub why: String,
}

/// The effect of an action that stopped between parts whose effects persist.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartialEffect {
    /// Number of statements of the script that were executed.
    pub statements_done: u32,
    /// The last of them with its position; empty if none was, so that only the effect of a failed
    /// one remains.
    pub last_statement: String,
}

impl PartialEffect {
    /// Converts the wire fields; `None` unless the action was partly executed.
    pub(in crate::projection) fn from_wire(kind: i32, done: u32, last: &str) -> Option<Self> {
        (kind == i32::from(v1::EffectKind::Partial)).then(|| Self {
            statements_done: done,
            last_statement: clean(last),
        })
    }
}

impl fmt::Display for PartialEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.statements_done {
            0 => f.write_str("partial: no statement was done"),
            1 => write!(f, "partial: 1 statement is done, {}", self.last_statement),
            n => write!(
                f,
                "partial: {n} statements are done, the last at {}",
                self.last_statement
            ),
        }
    }
}

/// A reference to bytes in the evidence store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EvidenceRef {
    /// Lower-case hex SHA-256 of the stored bytes; empty when the event names no evidence.
    pub sha256: String,
    /// Stored size in bytes.
    pub size_bytes: u64,
    /// Media type.
    pub media_type: String,
    /// Display name.
    pub name: String,
    /// The output was cut at the size limit.
    pub truncated: bool,
}

impl EvidenceRef {
    pub(in crate::projection) fn from_wire(evidence: Option<&v1::Evidence>) -> Self {
        evidence.map_or_else(Self::default, |evidence| Self {
            sha256: clean(&evidence.sha256),
            size_bytes: evidence.size_bytes,
            media_type: clean(&evidence.media_type),
            name: clean(&evidence.name),
            truncated: evidence.truncated,
        })
    }
}

/// A measured value and the rule that judged it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MeasuredValue {
    /// What was measured.
    pub metric: String,
    /// The number as the nearest double, for charts; absent if there is no data.
    pub value: Option<f64>,
    /// The exact number.
    #[serde(default)]
    pub decimal: Option<String>,
    /// The value if it is not a number.
    pub text: String,
    /// Unit of `value`.
    pub unit: String,
    /// The rule as written in the plan; empty if the value was not judged.
    pub rule: String,
    /// The rule's verdict; absent if the value was not judged.
    pub verdict: Option<Verdict>,
    /// When it was measured.
    pub measured_at: Option<Timestamp>,
}

impl MeasuredValue {
    /// Formats the value as a sentence: `error_rate 7.2 % (value > 5: fail)`.
    pub(in crate::projection) fn sentence(&self) -> String {
        let value = match (&self.decimal, self.text.is_empty()) {
            (Some(value), _) if self.unit.is_empty() => value.clone(),
            (Some(value), _) => format!("{value} {}", self.unit),
            (None, false) => self.text.clone(),
            (None, true) => "no data".to_owned(),
        };
        let judged = match (self.rule.is_empty(), self.verdict) {
            (false, Some(verdict)) => format!(" ({}: {verdict})", self.rule),
            (false, None) => format!(" ({})", self.rule),
            (true, Some(verdict)) => format!(" ({verdict})"),
            (true, None) => String::new(),
        };
        format!("{} {value}{judged}", self.metric)
    }

    pub(in crate::projection) fn from_wire(measurement: &v1::Measurement) -> Self {
        let number = measurement::number(measurement);
        let value = measurement
            .value
            .filter(|value| value.is_finite() && !measurement.incomplete);
        let text = match measurement.value {
            // JSON and SQL have no NaN: keep the measured value as text.
            Some(number) if value.is_none() && measurement.text.is_empty() => number.to_string(),
            _ => clean(&measurement.text),
        };
        Self {
            metric: clean(&measurement.metric),
            value: value.map(|value| value + 0.0),
            decimal: number.map(|number| number.to_string()),
            text,
            unit: clean(&measurement.unit),
            rule: clean(&measurement.rule),
            verdict: Verdict::from_wire(measurement.verdict),
            measured_at: time(measurement.measured_at.as_ref()),
        }
    }
}

/// One answered item of a manual step's checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecklistItem {
    /// The item.
    pub item: String,
    /// The answer; absent if it is not a verdict.
    pub answer: Option<Verdict>,
    /// The person's note.
    pub note: String,
}

/// The setting of a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagSetting {
    /// The mode.
    pub mode: FlagMode,
    /// Thousandths of a percent, 0 to 100,000; used by `percentage` only.
    pub percentage_millis: u32,
    /// Used by `beta` only.
    pub beta_labels: Vec<String>,
}

impl FlagSetting {
    pub(in crate::projection) fn from_wire(setting: Option<&v1::FlagSetting>) -> Option<Self> {
        let setting = setting?;
        Some(Self {
            mode: FlagMode::from_wire(setting.mode)?,
            percentage_millis: setting.percentage_millis,
            beta_labels: setting
                .beta_labels
                .iter()
                .map(|label| clean(label))
                .collect(),
        })
    }
}

impl fmt::Display for FlagSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            FlagMode::Percentage => {
                let (whole, rest) = (self.percentage_millis / 1000, self.percentage_millis % 1000);
                if rest == 0 {
                    write!(f, "{whole} %")
                } else {
                    let decimals = format!("{rest:03}");
                    write!(f, "{whole}.{} %", decimals.trim_end_matches('0'))
                }
            }
            FlagMode::Beta if !self.beta_labels.is_empty() => {
                write!(f, "beta ({})", self.beta_labels.join(", "))
            }
            mode => write!(f, "{mode}"),
        }
    }
}

/// Totals of one deal type in a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealTypeTotal {
    /// The deal type.
    pub deal_type: String,
    /// Number of deals.
    pub deals: u64,
    /// Total before, in cents.
    pub before_cents: i64,
    /// Total after, in cents.
    pub after_cents: i64,
}

/// Deals of one type in a comparison, each counted in the class of its worst difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealTypeClasses {
    /// The deal type; `(other)` for those beyond the 64 most frequent.
    pub deal_type: String,
    /// Deals whose figures are all equal.
    pub equal: u64,
    /// Deals whose differences are all tolerated.
    pub within_tolerance: u64,
    /// Deals whose worst difference is ignored by a rule with a reason.
    pub ignored: u64,
    /// Deals whose worst difference the rules expect.
    pub expected: u64,
    /// Deals whose worst difference is beyond a warning threshold.
    pub warnings: u64,
    /// Unguarded deals with a difference no rule expects.
    pub unexpected: u64,
    /// Deals with a regression, including missing deals and those in error on one side.
    pub regressions: u64,
}

/// One named deduction from a health score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deduction {
    /// The rule's stable name, such as `failed_critical_step`.
    pub reason: String,
    /// What it applies to: a step, gate, alert, comparison, rollback or metric.
    pub subject: String,
    /// Points deducted.
    pub points: u32,
    /// One readable sentence.
    pub message: String,
}
