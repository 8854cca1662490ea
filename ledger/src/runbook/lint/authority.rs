//! Authority: roles exist, every verb remains usable by someone, and rollbacks stay open.

use std::collections::HashSet;

use super::super::authority::Verb;
use super::super::diagnostic::{Code, Path};
use super::Linter;
use super::references::role;
use crate::authority::{VerbRule, rule};

pub(super) fn check(linter: &mut Linter<'_>) {
    environments(linter);
    let Some(authority) = &linter.runbook.authority else {
        return;
    };
    let root = Path::root().key("authority");
    for (verb, roles) in &authority.verbs {
        let path = root.key("verbs").key(verb.as_str());
        narrowed(linter, *verb, roles, &path);
    }
    if authority
        .request_expires
        .is_some_and(|span| span.as_millis() <= 0)
    {
        linter.error(
            Code::Bounds,
            &root.key("request_expires"),
            "a request that expires at once can never be confirmed",
            None,
        );
    }
    let Some(glass) = &authority.break_glass else {
        return;
    };
    let path = root.key("break_glass");
    for (i, verb) in glass.verbs.iter().enumerate() {
        if !is_of_rollouts(*verb) || !takes_two(*verb) {
            linter.error(
                Code::Authority,
                &path.key("verbs").index(i),
                format!("`{verb}` needs no break-glass rule: within a rollout it takes one person"),
                Some("use skip_critical, abort, undo or accept".to_owned()),
            );
        }
    }
    for (i, name) in glass.roles.iter().enumerate() {
        role(linter, name, &path.key("roles").index(i));
    }
    if glass.review_within.as_millis() <= 0 {
        linter.error(
            Code::Bounds,
            &path.key("review_within"),
            "a review that is due at once can never be in time",
            None,
        );
    }
}

/// Checks that someone can act in each protected environment.
fn environments(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let persons: HashSet<&String> = runbook.roles.values().flatten().collect();
    for (name, environment) in &runbook.environments {
        if !environment.protected {
            continue;
        }
        let path = Path::root().key("environments").key(name);
        if runbook.roles.is_empty() {
            linter.warn(
                Code::Authority,
                &path,
                format!("environment `{name}` is protected and the runbook has no roles: only persons of roles that the ledger has recorded for `{name}` can act"),
                Some("declare `roles`".to_owned()),
            );
        } else if persons.len() < 2 {
            linter.warn(
                Code::Authority,
                &path,
                format!("environment `{name}` is protected and only one person has a role: nobody can confirm what takes two persons"),
                Some("name a second person in a role".to_owned()),
            );
        }
    }
}

fn narrowed(linter: &mut Linter<'_>, verb: Verb, roles: &[String], path: &Path) {
    let runbook = linter.runbook;
    for (i, name) in roles.iter().enumerate() {
        role(linter, name, &path.index(i));
    }
    if rule(verb) == VerbRule::FlagUndo {
        linter.error(
            Code::Authority,
            path,
            format!("`{verb}` is a way back and stays open to every person of any role"),
            Some("remove it".to_owned()),
        );
        return;
    }
    if !is_of_rollouts(verb) {
        linter.error(
            Code::Authority,
            path,
            format!("`{verb}` is not done in a rollout; the roles of the environment decide on it"),
            Some("give it to roles of the environment".to_owned()),
        );
        return;
    }
    let persons: HashSet<&String> = roles
        .iter()
        .filter_map(|name| runbook.roles.get(name))
        .flatten()
        .collect();
    let protected = runbook
        .environments
        .values()
        .any(|environment| environment.protected);
    let needed = if protected && rule(verb) == VerbRule::TwoPersons {
        2
    } else {
        1
    };
    if persons.len() < needed {
        linter.error(
            Code::Authority,
            path,
            format!(
                "`{verb}` takes {needed} {}, and the roles it is narrowed to have {}: nobody could do it",
                if needed == 1 { "person" } else { "persons" },
                persons.len()
            ),
            Some("name more roles, or more persons in them".to_owned()),
        );
    }
}

/// True if the verb takes two persons, so that glass can be broken for it.
fn takes_two(verb: Verb) -> bool {
    rule(verb) == VerbRule::TwoPersons || verb == Verb::Accept
}

fn is_of_rollouts(verb: Verb) -> bool {
    !matches!(
        verb,
        Verb::DefineFlag | Verb::FlagOn | Verb::FlagSafe | Verb::ArchiveFlag
    )
}
