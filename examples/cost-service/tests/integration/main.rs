//! Drives the built `cost-service` against a SQLite database in the schema of `migrations/deals`
//! and a flag server that speaks OFREP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod flag_server;
mod process;
mod service;
