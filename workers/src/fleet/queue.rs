//! The port through which tasks reach workers.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::error_code::Coded;
use rollbook_ledger::ids::{LedgerId, RolloutId, subject_token};
use rollbook_ledger::rollout::{Task, TaskAction, TaskClass};
use rollbook_ledger::trace::Cause;
use serde::{Deserialize, Serialize};

/// The label of tasks that any worker may take.
pub const ANY_LABEL: &str = "any";

/// A task with the rollout it belongs to: the body of a queue message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuedTask {
    /// The rollout.
    pub rollout: RolloutId,
    /// What to do.
    pub task: Task,
    /// What made the task due.
    #[serde(default)]
    pub cause: Cause,
}

impl QueuedTask {
    /// Identifies the task across messages: rollout/step/action/attempt.
    pub fn key(&self) -> String {
        format!(
            "{}/{}/{}/{}",
            self.rollout,
            self.task.step,
            action_word(self.task.action),
            self.task.attempt
        )
    }

    /// The label that a worker needs to take it.
    pub fn label(&self) -> &str {
        self.task.runs_on.as_deref().unwrap_or(ANY_LABEL)
    }

    /// The filter that selects it.
    pub fn filter(&self) -> TaskFilter {
        TaskFilter::new(self.task.class, self.label())
    }

    /// Its subject: `work.<ledger>.<class and label>.<rollout>.<step>.<action>.<attempt>`. Each task has its
    /// own subject, so that the queue itself can refuse a second message for a task it holds.
    pub fn subject(&self, ledger: &LedgerId) -> String {
        format!(
            "work.{ledger}.{}.{}.{}.{}.{}",
            self.filter().token(),
            subject_token(self.rollout.as_str()),
            subject_token(self.task.step.as_str()),
            action_word(self.task.action),
            self.task.attempt
        )
    }
}

/// Selects the tasks of one class and one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskFilter {
    class: TaskClass,
    label: String,
}

impl TaskFilter {
    /// A filter for a class and a label.
    pub fn new(class: TaskClass, label: impl Into<String>) -> Self {
        Self {
            class,
            label: label.into(),
        }
    }

    /// Its token in a subject. In a label's own token, `=` is always followed by two hexadecimal
    /// digits.
    pub fn token(&self) -> String {
        let label = subject_token(&self.label);
        match self.class {
            TaskClass::Step => label,
            TaskClass::Watch => format!("{label}=watch"),
            TaskClass::Undo => format!("{label}=undo"),
            TaskClass::Flag => format!("{label}=flag"),
        }
    }
}

/// `execute`, `undo` or `verify-undo`.
pub(super) fn action_word(action: TaskAction) -> &'static str {
    match action {
        TaskAction::Execute => "execute",
        TaskAction::Undo => "undo",
        TaskAction::VerifyUndo => "verify-undo",
    }
}

/// The times and limits of a queue, which are the same for all workers of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    /// A delivery without a heartbeat for this long goes to another worker.
    pub ack_wait: Duration,
    /// Maximum number of deliveries of a task; after that it is a dead letter. This is far more
    /// than the number of workers a task may lose, which the ledger counts: a task is also
    /// redelivered because the ledger could not be reached.
    pub max_deliver: u32,
    /// Replicas of the queue: 1, or 3 on a cluster. Streams with fewer get more.
    pub replicas: usize,
    /// Maximum number of tasks on the queue; further ones are refused.
    pub max_tasks: u32,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            ack_wait: Duration::from_secs(30),
            max_deliver: 1_000,
            replicas: 1,
            max_tasks: 100_000,
        }
    }
}

/// The result of publishing a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The task was added to the queue.
    New,
    /// The task was on the queue already.
    Known,
}

/// Why the queue refused a call or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum QueueError {
    /// Temporarily unavailable; the same call may succeed later.
    #[error("RB-QUEUE-1: the work queue is unavailable: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// A stream or consumer exists with settings under which tasks could be lost or done twice.
    #[error(
        "RB-QUEUE-2: {what} has {setting} {found}, must be {required}; remove it while no rollout runs and start again"
    )]
    Setting {
        /// Which stream or consumer.
        what: String,
        /// The setting.
        setting: &'static str,
        /// The value found.
        found: String,
        /// The required value.
        required: String,
    },
    /// The queue is full.
    #[error("RB-QUEUE-3: the work queue does not take the task: {reason}")]
    Full {
        /// The server's message.
        reason: String,
    },
}

impl QueueError {
    /// Whether the same call may succeed if retried later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }
}

/// The port to the work queue of one ledger.
#[async_trait]
pub trait TaskQueue: Send + Sync + std::fmt::Debug {
    /// Puts a task on the queue. Durable on return. A task that is on the queue already, waiting or
    /// being worked on, is not added again; one that was acknowledged may be, and the worker then
    /// finds it stale.
    async fn publish(&self, task: &QueuedTask) -> Result<Published, QueueError>;

    /// The next task of one of these filters; waits up to `wait` for one. A pulled task goes to
    /// nobody else until it is acknowledged or `ack_wait` has passed since its last
    /// [`Delivery::progress`].
    async fn pull(
        &self,
        filters: &[TaskFilter],
        wait: Duration,
    ) -> Result<Option<Box<dyn Delivery>>, QueueError>;
}

/// A task delivered to a worker. If dropped unacknowledged, it is redelivered after `ack_wait`.
#[async_trait]
pub trait Delivery: Send + Sync + std::fmt::Debug {
    /// The task.
    fn task(&self) -> &QueuedTask;

    /// How often it has been delivered, including this time.
    fn deliveries(&self) -> u32;

    /// Sends a heartbeat: the task is still being worked on. Confirmed by the queue on return.
    async fn progress(&self) -> Result<(), QueueError>;

    /// Acknowledges the task: the queue deletes it. Confirmed by the queue on return.
    async fn done(&self) -> Result<(), QueueError>;

    /// Has the task redelivered after at least `delay`.
    async fn redeliver(&self, delay: Duration) -> Result<(), QueueError>;

    /// Makes the task a dead letter with a reason: it is never redelivered.
    async fn give_up(&self, reason: &str) -> Result<(), QueueError>;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn no_text_adds_a_token_or_a_wildcard_to_a_subject() {
        let task = QueuedTask {
            rollout: "r-1".parse().unwrap(),
            task: Task {
                step: "1.6".parse().unwrap(),
                action: TaskAction::Undo,
                attempt: 2,
                runs_on: Some("db.*>x".to_owned()),
                class: TaskClass::Undo,
            },
            cause: Cause::default(),
        };
        assert_eq!(
            task.subject(&"main".parse().unwrap()),
            "work.main.db=2E=2A=3Ex=undo.r-1.1=2E6.undo.2"
        );
        assert_eq!(task.key(), "r-1/1.6/undo/2");
    }

    #[test]
    fn the_body_reads_back() {
        let body =
            r#"{"rollout":"r","task":{"step":"1","action":"execute","attempt":1,"runs_on":null}}"#;
        let task: QueuedTask = serde_json::from_str(body).unwrap();
        assert_eq!(task.label(), ANY_LABEL);
        let again: QueuedTask =
            serde_json::from_str(&serde_json::to_string(&task).unwrap()).unwrap();
        assert_eq!(again, task);
    }
}
