//! The flag aggregate: one flag in one environment, and its evaluation. Pure.
//!
//! Turning a flag off, or to its safe value, is the instant rollback: it waits for no approval
//! and asks for a reason, as every change does. In a protected environment only persons of its roles
//! write flags, and switching one on outside a rollout takes two of them.

mod authority;
mod bucket;
mod decide;
mod evaluate;
mod state;
mod way_back;

pub use bucket::{BUCKETING, TOTAL_MILLIS, bucket};
pub use decide::{Asked, FlagCommand, FlagRefusal, decide, settle};
pub use evaluate::{Evaluation, EvaluationContext, EvaluationError, Reason, evaluate};
pub use state::{FlagState, IllegalFlagEvent, evolve, fold};
pub use way_back::{Change, WayBack, way_back};

#[cfg(test)]
#[allow(clippy::unwrap_used, missing_docs)]
mod tests;
