//! The folded state of a worker.

use jiff::Timestamp;
use rollbook_proto::v1::{self, WorkerLeaveReason, event::Kind};

use crate::clock::from_proto;
use crate::command_ids::CommandIds;
use crate::error_code::Coded;
use crate::ids::WorkerName;

/// One worker, as of its last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// Its name.
    pub name: WorkerName,
    /// Sequence of its last commit.
    pub sequence: u64,
    /// The session (one run of its process) that joined last.
    pub session: String,
    /// When it last joined.
    pub joined_at: Timestamp,
    /// How it left; `None` if it is present.
    pub left: Option<WorkerLeaveReason>,
    /// The ids of applied commands.
    pub command_ids: CommandIds,
}

/// Why a commit cannot follow a worker's history: the ledger is damaged or another program wrote to
/// it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum IllegalWorkerEvent {
    /// The commit belongs to another aggregate.
    #[error(
        "RB-FLEET-30: sequence {sequence} belongs to {found}, not to {expected}; verify the ledger"
    )]
    Foreign {
        /// Sequence of the commit.
        sequence: u64,
        /// The aggregate being folded.
        expected: String,
        /// The aggregate named by the commit.
        found: String,
    },
    /// The commit's expected previous sequence is not the last one folded.
    #[error(
        "RB-FLEET-31: sequence {sequence} claims to follow {found}, but {expected} is the one before it; verify the ledger"
    )]
    OutOfOrder {
        /// Sequence of the commit.
        sequence: u64,
        /// The last sequence folded.
        expected: u64,
        /// The previous sequence that the commit names.
        found: u64,
    },
    /// A required field of the event is missing or malformed.
    #[error("RB-FLEET-32: sequence {sequence}: no usable {field}; verify the ledger")]
    Malformed {
        /// Sequence of the commit.
        sequence: u64,
        /// The field.
        field: &'static str,
    },
    /// The event is illegal in this state.
    #[error("RB-FLEET-33: sequence {sequence}: {reason}; verify the ledger")]
    Transition {
        /// Sequence of the commit.
        sequence: u64,
        /// Why it is illegal.
        reason: &'static str,
    },
}

/// Applies one commit; `state` is `None` before the worker joins. Total: a commit that no rule
/// could have written yields an [`IllegalWorkerEvent`].
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
