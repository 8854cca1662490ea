//! Why a rollout is blocked: what, why, who, until when, how, and whom to call.

use anstyle::Style;
use rollbook_ledger::rollout::{Subject, WaitsFor};
use rollbook_server::api::BlockedAnswer;
use rollbook_server::command_line::OR;

use super::{Picture, figures};
use crate::layout::wrapped;
use crate::print::{self, BOLD, YELLOW, paint};

/// Columns before who, until and how.
const INDENT: usize = 6;

/// Everything that does not move; empty if nothing is blocked.
pub(super) fn lines(picture: &Picture<'_>) -> Vec<String> {
    let blocked = &picture.answer.blocked;
    if blocked.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![paint(BOLD, "why it is blocked")];
    for one in blocked {
        lines.extend(one_blocked(one, picture));
    }
    lines.extend(calls(picture));
    lines
}

fn one_blocked(
    BlockedAnswer { blocked, how }: &BlockedAnswer,
    picture: &Picture<'_>,
) -> Vec<String> {
    let plain = Style::new();
    let what = format!("  {}: ", paint(YELLOW, &blocked.what));
    let mut lines = wrapped(&what, &blocked.why, plain, INDENT, picture.width);
    let mut add = |key: &str, text: &str| {
        let first = format!("{}{key}: ", " ".repeat(INDENT));
        lines.extend(wrapped(&first, text, plain, INDENT + 5, picture.width));
    };
    // It goes on by itself: nobody is asked.
    let by_itself = blocked.waits_for.is_by_itself();
    if !blocked.who.is_empty() && !by_itself {
        add("who", &blocked.who.join(", "));
    }
    match blocked.until {
        Some(at) => add("until", &figures::until(at, picture.now)),
        None if by_itself => add("who", "nobody, it goes on by itself"),
        None => {}
    }
    // Each command stays whole, to be copied.
    let commands = how.iter().flat_map(|how| how.split(OR));
    for (number, command) in commands.enumerate() {
        let key = if number == 0 { "how" } else { " or" };
        lines.push(format!(
            "{}{key}: {}",
            " ".repeat(INDENT),
            print::visible(command)
        ));
    }
    lines
}

/// Who is responsible for the phases that wait for a person, and whom the runbook says to call.
fn calls(picture: &Picture<'_>) -> Vec<String> {
    let waits = picture.answer.blocked.iter().map(|it| &it.blocked);
    let waits: Vec<_> = waits
        .filter(|it| it.waits_for == WaitsFor::Person)
        .collect();
    let Some(plan) = picture.plan.filter(|_| !waits.is_empty()) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    let mut named = Vec::new();
    for blocked in waits {
        let phase = match &blocked.what {
            Subject::Step(step) => plan.phase_of(step).map(ToString::to_string),
            Subject::Gate(phase) => Some(phase.to_string()),
            _ => picture.rollout().current_phase.clone(),
        };
        let Some(phase) = phase.filter(|phase| !named.contains(phase)) else {
            continue;
        };
        let planned = picture.planned_phase(&phase);
        if let Some(person) = planned.and_then(|phase| phase.responsible.as_ref()) {
            let text = format!("responsible for phase {phase}: {person}");
            lines.extend(wrapped("  ", &text, Style::new(), INDENT, picture.width));
        }
        named.push(phase);
    }
    let contacts = plan.runbook().metadata.contacts.iter();
    let contacts: Vec<String> = contacts
        .map(|(role, contact)| format!("{contact} ({role})"))
        .collect();
    if !contacts.is_empty() {
        let text = contacts.join(", ");
        lines.extend(wrapped(
            "  call: ",
            &text,
            Style::new(),
            INDENT,
            picture.width,
        ));
    }
    lines
}
