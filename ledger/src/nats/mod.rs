//! NATS servers: connecting to one, and the private one that `rollbook up` runs.

mod binary;
mod clock;
mod connect;
mod lock;
mod lost_end;
mod orphan;
mod server;
mod supervisor;

pub use binary::find_binary;
pub use clock::ServerClock;
pub use connect::{ConnectError, Credentials, NatsOptions, connect, redact_url};
pub use lock::DataLock;
pub use lost_end::forget_end;
pub use server::{EmbeddedServer, ServerError, ServerOptions};
pub use supervisor::ChildStatus;
