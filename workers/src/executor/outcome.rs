//! What an action came to.

use std::time::Duration;

use rollbook_proto::v1::{self, Verdict};

use super::database::Done;
use super::error::ExecutorError;

/// The result of one action, ready to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// `pass`, `warning`, `fail`, `inconclusive` or `error`.
    pub verdict: Verdict,
    /// The rule that gave the verdict: `exit code 0`.
    pub rule: String,
    /// The reason, with numbers; redacted.
    pub message: String,
    /// What was measured.
    pub measurements: Vec<v1::Measurement>,
    /// What was kept.
    pub evidence: Vec<v1::Evidence>,
    /// Facts to record in the same commit.
    pub details: Vec<v1::event::Kind>,
    /// Something may have changed that an undo must take back.
    pub effect: bool,
    /// The effect is partial: what stands of an action that stopped between parts that each stay.
    pub partial: Option<Done>,
    /// Of an undo: whether something else has looked, and what it said.
    pub verification: Option<(v1::UndoVerification, String)>,
    /// How long it took.
    pub duration: Duration,
}

impl Outcome {
    /// An outcome with nothing measured or kept.
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

    /// The action gave no verdict of its own.
    pub fn error(rule: impl Into<String>, error: &ExecutorError) -> Self {
        Self::new(Verdict::Error, rule, error.to_string())
    }

    /// Takes another outcome into this one: what it measured and kept, and its verdict, rule
    /// and message when this one has passed so far and the other has not.
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
