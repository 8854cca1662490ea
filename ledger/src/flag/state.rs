//! The folded state of a flag.

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};
use serde::Serialize;

use super::bucket::TOTAL_MILLIS;
use crate::authority::{Requests, Reviews};
use crate::clock::from_proto;
use crate::command_ids::CommandIds;
use crate::error_code::Coded;
use crate::ids::{EnvironmentId, FlagKey};
use crate::journal::StoredCommit;

/// One flag in one environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlagState {
    /// The key that applications evaluate.
    pub key: FlagKey,
    /// The environment.
    pub environment: EnvironmentId,
    /// Sequence of its last commit.
    pub sequence: u64,
    /// What it switches.
    pub description: String,
    /// Who is responsible for it.
    pub owner: String,
    /// The current setting.
    pub setting: v1::FlagSetting,
    /// The setting that an instant rollback writes.
    pub safe: v1::FlagSetting,
    /// RFC 3339 date by which to retire it; empty means permanent.
    pub retire_by: String,
    /// Name of the bucketing algorithm, fixed by the definition.
    pub bucketing: String,
    /// Salt of the buckets, kept when the flag is renamed.
    pub salt: String,
    /// Who last changed it.
    pub changed_by: String,
    /// When it was last changed.
    pub changed_at: Timestamp,
    /// The reason of the last change.
    pub reason: String,
    /// The last change was made by a rollout.
    #[serde(skip)]
    pub held_by_rollout: bool,
    /// Why it was archived, if it was.
    pub archived: Option<String>,
    /// Changes that wait for a second person.
    pub requests: Requests,
    /// Open reviews of commands executed by breaking glass.
    pub reviews: Reviews,
    /// The ids of applied commands.
    #[serde(skip)]
    pub command_ids: CommandIds,
}

/// Why a commit cannot follow a flag's history: the ledger is damaged or another program wrote to
/// it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum IllegalFlagEvent {
    /// The commit belongs to another aggregate.
    #[error(
        "RB-FLAG-30: sequence {sequence} belongs to {found}, not to {expected}; verify the ledger"
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
        "RB-FLAG-31: sequence {sequence} claims to follow {found}, but {expected} is the one before it; verify the ledger"
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
    #[error("RB-FLAG-32: sequence {sequence}: no usable {field}; verify the ledger")]
    Malformed {
        /// Sequence of the commit.
        sequence: u64,
        /// The field.
        field: &'static str,
    },
    /// The event is illegal in this state.
    #[error("RB-FLAG-33: sequence {sequence}: {reason}; verify the ledger")]
    Transition {
        /// Sequence of the commit.
        sequence: u64,
        /// Why it is illegal.
        reason: String,
    },
}

/// Applies one commit; `state` is `None` before the flag's definition. Total: a commit that no rule
/// could have written yields an [`IllegalFlagEvent`].
pub fn evolve(
    state: Option<FlagState>,
    commit: &v1::Commit,
    sequence: u64,
) -> Result<FlagState, IllegalFlagEvent> {
    let malformed = |field| IllegalFlagEvent::Malformed { sequence, field };
    let transition = |reason: &str| IllegalFlagEvent::Transition {
        sequence,
        reason: reason.to_owned(),
    };
    let expected_id = match &state {
        Some(state) => format!("{}/{}", state.environment, state.key),
        None => commit.aggregate_id.clone(),
    };
    if commit.aggregate != "flag" || commit.aggregate_id != expected_id {
        return Err(IllegalFlagEvent::Foreign {
            sequence,
            expected: format!("flag {expected_id}"),
            found: format!("{} {}", commit.aggregate, commit.aggregate_id),
        });
    }
    let last = state.as_ref().map_or(0, |state| state.sequence);
    if commit.previous_sequence != last || sequence <= last {
        return Err(IllegalFlagEvent::OutOfOrder {
            sequence,
            expected: last,
            found: commit.previous_sequence,
        });
    }
    let at = from_proto(commit.recorded_at.as_ref()).ok_or_else(|| malformed("recorded_at"))?;
    if let Some(state) = &state
        && state.command_ids.holds(commit)
    {
        return Err(transition("its command was applied before"));
    }
    let by = commit
        .actor
        .as_ref()
        .map(|actor| actor.name.clone())
        .unwrap_or_default();
    let mut state = state;
    for event in &commit.events {
        state = Some(match (state, &event.kind) {
            (None, Some(Kind::FlagDefined(defined))) => {
                defined_state(defined, &expected_id, sequence, at, &by)?
            }
            (None, _) => return Err(transition("the flag was not defined before")),
            (Some(_), Some(Kind::FlagDefined(_))) => {
                return Err(transition("the flag is defined already"));
            }
            (Some(mut flag), Some(Kind::FlagChanged(changed))) => {
                if flag.archived.is_some() {
                    return Err(transition("the flag is archived"));
                }
                let to = usable(changed.to.as_ref()).ok_or_else(|| malformed("to"))?;
                let from = changed.from.as_ref().ok_or_else(|| malformed("from"))?;
                if *from != flag.setting {
                    return Err(transition(
                        "it changes from a setting the flag does not have",
                    ));
                }
                flag.setting = to;
                flag.changed_by.clone_from(&by);
                flag.changed_at = at;
                flag.reason.clone_from(&changed.reason);
                flag.held_by_rollout = !changed.rollout_id.is_empty();
                flag
            }
            (Some(mut flag), Some(Kind::FlagArchived(archived))) => {
                if flag.archived.is_some() {
                    return Err(transition("the flag is archived already"));
                }
                flag.archived = Some(archived.reason.clone());
                flag.changed_by.clone_from(&by);
                flag.changed_at = at;
                flag
            }
            (Some(mut flag), Some(kind)) => {
                authority(&mut flag, kind, &by).map_err(|reason| transition(&reason))?;
                flag
            }
            (Some(_), None) => return Err(transition("it is not an event of a flag")),
        });
    }
    let mut state = state.ok_or_else(|| malformed("events"))?;
    if commit.events.is_empty() {
        return Err(malformed("events"));
    }
    state.sequence = sequence;
    state.command_ids.insert(commit, sequence);
    Ok(state)
}

/// Folds events of requests for two persons and of broken glass.
fn authority(flag: &mut FlagState, kind: &Kind, by: &str) -> Result<(), String> {
    match kind {
        Kind::RequestMade(made) => flag.requests.made(made, by),
        Kind::RequestConfirmed(confirmed) => {
            let request = flag.requests.over(&confirmed.request_id)?;
            if request.by == by {
                return Err("the person who asked confirms".to_owned());
            }
            Ok(())
        }
        Kind::RequestEnded(ended) => flag.requests.over(&ended.request_id).map(|_| ()),
        Kind::GlassBroken(broken) => flag.reviews.opened(broken, by),
        Kind::GlassReviewed(reviewed) => {
            let review = flag.reviews.closed(&reviewed.review_id)?;
            if review.by == by {
                return Err("the person who broke the glass reviews it".to_owned());
            }
            Ok(())
        }
        Kind::ReviewOverdue(late) => flag.reviews.overdue(&late.review_id),
        _ => Err("it is not an event of a flag".to_owned()),
    }
}

/// Folds a history from its first commit; `None` if it is empty.
pub fn fold(commits: &[StoredCommit]) -> Result<Option<FlagState>, IllegalFlagEvent> {
    let mut state = None;
    for stored in commits {
        state = Some(evolve(state, &stored.commit, stored.sequence)?);
    }
    Ok(state)
}

fn usable(setting: Option<&v1::FlagSetting>) -> Option<v1::FlagSetting> {
    let setting = setting?;
    let known =
        v1::FlagMode::try_from(setting.mode).is_ok_and(|mode| mode != v1::FlagMode::Unspecified);
    (known && setting.percentage_millis <= TOTAL_MILLIS).then(|| setting.clone())
}

fn defined_state(
    event: &v1::FlagDefined,
    id: &str,
    sequence: u64,
    at: Timestamp,
    by: &str,
) -> Result<FlagState, IllegalFlagEvent> {
    let malformed = |field| IllegalFlagEvent::Malformed { sequence, field };
    let key = FlagKey::new(&event.key).map_err(|_| malformed("key"))?;
    let environment =
        EnvironmentId::new(&event.environment).map_err(|_| malformed("environment"))?;
    if format!("{environment}/{key}") != id {
        return Err(malformed("aggregate_id"));
    }
    Ok(FlagState {
        key,
        environment,
        sequence: 0,
        description: event.description.clone(),
        owner: event.owner.clone(),
        setting: usable(event.initial.as_ref()).ok_or_else(|| malformed("initial"))?,
        safe: usable(event.safe.as_ref()).ok_or_else(|| malformed("safe"))?,
        retire_by: event.retire_by.clone(),
        bucketing: event.bucketing.clone(),
        salt: event.salt.clone(),
        changed_by: by.to_owned(),
        changed_at: at,
        reason: String::new(),
        held_by_rollout: false,
        archived: None,
        requests: Requests::default(),
        reviews: Reviews::default(),
        command_ids: CommandIds::default(),
    })
}
