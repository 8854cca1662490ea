//! What the status of a rollout looks like: from its data, a time and a width to lines of text.
//! Pure: nothing here reads a clock, a terminal or the network.
//!
//! ```text
//! Picture ─▶ tree   `status`, `status --wait`, `run`: everything once
//!         ─▶ frame  `status --watch` at a terminal: what matters now, cut to its height
//!         ─▶ changes  `status --watch` elsewhere: a line for each change
//! ```

mod blocked;
pub(crate) mod changes;
mod figures;
pub(crate) mod frame;
mod gate;
mod head;
mod phase;
mod revision;
mod running;
mod step;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tree;

use jiff::Timestamp;
use rollbook_ledger::ids::{PhaseId, StepId};
use rollbook_ledger::projection::rows::{RolloutRow, StepRow};
use rollbook_ledger::projection::views::{RolloutDetail, ViewAnswer};
use rollbook_ledger::projection::words::RolloutStatus;
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::runbook::model::Phase;
use rollbook_ledger::runbook::step::Step;
use rollbook_server::api::StatusAnswer;

use crate::print;

pub(crate) use revision::revision_lines;
pub(crate) use tree::tree;

/// What a status is drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture<'a> {
    /// The server's answer.
    pub(crate) answer: &'a StatusAnswer,
    /// The plan in force, for what only the plan says: durations, people to call, how often a
    /// watch samples. Without it that is left out.
    pub(crate) plan: Option<&'a Plan>,
    /// The time that elapsed times count to.
    pub(crate) now: Timestamp,
    /// Columns that a line may have. Only commands to be copied may be longer.
    pub(crate) width: usize,
}

impl<'a> Picture<'a> {
    fn detail(&self) -> &'a RolloutDetail {
        &self.answer.view.data
    }

    fn rollout(&self) -> &'a RolloutRow {
        &self.detail().rollout
    }

    /// The steps of the plan in force, in order.
    fn steps(&self) -> impl Iterator<Item = &'a StepRow> {
        let phases = self.detail().phases.iter();
        phases
            .flat_map(|phase| &phase.steps)
            .filter(|step| !step.dropped)
    }

    /// The plan's words on a step.
    fn planned(&self, step: &str) -> Option<&'a Step> {
        let id = StepId::new(step).ok()?;
        self.plan?.step(&id).map(|(_, step)| step)
    }

    /// The plan's words on a phase.
    fn planned_phase(&self, phase: &str) -> Option<&'a Phase> {
        self.plan?.phase(&PhaseId::new(phase).ok()?)
    }
}

/// It has ended, and no rollback is in progress.
pub(crate) fn is_over(answer: &StatusAnswer) -> bool {
    answer.view.data.rollout.status == RolloutStatus::Closed
}

/// The status, and once the rollout is over its outcome: `closed as succeeded`.
pub(crate) fn status_text(rollout: &RolloutRow) -> String {
    match rollout.outcome {
        Some(outcome) => format!("{} as {outcome}", rollout.status),
        None => rollout.status.to_string(),
    }
}

/// The line that says how fresh an answer is.
pub(crate) fn as_of<T>(answer: &ViewAnswer<T>) -> String {
    let at = answer.as_of.recorded_at;
    let at = at.map_or_else(String::new, |at| format!(" ({})", print::time(at)));
    match answer.lag {
        Some(0) | None => format!("as of sequence {}{at}", answer.as_of.sequence),
        Some(lag) => format!(
            "as of sequence {}{at}, {lag} commits behind",
            answer.as_of.sequence
        ),
    }
}
