//! What runs now, with how far it is: samples of a watch, deals of a snapshot or comparison, the end
//! of a wait.

use anstyle::Style;
use jiff::Timestamp;
use rollbook_ledger::projection::rows::StepRow;
use rollbook_ledger::projection::words::{MeasuredValue, StepRowStatus, Verdict};
use rollbook_ledger::runbook::kind::{DoneBy, Watch};
use rollbook_workers::executor::StepProgress;
use rollbook_workers::executor::watch_rules::Schedule;

use super::{Picture, figures, step};
use crate::layout::{listed, wrapped};
use crate::print::{self, BOLD, DIM, GREEN, RED, YELLOW, paint};

/// Columns before how far a step is.
const INDENT: usize = 6;

/// Columns of a bar.
const BAR: u64 = 20;

/// How many workers of a step are shown, those with the most deals first.
const MAX_WORKERS: usize = 8;

/// The running steps; empty if nothing runs.
pub(super) fn lines(picture: &Picture<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for row in picture.steps().filter(|row| step::runs(row)) {
        if lines.is_empty() {
            lines.push(paint(BOLD, "running now"));
        }
        let first = format!("  {} {} ", paint(YELLOW, "▶"), row.step);
        lines.extend(listed(
            &first,
            &headline(row, picture),
            Style::new(),
            INDENT,
            picture.width,
        ));
        lines.extend(how_far(row, picture));
    }
    lines
}

/// Title, kind, time, attempt and worker.
fn headline(row: &StepRow, picture: &Picture<'_>) -> Vec<String> {
    let mut parts = vec![row.title.clone()];
    let limit = picture.planned(&row.step).and_then(|step| step.timeout);
    match (row.status, row.started_at) {
        (StepRowStatus::Undoing, _) => parts.push("is being undone".to_owned()),
        (_, Some(started)) => {
            let time = figures::between(started, picture.now);
            parts.push(match limit {
                Some(limit) => {
                    format!("{time} of at most {}", figures::length(limit.as_millis()))
                }
                None => time,
            });
        }
        (_, None) => {}
    }
    if row.attempt > 1 {
        parts.push(format!("attempt {}", row.attempt));
    }
    if !row.worker.is_empty() {
        parts.push(format!("on {}", row.worker));
    }
    parts
}

/// How far a running step is, indented below its row.
pub(super) fn how_far(row: &StepRow, picture: &Picture<'_>) -> Vec<String> {
    if row.status != StepRowStatus::Running {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let add = |lines: &mut Vec<String>, parts: &[String]| {
        let first = " ".repeat(INDENT);
        lines.extend(listed(&first, parts, DIM, INDENT, picture.width));
    };
    let kind = picture.planned(&row.step).map(|step| step.action.kind());
    if let (Some(kind), Some(started)) = (kind, row.started_at) {
        if let Some(watch) = kind.sampling() {
            add(&mut lines, &samples(watch, row, started, picture.now));
        } else if let DoneBy::Time(span) = kind.done_by()
            && let Ok(end) = started.checked_add(span.to_signed())
        {
            let end = figures::until(end, picture.now);
            add(&mut lines, &[format!("ends {end}")]);
        }
    }
    let watch = kind.and_then(|kind| kind.sampling());
    for value in row.measurements.iter() {
        lines.extend(metric(value, watch, picture.width));
    }
    let states = picture.answer.progress.iter();
    for state in states.filter(|state| state.step.as_str() == row.step && state.total > 0) {
        add(&mut lines, &deals(state));
        let mut workers: Vec<_> = state.workers.iter().collect();
        if workers.len() > 1 {
            workers.sort_by_key(|worker| std::cmp::Reverse(worker.deals));
            for worker in workers.iter().take(MAX_WORKERS) {
                add(
                    &mut lines,
                    &[format!(
                        "{}: {} deals, {}/s",
                        worker.name,
                        figures::grouped(worker.deals),
                        figures::grouped(worker.deals_per_second)
                    )],
                );
            }
            if let Some(more) = workers.len().checked_sub(MAX_WORKERS).filter(|n| *n > 0) {
                add(
                    &mut lines,
                    &[format!("and {}", figures::count(more, "more worker"))],
                );
            }
        }
    }
    lines
}

/// `sample 9 of 61 · next in 20 s · ends …`
fn samples(watch: &Watch, row: &StepRow, started: Timestamp, now: Timestamp) -> Vec<String> {
    let schedule = Schedule::new(watch, started);
    let count = schedule.count();
    let last = row
        .measurements
        .iter()
        .filter_map(|it| it.measured_at)
        .max();
    let taken = last.map_or(0, |last| schedule.next(Some(last), last).unwrap_or(count));
    let mut parts = vec![format!("sample {taken} of {count}")];
    if let Some(next) = schedule.at(taken).filter(|next| *next > now) {
        parts.push(format!("next in {}", figures::between(now, next)));
    }
    if let Some(end) = schedule.at(count.saturating_sub(1)) {
        parts.push(format!("ends {}", figures::until(end, now)));
    }
    parts
}

/// The last value of a metric, and what the watch says about it.
fn metric(value: &MeasuredValue, watch: Option<&Watch>, width: usize) -> Vec<String> {
    let (style, says) = match value.verdict {
        Some(Verdict::Fail | Verdict::Error) => (RED, "fails: "),
        Some(Verdict::Warning) => (YELLOW, "warns: "),
        Some(Verdict::Inconclusive) => (YELLOW, "inconclusive: "),
        Some(_) => (GREEN, "ok"),
        None => (DIM, ""),
    };
    let fails = watch.and_then(|watch| {
        let mut of = watch.thresholds.iter();
        of.find(|it| it.metric == value.metric)?.fail.as_ref()
    });
    let rule = match value.verdict {
        Some(Verdict::Pass) if fails == Some(&value.rule) => {
            format!(", fails when {}", value.rule)
        }
        Some(Verdict::Pass) if value.rule.is_empty() => String::new(),
        Some(Verdict::Pass) => format!(" ({})", value.rule),
        _ => value.rule.clone(),
    };
    let first = format!(
        "{}{} {} ",
        " ".repeat(INDENT),
        print::visible(&value.metric),
        paint(BOLD, print::visible(&figures::value(value))),
    );
    wrapped(&first, &format!("{says}{rule}"), style, INDENT + 2, width)
}

/// Deals done with a bar, shards, rate, time left and errors.
fn deals(state: &StepProgress) -> Vec<String> {
    let share = |of: u64| state.done.saturating_mul(of) / state.total.max(1);
    let filled = share(BAR).min(BAR);
    let bar: String = (0..BAR)
        .map(|at| if at < filled { '█' } else { '░' })
        .collect();
    let mut parts = vec![format!(
        "{bar} {} % · {} of {} deals",
        share(100).min(100),
        figures::grouped(state.done),
        figures::grouped(state.total)
    )];
    if let Some(shards) = state.shards {
        parts.push(format!("{} of {} shards", shards.done, shards.total));
    }
    parts.push(format!("{}/s", figures::grouped(state.deals_per_second)));
    parts.push(match state.seconds_left {
        Some(left) => format!("{} left", figures::seconds(left)),
        None => "time left unknown".to_owned(),
    });
    if state.errors > 0 {
        parts.push(format!("{} in error", figures::grouped(state.errors)));
    }
    parts
}
