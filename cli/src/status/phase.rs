//! A phase: how much of it is done, how long it took, and whether it is worth more than a line.

use anstyle::Style;
use jiff::Timestamp;
use rollbook_ledger::projection::rows::StepRow;
use rollbook_ledger::projection::views::PhaseDetail;
use rollbook_ledger::projection::words::{GateStatus, RolloutStatus, StepRowStatus};

use super::{Picture, figures, is_over, step};
use crate::layout::{column, cut, listed, width_of, wrapped};
use crate::print::{BOLD, DIM, GREEN, RED, YELLOW, paint, visible};

/// The greatest width of a title in the list of phases.
const MAX_TITLE: usize = 40;

/// Where a phase is in its course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Nothing of it is left to do.
    Finished,
    /// Something of it has begun, or is next.
    Current,
    /// Nothing of it has begun.
    Later,
}

/// The steps of a phase, counted.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    total: usize,
    done: usize,
    failed: usize,
    skipped: usize,
    not_applicable: usize,
    undone: usize,
}

impl Counts {
    fn of(phase: &PhaseDetail) -> Self {
        let mut counts = Self::default();
        for row in in_force(phase) {
            counts.total += 1;
            counts.done += usize::from(step::is_done(row));
            counts.failed += usize::from(step::is_bad(row));
            counts.skipped += usize::from(row.status == StepRowStatus::Skipped);
            counts.not_applicable += usize::from(row.status == StepRowStatus::NotApplicable);
            counts.undone += usize::from(row.status == StepRowStatus::Undone);
        }
        counts
    }

    /// `5 of 6 steps, 1 skipped`
    fn text(&self) -> String {
        let mut text = format!("{} of {}", self.done, figures::count(self.total, "step"));
        for (number, what) in [
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.not_applicable, "not applicable"),
            (self.undone, "undone"),
        ] {
            if number > 0 {
                text.push_str(&format!(", {number} {what}"));
            }
        }
        text
    }
}

/// The steps of a phase that the plan in force has.
fn in_force(phase: &PhaseDetail) -> impl Iterator<Item = &StepRow> {
    phase.steps.iter().filter(|step| !step.dropped)
}

/// Whether a step is shown: it is in the plan in force, or ran before a revision removed it.
pub(super) fn is_shown(step: &StepRow) -> bool {
    !step.dropped || step.attempt > 0
}

/// Where the phase is.
pub(super) fn course(phase: &PhaseDetail, picture: &Picture<'_>) -> Course {
    let gate = phase.gate_detail.as_ref().map(|gate| gate.gate.status);
    let untouched =
        in_force(phase).all(|step| step.status == StepRowStatus::Pending && step.attempt == 0);
    let is_next = picture.rollout().current_phase.as_ref() == Some(&phase.phase.phase);
    if is_over(picture.answer) {
        return if untouched {
            Course::Later
        } else {
            Course::Finished
        };
    }
    let passed = gate.is_none_or(|gate| gate == GateStatus::Passed);
    if passed && in_force(phase).all(step::is_done) {
        Course::Finished
    } else if untouched && !is_next && gate != Some(GateStatus::Blocked) {
        Course::Later
    } else {
        Course::Current
    }
}

/// When its work began and, once all of it is done, ended.
fn times(phase: &PhaseDetail) -> (Option<Timestamp>, Option<Timestamp>) {
    let began = in_force(phase).filter_map(|step| step.started_at).min();
    let all_done = in_force(phase).all(|row| step::is_done(row) || step::is_bad(row));
    let ended = in_force(phase).filter_map(|step| step.finished_at).max();
    (began, ended.filter(|_| all_done))
}

/// Actual and planned time: `3 m 12 s (planned 10 m)`.
fn time(phase: &PhaseDetail, picture: &Picture<'_>) -> String {
    let planned = picture.planned_phase(&phase.phase.phase);
    let planned = planned.and_then(|phase| phase.planned);
    let planned = planned.map(|span| figures::length(span.as_millis()));
    let actual = match times(phase) {
        (Some(began), Some(ended)) => Some(figures::between(began, ended)),
        (Some(began), None) if !is_over(picture.answer) => {
            Some(figures::between(began, picture.now))
        }
        _ => None,
    };
    match (actual, planned) {
        (Some(actual), Some(planned)) => format!("{actual} (planned {planned})"),
        (Some(actual), None) => actual,
        (None, Some(planned)) => format!("planned {planned}"),
        (None, None) => String::new(),
    }
}

/// The heading of a phase that is shown in full.
pub(super) fn heading(phase: &PhaseDetail, picture: &Picture<'_>) -> Vec<String> {
    let row = &phase.phase;
    let title = visible(&row.title);
    let mut parts = match course(phase, picture) {
        Course::Later => vec![figures::count(Counts::of(phase).total, "step")],
        Course::Finished | Course::Current => vec![Counts::of(phase).text()],
    };
    parts.extend(Some(time(phase, picture)).filter(|time| !time.is_empty()));
    let person = picture
        .planned_phase(&row.phase)
        .and_then(|phase| phase.responsible.as_ref())
        .filter(|_| course(phase, picture) == Course::Current);
    parts.extend(person.map(|person| format!("responsible: {person}")));
    let says = parts.join(" · ");
    let name = paint(BOLD, format!("{} {title}", row.phase));
    if width_of(&name) + 2 + width_of(&says) <= picture.width {
        return vec![format!("{name}  {}", paint(DIM, says))];
    }
    let mut lines = wrapped(
        "",
        &format!("{} {title}", row.phase),
        BOLD,
        4,
        picture.width,
    );
    lines.extend(listed("    ", &parts, DIM, 4, picture.width));
    lines
}

/// The phase on one line.
pub(super) fn folded(phase: &PhaseDetail, picture: &Picture<'_>) -> String {
    let counts = Counts::of(phase);
    let (mark, style) = mark(&counts, course(phase, picture), picture);
    let phases = &picture.detail().phases;
    let widest = |of: &dyn Fn(&PhaseDetail) -> usize| phases.iter().map(of).max().unwrap_or(0);
    let id = widest(&|phase| width_of(&phase.phase.phase)).min(12);
    let title = widest(&|phase| width_of(&phase.phase.title)).min(MAX_TITLE);
    let steps = match course(phase, picture) {
        Course::Later => figures::count(counts.total, "step"),
        Course::Finished | Course::Current => counts.text(),
    };
    // Mark, id and title, with spaces between them and two behind.
    let fixed = 1 + 1 + id + 1 + 2;
    let time = time(phase, picture);
    let says = if time.is_empty() {
        steps
    } else {
        format!("{}  {time}", column(&steps, width_of(&steps).max(12)))
    };
    let room = picture.width.saturating_sub(fixed + width_of(&says));
    let title = title.min(room.max(8));
    let says_room = picture.width.saturating_sub(fixed + title);
    format!(
        "{} {} {}  {}",
        paint(style, mark),
        column(&phase.phase.phase, id),
        column(&visible(&phase.phase.title), title),
        paint(DIM, cut(&says, says_room)),
    )
}

fn mark(counts: &Counts, course: Course, picture: &Picture<'_>) -> (&'static str, Style) {
    let backwards = picture.rollout().status == RolloutStatus::RollingBack;
    match course {
        Course::Later => ("·", DIM),
        Course::Current if backwards => ("↶", YELLOW),
        Course::Current => ("▶", YELLOW),
        Course::Finished if counts.failed > 0 => ("✘", RED),
        Course::Finished if counts.undone > 0 => ("↶", DIM),
        Course::Finished if counts.done < counts.total => ("−", DIM),
        Course::Finished => ("✔", GREEN),
    }
}

/// Steps done and in all, over the whole plan.
pub(super) fn overall(picture: &Picture<'_>) -> String {
    let steps: Vec<&StepRow> = picture.steps().collect();
    let done = steps.iter().filter(|row| step::is_done(row)).count();
    format!("{done} of {}", figures::count(steps.len(), "step"))
}
