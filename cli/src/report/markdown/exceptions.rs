//! Everything that did not go by the plan's usual way, in one place.

use std::fmt::Write;

use rollbook_ledger::projection::rows::{SignOffRow, StepRow, TimelineRow};
use rollbook_ledger::projection::views::{GateDetail, RolloutDetail};
use rollbook_ledger::projection::words::{
    GateStatus, RequestKind, RequestStatus, RevisionStatus, SignOffStatus, StepRowStatus, Verdict,
};

use super::{cell, time};

/// Exceptions by kind; says so if there are none.
pub(super) fn exceptions(
    out: &mut String,
    detail: &RolloutDetail,
    timeline: &[TimelineRow],
) -> std::fmt::Result {
    let found = found(detail, timeline);
    writeln!(out, "\n## Exceptions\n")?;
    if found.is_empty() {
        return writeln!(
            out,
            "None: nothing was skipped, refused, revised, bypassed or signed late."
        );
    }
    for text in found {
        writeln!(out, "- {text}")?;
    }
    Ok(())
}

/// A sentence for each exception.
pub(in crate::report) fn found(detail: &RolloutDetail, timeline: &[TimelineRow]) -> Vec<String> {
    let mut found = Vec::new();
    for phase in &detail.phases {
        for step in &phase.steps {
            of_step(step, timeline, &mut found);
        }
        if let Some(gate) = &phase.gate_detail {
            of_gate(gate, timeline, &mut found);
        }
    }
    of_people(detail, &mut found);
    found
}

/// Types of events of a step that are exceptions, whatever came after them.
const OF_STEPS: [(&str, &str); 4] = [
    ("step_skipped", "skipped"),
    ("not_applicable_proposed", "claimed not applicable"),
    ("not_applicable_reviewed", "not applicable, reviewed"),
    ("step_interrupted", "interrupted"),
];

fn of_step(step: &StepRow, timeline: &[TimelineRow], found: &mut Vec<String>) {
    let name = format!("Step {} {}", cell(&step.step), cell(&step.title));
    for row in timeline.iter().filter(|row| row.subject == step.step) {
        if let Some((_, what)) = OF_STEPS.iter().find(|(event, _)| row.event == *event) {
            found.push(format!(
                "{name}: **{what}** at {}: {}.",
                time(row.recorded_at),
                cell(&row.sentence)
            ));
        }
    }
    if step.status == StepRowStatus::UndoFailed {
        found.push(format!(
            "{name} **could not be undone**: {}.",
            cell(&step.undo_message)
        ));
    }
    let is_bad = matches!(
        step.verdict,
        Some(Verdict::Fail | Verdict::Error | Verdict::Inconclusive)
    );
    if is_bad && step.status == StepRowStatus::Finished {
        found.push(format!(
            "{name} ended with **{}**: {}.",
            step.verdict
                .map_or_else(String::new, |verdict| verdict.to_string()),
            cell(&step.message)
        ));
    }
    if step.attempt > 1 {
        found.push(format!("{name} took **{} attempts**.", step.attempt));
    }
}

fn of_gate(detail: &GateDetail, timeline: &[TimelineRow], found: &mut Vec<String>) {
    let gate = &detail.gate;
    for sign_off in &detail.sign_offs {
        let person = format!("{} as {}", cell(&sign_off.person), cell(&sign_off.role));
        // A refusal that no longer counts is still one.
        let is_refusal = timeline.iter().any(|row| {
            (row.sequence, row.idx) == (sign_off.sequence, sign_off.idx)
                && row.event == "sign_off_refused"
        });
        let voided = || {
            format!(
                "**void** since {}: {}",
                time(sign_off.voided_at),
                cell(&sign_off.voided_cause)
            )
        };
        match sign_off.status {
            SignOffStatus::Voided if !is_refusal => found.push(format!(
                "The sign-off of gate {} by {person} is {}.",
                cell(&gate.gate),
                voided()
            )),
            SignOffStatus::Refused | SignOffStatus::Voided => {
                let since = match sign_off.status {
                    SignOffStatus::Voided => format!("; {}", voided()),
                    _ => String::new(),
                };
                found.push(format!(
                    "Gate {} was **refused** by {person} at {}: {}{since}.",
                    cell(&gate.gate),
                    time(sign_off.given_at),
                    cell(&sign_off.statement)
                ));
            }
            SignOffStatus::Given if is_late(gate.status, gate.decided_at, sign_off) => {
                found.push(format!(
                    "Gate {} was signed **late** by {person} at {}, after it had passed at {}.",
                    cell(&gate.gate),
                    time(sign_off.given_at),
                    time(gate.decided_at)
                ));
            }
            SignOffStatus::Given => {}
        }
    }
}

fn is_late(status: GateStatus, decided_at: Option<jiff::Timestamp>, sign_off: &SignOffRow) -> bool {
    status == GateStatus::Passed && sign_off.given_at > decided_at
}

/// Rollbacks, revisions, and what was done alone or asked of a second person.
fn of_people(detail: &RolloutDetail, found: &mut Vec<String>) {
    for row in &detail.rollbacks {
        let level = row.level.map_or("?", |level| level.as_str());
        found.push(format!(
            "A **rollback** to level {level} was started by {} at {}: {}.",
            cell(&row.started_by),
            time(row.started_at),
            cell(&row.reason)
        ));
    }
    for row in &detail.revisions {
        let how = match row.status {
            RevisionStatus::Proposed => "which waits to be accepted".to_owned(),
            status => format!("{status} by {}", cell(&row.decided_by)),
        };
        found.push(format!(
            "Revision {} of the plan was **proposed** by {} at {}, {how}: {}.",
            row.revision,
            cell(&row.proposed_by),
            time(row.proposed_at),
            cell(&row.reason)
        ));
    }
    for row in &detail.requests {
        match (row.kind, row.status) {
            (RequestKind::Review, status) => {
                let review = match status {
                    RequestStatus::Open => "not reviewed yet".to_owned(),
                    RequestStatus::Overdue => "its review is **overdue**".to_owned(),
                    status => format!("{status} by {}", cell(&row.ended_by)),
                };
                let late = match (row.ended_at, row.due_at) {
                    (Some(ended), Some(due)) if ended > due => ", after the review was due",
                    _ => "",
                };
                found.push(format!(
                    "{} **broke glass** to {} at {}: {}; {review}{late}.",
                    cell(&row.made_by),
                    cell(&row.what),
                    time(row.made_at),
                    cell(&row.reason)
                ));
            }
            (
                RequestKind::Confirm,
                RequestStatus::Withdrawn | RequestStatus::Expired | RequestStatus::Voided,
            ) => found.push(format!(
                "The request of {} to {} was **{}**: {}.",
                cell(&row.made_by),
                cell(&row.what),
                row.status,
                cell(&row.note)
            )),
            (RequestKind::Confirm, _) => {}
        }
    }
}
