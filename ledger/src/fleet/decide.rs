//! What can be said of a worker, and the rules that refuse.

use jiff::{SignedDuration, Timestamp};
use rollbook_proto::v1::{self, WorkerLeaveReason, event::Kind};
use serde::Serialize;

use super::state::WorkerState;
use crate::clock::to_proto;
use crate::ids::WorkerName;
use crate::rollout::RefusalKind;

/// A worker not heard of for this long is lost, in seconds. It is also the least time between
/// two joinings under one name, so that a worker that comes and goes records at most two
/// commits in it.
pub const PRESENCE_SECONDS: i64 = 15;

/// What is said of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum FleetCommand {
    /// It is there. Of a session that is there already: nothing to do.
    Join {
        /// One run of its process.
        session: String,
        /// Labels whose tasks it takes.
        labels: Vec<String>,
        /// Steps at a time.
        concurrency: u32,
        /// Shards at a time.
        threads: u32,
        /// Of its program.
        version: String,
        /// When this run began.
        started_at: Timestamp,
    },
    /// It is not there any more. Of a session that has left already: nothing to do.
    Leave {
        /// Which run.
        session: String,
        /// How.
        reason: WorkerLeaveReason,
    },
}

/// A named rule that refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetRefusal {
    /// It never joined.
    #[error("RB-FLEET-1: worker {name} has not joined, so it cannot leave; nothing is recorded")]
    Unknown {
        /// Which.
        name: WorkerName,
    },
    /// Another run has taken its name.
    #[error(
        "RB-FLEET-2: another run of worker {name} is there; give workers that run at the same time different names"
    )]
    OtherSession {
        /// Which.
        name: WorkerName,
    },
    /// It has drained: its process has ended.
    #[error(
        "RB-FLEET-3: this run of worker {name} has drained and does not come back; start it again"
    )]
    Drained {
        /// Which.
        name: WorkerName,
    },
    /// It joined a moment ago.
    #[error(
        "RB-FLEET-4: worker {name} joined at {joined_at} already, and comes and goes; it is recorded again after {again_at}"
    )]
    TooSoon {
        /// Which.
        name: WorkerName,
        /// When it joined last.
        joined_at: Timestamp,
        /// From when on it may join again.
        again_at: Timestamp,
    },
}

impl FleetRefusal {
    /// What kind of refusal it is.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Unknown { .. } => RefusalKind::NotFound,
            Self::OtherSession { .. } | Self::Drained { .. } | Self::TooSoon { .. } => {
                RefusalKind::NotNow
            }
        }
    }
}

/// Decides. An empty list: it is on the record already.
pub fn decide(
    state: Option<&WorkerState>,
    name: &WorkerName,
    command: &FleetCommand,
    now: Timestamp,
) -> Result<Vec<v1::Event>, FleetRefusal> {
    match command {
        FleetCommand::Join {
            session,
            labels,
            concurrency,
            threads,
            version,
            started_at,
        } => {
            let joined = Kind::WorkerJoined(v1::WorkerJoined {
                name: name.to_string(),
                session: session.clone(),
                labels: labels.clone(),
                concurrency: *concurrency,
                threads: *threads,
                version: version.clone(),
                started_at: Some(to_proto(*started_at)),
            });
            let Some(state) = state else {
                return Ok(vec![event(joined)]);
            };
            let is_same = state.session == *session;
            match state.left {
                None if is_same => return Ok(Vec::new()),
                Some(WorkerLeaveReason::Drained) if is_same => {
                    return Err(FleetRefusal::Drained { name: name.clone() });
                }
                _ => {}
            }
            let again_at = state
                .joined_at
                .saturating_add(SignedDuration::from_secs(PRESENCE_SECONDS))
                .unwrap_or(Timestamp::MAX);
            if now < again_at {
                return Err(FleetRefusal::TooSoon {
                    name: name.clone(),
                    joined_at: state.joined_at,
                    again_at,
                });
            }
            let mut events = Vec::new();
            if state.left.is_none() {
                events.push(left(&state.session, WorkerLeaveReason::Lost));
            }
            events.push(event(joined));
            Ok(events)
        }
        FleetCommand::Leave { session, reason } => {
            let state = state.ok_or_else(|| FleetRefusal::Unknown { name: name.clone() })?;
            match state.left {
                _ if state.session != *session => {
                    Err(FleetRefusal::OtherSession { name: name.clone() })
                }
                Some(_) => Ok(Vec::new()),
                None => Ok(vec![left(session, *reason)]),
            }
        }
    }
}

fn left(session: &str, reason: WorkerLeaveReason) -> v1::Event {
    event(Kind::WorkerLeft(v1::WorkerLeft {
        session: session.to_owned(),
        reason: reason.into(),
    }))
}

fn event(kind: Kind) -> v1::Event {
    v1::Event { kind: Some(kind) }
}
