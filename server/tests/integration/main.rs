//! Integration tests of the server through its public interface, without a NATS server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod authentication;
mod harness;
mod ofrep;
mod past;
mod reports;
