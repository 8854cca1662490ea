//! The outcome of an action.

use std::time::Duration;

use rollbook_proto::v1::{self, Verdict};

use super::database::ScriptProgress;
use super::error::ExecutorError;

/// The outcome of one action, ready to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// `pass`, `warning`, `fail`, `inconclusive` or `error`.
    pub verdict: Verdict,
    /// The rule behind the verdict: `exit code 0`.
    pub rule: String,
    /// The reason, with numbers; redacted.
    pub message: String,
    /// The measurements.
    pub measurements: Vec<v1::Measurement>,
    /// The stored evidence.
    pub evidence: Vec<v1::Evidence>,
    /// Events to record in the same commit.
    pub details: Vec<v1::event::Kind>,
    /// Whether something may have changed that an undo must revert.
    pub effect: bool,
    /// What remains of an action that stopped between parts that each stay in place: a partial
    /// effect.
    pub partial: Option<ScriptProgress>,
    /// For an undo: whether its effect was checked, and what the check found.
    pub verification: Option<(v1::UndoVerification, String)>,
    /// How long the action took.
    pub duration: Duration,
}

impl Outcome {
    /// Makes an outcome without measurements or evidence.
    pub fn new(verdict: Verdict, rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            verdict,
            rule: rule.into(),
            message: message.into(),
            measurements: Vec::new(),
            evidence: Vec::new(),
            details: Vec::new(),
            effect: false,
            partial: None,
            verification: None,
            duration: Duration::ZERO,
        }
    }

    /// The outcome of an action that has no verdict of its own.
    pub fn error(rule: impl Into<String>, error: &ExecutorError) -> Self {
        Self::new(Verdict::Error, rule, error.to_string())
    }

    /// Merges another outcome into this one: its measurements and evidence and, if this one has
    /// passed so far and the other has not, its verdict, rule and message.
    pub fn and(mut self, part: &str, mut next: Self) -> Self {
        self.measurements.append(&mut next.measurements);
        self.evidence.append(&mut next.evidence);
        self.details.append(&mut next.details);
        self.effect |= next.effect;
        let passed = |verdict| matches!(verdict, Verdict::Pass | Verdict::Warning);
        let worse = passed(self.verdict) && !passed(next.verdict);
        if worse || self.verdict == Verdict::Pass && next.verdict == Verdict::Warning {
            self.verdict = next.verdict;
            self.rule = format!("{part}: {}", next.rule);
            self.message = format!("{part}: {}", next.message);
        }
        self
    }
}
