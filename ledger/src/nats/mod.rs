//! NATS servers: connecting to one, and the private one that `rollbook up` runs.

mod binary;
mod clock;
mod connect;
mod lock;
mod orphan;
mod server;
mod supervisor;
mod torn_tail;

pub use binary::find_binary;
pub use clock::ServerClock;
pub use connect::{ConnectError, Credentials, NatsOptions, connect};
pub use lock::DataLock;
pub use server::{EmbeddedServer, ServerError, ServerOptions};
pub use supervisor::ChildStatus;
pub use torn_tail::discard_torn_tail;
