//! Runbooks: the file format, its rules, and the pinned plan made from it.

pub mod model;
pub mod span;
pub mod step;

pub use model::Runbook;
pub use span::Span;
pub use step::{Action, Step};
