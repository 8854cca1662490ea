//! What is written for people to keep: the post-rollout report, rendered from the views and nothing
//! else, and comparisons.

mod authority;
pub(crate) mod comparison;
mod html;
mod markdown;

pub(crate) use html::html;
pub(crate) use markdown::markdown;

use rollbook_ledger::projection::rows::TimelineRow;
use rollbook_server::api::{ProofAnswer, StatusAnswer};

/// What a report is made from.
#[derive(Debug)]
pub(crate) struct Material {
    /// The rollout with everything that belongs to it.
    pub(crate) status: StatusAnswer,
    /// Its whole timeline.
    pub(crate) timeline: Vec<TimelineRow>,
    /// What was found when it was compared with ledger and evidence.
    pub(crate) proof: ProofAnswer,
}
