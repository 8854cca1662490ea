//! A gate: how it stands, and what became of each signature.

use anstyle::Style;
use jiff::Timestamp;
use rollbook_ledger::projection::rows::SignOffRow;
use rollbook_ledger::projection::views::GateDetail;
use rollbook_ledger::projection::words::{GateStatus, SignOffStatus};
use rollbook_ledger::rollout::{BlockRule, Subject};

use super::{Picture, figures};
use crate::layout::wrapped;
use crate::print::{DIM, GREEN, RED, YELLOW, paint};

/// The gate on one line, then each signature.
pub(super) fn lines(gate: &GateDetail, picture: &Picture<'_>) -> Vec<String> {
    let (style, says) = match gate.gate.status {
        GateStatus::Passed => (GREEN, "passed"),
        // That people have not signed yet is no failure.
        GateStatus::Blocked if only_waits_for_people(gate, picture) => (YELLOW, "blocked"),
        GateStatus::Blocked => (RED, "blocked"),
        GateStatus::Waiting => (DIM, "waiting"),
    };
    let first = format!(
        "  {} gate {} {}",
        paint(style, "◆"),
        gate.gate.gate,
        paint(style, says)
    );
    let passed = gate.gate.status == GateStatus::Passed;
    let needs = if passed {
        String::new()
    } else {
        needs(picture, &gate.gate.gate)
    };
    let mut lines = wrapped(&format!("{first} "), &needs, DIM, 6, picture.width);
    for sign_off in &gate.sign_offs {
        let (mark, style, text) = signature(sign_off, passed, picture.now);
        let first = format!("      {} ", paint(style, mark));
        let stands = sign_off.status == SignOffStatus::Refused && !passed;
        let style = if stands { Style::new() } else { DIM };
        lines.extend(wrapped(&first, &text, style, 8, picture.width));
    }
    lines
}

/// Nothing but signatures is missing.
fn only_waits_for_people(gate: &GateDetail, picture: &Picture<'_>) -> bool {
    let blocked = picture.answer.blocked.iter().map(|it| &it.blocked);
    let mut of_gate = blocked.filter(|it| match &it.what {
        Subject::Gate(phase) => phase.as_str() == gate.gate.gate,
        _ => false,
    });
    of_gate.any(|it| it.rule == BlockRule::SignOffsMissing)
}

/// The signatures that the plan asks for.
fn needs(picture: &Picture<'_>, gate: &str) -> String {
    let spec = picture
        .planned_phase(gate)
        .and_then(|phase| phase.gate.as_ref());
    let rules = spec.map_or(&[][..], |gate| gate.sign_offs.as_slice());
    let roles: Vec<String> = rules
        .iter()
        .map(|rule| format!("{} × {}", rule.quorum, rule.role))
        .collect();
    if roles.is_empty() {
        String::new()
    } else {
        format!("· needs {}", roles.join(", "))
    }
}

/// A mark, its colour, and what a signature is now. At a gate that has passed no rejection counts:
/// it was withdrawn, or came before a step ran again.
fn signature(row: &SignOffRow, passed: bool, now: Timestamp) -> (&'static str, Style, String) {
    let SignOffRow { person, role, .. } = row;
    let refused = row.plan_digest.is_empty();
    match row.status {
        SignOffStatus::Given => match row.expires_at {
            Some(at) if !passed && at <= now => {
                ("−", DIM, format!("expired: {person} signed as {role}"))
            }
            Some(at) if !passed => (
                "✔",
                GREEN,
                format!(
                    "signed by {person} as {role}, counts until {}",
                    figures::until(at, now)
                ),
            ),
            _ => ("✔", GREEN, format!("signed by {person} as {role}")),
        },
        SignOffStatus::Refused if !passed => (
            "✘",
            RED,
            format!("refused by {person} as {role}: {}", row.statement),
        ),
        SignOffStatus::Refused => (
            "−",
            DIM,
            format!(
                "no longer counts: {person} refused as {role}: {}",
                row.statement
            ),
        ),
        SignOffStatus::Voided => {
            let did = if refused { "refused" } else { "signed" };
            let why = match row.voided_cause.as_str() {
                "signed" => "signed after all".to_owned(),
                "refused" => "the gate was refused".to_owned(),
                "step_retried" => "a step of the phase ran again".to_owned(),
                other => other.replace('_', " "),
            };
            (
                "−",
                YELLOW,
                format!("no longer counts ({why}): {person} {did} as {role}"),
            )
        }
    }
}
