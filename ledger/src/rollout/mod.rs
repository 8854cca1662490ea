//! The rollout aggregate. Pure: state and command in, events or a named refusal out.
//!
//! ```text
//!            start           pause ⇄ resume
//!   Open ───────────▶ Running ⇄ Paused
//!    │                   │  ▲       ▲
//!    │ abort             │  rollback│ finished (below full): goes on when resumed
//!    ▼                   ▼          │
//!   Aborted ◀──────── RollingBack ──┘
//!    │                   │ finished (full, or begun after an end)
//!    ▼                   ▼
//!   Closed: SUCCEEDED · ABORTED · FAILED · ROLLED_BACK   ── rollback ──▶ RollingBack
//! ```
//!
//! A rollback may begin at any time after the start, after success too. While effects are taken
//! back, and afterwards, steps that change nothing may be run again ("recheck") to prove that
//! the old state is back; such a result never counts for a phase or a gate.
//!
//! How a rollout closes: SUCCEEDED when every phase has passed. ABORTED when a person ended it;
//! FAILED instead when a critical step stood failed or interrupted then, or when a rollback
//! that ended the rollout had to leave something. ROLLED_BACK after a full rollback, or any
//! rollback begun after the end.

pub mod command;
mod course;
mod decide;
mod evolve;
mod frontier;
mod hold;
mod illegal;
pub mod next;
mod presented;
mod refusal;
mod remedy;
mod rules;
mod settle;
pub mod state;

pub use command::{Command, Open, Request, SystemCommand, WorkerCommand};
pub use decide::{Context, GateHold, decide, gate_hold, open, records, rollback_list};
pub use evolve::{advance, evolve, fold, undone};
pub use frontier::Frontier;
pub use hold::{Blocked, Figures, HoldRule, Subject, SubjectError, WaitsFor};
pub use illegal::IllegalEvent;
pub use next::{DueNotice, Lane, Next, Task, TaskAction, due_notices, is_wanted, look, next};
pub use presented::{
    Presented, ShownCheck, ShownEvidence, ShownRevision, ShownStep, all_evidence, presented,
    rests_on,
};
pub use refusal::{Refusal, RefusalKind};
pub use remedy::Remedy;
pub use rules::effects::is_stopped;
pub use rules::going_back::{LeftItem, RollbackList, UndoItem};
pub use rules::measures::{baselines, figures};
pub use state::{RolloutState, Sample, Status, StepState, StepStatus};

/// The advice that takes the last one back: its rule no longer holds.
pub const NO_ADVICE: &str = "none";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
mod tests;
