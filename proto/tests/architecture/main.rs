//! The shape of the source tree: what may depend on what, what stays pure, how large a file may be,
//! where a kind of step is defined, and that every error code has one meaning and is documented.
//! Only reads the tree; it is in this crate because this crate builds fastest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod blocked;
mod dependencies;
mod error_codes;
mod files;
mod names;
mod ports;
mod purity;
mod single_places;
mod step_kinds;
mod time;
mod tree;
mod vocabulary;
