//! Read-only commands: list, log, show, replay, snapshots of rollouts.

use futures::StreamExt;
use rollbook_ledger::ids::StepId;
use rollbook_ledger::projection::rows::{RolloutRow, SnapshotRow, StepRow, TimelineRow};
use rollbook_ledger::projection::views::{Page, PhaseDetail, ViewAnswer};
use rollbook_server::api::ErrorBody;
use rollbook_workers::executor::OutputLine;

use super::Session;
use crate::args::{ListArgs, LogArgs, ReplayArgs, ShowArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, YELLOW, line, paint};
use crate::status::{as_of, status_text};

/// The longest log line that is read, in bytes: a full commit as JSON fits.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// The most rollouts in one response of the server.
const PAGE: u32 = 1_000;

/// `list`.
pub(crate) async fn list(session: &Session, args: ListArgs) -> Outcome {
    let mut filter = Vec::new();
    if let Some(environment) = args.environment {
        filter.push(("environment", environment));
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
            rollout
                .opened_at
                .map(|at| at.to_string())
                .unwrap_or_default(),
            match rollout.open_reviews {
                0 => String::new(),
                open => paint(YELLOW, format!(" open reviews: {open}")),
            },
        ));
    }
    if answer.data.is_empty() {
        line("no rollouts; open one with `rollbook open RUNBOOK --env ENVIRONMENT --as PERSON`");
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

/// `log`.
pub(crate) async fn log(session: &Session, args: LogArgs) -> Outcome {
    let mut query = vec![
        ("after", args.after.to_string()),
        ("follow", args.follow.to_string()),
    ];
    if let Some(aggregate) = &args.aggregate {
        query.push(("aggregate", aggregate.clone()));
    }
    let (mut found, mut last, mut reason) = (false, args.after, None);
    let response = session.client.stream("/v1/log", &query).await?;
    let read = each_line(response, |text| {
        if let Ok(ended) = serde_json::from_str::<ErrorBody>(text) {
            reason = Some(Failure::whole(
                Exit::from(ended.class),
                ended.code,
                ended.message,
            ));
            return;
        }
        found = true;
        last = sequence_of(text).unwrap_or(last);
        if session.json {
            line(text);
        } else {
            line(readable(text));
        }
    })
    .await;
    if let Err(failure) = reason.map_or(read, Err) {
        let mut again = args.aggregate.clone().map_or_else(
            || "rollbook log".to_owned(),
            |aggregate| format!("rollbook log {aggregate}"),
        );
        for (flag, given) in [(" --follow", args.follow), (" --json", session.json)] {
            if given {
                again.push_str(flag);
            }
        }
        let message = format!("{}; continue with: {again} --after {last}", failure.message);
        return Err(Failure { message, ..failure });
    }
    match args.aggregate {
        Some(aggregate) if !found && args.after == 0 && !args.follow => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-24",
            format!(
                "nothing on the ledger is about `{aggregate}`; `rollbook list` and `rollbook flag list` show the ids"
            ),
        )),
        _ => Ok(Exit::Success),
    }
}

/// The sequence of a line of the log.
fn sequence_of(text: &str) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value["sequence"].as_u64()
}

/// One commit for people: sequence, time, who, aggregate, events.
fn readable(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let commit = &value["commit"];
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let events: Vec<String> = commit["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|event| serde_json::from_value(event.clone()).ok())
        .map(|event| print::event_name(&event))
        .collect();
    format!(
        "{:>6}  {}  {:<14} {:<40} {}",
        value["sequence"].to_string(),
        word(&commit["recordedAt"]),
        word(&commit["actor"]["name"]),
        format!(
            "{} {}",
            word(&commit["aggregate"]),
            word(&commit["aggregateId"])
        ),
        events.join(", "),
    )
}

/// Calls `each` for every line as it arrives.
pub(crate) async fn each_line(
    response: reqwest::Response,
    mut each: impl FnMut(&str),
) -> Result<(), Failure> {
    let mut bytes = response.bytes_stream();
    let mut rest = Vec::new();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| {
            Failure::own(
                Exit::Unavailable,
                "RB-CLI-20",
                format!("the connection broke: {}", error.without_url()),
            )
        })?;
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let whole: Vec<u8> = rest.drain(..=end).collect();
            each(String::from_utf8_lossy(&whole).trim_end());
        }
        if rest.len() > MAX_LINE_BYTES {
            return Err(Failure::own(
                Exit::Integrity,
                "RB-CLI-21",
                "a line of the answer is longer than 1 MiB",
            ));
        }
    }
    if !rest.is_empty() {
        each(&String::from_utf8_lossy(&rest));
    }
    Ok(())
}

/// `show`.
pub(crate) async fn show(session: &Session, args: ShowArgs) -> Outcome {
    let id = session.resolve(args.rollout.rollout.as_deref()).await?;
    if args.follow {
        let step = StepId::new(&*args.what).map_err(Failure::usage)?;
        let path = format!("/v1/rollouts/{id}/steps/{step}/output");
        let response = session.client.stream(&path, &[]).await?;
        each_line(response, |text| {
            match serde_json::from_str::<OutputLine>(text) {
                Ok(printed) if !session.json => line(printed.text),
                _ => line(text),
            }
        })
        .await?;
        print::note(paint(
            DIM,
            format!(
                "{0} has ended; its whole output: rollbook show {0} {id} --output",
                args.what
            ),
        ));
        return Ok(Exit::Success);
    }
    let status = session.status_of(&id).await?;
    let phases = &status.view.data.phases;
    if let Some(gate) = args.what.strip_prefix("gate/") {
        return show_gate(session, phases, gate);
    }
    let Some(step) = phases
        .iter()
        .flat_map(|phase| &phase.steps)
        .find(|step| step.step == args.what)
    else {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-22",
            format!(
                "{id} has no step `{}`; `rollbook status` lists them",
                args.what
            ),
        ));
    };
    if args.output && session.json {
        return output_as_json(session, step).await;
    }
    if args.output {
        for evidence in &step.evidence.0 {
            let response = session
                .client
                .stream(&format!("/v1/evidence/{}", evidence.sha256), &[])
                .await?;
            print::note(paint(
                DIM,
                format!("--- {} ({} bytes)", evidence.name, evidence.size_bytes),
            ));
            each_line(response, |text| line(text)).await?;
        }
        return Ok(Exit::Success);
    }
    if session.json {
        print::json(step)?;
        return Ok(Exit::Success);
    }
    line(format!(
        "{} {} ({}, phase {})",
        paint(BOLD, &step.step),
        step.title,
        step.kind,
        step.phase
    ));
    line(format!("status: {}, attempt {}", step.status, step.attempt));
    for (name, value) in [
        ("intent", &step.intent),
        ("rule", &step.rule),
        ("message", &step.message),
        ("undo", &step.undo_message),
        ("worker", &step.worker),
    ] {
        if !value.is_empty() {
            line(format!("{name}: {value}"));
        }
    }
    for (name, partial) in [
        ("effect", &step.partial),
        ("effect of the undo", &step.undo_partial),
    ] {
        if let Some(partial) = &partial.0 {
            line(format!("{name}: {partial}"));
        }
    }
    if let Some(millis) = step.duration_ms {
        line(format!("duration: {}", print::duration(millis)));
    }
    for item in &step.checklist.0 {
        let answer = item
            .answer
            .map(|answer| answer.to_string())
            .unwrap_or_default();
        line(format!("  [{answer}] {} {}", item.item, item.note));
    }
    for measured in &step.measurements.0 {
        let value = measured.decimal.as_ref().unwrap_or(&measured.text);
        let verdict = measured
            .verdict
            .map(|verdict| format!(" → {verdict}"))
            .unwrap_or_default();
        line(format!(
            "  {} = {value} {} {}{verdict}",
            measured.metric, measured.unit, measured.rule
        ));
    }
    for evidence in &step.evidence.0 {
        line(format!(
            "  evidence {} {} bytes sha256:{}",
            evidence.name, evidence.size_bytes, evidence.sha256
        ));
    }
    line(paint(DIM, as_of(&status.view)));
    Ok(Exit::Success)
}

/// Everything a step printed, as one list; bytes that are not UTF-8 are replaced.
async fn output_as_json(session: &Session, step: &StepRow) -> Outcome {
    let mut printed = Vec::new();
    for evidence in &step.evidence.0 {
        let path = format!("/v1/evidence/{}", evidence.sha256);
        let response = session.client.stream(&path, &[]).await?;
        let mut lines = Vec::new();
        each_line(response, |text| lines.push(text.to_owned())).await?;
        printed.push(serde_json::json!({
            "name": evidence.name,
            "sha256": evidence.sha256,
            "size_bytes": evidence.size_bytes,
            "lines": lines,
        }));
    }
    print::json(&printed)?;
    Ok(Exit::Success)
}

fn show_gate(session: &Session, phases: &[PhaseDetail], gate: &str) -> Outcome {
    let found = phases
        .iter()
        .filter_map(|phase| phase.gate_detail.as_ref())
        .find(|detail| detail.gate.gate == gate);
    let Some(detail) = found else {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-23",
            format!("there is no gate `{gate}`; `rollbook status` lists them"),
        ));
    };
    if session.json {
        print::json(detail)?;
        return Ok(Exit::Success);
    }
    line(format!(
        "{} {} {}",
        paint(BOLD, "gate"),
        paint(BOLD, gate),
        detail.gate.status
    ));
    for reason in &detail.gate.reasons.0 {
        line(format!("  {reason}"));
    }
    for sign_off in &detail.sign_offs {
        line(format!(
            "  {} {} as {} ({}): {}{}",
            sign_off
                .given_at
                .map(|at| at.to_string())
                .unwrap_or_default(),
            sign_off.person,
            sign_off.role,
            sign_off.status,
            sign_off.statement,
            if sign_off.voided_cause.is_empty() {
                String::new()
            } else {
                format!(" [voided: {}]", sign_off.voided_cause)
            },
        ));
    }
    Ok(Exit::Success)
}

/// `replay`: rollouts, or one rollout's timeline, as of an earlier moment.
pub(crate) async fn replay(session: &Session, args: ReplayArgs) -> Outcome {
    let at = [("at", args.at.clone())];
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
        let at = row.recorded_at.map(|at| at.to_string()).unwrap_or_default();
        line(format!(
            "{:>6}.{}  {at}  {:<12} {}",
            row.sequence, row.idx, row.actor, row.sentence
        ));
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
