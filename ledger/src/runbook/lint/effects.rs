//! Effects of steps, their verification and undo; captures, flags, times and counts.

use std::collections::HashMap;

use super::super::action::Undo;
use super::super::diagnostic::{Code, Path};
use super::super::model::FlagTarget;
use super::super::plan::{effective_undo, has_effect};
use super::super::span::Span;
use super::super::step::{Action, OnFail};
use super::{Linter, Placed, scripts};

/// Allowed number of attempts in total.
const RETRY_ATTEMPTS: std::ops::RangeInclusive<u32> = 2..=20;

/// Maximum duration of any wait, watch or timeout, in ms.
const MAX_SPAN_MS: i64 = 400 * 86_400_000;

/// Minimum sampling interval of a watch, in ms, because each sample is an event.
const MIN_CADENCE_MS: i64 = 1_000;

/// Maximum number of samples of one watch.
const MAX_SAMPLES: i64 = 20_000;

pub(super) fn check(linter: &mut Linter<'_>) {
    flags(linter);
    let mut labels: HashMap<(&str, &str), Path> = HashMap::new();
    for placed in linter.steps() {
        undo_and_verify(linter, &placed);
        undone_on_fail(linter, &placed);
        scripts::check(linter, &placed);
        times(linter, &placed);
        match &placed.step.action {
            Action::Snapshot(snapshot) => {
                let path = placed.path.key("snapshot").key("label");
                if labels.contains_key(&(snapshot.of.as_str(), snapshot.label.as_str())) {
                    linter.error(
                        Code::Duplicate,
                        &path,
                        format!(
                            "snapshot `{}` already has a label `{}`",
                            snapshot.of, snapshot.label
                        ),
                        Some("give each capture its own label".to_owned()),
                    );
                }
                labels.insert((&snapshot.of, &snapshot.label), path);
            }
            Action::Compare(compare) => {
                for (key, label) in [("before", &compare.before), ("after", &compare.after)] {
                    if labels.contains_key(&(compare.of.as_str(), label.as_str())) {
                        continue;
                    }
                    let mut known: Vec<&str> = labels
                        .keys()
                        .filter(|(of, _)| *of == compare.of)
                        .map(|(_, label)| *label)
                        .collect();
                    known.sort_unstable();
                    linter.error(
                        Code::UnknownLabel,
                        &placed.path.key("compare").key(key),
                        format!(
                            "no step before this one captures `{}` as `{label}`",
                            compare.of
                        ),
                        super::super::diagnostic::suggest(label, &known),
                    );
                }
                if compare
                    .tolerance_percent
                    .is_some_and(|t| !(0.0..=1_000.0).contains(&t))
                {
                    linter.error(
                        Code::Bounds,
                        &placed.path.key("compare").key("tolerance_percent"),
                        "the tolerance is not between 0 and 1000 percent",
                        None,
                    );
                }
            }
            _ => {}
        }
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
    if step.undo_verify.is_some() && !effective_undo(step).is_possible() {
        linter.error(
            Code::NoUndo,
            &placed.path.key("undo").key("verify"),
            format!("step `{}` verifies an undo that it does not have", step.id),
            Some("add the undo beside its `verify`: `run`, `http`, `sql` or `manual`".to_owned()),
        );
        return;
    }
    let (verified, undone) = match &step.action {
        Action::Flag(_) => (true, true),
        Action::Sql(sql) => (
            sql.verify.is_some() || step.verify.is_some(),
            sql.revert.is_some() || step.undo != Undo::Unset,
        ),
        Action::Manual(_) => (true, step.undo != Undo::Unset),
        _ => (step.verify.is_some(), step.undo != Undo::Unset),
    };
    if !verified {
        linter.error(
            Code::NoVerify,
            &placed.path,
            format!(
                "step `{}` ({kind}) changes something and has no `verify`",
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
                "step `{}` ({kind}) changes something and has no way back",
                step.id
            ),
            Some(
                match &step.action {
                    Action::Sql(_) => "add `revert`, or `undo: none`, or `undo: irreversible`",
                    _ => "add `undo`, or say `undo: none` or `undo: irreversible`",
                }
                .to_owned(),
            ),
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
                    super::super::diagnostic::suggest(id, &known),
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

fn flags(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    for (key, flag) in &runbook.flags {
        let path = Path::root().key("flags").key(key);
        setting(linter, &flag.safe, &path.key("safe"));
        if flag.safe == FlagTarget::Safe {
            linter.error(
                Code::FlagSetting,
                &path.key("safe"),
                "the safe value cannot be `safe`",
                Some("write `off`, or the value that is safe".to_owned()),
            );
        }
        if let Some(date) = &flag.retire_by
            && date.parse::<jiff::civil::Date>().is_err()
            && date.parse::<jiff::Timestamp>().is_err()
        {
            linter.error(
                Code::FlagSetting,
                &path.key("retire_by"),
                format!("`{date}` is not a date"),
                Some("write 2026-12-31".to_owned()),
            );
        }
    }
    for placed in linter.steps() {
        if let Action::Flag(action) = &placed.step.action {
            setting(linter, &action.to, &placed.path.key("flag").key("to"));
        }
    }
}

fn setting(linter: &mut Linter<'_>, target: &FlagTarget, path: &Path) {
    let message = match target {
        FlagTarget::Percentage(share) if !(0.0..=100.0).contains(share) => {
            format!("{share} percent is not between 0 and 100")
        }
        FlagTarget::Percentage(share)
            if (share * 1_000.0 - (share * 1_000.0).round()).abs() > 1e-6 =>
        {
            format!("{share} percent has more than three decimals")
        }
        FlagTarget::Beta(labels) if labels.is_empty() => "`beta` has no label".to_owned(),
        _ => return,
    };
    let key = match target {
        FlagTarget::Beta(_) => "beta",
        _ => "percentage",
    };
    linter.error(Code::FlagSetting, &path.key(key), message, None);
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
    match &step.action {
        Action::Watch(watch) => {
            let path = path.key("watch");
            positive(linter, watch.r#for, &path.key("for"), "the watch");
            let (length, every) = (watch.r#for.as_millis(), watch.every.as_millis());
            if every < MIN_CADENCE_MS || every > length.max(0) {
                linter.error(
                    Code::Bounds,
                    &path.key("every"),
                    format!(
                        "{} between samples is not within the {} of the watch",
                        watch.every, watch.r#for
                    ),
                    Some("`every` is at least 1s and at most `for`".to_owned()),
                );
            } else if length / every > MAX_SAMPLES {
                linter.error(
                    Code::Bounds,
                    &path.key("every"),
                    format!(
                        "the watch would take {} samples, more than {MAX_SAMPLES}",
                        length / every
                    ),
                    None,
                );
            }
        }
        Action::Wait(wait) if !(0..=MAX_SPAN_MS).contains(&wait.r#for.as_millis()) => {
            linter.error(
                Code::Bounds,
                &path.key("wait").key("for"),
                format!(
                    "the wait of {} is not between nothing and 400 days",
                    wait.r#for
                ),
                None,
            );
        }
        _ => {}
    }
}

fn positive(linter: &mut Linter<'_>, span: Span, path: &Path, what: &str) {
    if !(1..=MAX_SPAN_MS).contains(&span.as_millis()) {
        linter.error(
            Code::Bounds,
            path,
            format!("{what} of {span} is not between 1ms and 400 days"),
            None,
        );
    }
}
