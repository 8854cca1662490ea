//! Tests of the built program.

#![allow(clippy::unwrap_used, clippy::panic)]

mod interrupted;
mod judge;
