//! Who may do what: one table of verbs for both rollouts and flags. Pure.
//!
//! In an unprotected environment every named person may do everything, except where the runbook
//! narrows a verb to roles or itself requires roles: to sign a gate, to do a manual step, to agree
//! that a step does not apply. In a protected environment only people with a role may act: for a
//! rollout a role of the plan in force (or of the environment, if the plan declares none), for a
//! flag a role of the environment. A risky command takes a second person with a role, or breaking
//! glass where a rule allows it.
//!
//! A plan can narrow the ledger's record of a protected environment but never widen it: a person
//! without a role in the record has none in the plan, and glass can be broken only where the
//! record's rule allows it.
//!
//! Commands map to verbs, and verbs to rows, by exhaustive matches: a new command does not compile
//! without one.

pub mod request;
mod table;

pub use request::{Requests, Review, Reviews, WaitingRequest, request_id, review_id};
pub use table::{VerbRow, VerbRule, rows, rule};

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::environment::{EnvironmentState, Environments};
use crate::ids::EnvironmentId;
use crate::runbook::{Authority, BreakGlass, Plan, Verb};

/// Who may do what no rule narrows, in texts for people.
pub const ANY_OPERATOR: &str = "any operator";

/// Maps each role to its members.
pub type Roles = BTreeMap<String, Vec<String>>;

/// How long a request waits for its second person by default.
const REQUEST_EXPIRES: SignedDuration = SignedDuration::from_hours(24);

/// Who may currently do what in a rollout or an environment.
#[derive(Debug, Clone)]
pub struct Permissions<'a> {
    protected: bool,
    roles: std::borrow::Cow<'a, Roles>,
    narrowed: Option<&'a Authority>,
    /// The plan declares its own roles.
    declares_roles: bool,
    /// The rules on breaking glass, each with its source.
    break_glass: Vec<(String, &'a BreakGlass)>,
    /// How these rules combine.
    policy: BreakGlassPolicy,
}

/// How rules on breaking glass combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakGlassPolicy {
    AnyRule,
    EveryRule,
    /// Never: a protected environment has no rule.
    Never,
}

/// How a person may execute a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// At once and alone.
    Alone,
    /// Only with a second person.
    WithAnother,
}

/// A person may not execute a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The permitted roles with their members.
    pub roles: String,
    /// Nobody may, because neither the plan nor the environment has roles.
    pub lacks_roles: bool,
}

/// A rule that allows breaking glass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakable {
    /// The source of the rule.
    pub rule: String,
    /// When the review must be closed.
    pub review_by: Timestamp,
}

/// True if a rollout acts in a protected environment: the ledger's record or the plan says so of
/// any environment it acts in, or it was opened as protected.
pub fn is_protected(
    plan: &Plan,
    environment: &EnvironmentId,
    recorded: bool,
    environments: &Environments,
) -> bool {
    recorded
        || plan.environments_of(environment).into_iter().any(|name| {
            environments.protects(name)
                || plan
                    .environment(name)
                    .is_some_and(|declared| declared.protected)
        })
}

impl<'a> Permissions<'a> {
    /// Returns who may do what in a rollout under `plan`; `recorded`: it was opened as protected.
    pub fn of_rollout(
        plan: &'a Plan,
        environment: &EnvironmentId,
        recorded: bool,
        environments: &'a Environments,
    ) -> Self {
        let runbook = plan.runbook();
        let touched: Vec<&EnvironmentState> = plan
            .environments_of(environment)
            .into_iter()
            .filter_map(|name| environments.get(name))
            .collect();
        let roles = if runbook.roles.is_empty() {
            let mut roles = Roles::new();
            for state in &touched {
                for (role, persons) in &state.terms.roles {
                    roles
                        .entry(role.clone())
                        .or_default()
                        .extend(persons.iter().cloned());
                }
            }
            std::borrow::Cow::Owned(roles)
        } else {
            std::borrow::Cow::Borrowed(plan.roles())
        };
        let recorded_as_protected: Vec<&EnvironmentState> = touched
            .iter()
            .copied()
            .filter(|state| state.terms.protected)
            .collect();
        let roles = within(roles, &recorded_as_protected);
        let policy = match recorded_as_protected.as_slice() {
            [] => BreakGlassPolicy::AnyRule,
            all if all.iter().all(|state| state.terms.break_glass.is_some()) => {
                BreakGlassPolicy::EveryRule
            }
            _ => BreakGlassPolicy::Never,
        };
        let narrowed = runbook.authority.as_ref();
        let mut break_glass: Vec<(String, &BreakGlass)> = narrowed
            .and_then(|authority| authority.break_glass.as_ref())
            .map(|rule| ("the runbook".to_owned(), rule))
            .into_iter()
            .collect();
        break_glass.extend(touched.into_iter().filter_map(of_environment));
        Self {
            protected: is_protected(plan, environment, recorded, environments),
            roles,
            narrowed,
            declares_roles: !runbook.roles.is_empty(),
            break_glass,
            policy,
        }
    }

    /// Returns who may do what outside of rollouts, that is, with flags.
    pub fn of_environment(state: Option<&'a EnvironmentState>) -> Self {
        static NOBODY: Roles = Roles::new();
        Self {
            protected: state.is_some_and(|state| state.terms.protected),
            roles: std::borrow::Cow::Borrowed(state.map_or(&NOBODY, |state| &state.terms.roles)),
            narrowed: None,
            declares_roles: false,
            break_glass: state.and_then(of_environment).into_iter().collect(),
            policy: BreakGlassPolicy::AnyRule,
        }
    }

    /// True if only people with a role may act here.
    pub fn is_protected(&self) -> bool {
        self.protected
    }

    /// Returns the rule for a verb here.
    pub fn rule(&self, verb: Verb) -> VerbRule {
        if self.protected {
            rule(verb)
        } else {
            VerbRule::EveryPerson
        }
    }

    /// Returns whether a person may use a verb, and whether alone.
    pub fn grant(&self, verb: Verb, person: &str) -> Result<Grant, Denied> {
        let narrowed = self.narrowed_to(verb);
        let rule = self.rule(verb);
        if rule == VerbRule::EveryPerson && narrowed.is_none() {
            return Ok(Grant::Alone);
        }
        let allowed = self
            .roles
            .iter()
            .filter(|(role, _)| narrowed.is_none_or(|only| only.contains(role)));
        if !has_person(allowed.clone(), person) {
            return Err(Denied {
                lacks_roles: allowed.clone().next().is_none(),
                roles: roles_text(allowed),
            });
        }
        Ok(match rule {
            VerbRule::TwoPersons => Grant::WithAnother,
            VerbRule::EveryPerson
            | VerbRule::EveryRole
            | VerbRule::RoleOfStep
            | VerbRule::RolesOfGate
            | VerbRule::AnotherPerson
            | VerbRule::FlagUndo => Grant::Alone,
        })
    }

    /// Returns who may use a verb, for display: `dba: dora or dan; lead: lee`.
    pub fn who_may(&self, verb: Verb) -> Vec<String> {
        if !self.protected && self.narrowed_to(verb).is_none() {
            return vec![ANY_OPERATOR.to_owned()];
        }
        self.of_roles(verb)
    }

    /// Returns the roles to which the runbook narrows a verb.
    fn narrowed_to(&self, verb: Verb) -> Option<&'a Vec<String>> {
        self.narrowed.and_then(|spec| spec.verbs.get(&verb))
    }

    /// Returns the roles that may use a verb, with their members.
    fn of_roles(&self, verb: Verb) -> Vec<String> {
        let narrowed = self.narrowed_to(verb);
        self.roles
            .iter()
            .filter(|(role, _)| narrowed.is_none_or(|only| only.contains(role)))
            .map(|(role, persons)| role_text(role, persons))
            .collect()
    }

    /// Returns the people who may use a verb, without duplicates and without `except`.
    pub fn persons(&self, verb: Verb, except: &str) -> Vec<String> {
        let narrowed = self.narrowed_to(verb);
        let mut persons: Vec<String> = self
            .roles
            .iter()
            .filter(|(role, _)| narrowed.is_none_or(|only| only.contains(role)))
            .flat_map(|(_, persons)| persons.iter().cloned())
            .filter(|person| person != except)
            .collect();
        persons.sort();
        persons.dedup();
        persons
    }

    /// Returns when a request made now expires.
    pub fn request_expires(&self, now: Timestamp) -> Timestamp {
        let span = self
            .narrowed
            .and_then(|spec| spec.request_expires)
            .map_or(REQUEST_EXPIRES, |span| span.to_signed());
        now.checked_add(span).unwrap_or(Timestamp::MAX)
    }

    /// Returns the rule that lets this person break glass for a verb, if any.
    pub fn breakable(&self, verb: Verb, person: &str, now: Timestamp) -> Option<Breakable> {
        let allows = |spec: &BreakGlass| {
            spec.verbs.contains(&verb)
                && (spec.roles.is_empty()
                    || has_person(
                        self.roles
                            .iter()
                            .filter(|(role, _)| spec.roles.contains(role)),
                        person,
                    ))
        };
        let rules: Vec<&(String, &BreakGlass)> = match self.policy {
            BreakGlassPolicy::Never => return None,
            BreakGlassPolicy::AnyRule => self
                .break_glass
                .iter()
                .find(|(_, spec)| allows(spec))
                .into_iter()
                .collect(),
            BreakGlassPolicy::EveryRule
                if self.break_glass.iter().all(|(_, spec)| allows(spec)) =>
            {
                self.break_glass.iter().collect()
            }
            BreakGlassPolicy::EveryRule => return None,
        };
        let within = rules.iter().map(|(_, spec)| spec.review_within).min()?;
        let names: Vec<&str> = rules.iter().map(|(rule, _)| rule.as_str()).collect();
        Some(Breakable {
            rule: names.join(" and "),
            review_by: now
                .checked_add(within.to_signed())
                .unwrap_or(Timestamp::MAX),
        })
    }
}

fn of_environment(state: &EnvironmentState) -> Option<(String, &BreakGlass)> {
    let rule = state.terms.break_glass.as_ref()?;
    Some((format!("environment {}", state.name), rule))
}

/// Restricts roles to members who have a role in each of these environments.
fn within<'a>(
    roles: std::borrow::Cow<'a, Roles>,
    environments: &[&EnvironmentState],
) -> std::borrow::Cow<'a, Roles> {
    let is_in = |person: &String| environments.iter().all(|state| state.has_person(person));
    if roles.values().flatten().all(is_in) {
        return roles;
    }
    let mut roles = roles.into_owned();
    for persons in roles.values_mut() {
        persons.retain(is_in);
    }
    std::borrow::Cow::Owned(roles)
}

fn has_person<'r>(
    mut roles: impl Iterator<Item = (&'r String, &'r Vec<String>)>,
    person: &str,
) -> bool {
    roles.any(|(_, persons)| persons.iter().any(|member| member == person))
}

/// Formats a role with its members for display: `dba: dora or dan`.
pub(crate) fn role_text(role: &str, persons: &[String]) -> String {
    if persons.is_empty() {
        format!("{role}: nobody")
    } else {
        format!("{role}: {}", persons.join(" or "))
    }
}

/// Formats roles with their members, or says what to do if there are none.
pub(crate) fn roles_text<'r>(roles: impl Iterator<Item = (&'r String, &'r Vec<String>)>) -> String {
    let texts: Vec<String> = roles
        .map(|(role, persons)| role_text(role, persons))
        .collect();
    if texts.is_empty() {
        "a person of a role, and neither the plan nor the environment has roles: give the environment its roles".to_owned()
    } else {
        texts.join("; ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, missing_docs)]
mod tests;
