//! What a judge says.

use serde::{Deserialize, Serialize};

/// Where it is kept in the judged directory.
pub(crate) const REPORT: &str = "report.json";

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// Which rule is broken.
    pub(crate) rule: Rule,
    /// Where, and by what.
    pub(crate) what: String,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// Every acknowledged command is on the ledger, where the answer said.
    Acknowledged,
    /// What a client was shown stays.
    Seen,
    /// Sequences have no gap, and each commit names the one before it of its aggregate.
    Unbroken,
    /// No command is applied twice.
    CommandOnce,
    /// No effect without an intent recorded before.
    Intent,
    /// No effect twice unless a plan allows it or a person asked for it.
    EffectOnce,
    /// What the ledger says has passed has had its effect.
    Effect,
    /// Two copies of a command never run at the same time.
    Alone,
    /// Every notice that was due was delivered, each time under the same id.
    Notice,
    /// Views are what a rebuild of them is.
    Views,
    /// Every rollout ends, or status says what keeps it.
    Ends,
    /// No process outlives those that own it.
    Orphan,
    /// Processes end when told to, and by themselves only for want of something.
    Process,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) rollouts: usize,
    pub(crate) acknowledged: usize,
    pub(crate) commits: usize,
    pub(crate) effects: usize,
    pub(crate) notices: usize,
    /// Rollouts that have not ended, and why.
    pub(crate) unfinished: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} rollouts, {} commands acknowledged, {} commits, {} effects, {} notices: {}",
            self.rollouts,
            self.acknowledged,
            self.commits,
            self.effects,
            self.notices,
            match self.findings.len() {
                0 => "nothing found".to_owned(),
                count => format!("{count} findings"),
            }
        )];
        for rollout in &self.unfinished {
            lines.push(format!("not ended: {rollout}"));
        }
        for finding in &self.findings {
            let rule = serde_json::to_value(finding.rule).unwrap_or_default();
            let rule = rule.as_str().unwrap_or_default().replace('_', " ");
            lines.push(format!("{rule}: {}", finding.what));
        }
        lines
    }
}
