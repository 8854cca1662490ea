//! Output for people to keep: comparisons, and the post-rollout report, which is rendered only from
//! the views.

mod authority;
pub(crate) mod comparison;
mod html;
mod markdown;
pub(crate) mod model;

pub(crate) use html::html;
pub(crate) use markdown::markdown;

use rollbook_ledger::projection::rows::TimelineRow;
use rollbook_ledger::runbook::Plan;
use rollbook_server::api::{ProofAnswer, StatusAnswer};

/// The contents of a report.
#[derive(Debug)]
pub(crate) struct Material {
    /// The rollout with everything that belongs to it.
    pub(crate) status: StatusAnswer,
    /// The plan in force.
    pub(crate) plan: Plan,
    /// Its whole timeline.
    pub(crate) timeline: Vec<TimelineRow>,
    /// The result of comparing it with ledger and evidence.
    pub(crate) proof: ProofAnswer,
}
