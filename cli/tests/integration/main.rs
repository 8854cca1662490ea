//! The built `rollbook` as a user drives it: every test has its own directory, its own
//! nats-server and a port of the system's choice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apart;
mod bad_input;
mod compare;
mod concurrency;
mod crash;
mod data;
mod documents;
mod follow;
mod harness;
mod http;
mod journey;
mod rollback;
mod suggestions;
