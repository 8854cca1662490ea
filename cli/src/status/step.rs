//! A step as a row, and what its result says.

use anstyle::Style;
use jiff::Timestamp;
use rollbook_ledger::projection::rows::StepRow;
use rollbook_ledger::projection::words::{StepRowStatus, UndoVerification, Verdict};

use super::{Picture, figures};
use crate::layout::{column, cut, right, width_of, wrapped};
use crate::print::{self, DIM, GREEN, RED, YELLOW, paint};

/// Columns before a message of a step.
const MESSAGE_INDENT: usize = 6;

/// Columns before an id.
const MARK: usize = 4;

/// Narrower than this, a row leaves the kind out.
const KIND_FROM: usize = 64;

/// The greatest width that ids are padded to; longer ones take from the title beside them.
const MAX_ID: usize = 10;

/// The least and the greatest width of a title.
const TITLE: (usize, usize) = (8, 72);

/// The widths of the columns, the same for all steps of a status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    id: usize,
    title: usize,
    kind: usize,
    word: usize,
    time: usize,
    /// Of the whole row.
    row: usize,
}

impl Columns {
    pub(super) fn of(picture: &Picture<'_>) -> Self {
        let steps = || {
            let phases = picture.detail().phases.iter();
            phases.flat_map(|phase| &phase.steps)
        };
        let widest = |of: &dyn Fn(&StepRow) -> usize| steps().map(of).max().unwrap_or(0);
        let ids = || steps().map(|step| width_of(&step.step));
        let id = ids().filter(|id| *id <= MAX_ID).max().unwrap_or(0);
        let widest_id = ids().max().unwrap_or(0);
        // Titles can be cut, ids cannot; behind the widest id there is room for ` …`.
        let least = TITLE.0.max((widest_id + 1).saturating_sub(id));
        let word = widest(&|step| width_of(&word(step)));
        let time = widest(&|step| width_of(&time(step, picture.now)));
        let gaps = 2 + 1 + 1 + 1 + 1 + 1;
        let kind = widest(&|step| width_of(&step.kind));
        let with_kind = gaps + id + least + 1 + kind + word + time;
        let kind = if picture.width >= KIND_FROM.max(with_kind) {
            kind
        } else {
            0
        };
        let gaps = gaps + usize::from(kind > 0);
        let rest = picture.width.saturating_sub(gaps + id + kind + word + time);
        let titles = widest(&|step| width_of(&step.title)).min(TITLE.1);
        Self {
            id,
            title: rest.min(titles).max(least),
            kind,
            word,
            time,
            row: picture.width.max(MARK + widest_id + 2),
        }
    }
}

/// A step on one line: mark, id, title, kind, result and time.
pub(super) fn row(step: &StepRow, columns: Columns, now: Timestamp) -> String {
    let (mark, style) = mark(step);
    let kind = match columns.kind {
        0 => String::new(),
        width => format!(" {}", paint(DIM, column(&step.kind, width))),
    };
    // An id is typed in commands, so it is not cut.
    let id = " ".repeat(columns.id.saturating_sub(width_of(&step.step)));
    let name = format!("{}{id} {}", step.step, print::visible(&step.title));
    let begun = format!(
        "  {} {}{kind}",
        paint(style, mark),
        column(&name, columns.id + 1 + columns.title),
    );
    let row = match time(step, now) {
        time if time.is_empty() => format!("{begun} {}", paint(style, word(step))),
        time => format!(
            "{begun} {} {}",
            paint(style, column(&word(step), columns.word)),
            paint(DIM, right(&time, columns.time)),
        ),
    };
    cut(&row, columns.row)
}

/// How long the step took, or how long it has been running.
fn time(step: &StepRow, now: Timestamp) -> String {
    match (step.status, step.started_at, step.duration_ms) {
        (StepRowStatus::Running, Some(started), _) => figures::between(started, now),
        // An undone step's duration is that of what is gone.
        (StepRowStatus::Undoing | StepRowStatus::Undone, ..) => String::new(),
        (_, _, Some(millis)) => print::duration(millis),
        // No worker measured it: a person did it, or time passed.
        (StepRowStatus::Finished, Some(started), None) => step
            .finished_at
            .map(|finished| figures::between(started, finished))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// Why a step did not simply pass, below its row.
pub(super) fn message(step: &StepRow, width: usize) -> Vec<String> {
    let (_, style) = mark(step);
    let text = match step.status {
        StepRowStatus::Undone | StepRowStatus::UndoFailed | StepRowStatus::Undoing => {
            &step.undo_message
        }
        _ => &step.message,
    };
    let told = is_bad(step)
        || matches!(
            step.status,
            StepRowStatus::Skipped | StepRowStatus::NotApplicable | StepRowStatus::InReview
        )
        || step.status == StepRowStatus::Finished && step.verdict == Some(Verdict::Warning);
    if !told || text.trim().is_empty() {
        return Vec::new();
    }
    let indent = " ".repeat(MESSAGE_INDENT);
    wrapped(&indent, text, style, MESSAGE_INDENT, width)
}

/// It did not end as it should.
pub(super) fn is_bad(step: &StepRow) -> bool {
    match step.status {
        StepRowStatus::Finished => !matches!(
            step.verdict,
            Some(Verdict::Pass | Verdict::Warning | Verdict::Skipped | Verdict::NotApplicable)
        ),
        StepRowStatus::Interrupted | StepRowStatus::UndoFailed => true,
        _ => false,
    }
}

/// Nothing of it is left to do.
pub(super) fn is_done(step: &StepRow) -> bool {
    match step.status {
        StepRowStatus::Finished => !is_bad(step) || !step.critical,
        StepRowStatus::Skipped | StepRowStatus::NotApplicable => true,
        _ => false,
    }
}

/// It runs, or its undo does.
pub(super) fn runs(step: &StepRow) -> bool {
    matches!(step.status, StepRowStatus::Running | StepRowStatus::Undoing)
}

/// A sign for how a step is, with its colour. Red is only for what went wrong.
pub(super) fn mark(step: &StepRow) -> (&'static str, Style) {
    match (step.status, step.verdict) {
        (StepRowStatus::Running | StepRowStatus::Undoing, _) => ("▶", YELLOW),
        (StepRowStatus::Finished, Some(Verdict::Pass)) => ("✔", GREEN),
        (StepRowStatus::Finished, Some(Verdict::Warning)) => ("!", YELLOW),
        (StepRowStatus::Finished, Some(Verdict::Inconclusive)) | (StepRowStatus::InReview, _) => {
            ("?", YELLOW)
        }
        (StepRowStatus::Finished, Some(Verdict::NotApplicable))
        | (StepRowStatus::NotApplicable, _) => ("∅", DIM),
        (StepRowStatus::Finished, Some(Verdict::Skipped)) | (StepRowStatus::Skipped, _) => {
            ("−", DIM)
        }
        (StepRowStatus::Finished | StepRowStatus::Interrupted | StepRowStatus::UndoFailed, _) => {
            ("✘", RED)
        }
        (StepRowStatus::Undone, _) => ("↶", DIM),
        (StepRowStatus::Pending, _) => ("·", DIM),
    }
}

/// The result of a step: its verdict once finished, otherwise its status.
fn word(step: &StepRow) -> String {
    let word = match (step.status, step.verdict) {
        (StepRowStatus::Finished, Some(verdict)) => verdict.as_str(),
        (StepRowStatus::Undone, _)
            if step.undo_verification == Some(UndoVerification::NotVerified) =>
        {
            "undone, not verified"
        }
        (status, _) => status.as_str(),
    };
    word.replace('_', " ")
}
