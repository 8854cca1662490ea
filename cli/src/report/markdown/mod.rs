//! The report as Markdown.

mod course;
pub(super) mod exceptions;
mod figures;
mod sign_offs;
mod steps;

use std::fmt::Write;

use rollbook_ledger::projection::views::RolloutDetail;
use rollbook_ledger::projection::words::StepRowStatus;
use rollbook_ledger::runbook::describe::masked;

use super::{Material, authority};
use crate::print;

/// Renders the report.
pub(crate) fn markdown(material: &Material) -> String {
    let mut out = String::new();
    let detail = &material.status.view.data;
    // Writing to a String cannot fail.
    let _ = sections(&mut out, detail, material);
    out
}

fn sections(out: &mut String, detail: &RolloutDetail, material: &Material) -> std::fmt::Result {
    head(out, detail, material)?;
    proof(out, material)?;
    course::waits(out, &material.status)?;
    exceptions::exceptions(out, detail, &material.timeline)?;
    figures::success(out, detail)?;
    figures::health(out, detail)?;
    figures::comparisons(out, detail)?;
    figures::audits(out, detail)?;
    sign_offs::gates(out, detail)?;
    authority::revisions(out, detail)?;
    authority::requests(out, detail)?;
    steps::steps(out, material)?;
    course::rollbacks(out, detail)?;
    course::alerts(out, detail)?;
    course::notices(out, detail, &material.plan)?;
    people(out, material)?;
    parameters(out, detail)?;
    course::timeline(out, material)
}

/// What the report was compared with, and which parts of it are damaged.
fn proof(out: &mut String, material: &Material) -> std::fmt::Result {
    let proof = &material.proof;
    for damaged in &proof.damaged {
        writeln!(out, "\n**Damaged:** {}", cell(damaged))?;
    }
    let unread = match proof.unread {
        0 => String::new(),
        unread => format!("; {unread} more are there and, being large, were not read"),
    };
    let erased = match proof.erased {
        0 => String::new(),
        erased => format!("; {erased} long texts were erased, and only their beginnings are left"),
    };
    writeln!(
        out,
        "\nCompared with the ledger when it was written: every row is what the ledger says; {} pieces of evidence were read and are what they were{unread}{erased}.",
        proof.sound
    )
}

fn head(out: &mut String, detail: &RolloutDetail, material: &Material) -> std::fmt::Result {
    let rollout = &detail.rollout;
    let as_of = &material.status.view.as_of;
    writeln!(out, "# Post-rollout report: {}\n", cell(&rollout.name))?;
    writeln!(out, "| Rollout | {} |\n|---|---|", cell(&rollout.rollout))?;
    let score = rollout
        .health_score
        .map(|score| format!(" ({score} of 100)"))
        .unwrap_or_default();
    let rows = [
        (
            "Runbook",
            format!("{} {}", rollout.runbook, rollout.runbook_version),
        ),
        ("Environment", rollout.environment.clone()),
        ("Outcome", outcome(detail)),
        ("Health", format!("{}{score}", rollout.health)),
        (
            "Opened",
            format!("{} by {}", time(rollout.opened_at), rollout.opened_by),
        ),
        ("Started", time(rollout.started_at)),
        ("Closed", time(rollout.closed_at)),
        (
            "As of",
            format!("sequence {} ({})", as_of.sequence, time(as_of.recorded_at)),
        ),
    ];
    for (name, value) in rows {
        writeln!(out, "| {name} | {} |", cell(&value))?;
    }
    writeln!(
        out,
        "| Plan digest | `{}` (revision {}) |",
        rollout.plan_digest, rollout.revision
    )?;
    if !rollout.summary.is_empty() {
        writeln!(out, "\n{}", cell(&rollout.summary))?;
    }
    Ok(())
}

/// The outcome, and with it what was undone on the way: a rollout that ended well without its change
/// must not read as if the change were in place.
pub(super) fn outcome(detail: &RolloutDetail) -> String {
    let rollout = &detail.rollout;
    let ended = match rollout.outcome {
        Some(outcome) => outcome.to_string(),
        None => format!("not closed, {}", rollout.status),
    };
    let ended = ended.replace('_', " ");
    let of = |status: StepRowStatus| {
        let steps = detail.phases.iter().flat_map(|phase| &phase.steps);
        let steps: Vec<&str> = steps
            .filter(|step| step.status == status)
            .map(|step| step.step.as_str())
            .collect();
        steps.join(", ")
    };
    let mut parts = vec![ended];
    match detail.rollbacks.len() {
        0 => {}
        1 => parts.push("after a rollback".to_owned()),
        count => parts.push(format!("after {count} rollbacks")),
    }
    for (what, steps) in [
        ("undone and not done again", of(StepRowStatus::Undone)),
        ("could not be undone", of(StepRowStatus::UndoFailed)),
    ] {
        if !steps.is_empty() {
            parts.push(format!("{what}: {steps}"));
        }
    }
    parts.join("; ")
}

/// Who could act, and whom to call.
fn people(out: &mut String, material: &Material) -> std::fmt::Result {
    let runbook = material.plan.runbook();
    if runbook.roles.is_empty() && runbook.metadata.contacts.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## People\n\n| Role | Persons | Contact |\n|---|---|---|"
    )?;
    let contacts = &runbook.metadata.contacts;
    for (role, persons) in &runbook.roles {
        writeln!(
            out,
            "| {} | {} | {} |",
            cell(role),
            cell(&persons.join(", ")),
            cell(contacts.get(role).map_or("", String::as_str))
        )?;
    }
    for (role, contact) in contacts {
        if !runbook.roles.contains_key(role) {
            writeln!(out, "| {} | | {} |", cell(role), cell(contact))?;
        }
    }
    Ok(())
}

/// The values that the plan in force was loaded with.
fn parameters(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    let params = &detail.rollout.params.0;
    if params.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Parameters\n\n| Name | Value |\n|---|---|")?;
    for (name, value) in params {
        writeln!(out, "| {} | {} |", cell(name), cell(value))?;
    }
    Ok(())
}

pub(super) fn time(at: Option<jiff::Timestamp>) -> String {
    at.map_or_else(|| "–".to_owned(), print::time)
}

/// Text from the ledger: on one line, without markup of its own, passwords in URLs masked.
pub(super) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let text = masked(text);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // Within a word it is no markup.
            '_' if before.is_alphanumeric() && rest.peek().is_some_and(|c| c.is_alphanumeric()) => {
                out.push('_');
            }
            // No terminal obeys it, and no browser turns the text around.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}') =>
            {
                out.push('\u{fffd}');
            }
            '|' | '*' | '_' | '[' | ']' | '\\' | '`' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_ledger_cannot_add_markup() {
        assert_eq!(cell("a|b\n<script>"), "a\\|b &lt;script&gt;");
        assert_eq!(cell("_a_ rolled_back"), "\\_a\\_ rolled_back");
    }
}
