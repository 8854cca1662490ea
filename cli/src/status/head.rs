//! The first lines of a status, and what they rest on: health and its deductions, open alerts.

use anstyle::Style;
use rollbook_ledger::projection::words::{AlertStatus, Health, RolloutStatus};

use super::{Picture, figures, is_over, phase, status_text};
use crate::layout::{listed, width_of, wrapped};
use crate::print::{self, BOLD, DIM, GREEN, RED, YELLOW, paint};

/// Which rollout, where, how it stands, its health; then how much is done and since when.
pub(super) fn lines(picture: &Picture<'_>) -> Vec<String> {
    let rollout = picture.rollout();
    let score = rollout.health_score;
    let health = score.map_or_else(
        || rollout.health.to_string(),
        |score| format!("{} {score}", rollout.health),
    );
    let parts = [
        paint(BOLD, &rollout.rollout),
        format!("{} {}", rollout.runbook, rollout.runbook_version),
        rollout.environment.clone(),
        paint(BOLD, status_text(rollout)),
        paint(health_style(rollout.health), health),
    ];
    let mut lines = joined(&parts, picture.width);
    let mut parts = vec![phase::overall(picture)];
    let end = rollout.closed_at.filter(|_| is_over(picture.answer));
    if let Some(started) = rollout.started_at {
        let time = figures::between(started, end.unwrap_or(picture.now));
        parts.push(format!("started {}", print::time(started)));
        parts.push(if end.is_some() {
            format!("took {time}")
        } else {
            format!("{time} ago")
        });
    }
    lines.extend(listed("  ", &parts, DIM, 2, picture.width));
    let told = matches!(
        rollout.status,
        RolloutStatus::Paused | RolloutStatus::Aborted
    );
    if told && !rollout.reason.is_empty() {
        let first = format!("  {}: ", rollout.status);
        lines.extend(wrapped(
            &first,
            &rollout.reason,
            Style::new(),
            4,
            picture.width,
        ));
    }
    lines.extend(rollback(picture));
    lines
}

/// The rollback in progress.
fn rollback(picture: &Picture<'_>) -> Vec<String> {
    let rows = picture.detail().rollbacks.iter();
    let Some(row) = rows.rev().find(|row| row.finished_at.is_none()) else {
        return Vec::new();
    };
    let level = row.level.map_or("", |level| level.as_str());
    let time = row.started_at.map_or_else(String::new, |started| {
        format!(", started {} ago", figures::between(started, picture.now))
    });
    let text = format!("by {}{time}: {}", row.started_by, row.reason);
    let first = format!("  {} ", paint(YELLOW, format!("rollback {level}")));
    wrapped(&first, &text, Style::new(), 4, picture.width)
}

/// Parts with ` · ` between them, on as few lines as they fit on.
fn joined(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if width_of(line) + 3 + width_of(part) <= width => {
                line.push_str(" · ");
                line.push_str(part);
            }
            Some(_) => lines.push(format!("  {part}")),
            None => lines.push(part.clone()),
        }
    }
    lines
}

/// Why the health is below 100.
pub(super) fn deductions(picture: &Picture<'_>) -> Vec<String> {
    let deductions = &picture.detail().health_detail.deductions.0;
    let lines = deductions.iter().flat_map(|deduction| {
        let first = format!("  −{} {}: ", deduction.points, deduction.reason);
        wrapped(&first, &deduction.message, Style::new(), 6, picture.width)
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return lines;
    }
    std::iter::once(paint(BOLD, "health"))
        .chain(lines)
        .collect()
}

/// Alerts that nothing has resolved.
pub(super) fn alerts(picture: &Picture<'_>) -> Vec<String> {
    let rows = picture.detail().alerts.iter();
    let open = rows.filter(|alert| alert.resolved_at.is_none());
    open.flat_map(|alert| {
        let raised = &alert.raised.0;
        let mut text = format!("{} {}", raised.metric, figures::value(raised));
        if !raised.rule.is_empty() {
            text.push_str(&format!(" ({})", raised.rule));
        }
        let mut parts = vec![text];
        parts.extend(
            alert
                .raised_at
                .map(|at| format!("since {}", print::time(at))),
        );
        if alert.status == AlertStatus::Unwatched {
            parts.push("its watch has ended".to_owned());
        }
        let first = paint(RED, format!("alert {} ({}): ", alert.alert, alert.severity));
        listed(&first, &parts, RED, 4, picture.width)
    })
    .collect()
}

fn health_style(health: Health) -> Style {
    match health {
        Health::Healthy => GREEN,
        Health::NeedsAttention => YELLOW,
        Health::Critical => RED,
        Health::NoData => DIM,
    }
}
