//! Programs that this process starts for a plan: what they are given, and their end.

pub mod environment;
pub(crate) mod guard;
pub mod lease;
pub(crate) mod running;

pub use lease::Lease;
pub use running::end_all;
