//! Commands on a worker, and the rules that refuse them.

use jiff::{SignedDuration, Timestamp};
use rollbook_proto::v1::{self, WorkerLeaveReason, event::Kind};
use serde::Serialize;

use super::state::WorkerState;
use crate::clock::to_proto;
use crate::error_code::Coded;
use crate::ids::WorkerName;
use crate::rollout::RefusalKind;

/// Seconds without a sign of life after which a worker is lost. Also the minimum time between two
/// joins under one name, so that a flapping worker records at most two commits in it.
pub const PRESENCE_SECONDS: i64 = 15;

/// A command on one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum FleetCommand {
    /// The worker is present. If its session is already recorded, there is nothing to do.
    Join {
        /// The session: one run of its process.
        session: String,
        /// Labels whose tasks it takes.
        labels: Vec<String>,
        /// Maximum number of concurrent steps.
        concurrency: u32,
        /// Maximum number of concurrent shards.
        threads: u32,
        /// Its program's version.
        version: String,
        /// When the session started.
        started_at: Timestamp,
    },
    /// The worker is gone. If its session has already left, there is nothing to do.
    Leave {
        /// The session.
        session: String,
        /// How it left.
        reason: WorkerLeaveReason,
    },
}

/// A refused command, with the rule that refused it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum FleetRefusal {
    /// The worker never joined.
    #[error("RB-FLEET-1: worker {name} has not joined, so it cannot leave; nothing is recorded")]
    Unknown {
        /// The worker.
        name: WorkerName,
    },
    /// Another session uses its name.
    #[error(
        "RB-FLEET-2: another run of worker {name} is there; give workers that run at the same time different names"
    )]
    OtherSession {
        /// The worker.
        name: WorkerName,
    },
    /// The session has drained: its process has ended.
    #[error(
        "RB-FLEET-3: this run of worker {name} has drained and does not come back; start it again"
    )]
    Drained {
        /// The worker.
        name: WorkerName,
    },
    /// It joined only a moment ago.
    #[error(
        "RB-FLEET-4: worker {name} joined at {joined_at} already, and comes and goes; it is recorded again after {again_at}"
    )]
    TooSoon {
        /// The worker.
        name: WorkerName,
        /// When it last joined.
        joined_at: Timestamp,
        /// When it may join again.
        again_at: Timestamp,
    },
}

impl FleetRefusal {
    /// Returns the class of this refusal.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Unknown { .. } => RefusalKind::NotFound,
            Self::OtherSession { .. } | Self::Drained { .. } | Self::TooSoon { .. } => {
                RefusalKind::NotNow
            }
        }
    }
}

/// Decides a command; returns an empty list if it is already recorded.
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
