//! Shards of snapshots and comparisons on the work queue.
//!
//! ```text
//!  coordinator ──shards──▶ queue ──pull──▶ any worker: do it, store what it makes
//!   (the step)                                 │ then report, then acknowledge
//!       ◀──────── one answer per shard ◀───────┘
//! ```
//!
//! The coordinator is the worker that executes the step; for a snapshot it holds the consistent
//! read that the shards belong to. A run is one plan of the step. If the coordinator dies, its read
//! is lost, and the redelivered step begins another run.
//!
//! An answer is stored before its shard is acknowledged: if anything is killed in between, the
//! shard is done again, with the same bytes. Queue, answers and the end of a run are the same for
//! every kind of shard; [`ShardWork`] says what a shard requires, and only `processor` knows how each
//! kind is done.

mod coordinator;
mod processor;
mod queue;
mod work;

use rollbook_ledger::ids::{LedgerId, RolloutId, subject_token};
use rollbook_ledger::rollout::Task;
use serde::{Deserialize, Serialize};

pub use coordinator::MAX_QUEUED_SHARDS;
pub use queue::{SHARD_STREAM, ShardQueue};
pub use work::work;

use super::queue::ANY_LABEL;
use crate::executor::{ShardResult, ShardWork};
use crate::snapshot::task::KeyRange;

/// One run: a plan of a step, which its shards and their answers share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRun {
    /// The rollout.
    pub rollout: RolloutId,
    /// The step's task: the shards are needed while it runs.
    pub task: Task,
    /// The id of the run, unique to the plan.
    pub run: String,
}

/// A shard on the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuedShard {
    /// The run that it belongs to.
    pub run: ShardRun,
    /// The work to do.
    pub work: ShardWork,
}

/// The answer to a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ShardAnswer {
    /// It is done; what it produced is in the evidence store.
    Done {
        /// The worker that did it, by its recorded name.
        worker: String,
        /// Its result.
        result: ShardResult,
    },
    /// It cannot be done.
    Failed {
        /// The reason; contains no secret.
        reason: String,
        /// Whether a new plan may succeed.
        new_plan: bool,
    },
}

/// The subject token of a label's shards. It differs from every label's own token, where `=` is
/// followed by hex digits.
pub(super) fn shard_token(label: &str) -> String {
    format!("{}=shards", subject_token(label))
}

impl ShardRun {
    fn label(&self) -> &str {
        self.task.runs_on.as_deref().unwrap_or(ANY_LABEL)
    }

    /// `work.<ledger>.<label>=shards.<rollout>.<step>`: the shards of all runs of the step.
    fn step_subject(&self, ledger: &LedgerId) -> String {
        format!(
            "work.{ledger}.{}.{}.{}",
            shard_token(self.label()),
            subject_token(self.rollout.as_str()),
            subject_token(self.task.step.as_str()),
        )
    }

    /// `….<run>.<shard>`: one shard on the queue.
    fn shard_subject(&self, ledger: &LedgerId, shard: u32) -> String {
        let step = self.step_subject(ledger);
        format!("{step}.{}.{shard}", subject_token(&self.run))
    }

    /// The filter for all shards of the run on the queue.
    fn shard_subject_filter(&self, ledger: &LedgerId) -> String {
        let step = self.step_subject(ledger);
        format!("{step}.{}.>", subject_token(&self.run))
    }

    /// `shard.<ledger>.<rollout>.<step>.<run>.<last>`, where `last` is a shard's number, `over`, or
    /// `*` for both.
    fn answer_subject(&self, ledger: &LedgerId, last: impl std::fmt::Display) -> String {
        format!(
            "shard.{ledger}.{}.{}.{}.{last}",
            subject_token(self.rollout.as_str()),
            subject_token(self.task.step.as_str()),
            subject_token(&self.run),
        )
    }
}

/// A key range in readable form: `from "a" to below "b"`.
pub(super) fn describe_range(range: &KeyRange) -> String {
    match (&range.from, &range.below) {
        (None, None) => "all".to_owned(),
        (None, Some(below)) => format!("below {below:?}"),
        (Some(from), None) => format!("from {from:?}"),
        (Some(from), Some(below)) => format!("from {from:?} to below {below:?}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rollbook_ledger::rollout::{TaskAction, TaskClass};

    use super::*;

    #[test]
    fn shards_have_their_own_subjects() {
        let ledger = "main".parse().unwrap();
        let run = ShardRun {
            rollout: "r-1".parse().unwrap(),
            task: Task {
                step: "1.6".parse().unwrap(),
                action: TaskAction::Execute,
                attempt: 1,
                runs_on: Some("db".to_owned()),
                class: TaskClass::Step,
            },
            run: "x.y".to_owned(),
        };
        assert_eq!(
            run.shard_subject(&ledger, 7),
            "work.main.db=shards.r-1.1=2E6.x=2Ey.7"
        );
        assert_eq!(
            run.answer_subject(&ledger, "over"),
            "shard.main.r-1.1=2E6.x=2Ey.over"
        );
    }

    #[test]
    fn a_range_reads_as_text() {
        let range = |from: Option<&str>, below: Option<&str>| {
            describe_range(&KeyRange {
                from: from.map(str::to_owned),
                below: below.map(str::to_owned),
            })
        };
        assert_eq!(range(None, None), "all");
        assert_eq!(range(None, Some("b")), r#"below "b""#);
        assert_eq!(range(Some("a"), None), r#"from "a""#);
        assert_eq!(range(Some("a"), Some("b")), r#"from "a" to below "b""#);
    }
}
