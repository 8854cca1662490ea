//! The rollout aggregate. Pure: state and command in, events or a named refusal out.

pub mod command;
pub mod next;

pub use command::{Command, Open, Request, SystemCommand, WorkerCommand};
pub use next::{Blocked, DueNotice, Next, Task, TaskAction};
