//! Effects of steps, their verification and undo; times and counts.

use super::super::diagnostic::{Code, Path};
use super::super::kind::DoneBy;
use super::super::plan::{effective_undo, has_effect};
use super::super::span::Span;
use super::super::step::OnFail;
use super::super::undo::Undo;
use super::{Linter, MAX_SPAN_MS, Placed};
use crate::suggestion::suggest;

/// Allowed number of attempts in total.
const RETRY_ATTEMPTS: std::ops::RangeInclusive<u32> = 2..=20;

pub(super) fn check(linter: &mut Linter<'_>) {
    for placed in linter.steps() {
        undo_and_verify(linter, &placed);
        undone_on_fail(linter, &placed);
        times(linter, &placed);
    }
}

/// Maximum `verify_within` of an undo, in ms.
const MAX_VERIFY_WITHIN_MILLIS: i64 = 60 * 60 * 1000;

fn undo_and_verify(linter: &mut Linter<'_>, placed: &Placed<'_>) {
    let step = placed.step;
    if let Some(within) = step.undo_verify_within {
        let path = placed.path.key("undo").key("verify_within");
        if step.undo_verify.is_none() {
            linter.error(
                Code::NoVerify,
                &path,
                format!("step `{}` has no `undo.verify` to ask again", step.id),
                Some("add `verify` beside it, or leave it out".to_owned()),
            );
        } else if within > Span::from_millis(MAX_VERIFY_WITHIN_MILLIS) {
            linter.error(
                Code::Bounds,
                &path,
                format!("an undo has at most 1h to come to hold, not {within}"),
                None,
            );
        }
    }
    if !has_effect(step) {
        return;
    }
    let kind = step.action.kind();
    let name = kind.name();
    if step.undo_verify.is_some() && !effective_undo(step).is_possible() {
        linter.error(
            Code::NoUndo,
            &placed.path.key("undo").key("verify"),
            format!("step `{}` verifies an undo that it does not have", step.id),
            Some("add the undo beside its `verify`: `run`, `http`, `sql` or `manual`".to_owned()),
        );
        return;
    }
    let verified = step.verify.is_some()
        || kind.verified_undo().is_some()
        || matches!(kind.done_by(), DoneBy::Person(_));
    let undone = step.undo != Undo::Unset || kind.derived_undo().is_some();
    if !verified {
        linter.error(
            Code::NoVerify,
            &placed.path,
            format!(
                "step `{}` ({name}) changes something and has no `verify`",
                step.id
            ),
            Some("add `verify`, or `changes: nothing` when it only looks".to_owned()),
        );
    }
    if !undone {
        linter.error(
            Code::NoUndo,
            &placed.path,
            format!(
                "step `{}` ({name}) changes something and has no way back",
                step.id
            ),
            Some(kind.undo_advice().to_owned()),
        );
    }
}

/// Checks that the steps named by `on_fail: {undo: […]}` can be undone.
fn undone_on_fail(linter: &mut Linter<'_>, placed: &Placed<'_>) {
    let OnFail::Undo(named) = &placed.step.on_fail else {
        return;
    };
    let path = placed.path.key("on_fail").key("undo");
    if named.is_empty() {
        linter.error(
            Code::Empty,
            &path,
            "it names no step",
            Some("name the steps to undo, or leave `on_fail` out".to_owned()),
        );
    }
    let steps = linter.steps();
    for (i, id) in named.iter().enumerate() {
        let path = path.index(i);
        match steps.iter().find(|other| other.step.id == *id) {
            None => {
                let known: Vec<&str> = steps.iter().map(|p| p.step.id.as_str()).collect();
                linter.error(
                    Code::DanglingNeed,
                    &path,
                    format!("there is no step `{id}` to undo"),
                    suggest(id, &known),
                );
            }
            Some(other) if !effective_undo(other.step).is_automatic() => {
                linter.error(
                    Code::NoUndo,
                    &path,
                    format!("step `{id}` has no undo that a worker can do"),
                    Some("give that step an `undo` of `run`, `http` or `sql`".to_owned()),
                );
            }
            Some(_) => {}
        }
    }
}

fn times(linter: &mut Linter<'_>, placed: &Placed<'_>) {
    let (step, path) = (placed.step, &placed.path);
    if let Some(timeout) = step.timeout {
        positive(linter, timeout, &path.key("timeout"), "the timeout");
    }
    if let Some(retry) = &step.retry {
        if !RETRY_ATTEMPTS.contains(&retry.attempts) {
            linter.error(
                Code::Bounds,
                &path.key("retry").key("attempts"),
                format!("{} attempts are not between 2 and 20", retry.attempts),
                None,
            );
        }
        if !(0..=3_600_000).contains(&retry.delay.as_millis()) {
            linter.error(
                Code::Bounds,
                &path.key("retry").key("delay"),
                format!("the delay {} is not between 0 and one hour", retry.delay),
                None,
            );
        }
    }
}

/// Checks that a time is above zero and at most [`MAX_SPAN_MS`].
pub(in crate::runbook) fn positive(linter: &mut Linter<'_>, span: Span, path: &Path, what: &str) {
    if !(1..=MAX_SPAN_MS).contains(&span.as_millis()) {
        linter.error(
            Code::Bounds,
            path,
            format!("{what} of {span} is not between 1ms and 400 days"),
            None,
        );
    }
}
