//! The port through which tasks reach workers.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::ids::{LedgerId, RolloutId, subject_token};
use rollbook_ledger::rollout::{Lane, Task, TaskAction};
use rollbook_ledger::trace::Cause;
use serde::{Deserialize, Serialize};

/// The label of tasks that any worker may take.
pub const ANY_LABEL: &str = "any";

/// A task with the rollout it belongs to: the body of a queue message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuedTask {
    /// Which rollout.
    pub rollout: RolloutId,
    /// What to do.
    pub task: Task,
    /// What made the task due.
    #[serde(default)]
    pub cause: Cause,
}

impl QueuedTask {
    /// What makes two messages the same task: rollout/step/action/attempt.
    pub fn key(&self) -> String {
        format!(
            "{}/{}/{}/{}",
            self.rollout,
            self.task.step,
            action_word(self.task.action),
            self.task.attempt
        )
    }

    /// The label whose workers may take it.
    pub fn label(&self) -> &str {
        self.task.runs_on.as_deref().unwrap_or(ANY_LABEL)
    }

    /// The line it waits in.
    pub fn line(&self) -> Line {
        Line::new(self.task.lane, self.label())
    }

    /// Its subject: `work.<ledger>.<line>.<rollout>.<step>.<action>.<attempt>`. One task, one
    /// subject, so that the queue itself can refuse a second message of a task it holds.
    pub fn subject(&self, ledger: &LedgerId) -> String {
        format!(
            "work.{ledger}.{}.{}.{}.{}.{}",
            self.line().token(),
            subject_token(self.rollout.as_str()),
            subject_token(self.task.step.as_str()),
            action_word(self.task.action),
            self.task.attempt
        )
    }
}

/// One line of the queue: the tasks of a lane that workers of a label may take.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    lane: Lane,
    label: String,
}

impl Line {
    /// The line of a lane and a label.
    pub fn new(lane: Lane, label: impl Into<String>) -> Self {
        Self {
            lane,
            label: label.into(),
        }
    }

    /// Its token in a subject. A `=` in a label's own token stands before two hexadecimal digits.
    pub fn token(&self) -> String {
        let label = subject_token(&self.label);
        match self.lane {
            Lane::Step => label,
            Lane::Watch => format!("{label}=watch"),
            Lane::Undo => format!("{label}=undo"),
            Lane::Flag => format!("{label}=flag"),
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

/// Times and counts of a queue. The same for all workers of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    /// A delivery without a sign of life for this long goes to another worker.
    pub ack_wait: Duration,
    /// A task is delivered at most this often; after that it is a dead letter. Far more often than
    /// workers may be lost in it, which the ledger counts: a task also comes again because the
    /// ledger could not be reached.
    pub max_deliver: u32,
    /// Copies of the queue: 1, or 3 on a cluster. Streams with fewer get more.
    pub replicas: usize,
    /// The queue holds at most this many tasks; further ones are refused.
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

/// What publishing led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The task is on the queue.
    New,
    /// It was there already.
    Known,
}

/// Why the queue refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Not now; the same call may succeed later.
    #[error("RB-QUEUE-1: the work queue is unavailable: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// Stream or consumer exist with settings under which tasks could be lost or done twice.
    #[error(
        "RB-QUEUE-2: {what} has {setting} {found}, must be {required}; remove it while no rollout runs and start again"
    )]
    Setting {
        /// Which stream or consumer.
        what: String,
        /// The setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        required: String,
    },
    /// The queue is full.
    #[error("RB-QUEUE-3: the work queue does not take the task: {reason}")]
    Full {
        /// The server's words.
        reason: String,
    },
}

impl QueueError {
    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }
}

/// The queue of one ledger.
#[async_trait]
pub trait TaskQueue: Send + Sync + std::fmt::Debug {
    /// Puts a task on the queue. Durable on return. A task that the queue holds already, waiting
    /// or in work, is not put there again; one that was acknowledged may be, and is then found
    /// stale by the worker.
    async fn publish(&self, task: &QueuedTask) -> Result<Published, QueueError>;

    /// The next task of one of these lines; waits at most `wait` for one. A task pulled is
    /// nobody else's until it is settled or `ack_wait` has passed since its last
    /// [`Delivery::progress`].
    async fn pull(
        &self,
        lines: &[Line],
        wait: Duration,
    ) -> Result<Option<Box<dyn Delivery>>, QueueError>;
}

/// A task in a worker's hands. Dropping it unsettled lets it be redelivered after `ack_wait`.
#[async_trait]
pub trait Delivery: Send + Sync + std::fmt::Debug {
    /// The task.
    fn task(&self) -> &QueuedTask;

    /// How often it has been delivered, this time included.
    fn deliveries(&self) -> u32;

    /// Says that it is still being worked on. Confirmed by the queue on return.
    async fn progress(&self) -> Result<(), QueueError>;

    /// Done with: the queue forgets it. Confirmed by the queue on return.
    async fn done(&self) -> Result<(), QueueError>;

    /// To be delivered again, not before `delay` has passed.
    async fn again(&self, delay: Duration) -> Result<(), QueueError>;

    /// Never to be delivered again: a dead letter, with the reason.
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
                lane: Lane::Undo,
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
