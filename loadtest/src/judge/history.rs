//! Judges the ledger against what clients were told about it, and for consistency. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, Commit};
use super::report::{Finding, Rule};
use crate::record::{Acknowledged, End};

/// Adds the findings.
pub(super) fn judge(case: &Case, findings: &mut Vec<Finding>) {
    let mut find = |rule, what: String| findings.push(Finding { rule, what });
    unbroken(case, &mut find);
    acknowledged(case, &mut find);
    for seen in &case.seen {
        let there = case
            .commits
            .iter()
            .find(|commit| commit.sequence == seen.sequence);
        match there {
            Some(commit) if commit.id == seen.commit => {}
            Some(commit) => find(
                Rule::Seen,
                format!(
                    "sequence {} was commit {}, and is {} now",
                    seen.sequence, seen.commit, commit.id
                ),
            ),
            None => find(
                Rule::Seen,
                format!(
                    "sequence {} was commit {}, and is gone",
                    seen.sequence, seen.commit
                ),
            ),
        }
    }
    for ended in &case.ends {
        let name = &ended.process;
        // How a nats-server ends is not judged.
        if name.starts_with("nats") {
            continue;
        }
        match &ended.end {
            // NATS was missing; the storm starts the process again.
            End::Unasked { code: Some(7), .. } => {}
            End::Unasked { code, said } => find(
                Rule::Process,
                format!("{name} ended by itself with {code:?}: {said}"),
            ),
            End::Told {
                code: Some(0 | 7), ..
            } => {}
            // The signal itself ended it, before it had installed a handler.
            End::Told {
                code: None,
                starting: true,
                ..
            } => {}
            End::Told { code, .. } => find(
                Rule::Process,
                format!("{name} was told to stop and ended with {code:?}"),
            ),
            End::Deaf { after_ms } => find(
                Rule::Process,
                format!("{name} was told to stop and had not ended after {after_ms} ms"),
            ),
            End::Stays { after_ms } => find(
                Rule::Process,
                format!("{name} could not go on and had not ended after {after_ms} ms"),
            ),
        }
    }
}

fn unbroken(case: &Case, find: &mut impl FnMut(Rule, String)) {
    let mut last_of: BTreeMap<&str, u64> = BTreeMap::new();
    let mut commands = BTreeSet::new();
    let mut expected = 1;
    for commit in &case.commits {
        if commit.sequence != expected {
            find(
                Rule::Unbroken,
                format!("after sequence {} comes {}", expected - 1, commit.sequence),
            );
        }
        expected = commit.sequence + 1;
        let aggregate = commit.aggregate.as_str();
        let last = last_of.insert(aggregate, commit.sequence).unwrap_or(0);
        if commit.previous != last {
            find(
                Rule::Unbroken,
                format!(
                    "sequence {} of {aggregate} follows {}, but the one before it is {last}",
                    commit.sequence, commit.previous
                ),
            );
        }
        if !commands.insert((aggregate, commit.command_id.as_str())) {
            find(
                Rule::CommandOnce,
                format!(
                    "command {} of {aggregate} is applied again at sequence {}",
                    commit.command_id, commit.sequence
                ),
            );
        }
    }
}

fn acknowledged(case: &Case, find: &mut impl FnMut(Rule, String)) {
    let mut by_command: BTreeMap<&str, &Commit> = BTreeMap::new();
    for commit in &case.commits {
        by_command
            .entry(commit.command_id.as_str())
            .or_insert(commit);
    }
    for told in &case.acknowledged {
        // The answer said that there was nothing to do. If the command was sent more than once,
        // this may answer a repetition of one that had something to do the first time.
        if told.events == 0 && told.tries == 1 {
            continue;
        }
        let recorded = match &told.command_id {
            Some(id) => by_command.get(id.as_str()).copied(),
            None => case
                .events("rolloutOpened")
                .map(|(commit, _)| commit)
                .find(|commit| commit.rollout == told.rollout),
        };
        if let Some(problem) = problem(told, recorded) {
            let id = told.command_id.as_deref().unwrap_or("of its own");
            find(
                Rule::Acknowledged,
                format!(
                    "`{}` of {} by {} (command {id}), acknowledged at sequence {}: {problem}",
                    told.what, told.rollout, told.actor, told.sequence
                ),
            );
        }
    }
}

fn problem(told: &Acknowledged, recorded: Option<&Commit>) -> Option<String> {
    let Some(commit) = recorded else {
        return Some("not on the ledger".to_owned());
    };
    if commit.rollout != told.rollout || commit.actor != told.actor {
        return Some(format!(
            "recorded for {} by {}",
            commit.rollout, commit.actor
        ));
    }
    if told.events > 0 && commit.sequence != told.sequence {
        return Some(format!("recorded at sequence {}", commit.sequence));
    }
    (told.events > 0 && commit.events.len() < told.events)
        .then(|| format!("{} of {} events recorded", commit.events.len(), told.events))
}
