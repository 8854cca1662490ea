//! What a worker's history says.

use jiff::Timestamp;
use rollbook_proto::v1::{self, WorkerLeaveReason, event::Kind};

use crate::clock::from_proto;
use crate::command_ids::CommandIds;
use crate::ids::WorkerName;

/// One worker, as of its last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// Its name.
    pub name: WorkerName,
    /// Sequence of its last commit.
    pub sequence: u64,
    /// The run of its process that joined last.
    pub session: String,
    /// When it joined last.
    pub joined_at: Timestamp,
    /// How it left; `None`: it is there.
    pub left: Option<WorkerLeaveReason>,
    /// Commands applied.
    pub command_ids: CommandIds,
}

/// Why a commit does not continue a worker's history: damage, or a foreign writer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalWorkerEvent {
    /// The commit belongs to another aggregate.
    #[error(
        "RB-FLEET-30: sequence {sequence} belongs to {found}, not to {expected}; verify the ledger"
    )]
    Foreign {
        /// Where.
        sequence: u64,
        /// Whose history is folded.
        expected: String,
        /// Whose commit it is.
        found: String,
    },
    /// The commit does not follow the one before it.
    #[error(
        "RB-FLEET-31: sequence {sequence} follows {found} by its own word, but {expected} is the one before it; verify the ledger"
    )]
    OutOfOrder {
        /// Where.
        sequence: u64,
        /// The last sequence folded.
        expected: u64,
        /// What the commit says.
        found: u64,
    },
    /// A field without which the event says nothing.
    #[error("RB-FLEET-32: sequence {sequence}: no usable {field}; verify the ledger")]
    Malformed {
        /// Where.
        sequence: u64,
        /// Which field.
        field: &'static str,
    },
    /// The event cannot follow on this state.
    #[error("RB-FLEET-33: sequence {sequence}: {reason}; verify the ledger")]
    Transition {
        /// Where.
        sequence: u64,
        /// What stands against it.
        reason: &'static str,
    },
}

/// Applies one commit. `None` is the worker before it joined. Total: what no rule could have
/// written is an [`IllegalWorkerEvent`].
pub fn evolve(
    state: Option<WorkerState>,
    commit: &v1::Commit,
    sequence: u64,
) -> Result<WorkerState, IllegalWorkerEvent> {
    let malformed = |field| IllegalWorkerEvent::Malformed { sequence, field };
    let transition = |reason| IllegalWorkerEvent::Transition { sequence, reason };
    let name = WorkerName::new(&commit.aggregate_id).map_err(|_| malformed("aggregate_id"))?;
    let expected = state.as_ref().map_or(&name, |state| &state.name);
    if commit.aggregate != "worker" || *expected != name {
        return Err(IllegalWorkerEvent::Foreign {
            sequence,
            expected: format!("worker {expected}"),
            found: format!("{} {}", commit.aggregate, commit.aggregate_id),
        });
    }
    let last = state.as_ref().map_or(0, |state| state.sequence);
    if commit.previous_sequence != last || sequence <= last {
        return Err(IllegalWorkerEvent::OutOfOrder {
            sequence,
            expected: last,
            found: commit.previous_sequence,
        });
    }
    let at = from_proto(commit.recorded_at.as_ref()).ok_or_else(|| malformed("recorded_at"))?;
    if commit.events.is_empty() {
        return Err(malformed("events"));
    }
    if state
        .as_ref()
        .is_some_and(|state| state.command_ids.holds(commit))
    {
        return Err(transition("its command was applied before"));
    }
    let mut state = state;
    for event in &commit.events {
        state = Some(match (state, &event.kind) {
            (Some(worker), Some(Kind::WorkerJoined(_))) if worker.left.is_none() => {
                return Err(transition("the worker is there already"));
            }
            (worker, Some(Kind::WorkerJoined(joined))) => {
                if joined.name != name.as_str() {
                    return Err(malformed("name"));
                }
                WorkerState {
                    name: name.clone(),
                    sequence,
                    session: joined.session.clone(),
                    joined_at: at,
                    left: None,
                    command_ids: worker.map(|worker| worker.command_ids).unwrap_or_default(),
                }
            }
            (None, Some(Kind::WorkerLeft(_))) => {
                return Err(transition("the worker has not joined"));
            }
            (Some(mut worker), Some(Kind::WorkerLeft(left))) => {
                if worker.left.is_some() {
                    return Err(transition("the worker has left already"));
                }
                if left.session != worker.session {
                    return Err(transition("it is of another run of the worker"));
                }
                let reason = WorkerLeaveReason::try_from(left.reason).ok();
                let reason = reason.filter(|reason| *reason != WorkerLeaveReason::Unspecified);
                worker.left = Some(reason.ok_or_else(|| malformed("reason"))?);
                worker.sequence = sequence;
                worker
            }
            (_, _) => return Err(transition("it is not an event of a worker")),
        });
    }
    let mut state = state.ok_or_else(|| malformed("events"))?;
    state.command_ids.insert(commit, sequence);
    Ok(state)
}
