//! Roles, gates, notices and windows.

use std::collections::HashSet;

use super::super::diagnostic::{Code, Path};
use super::super::window;
use super::Linter;
use super::references::role;
use crate::person;
use crate::suggestion::suggest;

pub(super) fn check(linter: &mut Linter<'_>) {
    roles(linter);
    gates(linter);
    notices(linter);
    windows(linter);
}

fn roles(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let mut roles = HashSet::new();
    for (name, persons) in &runbook.roles {
        let path = Path::root().key("roles").key(name);
        match person::name(name) {
            Ok(normal) if roles.insert(normal.clone()) => {}
            Ok(_) => linter.error(
                Code::Duplicate,
                &path,
                format!("role `{name}` occurs twice, in two spellings of the same letters"),
                None,
            ),
            Err(error) => linter.error(Code::InvalidId, &path, error.to_string(), None),
        }
        if persons.is_empty() {
            linter.error(
                Code::EmptyRole,
                &path,
                format!("role `{name}` has no person"),
                None,
            );
        }
        let mut seen = HashSet::new();
        for (i, person) in persons.iter().enumerate() {
            let normal = match person::name(person) {
                Ok(normal) => normal,
                Err(error) => {
                    linter.error(Code::InvalidId, &path.index(i), error.to_string(), None);
                    continue;
                }
            };
            if !seen.insert(normal) {
                linter.error(
                    Code::Duplicate,
                    &path.index(i),
                    format!("`{person}` occurs twice in role `{name}`"),
                    None,
                );
            }
        }
    }
}

fn gates(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    for (phase, path) in linter.phases() {
        let Some(gate) = &phase.gate else { continue };
        let path = path.key("gate");
        if gate.sign_offs.is_empty() && gate.checks.is_empty() {
            linter.warn(
                Code::EmptyGate,
                &path,
                format!("the gate of phase `{}` asks for nothing", phase.id),
                Some("add `sign_offs` or `checks`, or remove the gate".to_owned()),
            );
        }
        let mut seen = HashSet::new();
        for (i, rule) in gate.sign_offs.iter().enumerate() {
            let path = path.key("sign_offs").index(i);
            role(linter, &rule.role, &path.key("role"));
            if !seen.insert(&rule.role) {
                linter.error(
                    Code::Duplicate,
                    &path.key("role"),
                    format!("role `{}` occurs twice in this gate", rule.role),
                    Some("use one rule with a larger `quorum`".to_owned()),
                );
            }
            let persons = runbook
                .roles
                .get(&rule.role)
                .map_or(0, |persons| persons.iter().collect::<HashSet<_>>().len());
            let quorum = usize::try_from(rule.quorum).unwrap_or(usize::MAX);
            if rule.quorum == 0 || (quorum > persons && runbook.roles.contains_key(&rule.role)) {
                linter.error(
                    Code::Quorum,
                    &path.key("quorum"),
                    if rule.quorum == 0 {
                        "a quorum of 0 asks for nobody".to_owned()
                    } else {
                        format!(
                            "{quorum} persons must sign, role `{}` has {persons}",
                            rule.role
                        )
                    },
                    None,
                );
            }
        }
        if gate.expires.is_some_and(|span| span.as_millis() <= 0) {
            linter.error(
                Code::Bounds,
                &path.key("expires"),
                "a sign-off that expires at once never counts",
                None,
            );
        }
    }
}

fn notices(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let phases: Vec<&str> = runbook.phases.iter().map(|p| p.id.as_str()).collect();
    for (i, notice) in runbook.notices.iter().enumerate() {
        let path = Path::root().key("notices").index(i);
        let anchor = notice.anchor.as_str();
        if anchor.parse::<jiff::Timestamp>().is_ok() {
            continue;
        }
        if notice.offset.as_millis() < 0 {
            linter.error(
                Code::Anchor,
                &path.key("offset"),
                format!(
                    "notice `{}` is to go out before `{anchor}`, whose time is not known before it comes",
                    notice.id
                ),
                Some(
                    "anchor it at an RFC 3339 time, at an earlier phase without an offset, or send it by a `notify` step"
                        .to_owned(),
                ),
            );
        }
        let path = path.key("anchor");
        if matches!(anchor, "opened" | "started" | "closed" | "rollback") {
            continue;
        }
        match anchor.strip_prefix("phase/") {
            Some(phase) if phases.contains(&phase) => {}
            Some(phase) => linter.error(
                Code::Anchor,
                &path,
                format!(
                    "notice `{}` hangs on phase `{phase}`, which does not exist",
                    notice.id
                ),
                suggest(phase, &phases),
            ),
            None => linter.error(
                Code::Anchor,
                &path,
                format!("`{anchor}` is not a time to count from"),
                Some(
                    "write an RFC 3339 time, `opened`, `started`, `closed`, `rollback` or `phase/<id>`"
                        .to_owned(),
                ),
            ),
        }
    }
}

fn windows(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    for (i, item) in runbook.windows.iter().enumerate() {
        let path = Path::root().key("windows").index(i);
        let Err(error) = window::check(item) else {
            continue;
        };
        let path = match &error {
            window::WindowError::Cron { .. } => path.key("cron"),
            window::WindowError::TimeZone { .. } => path.key("time_zone"),
            window::WindowError::Shape(_) | window::WindowError::Empty(_) => path,
        };
        linter.error(Code::Window, &path, error.to_string(), None);
    }
}
