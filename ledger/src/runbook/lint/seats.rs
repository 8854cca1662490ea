//! Checks that every gate can be signed: enough people for its sign-offs, besides those who must do
//! the phase's manual steps.

use std::collections::BTreeSet;

use super::super::diagnostic::{Code, Path};
use super::super::kind::DoneBy;
use super::super::model::{Gate, Phase};
use super::super::seats::{self, Seat};
use super::Linter;
use crate::person;

/// Maximum number of ways to assign people to a phase's manual steps that are examined.
const MAX_CHOICES: usize = 2_000;

pub(super) fn check(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let members: Vec<(&str, Vec<String>)> = runbook
        .roles
        .iter()
        .map(|(role, persons)| {
            let names = persons.iter().map(|name| person::normal(name));
            (role.as_str(), names.collect())
        })
        .collect();
    for (phase, path) in linter.phases() {
        let Some(gate) = &phase.gate else { continue };
        let known = |role: &str| members.iter().any(|(name, _)| *name == role);
        // Missing or duplicate roles have already been reported.
        if gate.sign_offs.iter().any(|rule| !known(&rule.role)) {
            continue;
        }
        let of = |role: &str| {
            members
                .iter()
                .find(|(name, _)| *name == role)
                .map_or(&[][..], |(_, persons)| persons.as_slice())
        };
        gate_can_open(linter, phase, gate, &path.key("gate"), &of);
    }
}

fn gate_can_open<'a>(
    linter: &mut Linter<'_>,
    phase: &'a Phase,
    gate: &'a Gate,
    path: &Path,
    members: &impl Fn(&str) -> &'a [String],
) {
    let seats =
        |done_by: &[&str]| seats::of_gate(gate, members, &[], |person| done_by.contains(&person));
    let all = seats(&[]);
    let empty = roles(&seats::left_empty(&all));
    if !empty.is_empty() {
        linter.error(
            Code::Seats,
            &path.key("sign_offs"),
            format!(
                "the gate of phase `{}` asks for {} sign-offs, each by another person; no eligible signer remains as {empty}",
                phase.id,
                all.len(),
            ),
            Some("name more persons in these roles".to_owned()),
        );
        return;
    }
    if !gate.not_executor {
        return;
    }
    let doers = doers(phase, members, linter);
    let mut opens = false;
    let mut stuck: Option<(Vec<&str>, String)> = None;
    // Try the fewest people first: if even they leave nobody to sign, assigning more does not help.
    let few = choices(once_each(&doers));
    let many = choices(doers.iter().map(|(_, persons)| persons));
    for choice in few.into_iter().chain(many) {
        let seats = seats(&choice);
        let empty = roles(&seats::left_empty(&seats));
        if empty.is_empty() {
            opens = true;
        } else if stuck.is_none() {
            stuck = Some((choice, empty));
        }
    }
    let Some((choice, empty)) = stuck else { return };
    let steps = manual_steps(phase).join(", ");
    let path = path.key("sign_offs");
    if opens {
        linter.warn(
            Code::Seats,
            &path,
            format!(
                "when {} {} step {steps} of phase `{}`, no eligible signer remains its gate as {empty}: who did a step may not sign",
                choice.join(" and "),
                if choice.len() == 1 { "does" } else { "do" },
                phase.id,
            ),
            Some("name more persons, or agree on who does the step".to_owned()),
        );
    } else {
        linter.error(
            Code::Seats,
            &path,
            format!(
                "whoever does step {steps} of phase `{}` may not sign its gate, and then no eligible signer remains as {empty} (for example when {} does)",
                phase.id,
                choice.join(" and "),
            ),
            Some(
                "name more persons, let another role do the step, or say `not_executor: false`"
                    .to_owned(),
            ),
        );
    }
}

fn roles(empty: &[&Seat<'_>]) -> String {
    let roles: BTreeSet<&str> = empty.iter().map(|seat| seat.role).collect();
    let roles: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
    roles.join(" and ")
}

fn manual_steps(phase: &Phase) -> Vec<&str> {
    phase
        .steps
        .iter()
        .filter(|step| matches!(step.action.kind().done_by(), DoneBy::Person(_)))
        .map(|step| step.id.as_str())
        .collect()
}

/// A role that does manual steps, with its members.
type Doers<'p, 'a> = (&'p Option<String>, Vec<&'a str>);

/// Returns who can do each manual step of a phase.
fn doers<'p, 'a>(
    phase: &'p Phase,
    members: &impl Fn(&str) -> &'a [String],
    linter: &Linter<'_>,
) -> Vec<Doers<'p, 'a>> {
    let mut doers = Vec::new();
    for step in &phase.steps {
        let DoneBy::Person(manual) = step.action.kind().done_by() else {
            continue;
        };
        let persons: BTreeSet<&str> = match &manual.role {
            Some(role) => members(role).iter().map(String::as_str).collect(),
            None => linter
                .runbook
                .roles
                .keys()
                .flat_map(|role| members(role))
                .map(String::as_str)
                .collect(),
        };
        if !persons.is_empty() {
            doers.push((&manual.role, persons.into_iter().collect()));
        }
    }
    doers
}

/// Returns one list of people per role, because one person of a role can do all of its steps.
fn once_each<'d, 'a>(doers: &'d [Doers<'_, 'a>]) -> impl Iterator<Item = &'d Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    doers
        .iter()
        .filter(move |(role, _)| seen.insert(*role))
        .map(|(_, persons)| persons)
}

/// Returns every set of people with one from each list, up to a maximum number.
fn choices<'d, 'a: 'd>(lists: impl Iterator<Item = &'d Vec<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut choices: BTreeSet<BTreeSet<&str>> = BTreeSet::from([BTreeSet::new()]);
    for persons in lists {
        choices = choices
            .iter()
            .flat_map(|choice| {
                persons.iter().map(move |person| {
                    let mut longer = choice.clone();
                    longer.insert(*person);
                    longer
                })
            })
            .take(MAX_CHOICES)
            .collect();
    }
    choices
        .into_iter()
        .map(|choice| choice.into_iter().collect())
        .collect()
}
