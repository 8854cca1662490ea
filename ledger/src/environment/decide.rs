//! Commands on an environment, and the rules that refuse them.

use std::collections::BTreeSet;

use rollbook_proto::v1::{self, event::Kind};
use serde::{Deserialize, Serialize};

use super::state::{EnvironmentState, PendingTerms, Terms, difference};
use crate::authority::{Roles, VerbRule, roles_text, rule};
use crate::error_code::Coded;
use crate::ids::{EnvironmentId, RolloutId};
use crate::person;
use crate::rollout::{RefusalKind, Remedy};
use crate::runbook::{BreakGlass, Verb};

/// Maximum length of a reason, in bytes.
const MAX_TEXT_BYTES: usize = 4_096;
/// Maximum number of roles of an environment.
const MAX_ROLES: usize = 50;
/// Maximum number of people in a role.
const MAX_PERSONS: usize = 100;

/// A person's command to one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum EnvironmentCommand {
    /// Records the environment, or proposes a change of its terms.
    Set {
        /// Only people with a role may act in it; `None` keeps the value, initially false.
        #[serde(default)]
        protected: Option<bool>,
        /// All its roles; `None` keeps them.
        #[serde(default)]
        roles: Option<Roles>,
        /// When glass may be broken; `None` keeps the rule. A rule without verbs allows nothing.
        #[serde(default)]
        break_glass: Option<BreakGlass>,
        /// The reason.
        reason: String,
    },
    /// Accepts the proposed terms.
    Accept {
        /// Their revision.
        revision: u32,
    },
    /// Withdraws or refuses proposed terms.
    Withdraw {
        /// Their revision.
        revision: u32,
        /// The reason.
        reason: String,
    },
}

/// A refused command, with the rule that refused it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum EnvironmentRefusal {
    /// The environment is not recorded.
    #[error("RB-ENVIRONMENT-1: environment {name} is not recorded; record it")]
    NotRecorded {
        /// The environment.
        name: EnvironmentId,
    },
    /// The person has no role in it.
    #[error("RB-ENVIRONMENT-2: {person} may not {what} environment {name}: it takes {roles}")]
    NotInRole {
        /// The person.
        person: String,
        /// The command.
        what: &'static str,
        /// The environment.
        name: EnvironmentId,
        /// The roles with their members.
        roles: String,
    },
    /// The four-eyes principle: another person must accept the proposal.
    #[error(
        "RB-ENVIRONMENT-3: {person} proposed revision {revision} of environment {name}; another person must accept it: {roles}"
    )]
    OwnWork {
        /// The person.
        person: String,
        /// The proposed revision.
        revision: u32,
        /// The environment.
        name: EnvironmentId,
        /// The roles with their members.
        roles: String,
    },
    /// Other terms are already waiting for acceptance.
    #[error(
        "RB-ENVIRONMENT-4: revision {revision} of environment {name} by {by} waits; accept or withdraw it first"
    )]
    Waits {
        /// The environment.
        name: EnvironmentId,
        /// Their revision.
        revision: u32,
        /// Who proposed it.
        by: String,
    },
    /// The named revision is not the pending one.
    #[error(
        "RB-ENVIRONMENT-5: revision {given} of environment {name} is not waiting; look at what is recorded"
    )]
    Stale {
        /// The environment.
        name: EnvironmentId,
        /// The named revision.
        given: u32,
    },
    /// The terms are invalid.
    #[error("RB-ENVIRONMENT-6: the terms of environment {name} are refused: {problem}")]
    Terms {
        /// The environment.
        name: EnvironmentId,
        /// The problem and how to fix it.
        problem: String,
    },
    /// The actor is not a person.
    #[error("RB-ENVIRONMENT-7: it takes a person with a name to change environment {name}")]
    Actor {
        /// The environment.
        name: EnvironmentId,
    },
}

impl EnvironmentRefusal {
    /// Returns the commands that help; any one of them is enough.
    pub fn remedies(&self) -> Vec<Remedy> {
        let environment = match self {
            Self::NotRecorded { name } => {
                return vec![Remedy::SetEnvironment {
                    environment: name.clone(),
                }];
            }
            Self::Waits { name, .. } | Self::Stale { name, .. } => name.clone(),
            Self::NotInRole { .. }
            | Self::OwnWork { .. }
            | Self::Terms { .. }
            | Self::Actor { .. } => return Vec::new(),
        };
        vec![Remedy::ShowEnvironment { environment }]
    }

    /// Returns the class of this refusal.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::NotRecorded { .. } => RefusalKind::NotFound,
            Self::NotInRole { .. } | Self::OwnWork { .. } | Self::Actor { .. } => {
                RefusalKind::NotAllowed
            }
            Self::Waits { .. } => RefusalKind::NotNow,
            Self::Stale { .. } => RefusalKind::Stale,
            Self::Terms { .. } => RefusalKind::Invalid,
        }
    }
}

/// Decides a person's command; returns an empty list if there is nothing to do.
pub fn decide(
    state: Option<&EnvironmentState>,
    name: &EnvironmentId,
    command: &EnvironmentCommand,
    actor: &v1::Actor,
    command_id: &str,
) -> Result<Vec<v1::Event>, EnvironmentRefusal> {
    if state.is_some_and(|state| state.command_ids.find(actor.kind(), command_id).is_some()) {
        return Ok(Vec::new());
    }
    if actor.kind() != v1::ActorKind::Person || actor.name.trim().is_empty() {
        return Err(EnvironmentRefusal::Actor { name: name.clone() });
    }
    let person = actor.name.as_str();
    match command {
        EnvironmentCommand::Set {
            protected,
            roles,
            break_glass,
            reason,
        } => {
            let mut terms = state.map_or_else(Terms::default, |state| state.terms.clone());
            if let Some(protected) = protected {
                terms.protected = *protected;
            }
            if let Some(roles) = roles {
                terms.roles.clone_from(roles);
            }
            if let Some(rule) = break_glass {
                terms.break_glass = (!rule.verbs.is_empty()).then(|| rule.clone());
            }
            let reason = text(name, reason)?;
            match state {
                None => {
                    two_persons(name, &terms)?;
                    first(name, &terms, &reason, None)
                }
                Some(state) => propose(state, terms, person, reason),
            }
        }
        EnvironmentCommand::Accept { revision } => {
            let Some(state) = state else {
                return Err(EnvironmentRefusal::NotRecorded { name: name.clone() });
            };
            if state.pending.is_none() && state.revision == *revision {
                return Ok(Vec::new());
            }
            let pending = waiting(state, *revision)?;
            member(state, person, "accept terms of")?;
            if pending.by == person {
                return Err(EnvironmentRefusal::OwnWork {
                    person: person.to_owned(),
                    revision: *revision,
                    name: name.clone(),
                    roles: roles_text(state.terms.roles.iter()),
                });
            }
            Ok(vec![event(Kind::EnvironmentRevisionAccepted(
                v1::EnvironmentRevisionAccepted {
                    revision: *revision,
                },
            ))])
        }
        EnvironmentCommand::Withdraw { revision, reason } => {
            let Some(state) = state else {
                return Err(EnvironmentRefusal::NotRecorded { name: name.clone() });
            };
            waiting(state, *revision)?;
            member(state, person, "withdraw terms of")?;
            Ok(vec![event(Kind::EnvironmentRevisionWithdrawn(
                v1::EnvironmentRevisionWithdrawn {
                    revision: *revision,
                    reason: text(name, reason)?,
                },
            ))])
        }
    }
}

/// Creates the first record, when a rollout is opened whose runbook declares the environment
/// protected; returns an empty list if it is already recorded.
pub fn record(
    state: Option<&EnvironmentState>,
    name: &EnvironmentId,
    terms: &Terms,
    rollout: &RolloutId,
) -> Result<Vec<v1::Event>, EnvironmentRefusal> {
    if state.is_some() {
        return Ok(Vec::new());
    }
    first(
        name,
        terms,
        "the first rollout opened in it is of a runbook that declares it protected",
        Some(rollout),
    )
}

fn first(
    name: &EnvironmentId,
    terms: &Terms,
    reason: &str,
    rollout: Option<&RolloutId>,
) -> Result<Vec<v1::Event>, EnvironmentRefusal> {
    check(name, terms)?;
    Ok(vec![event(Kind::EnvironmentRecorded(
        v1::EnvironmentRecorded {
            name: name.to_string(),
            terms: Some(terms.to_wire()),
            reason: reason.to_owned(),
            rollout_id: rollout.map(ToString::to_string).unwrap_or_default(),
        },
    ))])
}

fn propose(
    state: &EnvironmentState,
    terms: Terms,
    person: &str,
    reason: String,
) -> Result<Vec<v1::Event>, EnvironmentRefusal> {
    member(state, person, "propose terms of")?;
    if let Some(pending) = &state.pending {
        return Err(EnvironmentRefusal::Waits {
            name: state.name.clone(),
            revision: pending.revision,
            by: pending.by.clone(),
        });
    }
    check(&state.name, &terms)?;
    two_persons(&state.name, &terms)?;
    if difference(&state.terms, &terms).is_empty() {
        return Ok(Vec::new());
    }
    let revision = state.last_revision.saturating_add(1);
    let mut events = vec![event(Kind::EnvironmentRevised(v1::EnvironmentRevised {
        revision,
        terms: Some(terms.to_wire()),
        reason,
    }))];
    // Without roles nobody could accept it.
    if state.terms.roles.is_empty() {
        events.push(event(Kind::EnvironmentRevisionAccepted(
            v1::EnvironmentRevisionAccepted { revision },
        )));
    }
    Ok(events)
}

fn waiting(state: &EnvironmentState, revision: u32) -> Result<&PendingTerms, EnvironmentRefusal> {
    state
        .pending
        .as_ref()
        .filter(|pending| pending.revision == revision)
        .ok_or_else(|| EnvironmentRefusal::Stale {
            name: state.name.clone(),
            given: revision,
        })
}

/// Checks that the person has one of its roles, if it has any.
fn member(
    state: &EnvironmentState,
    person: &str,
    what: &'static str,
) -> Result<(), EnvironmentRefusal> {
    if state.terms.roles.is_empty() || state.has_person(person) {
        return Ok(());
    }
    Err(EnvironmentRefusal::NotInRole {
        person: person.to_owned(),
        what,
        name: state.name.clone(),
        roles: roles_text(state.terms.roles.iter()),
    })
}

fn event(kind: Kind) -> v1::Event {
    v1::Event { kind: Some(kind) }
}

fn text(name: &EnvironmentId, reason: &str) -> Result<String, EnvironmentRefusal> {
    let reason = reason.trim();
    let problem = if person::is_blank(reason) {
        "a change needs a reason; give one, it stays on the record".to_owned()
    } else if reason.len() > MAX_TEXT_BYTES {
        format!(
            "the reason has {} bytes, at most {MAX_TEXT_BYTES} are kept; shorten it",
            reason.len()
        )
    } else {
        return Ok(reason.to_owned());
    };
    Err(EnvironmentRefusal::Terms {
        name: name.clone(),
        problem,
    })
}

/// Checks that a protected environment has at least two people; with one, nobody could accept a
/// change of it.
fn two_persons(name: &EnvironmentId, terms: &Terms) -> Result<(), EnvironmentRefusal> {
    let persons: BTreeSet<&String> = terms.roles.values().flatten().collect();
    if !terms.protected || terms.roles.is_empty() || persons.len() > 1 {
        return Ok(());
    }
    Err(EnvironmentRefusal::Terms {
        name: name.clone(),
        problem: "it is protected and has one person, so nobody could confirm or accept what takes two; name another"
            .to_owned(),
    })
}

fn check(name: &EnvironmentId, terms: &Terms) -> Result<(), EnvironmentRefusal> {
    match problem(terms) {
        None => Ok(()),
        Some(problem) => Err(EnvironmentRefusal::Terms {
            name: name.clone(),
            problem,
        }),
    }
}

/// Returns why the terms are invalid, if they are.
fn problem(terms: &Terms) -> Option<String> {
    if terms.protected && terms.roles.is_empty() {
        return Some(
            "it is protected and has no roles, so nobody could act in it; give it at least one role"
                .to_owned(),
        );
    }
    if terms.roles.len() > MAX_ROLES {
        return Some(format!(
            "{} roles, at most {MAX_ROLES} are kept",
            terms.roles.len()
        ));
    }
    for (role, persons) in &terms.roles {
        if persons.is_empty() {
            return Some(format!("role `{role}` has no person; name at least one"));
        }
        if persons.len() > MAX_PERSONS {
            return Some(format!(
                "role `{role}` has {} persons, at most {MAX_PERSONS} are kept",
                persons.len()
            ));
        }
        for name in persons.iter().chain([role]) {
            match person::name(name) {
                Ok(spelled) if spelled == *name => {}
                Ok(_) => {
                    return Some(format!(
                        "`{}` is not spelled as names are recorded: in Unicode normal form C, without spaces around it",
                        name.escape_debug()
                    ));
                }
                Err(error) => return Some(error.to_string()),
            }
        }
        if let Some(twice) = persons
            .iter()
            .enumerate()
            .find(|(at, person)| persons.iter().take(*at).any(|other| other == *person))
        {
            return Some(format!("`{}` occurs twice in role `{role}`", twice.1));
        }
    }
    terms.break_glass.as_ref().and_then(|rule| {
        if let Some(role) = rule
            .roles
            .iter()
            .find(|role| !terms.roles.contains_key(*role))
        {
            return Some(format!(
                "its break-glass rule names role `{role}`, which it does not have"
            ));
        }
        if let Some(verb) = rule.verbs.iter().find(|verb| !takes_two_persons(**verb)) {
            return Some(format!(
                "`{verb}` takes one person and needs no break-glass"
            ));
        }
        (rule.review_within.as_millis() <= 0)
            .then(|| "a review that is due at once can never be in time".to_owned())
    })
}

/// True if the verb takes two persons, so that glass can be broken for it.
fn takes_two_persons(verb: Verb) -> bool {
    rule(verb) == VerbRule::TwoPersons || verb == Verb::Accept
}
