//! The worker fleet: tasks on a work queue, and workers that execute and record them.
//!
//! ```text
//!  orchestrator ─publish─▶ queue ─pull─▶ worker: look ─▶ record intent ─▶ execute
//!                            ▲             │          ─▶ record result ─▶ acknowledge
//!                            └─────────────┘ redelivered after a crash
//! ```
//!
//! The queue only carries hints: the ledger decides, from the rollout's state, whether a task may
//! run when its intent is recorded. Losing the queue loses time; a task delivered twice is dropped.

mod attempt;
mod changes;
mod dead_letter;
mod jetstream;
mod ledger;
mod limits;
pub mod membership;
mod memory;
mod notices;
mod output;
mod port;
pub mod presence;
pub mod progress;
mod pull;
mod queue;
pub mod shards;
mod signals;
mod worker;

pub use changes::RolloutChanges;
pub use dead_letter::DeadLetters;
pub use jetstream::{DEAD_LETTER_STREAM, JetStreamQueue, WORK_STREAM};
pub use ledger::LedgerPort;
pub use memory::MemoryQueue;
pub use notices::{NoticeDelivery, NoticeQueue, NoticeSink, QueuedNotice};
pub use output::NatsOutput;
pub use port::{Assignment, RolloutPort, TaskState};
pub use progress::NatsProgress;
pub use queue::{
    ANY_LABEL, Delivery, Published, QueueError, QueueOptions, QueuedTask, TaskFilter, TaskQueue,
};
pub use signals::{NatsSignals, Signals};
pub use worker::{WorkerConfig, run};
