//! Read-only commands: list, replay, snapshots of rollouts.

use rollbook_ledger::projection::rows::{RolloutRow, SnapshotRow, TimelineRow};
use rollbook_ledger::projection::views::{Page, ViewAnswer};

use super::Session;
use crate::args::{ListArgs, ReplayArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, YELLOW, line, paint};
use crate::status::{as_of, status_text};

/// The most rollouts in one response of the server.
const PAGE: u32 = 1_000;

/// `list`.
pub(crate) async fn list(session: &Session, args: ListArgs) -> Outcome {
    let mut filter = Vec::new();
    if let Some(environment) = &args.environment {
        filter.push(("environment", environment.clone()));
    }
    let page = async |limit: u32, before: Option<u64>| {
        let mut query = filter.clone();
        query.push(("limit", limit.min(PAGE).to_string()));
        if let Some(before) = before {
            query.push(("before_sequence", before.to_string()));
        }
        let page: Result<ViewAnswer<Vec<RolloutRow>>, Failure> =
            session.client.get("/v1/rollouts", &query).await;
        page
    };
    let mut answer = page(args.limit, None).await?;
    let more = loop {
        let Some(last) = answer.data.last().map(|row| row.opened_sequence) else {
            break false;
        };
        let listed = u32::try_from(answer.data.len()).unwrap_or(u32::MAX);
        let left = args.limit.saturating_sub(listed);
        // With the list full, one more is requested to know whether there is more.
        let next = page(left.max(1), Some(last)).await?.data;
        if next.is_empty() || left == 0 {
            break !next.is_empty();
        }
        answer.data.extend(next);
    };
    if session.json {
        let mut value = serde_json::to_value(&answer).map_err(print::unprintable)?;
        value["more"] = more.into();
        print::json(&value)?;
        return Ok(Exit::Success);
    }
    for rollout in &answer.data {
        line(format!(
            "{:<40} {:<12} {:<13} {:<15} {}{}",
            rollout.rollout,
            rollout.environment,
            rollout
                .outcome
                .map_or_else(|| rollout.status.to_string(), |outcome| outcome.to_string()),
            rollout.health,
            rollout.opened_at.map(print::time).unwrap_or_default(),
            match rollout.open_reviews {
                0 => String::new(),
                open => paint(YELLOW, format!(" open reviews: {open}")),
            },
        ));
    }
    match &args.environment {
        Some(wrong) if answer.data.is_empty() => {
            let meant = session.environment_meant(wrong).await;
            line(format!("no rollouts in {wrong}{meant}"));
        }
        None if answer.data.is_empty() => {
            line("no rollouts; open one with `rollbook open RUNBOOK --env ENVIRONMENT --as PERSON`")
        }
        _ => {}
    }
    if more {
        line(format!(
            "the {} newest; there are more: --limit lists them",
            answer.data.len()
        ));
    }
    line(paint(DIM, as_of(&answer)));
    Ok(Exit::Success)
}

/// `replay`: rollouts, or one rollout's timeline, as of an earlier moment.
pub(crate) async fn replay(session: &Session, args: ReplayArgs) -> Outcome {
    let at = [("at", print::typed_time(&args.at))];
    let rollouts: ViewAnswer<Vec<RolloutRow>> = session.client.get("/v1/rollouts", &at).await?;
    let Some(given) = args.rollout.rollout.as_deref() else {
        if session.json {
            print::json(&rollouts)?;
            return Ok(Exit::Success);
        }
        for rollout in &rollouts.data {
            line(format!(
                "{:<40} {:<12} {:<13} {}",
                rollout.rollout,
                rollout.environment,
                status_text(rollout),
                rollout.health
            ));
        }
        line(paint(DIM, as_of(&rollouts)));
        return Ok(Exit::Success);
    };
    let id = session.resolve(Some(given)).await?;
    let timeline: ViewAnswer<Page<TimelineRow>> = session
        .client
        .get(&format!("/v1/rollouts/{id}/timeline"), &at)
        .await?;
    if session.json {
        let rollout = rollouts.data.iter().find(|rollout| rollout.rollout == id);
        print::json(
            &serde_json::json!({ "as_of": timeline.as_of, "rollout": rollout, "timeline": timeline.data.rows }),
        )?;
        return Ok(Exit::Success);
    }
    if timeline.data.rows.is_empty() {
        line(format!("{id} had not been opened then"));
    }
    if let Some(rollout) = rollouts.data.iter().find(|rollout| rollout.rollout == id) {
        line(format!(
            "{} {} {}",
            paint(BOLD, &id),
            status_text(rollout),
            rollout.health
        ));
    }
    for row in &timeline.data.rows {
        line(print::timeline_row(row));
    }
    line(paint(DIM, as_of(&timeline)));
    Ok(Exit::Success)
}

/// `snapshot list`.
pub(crate) async fn snapshots(session: &Session, rollout: Option<&str>) -> Outcome {
    let mut query = Vec::new();
    if let Some(given) = rollout {
        let id = session.resolve(Some(given)).await?;
        // Refuses a rollout that does not exist, which differs from one without snapshots.
        session.status_of(&id).await?;
        query.push(("rollout", id));
    }
    let answer: ViewAnswer<Vec<SnapshotRow>> = session.client.get("/v1/snapshots", &query).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    for row in &answer.data {
        line(format!(
            "{:<12} {:<10} {:>9} deals {:>5} errors  {}  {}",
            row.snapshot, row.label, row.deals, row.errors, row.manifest.0.sha256, row.rollout
        ));
    }
    line(paint(DIM, as_of(&answer)));
    Ok(Exit::Success)
}
