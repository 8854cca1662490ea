//! Runbooks: the file format, its rules, and the pinned plan made from it.
//!
//! Pure: no I/O except through the reader passed to [`load`](load::load), no clock, no randomness.
//! A file passes through `document` (YAML with positions) → `shape` (checked against the published
//! [`schema`]) → [`model`] (types) → `lint` (meaning) → [`plan`] (canonical bytes and their
//! digest).

pub mod authority;
pub mod calculator;
pub mod describe;
pub mod diagnostic;
pub mod difference;
mod document;
pub mod environment;
pub mod expr;
pub mod files;
mod findings;
pub mod kind;
mod lint;
pub mod load;
pub mod model;
mod order;
pub mod plan;
pub mod positioned;
pub mod recorded;
pub mod reference;
pub mod rollback;
pub mod schema;
pub mod script;
pub(crate) mod seats;
mod shape;
pub mod span;
pub mod sql_text;
pub mod step;
mod step_fields;
mod substitute;
pub mod undo;
pub mod window;

pub use authority::{Authority, BreakGlass, Verb};
pub use describe::{PlannedItem, describe};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Severity};
pub use environment::{Env, EnvValue};
pub use expr::{Expr, ExprError, ExprOutcome, FigureTerm, Term};
pub use files::{Directory, Files, NoFiles};
pub use kind::{Action, StepKind};
pub use lint::check;
pub use load::{Loaded, Origin, inspect, load};
pub use model::Runbook;
pub use plan::{EffectiveUndo, Needs, Plan, PlanError, PlannedStep};
pub use rollback::{Advice, RollbackLevel, Selector};
pub use span::Span;
pub use step::Step;
pub use window::WindowVerdict;
