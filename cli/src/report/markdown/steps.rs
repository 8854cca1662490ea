//! Steps: results, who did them, answers, and every attempt of those that took more than one.

use std::fmt::Write;

use rollbook_ledger::projection::rows::{StepRow, TimelineRow};
use rollbook_ledger::projection::words::{StepRowStatus, UndoVerification, Verdict};

use super::super::Material;
use super::{cell, time};
use crate::print::duration;

/// Types of the events that tell the course of a step's attempts.
const COURSE: [&str; 9] = [
    "step_started",
    "step_finished",
    "step_interrupted",
    "step_retried",
    "step_skipped",
    "not_applicable_proposed",
    "not_applicable_reviewed",
    "undo_started",
    "undo_finished",
];

/// Those of a step that simply ran.
const PLAIN: [&str; 2] = ["step_started", "step_finished"];

/// Each phase with its steps.
pub(super) fn steps(out: &mut String, material: &Material) -> std::fmt::Result {
    writeln!(out, "\n## Steps and checks\n")?;
    for phase in &material.status.view.data.phases {
        writeln!(
            out,
            "### {} {}\n",
            cell(&phase.phase.phase),
            cell(&phase.phase.title)
        )?;
        planned(out, material, &phase.phase.phase, &phase.steps)?;
        writeln!(
            out,
            "| Step | Kind | Result | Attempt | Duration | By | Figures and rule |\n|---|---|---|---:|---:|---|---|",
        )?;
        for step in &phase.steps {
            let time = step.duration_ms.map(duration).unwrap_or_default();
            writeln!(
                out,
                "| **{}** {} | {} | {} | {} | {time} | {} | {} |",
                cell(&step.step),
                cell(&step.title),
                cell(&step.kind),
                result(step),
                attempt(step),
                cell(&by(step)),
                cell(&figures(step))
            )?;
        }
        for step in &phase.steps {
            answers(out, step)?;
        }
        evidence(out, &phase.steps)?;
        for step in &phase.steps {
            course(out, step, &material.timeline)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Who a phase was for, and how long it took beside how long it was planned to take.
fn planned(out: &mut String, material: &Material, id: &str, steps: &[StepRow]) -> std::fmt::Result {
    let spec = material
        .plan
        .phases()
        .find(|(phase, _)| phase.as_str() == id);
    let Some((_, spec)) = spec else {
        return Ok(());
    };
    let mut parts = Vec::new();
    if let Some(responsible) = &spec.responsible {
        parts.push(format!("Responsible: {}", cell(responsible)));
    }
    let began = steps
        .iter()
        .filter_map(|step| step.started_at.or(step.finished_at))
        .min();
    let ended = steps.iter().filter_map(|step| step.finished_at).max();
    let took = began.zip(ended).and_then(|(began, ended)| {
        let millis = ended.duration_since(began).as_millis();
        Some(duration(u64::try_from(millis).ok()?))
    });
    match (spec.planned, took) {
        (Some(planned), Some(took)) => parts.push(format!("Planned for {planned}, took {took}")),
        (Some(planned), None) => parts.push(format!("Planned for {planned}")),
        (None, Some(took)) => parts.push(format!("Took {took}")),
        (None, None) => {}
    }
    if !parts.is_empty() {
        writeln!(out, "{}.\n", parts.join(". "))?;
    }
    Ok(())
}

fn by(step: &StepRow) -> String {
    let mut parts = Vec::new();
    if !step.worker.is_empty() {
        parts.push(step.worker.clone());
    }
    if !step.skipped_by.is_empty() {
        parts.push(format!("skipped by {}", step.skipped_by));
    }
    if !step.undo_worker.is_empty() {
        parts.push(format!("undone by {}", step.undo_worker));
    }
    parts.join("; ")
}

/// What the last attempts of a phase's steps left as evidence, by its digest.
fn evidence(out: &mut String, steps: &[StepRow]) -> std::fmt::Result {
    if steps.iter().all(|step| step.evidence.0.is_empty()) {
        return Ok(());
    }
    writeln!(
        out,
        "\nEvidence:\n\n| Step | Name | Bytes | SHA-256 |\n|---|---|---|---|"
    )?;
    for step in steps {
        for piece in &step.evidence.0 {
            let cut = if piece.truncated { ", cut" } else { "" };
            writeln!(
                out,
                "| {} | {} | {}{cut} | `{}` |",
                cell(&step.step),
                cell(&piece.name),
                piece.size_bytes,
                piece.sha256
            )?;
        }
    }
    Ok(())
}

/// The answers of a manual step.
fn answers(out: &mut String, step: &StepRow) -> std::fmt::Result {
    if step.checklist.0.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nAnswers of step {}:\n\n| Item | Answer | Note |\n|---|---|---|",
        cell(&step.step)
    )?;
    for item in &step.checklist.0 {
        let answer = item
            .answer
            .map_or_else(|| "–".to_owned(), |answer| words(&answer));
        writeln!(
            out,
            "| {} | {answer} | {} |",
            cell(&item.item),
            cell(&item.note)
        )?;
    }
    Ok(())
}

/// Everything that happened to a step that did not simply run once. A single event adds nothing to the table and to
/// the exceptions.
fn course(out: &mut String, step: &StepRow, timeline: &[TimelineRow]) -> std::fmt::Result {
    let rows: Vec<&TimelineRow> = timeline
        .iter()
        .filter(|row| row.subject == step.step && COURSE.contains(&row.event.as_str()))
        .collect();
    let is_plain = rows.iter().all(|row| PLAIN.contains(&row.event.as_str()));
    if is_plain && step.attempt <= 1 {
        return Ok(());
    }
    if rows.len() < 2 {
        return Ok(());
    }
    writeln!(out, "\nCourse of step {}:\n", cell(&step.step))?;
    for row in rows {
        writeln!(out, "- {} {}", time(row.recorded_at), cell(&row.sentence))?;
    }
    Ok(())
}

fn result(step: &StepRow) -> String {
    match (step.status, step.verdict) {
        (StepRowStatus::Finished, Some(verdict)) => words(&verdict),
        (StepRowStatus::Undone, _)
            if step.undo_verification == Some(UndoVerification::NotVerified) =>
        {
            "undone, not verified".to_owned()
        }
        (StepRowStatus::Undone, _) => "undone".to_owned(),
        (status, _) => words(&status),
    }
}

/// A state as prose has it: `not applicable`.
fn words(state: &impl std::fmt::Display) -> String {
    state.to_string().replace('_', " ")
}

/// The number of the latest attempt.
fn attempt(step: &StepRow) -> String {
    match step.attempt {
        0 => "–".to_owned(),
        attempt => attempt.to_string(),
    }
}

fn figures(step: &StepRow) -> String {
    let mut parts: Vec<String> = step
        .measurements
        .0
        .iter()
        .map(|measured| {
            let value = measured.decimal.as_ref().unwrap_or(&measured.text);
            let rule = if measured.rule.is_empty() {
                String::new()
            } else {
                format!(" [{}]", measured.rule)
            };
            format!("{} = {value}{rule}", measured.metric)
        })
        .collect();
    if step.verdict != Some(Verdict::Pass) && !step.message.is_empty() {
        parts.push(step.message.clone());
    } else if !step.rule.is_empty() {
        parts.push(step.rule.clone());
    }
    for (name, partial) in [
        ("effect", &step.partial),
        ("effect of the undo", &step.undo_partial),
    ] {
        if let Some(partial) = &partial.0 {
            parts.push(format!("{name}: {partial}"));
        }
    }
    parts.join("; ")
}
