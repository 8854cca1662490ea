//! The server: orchestrator and projector loops around the ledger, and the HTTP API.

mod alarm;
pub mod api;
pub mod auth;
pub mod command_line;
mod http;
pub mod live;
pub mod notices;
pub mod orchestrator;
pub mod serve;
mod unrecorded_environments;

pub use alarm::Alarm;
pub use http::Limits;
