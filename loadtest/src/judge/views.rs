//! Judges views against a rebuild, and the status of rollouts that have not ended. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::case::{Case, Views};
use super::report::{Finding, Rule};

/// Adds the findings.
pub(super) fn judge(case: &Case, findings: &mut Vec<Finding>) {
    let mut find = |rule, what: String| findings.push(Finding { rule, what });
    match case.views.iter().find(|views| views.rebuilt) {
        Some(rebuilt) => {
            for views in case.views.iter().filter(|views| !views.rebuilt) {
                compare(views, rebuilt, &mut find);
            }
            if case.views.len() < 2 {
                find(Rule::Views, "no views were left".to_owned());
            }
        }
        None => find(Rule::Views, "the views could not be rebuilt".to_owned()),
    }
    for rollout in case.opened() {
        let status = case
            .statuses
            .iter()
            .find(|status| status["data"]["rollout"] == *rollout);
        match status {
            None => find(Rule::Ends, format!("{rollout} has no status")),
            Some(status) if has_ended(status) || is_explained(status) => {}
            Some(_) => find(
                Rule::Ends,
                format!("{rollout} has not ended, and its status does not say why"),
            ),
        }
    }
}

/// The rollouts that have not ended, with the reasons in their status.
pub(super) fn unfinished(case: &Case) -> Vec<String> {
    case.statuses
        .iter()
        .filter(|status| !has_ended(status))
        .map(|status| {
            let why: Vec<String> = blocked(status)
                .map(|blocked| format!("{}: {}", text(&blocked["what"]), text(&blocked["why"])))
                .collect();
            format!("{}: {}", text(&status["data"]["rollout"]), why.join("; "))
        })
        .collect()
}

fn compare(views: &Views, rebuilt: &Views, find: &mut impl FnMut(Rule, String)) {
    let name = &views.name;
    if views.sequence != rebuilt.sequence {
        let (stands, should) = (views.sequence, rebuilt.sequence);
        find(
            Rule::Views,
            format!("{name} stand at sequence {stands}, their rebuild at {should}"),
        );
        return;
    }
    let tables: BTreeSet<&String> = views.tables.keys().chain(rebuilt.tables.keys()).collect();
    for table in tables {
        let rows = |views: &Views| -> BTreeMap<String, usize> {
            let mut counts = BTreeMap::new();
            for row in views.tables.get(table).into_iter().flatten() {
                *counts.entry(row.clone()).or_insert(0) += 1;
            }
            counts
        };
        let (there, again) = (rows(views), rows(rebuilt));
        let differ = there
            .keys()
            .chain(again.keys())
            .find(|row| there.get(*row) != again.get(*row));
        if let Some(row) = differ {
            let times = |counts: &BTreeMap<String, usize>| counts.get(row).copied().unwrap_or(0);
            let (found, should) = (times(&there), times(&again));
            find(
                Rule::Views,
                format!(
                    "{name}, table {table}: {row} is there {found} times, in their rebuild {should}"
                ),
            );
        }
    }
}

fn has_ended(status: &Value) -> bool {
    status["data"]["closed_at"].is_string()
}

/// Whether a status explains what is blocked: why, and who can move it or until when it waits.
fn is_explained(status: &Value) -> bool {
    blocked(status).any(|blocked| {
        let is_told = blocked["why"].as_str().is_some_and(|why| !why.is_empty());
        let by_someone = blocked["who"].as_array().is_some_and(|who| !who.is_empty());
        is_told && (by_someone || blocked["until"].is_string())
    })
}

fn blocked(status: &Value) -> impl Iterator<Item = &Value> {
    status["blocked"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
