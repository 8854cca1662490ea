//! The authority table.

use serde::Serialize;

use super::Permissions;
use crate::runbook::Verb;

/// What a verb requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerbRule {
    /// Any named person.
    EveryPerson,
    /// A person with any role.
    EveryRole,
    /// A person with the role that the step names, or with any role if it names none.
    RoleOfStep,
    /// A person with a role that the gate requires, who did not execute its phase.
    RolesOfGate,
    /// A person with a role, other than the one whose work is judged.
    AnotherPerson,
    /// A person with a role requests it, another one confirms.
    TwoPersons,
    /// A person with any role, and a reason. Cannot be narrowed.
    FlagUndo,
}

impl VerbRule {
    /// Returns the rule's description for display.
    pub fn text(self) -> &'static str {
        match self {
            Self::EveryPerson => "every named person",
            Self::EveryRole => "one person of a role",
            Self::RoleOfStep => "one person of the step's role",
            Self::RolesOfGate => "the roles of the gate",
            Self::AnotherPerson => "one person of a role, not the one it judges",
            Self::TwoPersons => "two persons of a role: one asks, another confirms",
            Self::FlagUndo => "one person of any role, with a reason",
        }
    }
}

/// Returns the rule for a verb in a protected environment. In an unprotected one every verb is
/// [`VerbRule::EveryPerson`]; what a plan requires in addition, of the people of a step or a gate,
/// applies in both.
pub fn rule(verb: Verb) -> VerbRule {
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
        | Verb::ArchiveFlag => VerbRule::EveryRole,
        Verb::Complete => VerbRule::RoleOfStep,
        Verb::Approve | Verb::Reject => VerbRule::RolesOfGate,
        Verb::ReviewNotApplicable | Verb::Accept | Verb::Review => VerbRule::AnotherPerson,
        Verb::SkipCritical | Verb::Abort | Verb::Undo | Verb::FlagOn => VerbRule::TwoPersons,
        Verb::Rollback | Verb::FlagSafe => VerbRule::FlagUndo,
    }
}

/// One row of the table, for display and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerbRow {
    /// The verb.
    pub verb: &'static str,
    /// What it requires.
    pub rule: &'static str,
    /// The roles with their members.
    pub who: Vec<String>,
    /// The sources of the rules by which one person may execute it alone, subject to review.
    pub break_glass: Vec<String>,
}

/// True if a plan with roles requires one for this verb even where every named person may act:
/// those of the gate to sign it, that of a manual step to complete it, any to review.
fn is_of_roles(permissions: &Permissions<'_>, verb: Verb) -> bool {
    permissions.declares_roles
        && matches!(
            verb,
            Verb::Complete | Verb::Approve | Verb::Reject | Verb::ReviewNotApplicable
        )
}

/// Describes what a verb requires under these permissions.
fn requirement(permissions: &Permissions<'_>, verb: Verb) -> &'static str {
    match (permissions.rule(verb), rule(verb)) {
        (VerbRule::EveryPerson, rule) if is_of_roles(permissions, verb) => rule.text(),
        (VerbRule::EveryPerson, _) if permissions.narrowed_to(verb).is_some() => {
            VerbRule::EveryRole.text()
        }
        // Nobody may judge their own work anywhere; but anyone may accept their own plan if
        // unprotected.
        (VerbRule::EveryPerson, VerbRule::AnotherPerson) if verb != Verb::Accept => {
            "every named person, not the one it judges"
        }
        (rule, _) => rule.text(),
    }
}

/// Returns the whole table as it applies under these permissions.
pub fn rows(permissions: &Permissions<'_>) -> Vec<VerbRow> {
    Verb::ALL
        .iter()
        .map(|verb| VerbRow {
            verb: verb.as_str(),
            rule: requirement(permissions, *verb),
            who: if is_of_roles(permissions, *verb) {
                permissions.of_roles(*verb)
            } else {
                permissions.who_may(*verb)
            },
            break_glass: permissions
                .break_glass
                .iter()
                .filter(|(_, spec)| spec.verbs.contains(verb))
                .map(|(rule, _)| rule.clone())
                .collect(),
        })
        .collect()
}
