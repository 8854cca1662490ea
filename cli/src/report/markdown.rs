//! The report as Markdown.

use std::fmt::Write;

use rollbook_ledger::projection::rows::StepRow;
use rollbook_ledger::projection::views::RolloutDetail;
use rollbook_ledger::projection::words::{
    AlertStatus, DealTypeClasses, StepRowStatus, UndoVerification, Verdict,
};

use super::{Material, authority};
use crate::print::{dollars, duration};

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
    success(out, detail)?;
    health(out, detail)?;
    comparisons(out, detail)?;
    audits(out, detail)?;
    gates(out, detail)?;
    authority::revisions(out, detail)?;
    authority::requests(out, detail)?;
    steps(out, detail)?;
    rollbacks(out, detail)?;
    alerts(out, detail)?;
    timeline(out, material)
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
    let outcome = rollout
        .outcome
        .map_or_else(|| rollout.status.to_string(), |outcome| outcome.to_string());
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
        ("Outcome", outcome),
        ("Health", format!("{}{score}", rollout.health)),
        (
            "Opened",
            format!("{} by {}", time(rollout.opened_at), rollout.opened_by),
        ),
        ("Started", time(rollout.started_at)),
        ("Closed", time(rollout.closed_at)),
        (
            "Plan digest",
            format!("`{}` (revision {})", rollout.plan_digest, rollout.revision),
        ),
        (
            "As of",
            format!("sequence {} ({})", as_of.sequence, time(as_of.recorded_at)),
        ),
    ];
    for (name, value) in rows {
        writeln!(out, "| {name} | {} |", cell(&value))?;
    }
    if !rollout.summary.is_empty() {
        writeln!(out, "\n{}", cell(&rollout.summary))?;
    }
    Ok(())
}

fn success(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.success_metrics.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Success metrics\n\n| Metric | Target | Actual | Status |\n|---|---|---|---|"
    )?;
    for metric in &detail.success_metrics {
        let status = metric
            .status
            .map_or_else(|| "not measured".to_owned(), |status| status.to_string());
        writeln!(
            out,
            "| {} | {} | {} | {status} |",
            cell(&metric.metric),
            cell(&metric.target),
            cell(&metric.actual)
        )?;
    }
    Ok(())
}

fn health(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.health_detail.deductions.0.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## What health was deducted for\n\n| Points | Reason | Where | Why |\n|---|---|---|---|"
    )?;
    for deduction in &detail.health_detail.deductions.0 {
        writeln!(
            out,
            "| −{} | {} | {} | {} |",
            deduction.points,
            cell(&deduction.reason),
            cell(&deduction.subject),
            cell(&deduction.message)
        )?;
    }
    Ok(())
}

/// Deals per type and class; comparisons of earlier versions recorded none.
fn classes(out: &mut String, types: &[DealTypeClasses]) -> std::fmt::Result {
    if types.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n| Deal type | Equal | Within tolerance | Ignored | Expected | Warnings | Unexpected | Regressions |\n|---|---|---|---|---|---|---|---|"
    )?;
    for of in types {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            cell(&of.deal_type),
            of.equal,
            of.within_tolerance,
            of.ignored,
            of.expected,
            of.warnings,
            of.unexpected,
            of.regressions
        )?;
    }
    Ok(())
}

fn comparisons(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.comparisons.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Comparisons\n")?;
    for row in &detail.comparisons {
        let superseded = row
            .superseded_by
            .map(|by| format!(", superseded by the one at {by}"))
            .unwrap_or_default();
        writeln!(
            out,
            "Step {} at sequence {}{superseded}: {} compared, {} equal, **{} regressions**, {} warnings, {} expected differences, {} unexpected, {} ignored, {} within tolerance, {} in error, {} missing, {} added.\n",
            cell(&row.step),
            row.sequence,
            row.compared,
            row.equal,
            row.regressions,
            row.warnings,
            row.expected,
            row.unexpected,
            row.ignored,
            row.within_tolerance,
            row.errors,
            row.missing,
            row.added
        )?;
        writeln!(
            out,
            "| Deal type | Deals | Cost before | Cost after | Ratio |\n|---|---|---|---|---|"
        )?;
        for total in &row.totals.0 {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                cell(&total.deal_type),
                total.deals,
                dollars(total.before_cents),
                dollars(total.after_cents),
                ratio(total.before_cents, total.after_cents)
            )?;
        }
        classes(out, &row.by_type.0)?;
        writeln!(out, "\nResult `{}`\n", row.result.0.sha256)?;
    }
    Ok(())
}

/// after ÷ before with two decimals, in integer arithmetic.
fn ratio(before: i64, after: i64) -> String {
    if before <= 0 {
        return "–".to_owned();
    }
    let hundredths = i128::from(after) * 100 / i128::from(before);
    format!("{}.{:02}×", hundredths / 100, hundredths % 100)
}

fn audits(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.audits.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Audits of deal types\n\n| Step | When | Active | Without type | Invalid | Health |\n|---|---|---|---|---|---|"
    )?;
    for audit in &detail.audits {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} {}.{} % |",
            cell(&audit.step),
            time(audit.taken_at),
            audit.active,
            audit.null_count,
            audit.invalid_count,
            audit.health,
            audit.health_permille / 10,
            audit.health_permille % 10
        )?;
    }
    Ok(())
}

fn gates(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    writeln!(
        out,
        "\n## Sign-offs\n\n| Gate | Status | Person | Role | When | How identified | Statement |\n|---|---|---|---|---|---|---|"
    )?;
    for gate in detail
        .phases
        .iter()
        .filter_map(|phase| phase.gate_detail.as_ref())
    {
        if gate.sign_offs.is_empty() {
            writeln!(
                out,
                "| {} | {} | – | – | – | – | – |",
                cell(&gate.gate.gate),
                gate.gate.status
            )?;
        }
        for sign_off in &gate.sign_offs {
            let voided = if sign_off.voided_cause.is_empty() {
                String::new()
            } else {
                format!(" ({})", sign_off.voided_cause)
            };
            writeln!(
                out,
                "| {} | {}, {}{} | {} | {} | {} | {} | {} |",
                cell(&gate.gate.gate),
                gate.gate.status,
                sign_off.status,
                cell(&voided),
                cell(&sign_off.person),
                cell(&sign_off.role),
                time(sign_off.given_at),
                cell(&sign_off.authentication),
                cell(&sign_off.statement)
            )?;
        }
    }
    Ok(())
}

fn steps(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    writeln!(out, "\n## Steps and checks\n")?;
    for phase in &detail.phases {
        writeln!(
            out,
            "### {} {}\n\n| Step | Kind | Result | Attempt | Duration | By | Figures and rule |\n|---|---|---|---|---|---|---|",
            cell(&phase.phase.phase),
            cell(&phase.phase.title)
        )?;
        for step in &phase.steps {
            let time = step.duration_ms.map(duration).unwrap_or_default();
            writeln!(
                out,
                "| {} {} | {} | {} | {} | {time} | {} | {} |",
                cell(&step.step),
                cell(&step.title),
                cell(&step.kind),
                result(step),
                step.attempt,
                cell(&step.worker),
                cell(&figures(step))
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn result(step: &StepRow) -> String {
    match (step.status, step.verdict) {
        (StepRowStatus::Finished, Some(verdict)) => verdict.to_string(),
        (StepRowStatus::Undone, _)
            if step.undo_verification == Some(UndoVerification::NotVerified) =>
        {
            "undone, not verified".to_owned()
        }
        (StepRowStatus::Undone, _) => "undone".to_owned(),
        (status, _) => status.to_string(),
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

fn rollbacks(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    writeln!(out, "\n## Rolled back\n")?;
    if detail.rollbacks.is_empty() {
        writeln!(out, "Nothing.")?;
    }
    for rollback in &detail.rollbacks {
        let level = rollback
            .level
            .map(|level| level.as_str().to_owned())
            .unwrap_or_default();
        let verdict = rollback
            .verdict
            .map_or_else(|| "running".to_owned(), |verdict| verdict.to_string());
        writeln!(
            out,
            "- {} to level **{level}** by {}: {}. To undo: {}. {verdict}. {}",
            time(rollback.started_at),
            cell(&rollback.started_by),
            cell(&rollback.reason),
            cell(&rollback.undo_steps.0.join(", ")),
            cell(&rollback.summary)
        )?;
    }
    for advice in &detail.advice {
        writeln!(
            out,
            "- {} advice: **{}** because {} ({})",
            time(advice.given_at),
            cell(&advice.advice),
            cell(&advice.rule),
            cell(&advice.inputs.0.join(", "))
        )?;
    }
    Ok(())
}

fn alerts(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.alerts.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Alerts\n\n| Alert | Severity | Raised | Resolved |\n|---|---|---|---|"
    )?;
    for alert in &detail.alerts {
        writeln!(
            out,
            "| {} | {} | {} | {} |",
            cell(&alert.alert),
            alert.severity,
            time(alert.raised_at),
            match alert.status {
                AlertStatus::Unwatched => "open; its watch has ended".to_owned(),
                AlertStatus::Open => "open".to_owned(),
                AlertStatus::Resolved => time(alert.resolved_at),
            }
        )?;
    }
    Ok(())
}

fn timeline(out: &mut String, material: &Material) -> std::fmt::Result {
    writeln!(
        out,
        "\n## Timeline\n\n| Sequence | When | Who | What |\n|---|---|---|---|"
    )?;
    for row in &material.timeline {
        writeln!(
            out,
            "| {}.{} | {} | {} | {} |",
            row.sequence,
            row.idx,
            time(row.recorded_at),
            cell(&row.actor),
            cell(&row.sentence)
        )?;
    }
    Ok(())
}

pub(super) fn time(at: Option<jiff::Timestamp>) -> String {
    at.map_or_else(
        || "–".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// Text from the ledger: on one line, without markup of its own.
pub(super) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_ledger_cannot_add_markup() {
        assert_eq!(cell("a|b\n<script>"), "a\\|b &lt;script&gt;");
        assert_eq!(ratio(100, 250), "2.50×");
        assert_eq!(ratio(0, 250), "–");
    }
}
