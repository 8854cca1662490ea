//! Starts programs of a plan: their environment, and how they are ended.

pub mod environment;
pub(crate) mod guard;
pub mod lease;
pub(crate) mod running;

pub use lease::Lease;
pub use running::end_all;
