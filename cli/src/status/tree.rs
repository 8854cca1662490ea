//! The whole status: every phase, step and gate.

use anstyle::Style;
use rollbook_ledger::projection::words::RevisionStatus;
use rollbook_ledger::rollout::NO_ADVICE;

use super::{Picture, as_of, blocked, gate, head, phase, revision_lines, running, step};
use crate::layout::wrapped;
use crate::print::{BOLD, DIM, paint};

/// Everything about a rollout, why it is blocked first.
pub(crate) fn tree(picture: &Picture<'_>) -> Vec<String> {
    let mut lines = head::lines(picture);
    part(&mut lines, blocked::lines(picture));
    part(&mut lines, head::alerts(picture));
    let columns = step::Columns::of(picture);
    for detail in &picture.detail().phases {
        if detail.phase.dropped && !detail.steps.iter().any(phase::is_shown) {
            continue;
        }
        part(&mut lines, phase::heading(detail, picture));
        for row in detail.steps.iter().filter(|row| phase::is_shown(row)) {
            lines.push(step::row(row, columns, picture.now));
            lines.extend(step::message(row, picture.width));
            lines.extend(running::how_far(row, picture));
        }
        if let Some(detail) = &detail.gate_detail {
            lines.extend(gate::lines(detail, picture));
        }
    }
    part(&mut lines, advice(picture));
    let revisions = picture.detail().revisions.iter();
    for row in revisions.filter(|row| row.status == RevisionStatus::Proposed) {
        part(&mut lines, revision_lines(row, picture.width));
    }
    part(&mut lines, head::deductions(picture));
    let fresh = as_of(&picture.answer.view);
    part(&mut lines, wrapped("", &fresh, DIM, 2, picture.width));
    lines
}

/// Adds a part with an empty line before it.
fn part(lines: &mut Vec<String>, part: Vec<String>) {
    if !part.is_empty() {
        lines.push(String::new());
        lines.extend(part);
    }
}

/// The latest advice of the decision tree.
fn advice(picture: &Picture<'_>) -> Vec<String> {
    let advice = picture.detail().advice.last();
    let Some(advice) = advice.filter(|advice| advice.advice != NO_ADVICE) else {
        return Vec::new();
    };
    let text = format!("because {} ({})", advice.rule, advice.inputs.join(", "));
    let first = format!("advice: {} ", paint(BOLD, &advice.advice));
    wrapped(&first, &text, Style::new(), 4, picture.width)
}
