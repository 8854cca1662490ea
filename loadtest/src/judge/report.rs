//! The report of a judge.

use serde::{Deserialize, Serialize};

/// The file that holds it in the judged directory.
pub(crate) const REPORT: &str = "report.json";

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The rule that is broken.
    pub(crate) rule: Rule,
    /// Where it is broken, and by what.
    pub(crate) what: String,
}

/// The rules that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// Every acknowledged command is on the ledger, at the sequence given in its answer.
    Acknowledged,
    /// A commit that a client was shown stays as it was.
    Seen,
    /// Sequences have no gap, and each commit names the previous one of its aggregate.
    Unbroken,
    /// No command is applied twice.
    CommandOnce,
    /// No effect occurs without an intent recorded before.
    Intent,
    /// No effect occurs twice, unless a plan allows it or a person asked for it.
    EffectOnce,
    /// A step that passed according to the ledger has had its effect.
    Effect,
    /// Two copies of a command never run at the same time.
    Alone,
    /// Every notice that was due was delivered, each time under the same id.
    Notice,
    /// Views equal a rebuild of them.
    Views,
    /// Every rollout ends, or its status says what blocks it.
    Ends,
    /// No process outlives its owner.
    Orphan,
    /// Processes end when told to, and by themselves only if something they need is missing.
    Process,
}

/// The result of a judge.
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

    /// The report in readable form.
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
