//! The rules that judge a difference. Pure: figures in, a class out.

use serde::{Deserialize, Serialize};

use super::CompareError;
use super::millionths::{Millionths, SCALE};
use crate::snapshot::MetricInfo;

/// Maximum number of rules in a set.
const MAX_RULES: usize = 1_000;

/// What a difference means, ordered from harmless to failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// No difference.
    Equal,
    /// A difference the rule tolerates.
    WithinTolerance,
    /// A difference a rule ignores, with its reason; it stays counted.
    Ignored,
    /// A difference that the rules predict.
    Expected,
    /// A difference that someone should look at.
    Warning,
    /// A deal outside the guard differs in a way no rule predicts.
    Unexpected,
    /// A difference that fails the comparison.
    Regression,
}

impl Class {
    /// The class's name in results.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::WithinTolerance => "within_tolerance",
            Self::Ignored => "ignored",
            Self::Expected => "expected",
            Self::Warning => "warning",
            Self::Unexpected => "unexpected",
            Self::Regression => "regression",
        }
    }
}

/// How severe it is to break a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleSeverity {
    /// Fails the comparison.
    #[default]
    Regression,
    /// A warning on guarded deals, an unexpected difference on others.
    Warning,
}

/// Which deals a rule applies to, by their type before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All deals.
    #[default]
    Any,
    /// Deals whose type is guarded.
    Guarded,
    /// All other deals.
    Unguarded,
}

/// What a rule requires of a figure before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Test {
    /// Changed by at most a percentage of the figure before, in either direction; from zero only
    /// zero is tolerated.
    Relative {
        /// The tolerance in percent; exactly this much is still tolerated.
        tolerance_percent: Millionths,
    },
    /// Changed by at most a limit, in the metric's unit.
    Absolute {
        /// The largest tolerated change.
        limit: u64,
    },
    /// No difference.
    Exact,
    /// Any difference is ignored, for a reason.
    Ignore {
        /// Why it does not matter.
        reason: String,
    },
    /// An intended change: within these bounds it is expected.
    Expected {
        /// The figure after is at least this multiple of the figure before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_ratio: Option<Millionths>,
        /// The figure after is at most this multiple of the figure before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_ratio: Option<Millionths>,
        /// The smallest figure after, in the metric's unit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_after: Option<i64>,
        /// The largest figure after, in the metric's unit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_after: Option<i64>,
        /// Why the change is expected.
        reason: String,
    },
}

/// One rule. The first rule of a set that matches deal and metric decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The rule's name in results.
    pub id: String,
    /// The metrics it applies to; `*` matches any text: `price_*`.
    pub metric: String,
    /// Whether it applies to guarded deals, to the others or to all.
    #[serde(default)]
    pub scope: Scope,
    /// The deal types (before) it applies to, or their aliases; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deal_types: Vec<String>,
    /// What it requires.
    pub test: Test,
    /// How severe it is to break the rule; by default a regression.
    #[serde(default)]
    pub severity: RuleSeverity,
}

/// A set of rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Types (before) that are guarded against regression: types, aliases, or texts as stored,
    /// regardless of letter case. Deals without a type, or of an unknown type, belong to the class
    /// they were computed as.
    pub guard: Vec<String>,
    /// Whether snapshots of different models may be compared.
    #[serde(default)]
    pub allow_model_change: bool,
    /// The rules; the first that matches decides.
    pub rules: Vec<Rule>,
}

/// A judged figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What the difference means.
    pub class: Class,
    /// The index of the rule that decided; `None` when no rule matches.
    pub rule: Option<usize>,
}

impl Rules {
    /// Parses a percentage given by a person: a decimal, not below zero.
    pub fn tolerance(text: &str) -> Result<Millionths, CompareError> {
        let refuse = |reason: String| CompareError::Tolerance {
            text: text.chars().take(40).collect(),
            reason,
        };
        let tolerance: Millionths = text
            .parse()
            .map_err(|error: super::millionths::MillionthsError| refuse(error.to_string()))?;
        if tolerance < Millionths::whole(0) {
            return Err(refuse("it is below zero".to_owned()));
        }
        Ok(tolerance)
    }

    /// Refuses invalid rules.
    pub fn check(&self) -> Result<(), CompareError> {
        self.check_each().map_err(|(_, error)| error)
    }

    /// Refuses a rule that would judge a text by a distance, a ratio or a bound: a text is only
    /// equal or different. Rules after one for all deals never apply and are not checked.
    pub fn check_texts(&self, metrics: &[MetricInfo]) -> Result<(), CompareError> {
        self.check_each_text(metrics).map_err(|(_, error)| error)
    }

    /// Finds the first rule that would measure a text; the error has its index.
    pub(super) fn check_each_text(
        &self,
        metrics: &[MetricInfo],
    ) -> Result<(), (usize, CompareError)> {
        for metric in metrics.iter().filter(|metric| metric.is_text()) {
            for (index, rule) in self.rules.iter().enumerate() {
                if !matches_pattern(&rule.metric, &metric.name) {
                    continue;
                }
                if rule.test.measures() {
                    let error = CompareError::TextRule {
                        rule: rule.id.clone(),
                        metric: metric.name.clone(),
                    };
                    return Err((index, error));
                }
                if rule.scope == Scope::Any && rule.deal_types.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Finds the first invalid rule; the error has its index.
    pub(super) fn check_each(&self) -> Result<(), (usize, CompareError)> {
        if self.rules.len() > MAX_RULES {
            let error = CompareError::Rule {
                rule: "*".to_owned(),
                reason: format!(
                    "{} rules, at most {MAX_RULES} are allowed",
                    self.rules.len()
                ),
            };
            return Err((MAX_RULES, error));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            if self.rules.iter().take(index).any(|r| r.id == rule.id) {
                return Err((index, rule.refuse("its id occurs twice")));
            }
            rule.check().map_err(|error| (index, error))?;
        }
        Ok(())
    }
}

impl Rule {
    fn refuse(&self, reason: &str) -> CompareError {
        CompareError::Rule {
            rule: self.id.clone(),
            reason: reason.to_owned(),
        }
    }

    fn check(&self) -> Result<(), CompareError> {
        if self.id.trim().is_empty() {
            return Err(self.refuse("it has no id"));
        }
        if self.metric.is_empty() {
            return Err(self.refuse("it names no metric; write `*` for all"));
        }
        match &self.test {
            Test::Relative { tolerance_percent } if *tolerance_percent < Millionths::whole(0) => {
                Err(CompareError::Tolerance {
                    text: tolerance_percent.to_string(),
                    reason: format!("it is below zero in rule `{}`", self.id),
                })
            }
            Test::Ignore { reason } | Test::Expected { reason, .. } if reason.trim().is_empty() => {
                Err(self.refuse("it gives no reason"))
            }
            Test::Expected {
                min_ratio: Some(min),
                max_ratio: Some(max),
                ..
            } if min > max => Err(self.refuse("min_ratio is above max_ratio")),
            Test::Expected {
                min_after: Some(min),
                max_after: Some(max),
                ..
            } if min > max => Err(self.refuse("min_after is above max_after")),
            _ => Ok(()),
        }
    }
}

impl RuleSeverity {
    /// The class of a difference that breaks a rule of this severity.
    pub(super) fn broken(self, guarded: bool) -> Class {
        match (self, guarded) {
            (Self::Regression, _) => Class::Regression,
            (Self::Warning, true) => Class::Warning,
            (Self::Warning, false) => Class::Unexpected,
        }
    }
}

/// The class of an actual difference. Uses exact integers throughout: cents × 10^8 fit in 128 bits.
pub(super) fn judge_by(rule: &Rule, guarded: bool, before: i64, after: i64) -> Class {
    let change = i128::from(after) - i128::from(before);
    let kept = match &rule.test {
        Test::Ignore { .. } => return Class::Ignored,
        Test::Relative { tolerance_percent } => {
            // |Δ| ≤ t / 100 · |before|, with t in millionths.
            let moved = change.abs() * 100 * i128::from(SCALE);
            moved <= i128::from(tolerance_percent.millionths()) * i128::from(before).abs()
        }
        Test::Absolute { limit } => change.abs() <= i128::from(*limit),
        Test::Exact => false,
        Test::Expected {
            min_ratio,
            max_ratio,
            min_after,
            max_after,
            ..
        } => {
            let scaled = i128::from(after) * i128::from(SCALE);
            let bound = |ratio: &Millionths| i128::from(ratio.millionths()) * i128::from(before);
            let expected = min_ratio.as_ref().is_none_or(|min| scaled >= bound(min))
                && max_ratio.as_ref().is_none_or(|max| scaled <= bound(max))
                && min_after.is_none_or(|min| after >= min)
                && max_after.is_none_or(|max| after <= max);
            if expected {
                return Class::Expected;
            }
            false
        }
    };
    if kept {
        Class::WithinTolerance
    } else {
        rule.severity.broken(guarded)
    }
}

/// The class of two different texts, by a rule that [`Rules::check_texts`] has accepted.
pub(super) fn judge_text_by(rule: &Rule, guarded: bool) -> Class {
    match &rule.test {
        Test::Ignore { .. } => Class::Ignored,
        Test::Expected { .. } => Class::Expected,
        Test::Exact | Test::Relative { .. } | Test::Absolute { .. } => {
            rule.severity.broken(guarded)
        }
    }
}

impl Test {
    /// Whether the test needs numbers: a distance, a ratio or a bound.
    fn measures(&self) -> bool {
        match self {
            Self::Relative { .. } | Self::Absolute { .. } => true,
            Self::Exact | Self::Ignore { .. } => false,
            Self::Expected {
                min_ratio,
                max_ratio,
                min_after,
                max_after,
                ..
            } => {
                let ratio = min_ratio.is_some() || max_ratio.is_some();
                ratio || min_after.is_some() || max_after.is_some()
            }
        }
    }

    /// The threshold in words, as shown in results.
    pub fn threshold(&self) -> String {
        match self {
            Self::Relative { tolerance_percent } => format!("moved > {tolerance_percent} %"),
            Self::Absolute { limit } => format!("off by > {limit}"),
            Self::Exact => "any difference".to_owned(),
            Self::Ignore { reason } => format!("ignored: {reason}"),
            Self::Expected {
                min_ratio,
                max_ratio,
                min_after,
                max_after,
                ..
            } => {
                let mut bounds = Vec::new();
                let mut bound = |text: Option<String>| bounds.extend(text);
                bound(min_ratio.map(|n| format!("ratio ≥ {n}")));
                bound(max_ratio.map(|n| format!("ratio ≤ {n}")));
                bound(min_after.map(|n| format!("after ≥ {n}")));
                bound(max_after.map(|n| format!("after ≤ {n}")));
                if bounds.is_empty() {
                    "any change".to_owned()
                } else {
                    bounds.join(", ")
                }
            }
        }
    }
}

/// Whether a name matches a pattern in which `*` matches any text. Practically linear: only the
/// last star is ever retried.
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(byte) if name.get(n) == Some(byte) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after_star, from)) => {
                    p = after_star;
                    n = from + 1;
                    retry = Some((after_star, n));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests;
