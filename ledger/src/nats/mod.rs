//! The NATS server: how we connect to one, and the private one that `rollbook up` runs.

mod connect;

pub use connect::{ConnectError, Credentials, NatsOptions, connect, redact_url};
