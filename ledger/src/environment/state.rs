//! The folded state of an environment.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rollbook_proto::v1::{self, event::Kind};
use serde::{Deserialize, Serialize};

use crate::authority::{Roles, role_text};
use crate::clock::from_proto;
use crate::command_ids::CommandIds;
use crate::error_code::Coded;
use crate::ids::EnvironmentId;
use crate::runbook::{BreakGlass, Span, Verb};

/// The terms of an environment: who may do what in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Only people with a role may act in it.
    pub protected: bool,
    /// Maps each role to its members, who may open rollouts, define flags and switch them on.
    pub roles: Roles,
    /// When one person may execute alone a command that takes two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
}

/// Terms that wait for acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingTerms {
    /// Their revision.
    pub revision: u32,
    /// The terms.
    pub terms: Terms,
    /// Who proposed them.
    pub by: String,
    /// The reason.
    pub reason: String,
}

/// One environment, as of its last commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnvironmentState {
    /// Its name.
    pub name: EnvironmentId,
    /// Sequence of its last commit.
    pub sequence: u64,
    /// The terms in force.
    pub terms: Terms,
    /// Their revision, from 1.
    pub revision: u32,
    /// The highest revision number assigned so far.
    pub last_revision: u32,
    /// Terms that wait for acceptance.
    pub pending: Option<PendingTerms>,
    /// Who last changed it.
    pub changed_by: String,
    /// When it was last changed.
    pub changed_at: Timestamp,
    /// The reason of the last change.
    pub reason: String,
    /// The ids of applied commands.
    #[serde(skip)]
    pub command_ids: CommandIds,
}

impl EnvironmentState {
    /// True if the person has one of its roles.
    pub fn has_person(&self, person: &str) -> bool {
        self.terms
            .roles
            .values()
            .any(|persons| persons.iter().any(|member| member == person))
    }
}

/// Why a commit cannot follow an environment's history: the ledger is damaged or another program
/// wrote to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum IllegalEnvironmentEvent {
    /// The commit belongs to another aggregate.
    #[error(
        "RB-ENVIRONMENT-30: sequence {sequence} belongs to {found}, not to {expected}; verify the ledger"
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
        "RB-ENVIRONMENT-31: sequence {sequence} claims to follow {found}, but {expected} is the one before it; verify the ledger"
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
    #[error("RB-ENVIRONMENT-32: sequence {sequence}: no usable {field}; verify the ledger")]
    Malformed {
        /// Sequence of the commit.
        sequence: u64,
        /// The field.
        field: &'static str,
    },
    /// The event is illegal in this state.
    #[error("RB-ENVIRONMENT-33: sequence {sequence}: {reason}; verify the ledger")]
    Transition {
        /// Sequence of the commit.
        sequence: u64,
        /// Why it is illegal.
        reason: &'static str,
    },
}

impl Terms {
    /// Converts to the event's form.
    pub fn to_wire(&self) -> v1::EnvironmentTerms {
        v1::EnvironmentTerms {
            protected: self.protected,
            roles: self
                .roles
                .iter()
                .map(|(role, persons)| {
                    let persons = persons.clone();
                    (role.clone(), v1::Persons { persons })
                })
                .collect(),
            break_glass: self.break_glass.as_ref().map(|rule| v1::BreakGlassRule {
                verbs: rule.verbs.iter().map(ToString::to_string).collect(),
                roles: rule.roles.clone(),
                review_within: Some(duration(rule.review_within)),
            }),
        }
    }

    /// Converts from the event's form. Verbs unknown to this version are omitted, so they allow
    /// nothing.
    pub fn from_wire(terms: &v1::EnvironmentTerms) -> Option<Self> {
        let break_glass = match &terms.break_glass {
            None => None,
            Some(rule) => Some(BreakGlass {
                verbs: rule
                    .verbs
                    .iter()
                    .filter_map(|verb| Verb::of(verb))
                    .collect(),
                roles: rule.roles.clone(),
                review_within: span(rule.review_within.as_ref()?)?,
            }),
        };
        Some(Self {
            protected: terms.protected,
            roles: terms
                .roles
                .iter()
                .map(|(role, persons)| (role.clone(), persons.persons.clone()))
                .collect(),
            break_glass,
        })
    }
}

fn duration(span: Span) -> rollbook_proto::Duration {
    let signed = span.to_signed();
    rollbook_proto::Duration {
        seconds: signed.as_secs(),
        nanos: signed.subsec_nanos(),
    }
}

fn span(duration: &rollbook_proto::Duration) -> Option<Span> {
    let signed = SignedDuration::from_secs(duration.seconds)
        .checked_add(SignedDuration::from_nanos(duration.nanos.into()))?;
    Some(Span::from_millis(i64::try_from(signed.as_millis()).ok()?))
}

/// Returns what the new terms change, one line each.
pub fn difference(before: &Terms, after: &Terms) -> Vec<String> {
    let mut lines = Vec::new();
    if before.protected != after.protected {
        lines.push(format!(
            "protected: {} → {}",
            before.protected, after.protected
        ));
    }
    let roles: BTreeSet<&String> = before.roles.keys().chain(after.roles.keys()).collect();
    for role in roles {
        let (was, is) = (before.roles.get(role), after.roles.get(role));
        match (was, is) {
            (Some(was), Some(is)) if was == is => {}
            (Some(was), Some(is)) => lines.push(format!(
                "role {} → {}",
                role_text(role, was),
                is.join(" or ")
            )),
            (Some(was), None) => lines.push(format!("role {} → gone", role_text(role, was))),
            (None, Some(is)) => lines.push(format!("new role {}", role_text(role, is))),
            (None, None) => {}
        }
    }
    if before.break_glass != after.break_glass {
        let text = |rule: &Option<BreakGlass>| {
            rule.as_ref().map_or_else(
                || "never".to_owned(),
                |rule| {
                    let verbs: Vec<&str> = rule.verbs.iter().map(|verb| verb.as_str()).collect();
                    let roles = if rule.roles.is_empty() {
                        "every role".to_owned()
                    } else {
                        rule.roles.join(", ")
                    };
                    format!(
                        "{} by {roles}, reviewed within {}",
                        verbs.join(", "),
                        rule.review_within
                    )
                },
            )
        };
        lines.push(format!(
            "break glass: {} → {}",
            text(&before.break_glass),
            text(&after.break_glass)
        ));
    }
    lines
}

/// Applies one commit; `state` is `None` before the environment is recorded. Total: a commit that
/// no rule could have written yields an [`IllegalEnvironmentEvent`].
pub fn evolve(
    state: Option<EnvironmentState>,
    commit: &v1::Commit,
    sequence: u64,
) -> Result<EnvironmentState, IllegalEnvironmentEvent> {
    let malformed = |field| IllegalEnvironmentEvent::Malformed { sequence, field };
    let transition = |reason| IllegalEnvironmentEvent::Transition { sequence, reason };
    let name = EnvironmentId::new(&commit.aggregate_id).map_err(|_| malformed("aggregate_id"))?;
    let expected = state.as_ref().map_or(&name, |state| &state.name);
    if commit.aggregate != "environment" || *expected != name {
        return Err(IllegalEnvironmentEvent::Foreign {
            sequence,
            expected: format!("environment {expected}"),
            found: format!("{} {}", commit.aggregate, commit.aggregate_id),
        });
    }
    let last = state.as_ref().map_or(0, |state| state.sequence);
    if commit.previous_sequence != last || sequence <= last {
        return Err(IllegalEnvironmentEvent::OutOfOrder {
            sequence,
            expected: last,
            found: commit.previous_sequence,
        });
    }
    let at = from_proto(commit.recorded_at.as_ref()).ok_or_else(|| malformed("recorded_at"))?;
    if commit.events.is_empty() {
        return Err(malformed("events"));
    }
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
    let terms_of = |terms: Option<&v1::EnvironmentTerms>| {
        terms
            .and_then(Terms::from_wire)
            .ok_or_else(|| malformed("terms"))
    };
    let mut state = state;
    for event in &commit.events {
        state = Some(match (state, &event.kind) {
            (None, Some(Kind::EnvironmentRecorded(recorded))) => {
                if recorded.name != name.as_str() {
                    return Err(malformed("name"));
                }
                EnvironmentState {
                    name: name.clone(),
                    sequence,
                    terms: terms_of(recorded.terms.as_ref())?,
                    revision: 1,
                    last_revision: 1,
                    pending: None,
                    changed_by: by.clone(),
                    changed_at: at,
                    reason: recorded.reason.clone(),
                    command_ids: CommandIds::default(),
                }
            }
            (None, _) => return Err(transition("the environment was not recorded before")),
            (Some(_), Some(Kind::EnvironmentRecorded(_))) => {
                return Err(transition("the environment is recorded already"));
            }
            (Some(mut state), Some(Kind::EnvironmentRevised(revised))) => {
                if state.pending.is_some() {
                    return Err(transition("other terms wait already"));
                }
                if Some(revised.revision) != state.last_revision.checked_add(1) {
                    return Err(transition("its number does not follow the last one"));
                }
                state.last_revision = revised.revision;
                state.pending = Some(PendingTerms {
                    revision: revised.revision,
                    terms: terms_of(revised.terms.as_ref())?,
                    by: by.clone(),
                    reason: revised.reason.clone(),
                });
                state
            }
            (Some(mut state), Some(Kind::EnvironmentRevisionAccepted(accepted))) => {
                match state.pending.take() {
                    Some(pending) if pending.revision == accepted.revision => {
                        state.terms = pending.terms;
                        state.revision = pending.revision;
                        state.reason = pending.reason;
                        state.changed_by.clone_from(&by);
                        state.changed_at = at;
                    }
                    _ => return Err(transition("no such terms wait")),
                }
                state
            }
            (Some(mut state), Some(Kind::EnvironmentRevisionWithdrawn(withdrawn))) => {
                match state.pending.take() {
                    Some(pending) if pending.revision == withdrawn.revision => {}
                    _ => return Err(transition("no such terms wait")),
                }
                state
            }
            (Some(_), _) => return Err(transition("it is not an event of an environment")),
        });
    }
    let mut state = state.ok_or_else(|| malformed("events"))?;
    state.sequence = sequence;
    state.command_ids.insert(commit, sequence);
    Ok(state)
}
