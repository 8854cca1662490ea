//! What it waits for, rollbacks and advice, alerts, messages, the timeline.

use std::fmt::Write;

use rollbook_ledger::projection::views::RolloutDetail;
use rollbook_ledger::projection::words::AlertStatus;
use rollbook_ledger::runbook::Plan;
use rollbook_server::api::StatusAnswer;

use super::super::Material;
use super::{cell, time};

/// What a rollout that is not closed waits for, and whom.
pub(super) fn waits(out: &mut String, status: &StatusAnswer) -> std::fmt::Result {
    if status.blocked.is_empty() || status.view.data.rollout.outcome.is_some() {
        return Ok(());
    }
    writeln!(out, "\n## What it waits for\n")?;
    for waiting in &status.blocked {
        let blocked = &waiting.blocked;
        writeln!(
            out,
            "- **{}**: {}. Who can go on: {}{}.",
            cell(&blocked.what.to_string()),
            cell(&blocked.why),
            cell(&blocked.who.join(", ")),
            blocked
                .until
                .map_or_else(String::new, |until| format!(", at {}", time(Some(until))))
        )?;
    }
    Ok(())
}

pub(super) fn rollbacks(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
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
            "- {} to level **{level}** by {}: {}. To undo: {}. Result: {verdict}, {}",
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

/// Alerts with the value that raised each.
pub(super) fn alerts(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.alerts.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Alerts\n\n| Alert | Severity | Step | Metric | Rule | Raised | Resolved |\n|---|---|---|---|---|---|---|"
    )?;
    for alert in &detail.alerts {
        let raised = &alert.raised.0;
        let value = raised.decimal.as_ref().unwrap_or(&raised.text);
        writeln!(
            out,
            "| {} | {} | {} | {} = {} {} | {} | {} | {} |",
            cell(&alert.alert),
            alert.severity,
            cell(&alert.step),
            cell(&raised.metric),
            cell(value),
            cell(&raised.unit),
            cell(&raised.rule),
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

/// Messages to stakeholders, with whom each was for.
pub(super) fn notices(out: &mut String, detail: &RolloutDetail, plan: &Plan) -> std::fmt::Result {
    if detail.notices.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Notices\n\n| Notice | For | Channel | When | Result | The channel's answer |\n|---|---|---|---|---|---|"
    )?;
    for row in &detail.notices {
        let specs = &plan.runbook().notices;
        let spec = specs.iter().find(|notice| notice.id == row.notice);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            cell(&row.notice),
            cell(spec.map_or("", |notice| notice.audience.as_str())),
            cell(&row.channel),
            time(row.sent_at),
            row.verdict
                .map_or_else(|| "–".to_owned(), |verdict| verdict.to_string()),
            cell(&row.message)
        )?;
    }
    Ok(())
}

pub(super) fn timeline(out: &mut String, material: &Material) -> std::fmt::Result {
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
