//! The rollout aggregate. Pure: takes state and command, returns events or a named refusal.
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
//! A rollback can start at any time after the start, even after success. During and after a
//! rollback, steps that change nothing can be run again ("recheck") to prove that the old state is
//! back; such a result never counts for a phase or a gate.
//!
//! A rollout closes as SUCCEEDED when every phase has passed, and as ABORTED when a person aborts
//! it. It closes as FAILED instead if a critical step was failed or interrupted at that moment, or
//! if the rollback that ended the rollout left an effect in place. It closes as ROLLED_BACK after a
//! full rollback, or after any rollback started on a closed rollout.

mod block;
pub mod command;
mod decide;
mod evolve;
mod frontier;
mod illegal;
mod limits;
mod missing;
pub mod next;
mod presented;
mod refusal;
mod remedy;
mod rules;
mod settle;
pub mod state;
mod status;

pub use block::{BlockRule, Blocked, Figures, Subject, SubjectError, WaitsFor};
pub use command::{Command, Open, Request, SystemCommand, WorkerCommand};
pub use decide::{
    Context, GateBlock, decide, open, preview_rollback, records, why_gate_is_blocked,
};
pub use evolve::{advance, evolve, fold, undone};
pub use frontier::Frontier;
pub use illegal::IllegalEvent;
pub use next::{DueNotice, Next, Task, TaskAction, TaskClass, due_notices, is_wanted, look, next};
pub use presented::{
    GatePresentation, ShownCheck, ShownEvidence, ShownGlass, ShownRevision, ShownStep,
    all_evidence, long_texts, presented, rests_on,
};
pub use refusal::{Refusal, RefusalKind};
pub use remedy::Remedy;
pub use rules::effects::is_stopped;
pub use rules::measures::{baselines, figures};
pub use rules::rollback_preview::{LeftItem, RollbackPreview, UndoItem};
pub use state::{RolloutState, Sample, Status, StepState, StepStatus};

/// The `advice` value of an `AdviceGiven` that withdraws the last advice: its rule no longer holds.
pub const NO_ADVICE: &str = "none";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
mod tests;
