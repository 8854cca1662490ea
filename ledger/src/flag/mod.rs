//! The flag aggregate: one flag in one environment, and its evaluation. Pure.
//!
//! Turning a flag off, or to its safe value, is the instant rollback: it needs no approval but,
//! like every change, a reason. In a protected environment only people with a role may write flags,
//! and switching one on outside of a rollout takes two of them.

mod authority;
mod bucket;
mod decide;
mod evaluate;
mod state;
mod undo;

pub use bucket::{BUCKETING, TOTAL_MILLIS, bucket};
pub use decide::{Asked, FlagCommand, FlagRefusal, decide, settle};
pub use evaluate::{Evaluation, EvaluationContext, EvaluationError, Reason, evaluate};
pub use state::{FlagState, IllegalFlagEvent, evolve, fold};
pub use undo::{ChangeToUndo, FlagUndo, flag_undo};

#[cfg(test)]
#[allow(clippy::unwrap_used, missing_docs)]
mod tests;
