//! Runbooks: the file format, its rules, and the pinned plan made from it.
//!
//! Pure: no I/O except through the reader that [`load`](load::load) is given, no clock, no
//! randomness. The way of a file: [`document`] (YAML with positions) → [`shape`] (checked
//! against the published [`schema`]) → [`model`] (types) → [`lint`] (meaning) → [`plan`]
//! (canonical bytes and their digest).

pub mod expr;
pub mod model;
pub mod plan;
pub mod recorded;
pub mod span;
pub mod step;
pub mod window;

pub use expr::{Expr, ExprError, ExprOutcome};
pub use model::Runbook;
pub use plan::{EffectiveUndo, Needs, Plan, PlanError, PlannedStep};
pub use span::Span;
pub use step::{Action, Step};
pub use window::WindowVerdict;
