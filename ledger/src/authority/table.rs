//! The table itself.

use serde::Serialize;

use super::Place;
use crate::runbook::Verb;

/// What a verb takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A person with a name.
    EveryPerson,
    /// A person of any role.
    EveryRole,
    /// A person of the role that the step names; of any role where it names none.
    RoleOfStep,
    /// A person of a role that the gate asks for, who did not execute its phase.
    RolesOfGate,
    /// A person of a role, other than the one whose doing it judges.
    AnotherPerson,
    /// A person of a role asks, another one confirms.
    TwoPersons,
    /// A person of any role, with a reason. Cannot be narrowed.
    WayBack,
}

impl Rule {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::EveryPerson => "every named person",
            Self::EveryRole => "one person of a role",
            Self::RoleOfStep => "one person of the step's role",
            Self::RolesOfGate => "the roles of the gate",
            Self::AnotherPerson => "one person of a role, not the one it judges",
            Self::TwoPersons => "two persons of a role: one asks, another confirms",
            Self::WayBack => "one person of any role, with a reason",
        }
    }
}

/// What a verb takes in a protected environment. In an unprotected one every verb is
/// [`Rule::EveryPerson`]; what a plan asks for besides, of the persons of a step or a gate, holds in
/// both.
pub fn rule(verb: Verb) -> Rule {
    match verb {
        Verb::Open
        | Verb::Start
        | Verb::Pause
        | Verb::Resume
        | Verb::Retry
        | Verb::Skip
        | Verb::ProposeNotApplicable
        | Verb::Revise
        | Verb::Withdraw
        | Verb::DefineFlag
        | Verb::ArchiveFlag => Rule::EveryRole,
        Verb::Complete => Rule::RoleOfStep,
        Verb::Approve | Verb::Reject => Rule::RolesOfGate,
        Verb::ReviewNotApplicable | Verb::Accept | Verb::Review => Rule::AnotherPerson,
        Verb::SkipCritical | Verb::Abort | Verb::Undo | Verb::FlagOn => Rule::TwoPersons,
        Verb::Rollback | Verb::FlagSafe => Rule::WayBack,
    }
}

/// One row, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The verb.
    pub verb: &'static str,
    /// What it takes.
    pub rule: &'static str,
    /// Who that is: roles with their persons.
    pub who: Vec<String>,
    /// By whose rules one person may do it at once, to be reviewed.
    pub break_glass: Vec<String>,
}

/// Where every named person may, a plan with roles asks for them all the same: a gate for those that
/// sign it, a manual step for its own, a review for any.
fn is_of_roles(place: &Place<'_>, verb: Verb) -> bool {
    place.declares_roles
        && matches!(
            verb,
            Verb::Complete | Verb::Approve | Verb::Reject | Verb::ReviewNotApplicable
        )
}

/// What a verb takes in a place, for people.
fn takes(place: &Place<'_>, verb: Verb) -> &'static str {
    match (place.rule(verb), rule(verb)) {
        (Rule::EveryPerson, rule) if is_of_roles(place, verb) => rule.text(),
        (Rule::EveryPerson, _) if place.narrowed_to(verb).is_some() => Rule::EveryRole.text(),
        // Nobody judges their own doing anywhere; a plan is changed where nothing is protected.
        (Rule::EveryPerson, Rule::AnotherPerson) if verb != Verb::Accept => {
            "every named person, not the one it judges"
        }
        (rule, _) => rule.text(),
    }
}

/// The whole table as it holds in a place.
pub fn rows(place: &Place<'_>) -> Vec<Row> {
    Verb::ALL
        .iter()
        .map(|verb| Row {
            verb: verb.as_str(),
            rule: takes(place, *verb),
            who: if is_of_roles(place, *verb) {
                place.of_roles(*verb)
            } else {
                place.who(*verb)
            },
            break_glass: place
                .break_glass
                .iter()
                .filter(|(_, spec)| spec.verbs.contains(verb))
                .map(|(rule, _)| rule.clone())
                .collect(),
        })
        .collect()
}
