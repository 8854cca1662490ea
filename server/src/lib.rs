//! The server: orchestrator and projector loops around the ledger, and the HTTP API.

pub mod api;
mod http;
pub mod notices;
pub mod orchestrator;
pub mod serve;
mod unrecorded;
