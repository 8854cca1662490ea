//! `show`: a step or a gate in detail, with what the plan says of it and everything that happened.

use std::borrow::Cow;
use std::io::IsTerminal;

use anstream::adapter::strip_str;
use rollbook_ledger::ids::{PhaseId, StepId};
use rollbook_ledger::projection::rows::{RequestRow, StepRow, TimelineRow};
use rollbook_ledger::projection::views::GateDetail;
use rollbook_ledger::projection::words::RequestKind;
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::runbook::describe::masked;
use rollbook_ledger::runbook::kind::DoneBy;
use rollbook_ledger::suggestion::did_you_mean;
use rollbook_server::api::{BlockedAnswer, StatusAnswer};
use rollbook_workers::executor::OutputLine;

use super::Session;
use super::log::each_line;
use super::report::timeline;
use crate::args::ShowArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::outline;
use crate::print::{self, BOLD, DIM, line, paint};
use crate::status::as_of;

/// `show`.
pub(crate) async fn show(session: &Session, args: ShowArgs) -> Outcome {
    let id = session.resolve(args.rollout.rollout.as_deref()).await?;
    if args.follow {
        return follow(session, &id, &args.what).await;
    }
    let status = session.status_of(&id).await?;
    let phases = &status.view.data.phases;
    if let Some(gate) = args.what.strip_prefix("gate/") {
        let gate = PhaseId::new(gate).map_err(Failure::usage)?;
        let history = timeline(session, &id, Some(gate.as_str())).await?;
        return show_gate(session, &status, gate.as_str(), &history);
    }
    let mut steps = phases.iter().flat_map(|phase| &phase.steps);
    let known = steps.clone().map(|step| step.step.as_str());
    let Some(step) = steps.find(|step| step.step == args.what) else {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-22",
            format!(
                "{id} has no step `{}`; `rollbook status` lists them",
                args.what
            ),
        )
        .meaning(did_you_mean(&args.what, known)));
    };
    if args.output && session.json {
        return output_as_json(session, step).await;
    }
    if args.output {
        return output(session, step).await;
    }
    let history = timeline(session, &id, Some(&step.step)).await?;
    let plan = session.plan_of(&id, None).await;
    if session.json {
        let mut value = serde_json::to_value(step).map_err(print::unprintable)?;
        value["plan"] = plan_as_json(plan.as_ref().ok(), &step.step)?;
        value["history"] = serde_json::to_value(&history).map_err(print::unprintable)?;
        print::json(&value)?;
        return Ok(Exit::Success);
    }
    for text in step_lines(&status.blocked, plan.as_ref().ok(), step) {
        line(text);
    }
    if let Err(failure) = &plan {
        line(paint(
            print::RED,
            format!("the plan cannot be shown: {}", failure.message),
        ));
    }
    for text in history_lines(&history) {
        line(text);
    }
    for text in request_lines(&status.view.data.requests, &step.step) {
        line(text);
    }
    line(paint(DIM, as_of(&status.view)));
    Ok(Exit::Success)
}

/// What the plan says of a step, passwords in URLs masked; `null` if it does not.
fn plan_as_json(plan: Option<&Plan>, step: &str) -> Result<serde_json::Value, Failure> {
    let planned = plan.and_then(|plan| plan.steps().find(|other| other.id.as_str() == step));
    let text = serde_json::to_string(&planned.map(|planned| planned.step));
    let text = masked(&text.map_err(print::unprintable)?);
    serde_json::from_str(&text).map_err(print::unprintable)
}

/// What happened to a step or a gate; empty if nothing did.
pub(crate) fn history_lines(history: &[TimelineRow]) -> Vec<String> {
    if history.is_empty() {
        return Vec::new();
    }
    let mut out = vec![paint(BOLD, "what happened")];
    // Every sample of a watch is an event; the step's figures have the last of each.
    let (samples, rows): (Vec<_>, Vec<_>) =
        history.iter().partition(|row| row.event == "step_measured");
    out.extend(rows.into_iter().map(print::timeline_row));
    if !samples.is_empty() {
        let count = samples.len();
        out.push(paint(
            DIM,
            format!("        and {count} samples, which `rollbook log` lists"),
        ));
    }
    out
}

/// What two persons, or one alone, were to do about a step.
fn request_lines(requests: &[RequestRow], step: &str) -> Vec<String> {
    let of_step = format!("step {step}");
    let mut out = Vec::new();
    for row in requests.iter().filter(|row| row.what.ends_with(&of_step)) {
        let kind = match row.kind {
            RequestKind::Confirm => "request",
            RequestKind::Review => "broken glass",
        };
        let end = match row.ended_by.as_str() {
            "" => row.status.to_string(),
            by => format!("{} by {by}", row.status),
        };
        out.extend(print::wrapped(
            &format!("{kind}: "),
            &format!("{} by {} ({}): {end}", row.what, row.made_by, row.reason),
        ));
    }
    out
}

/// A step with what the plan says of it.
pub(crate) fn step_lines(
    blocked: &[BlockedAnswer],
    plan: Option<&Plan>,
    step: &StepRow,
) -> Vec<String> {
    let mut out = vec![format!(
        "{} {} ({}, phase {})",
        paint(BOLD, &step.step),
        print::visible(&step.title),
        step.kind,
        print::visible(&step.phase)
    )];
    let verdict = step
        .verdict
        .map(|verdict| format!(", verdict {verdict}"))
        .unwrap_or_default();
    let attempt = match step.attempt {
        0 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    field(
        &mut out,
        "status",
        &format!("{}{verdict}{attempt}", step.status),
    );
    if let Some(blocked) = blocked
        .iter()
        .find(|answer| answer.blocked.what.to_string() == format!("step {}", step.step))
    {
        field(&mut out, "waits", &blocked.blocked.why);
    }
    if let Some(plan) = plan
        && let Some(planned) = plan.steps().find(|other| other.id.as_str() == step.step)
        && let DoneBy::Person(manual) = planned.step.action.kind().done_by()
    {
        let who = match &manual.role {
            Some(role) => format!("{role}: {}", plan.role_members(role).join(" or ")),
            None => "anyone in a role".to_owned(),
        };
        field(&mut out, "who can", &who);
    }
    for (name, value) in [
        ("rule", &step.rule),
        ("message", &step.message),
        ("skipped by", &step.skipped_by),
        ("by", &step.worker),
        ("undone by", &step.undo_worker),
        ("undo", &step.undo_message),
    ] {
        field(&mut out, name, value);
    }
    for (name, partial) in [
        ("effect", &step.partial),
        ("effect of the undo", &step.undo_partial),
    ] {
        if let Some(partial) = &partial.0 {
            field(&mut out, name, &partial.to_string());
        }
    }
    for (name, at) in [("started", step.started_at), ("ended", step.finished_at)] {
        if let Some(at) = at {
            field(&mut out, name, &print::time(at));
        }
    }
    if let Some(millis) = step.duration_ms {
        field(&mut out, "duration", &print::duration(millis));
    }
    answers(&mut out, step);
    let written = plan.map(|plan| outline::written(plan, &step.step, "  "));
    let written = written.unwrap_or_default();
    if !written.is_empty() {
        out.push(paint(BOLD, "what the plan says"));
        out.extend(written);
    }
    out
}

/// A field with its name; nothing if it is empty.
fn field(out: &mut Vec<String>, name: &str, value: &str) {
    if !value.is_empty() {
        out.extend(print::wrapped(&format!("{name:<11} "), value));
    }
}

/// What the last attempt left: answers, figures, evidence.
fn answers(out: &mut Vec<String>, step: &StepRow) {
    for item in &step.checklist.0 {
        let answer = item
            .answer
            .map(|answer| answer.to_string())
            .unwrap_or_default();
        let note = match item.note.as_str() {
            "" => String::new(),
            note => format!(" ({note})"),
        };
        out.extend(print::wrapped(
            &format!("  [{answer}] "),
            &format!("{}{note}", item.item),
        ));
    }
    for measured in &step.measurements.0 {
        let value = measured.decimal.as_ref().unwrap_or(&measured.text);
        let verdict = measured
            .verdict
            .map(|verdict| format!(" → {verdict}"))
            .unwrap_or_default();
        let mut text = format!("  {} = {value}", measured.metric);
        for part in [&measured.unit, &measured.rule] {
            if !part.is_empty() {
                text = format!("{text} {part}");
            }
        }
        out.push(print::visible(&format!("{text}{verdict}")));
    }
    for evidence in &step.evidence.0 {
        out.push(format!(
            "  evidence {} ({} bytes): rollbook evidence get {}",
            print::visible(&evidence.name),
            evidence.size_bytes,
            evidence.sha256
        ));
    }
}

/// `show STEP --follow`: what it prints, until it has ended.
async fn follow(session: &Session, id: &str, what: &str) -> Outcome {
    let step = StepId::new(what).map_err(Failure::usage)?;
    let path = format!("/v1/rollouts/{id}/steps/{step}/output");
    let response = session.client.stream(&path, &[]).await?;
    each_line(response, |text| {
        match serde_json::from_str::<OutputLine>(text) {
            Ok(printed) if !session.json => line(harmless(&printed.text)),
            _ => line(text),
        }
    })
    .await?;
    print::note(paint(
        DIM,
        format!("{step} has ended; its whole output: rollbook show {step} {id} --output"),
    ));
    Ok(Exit::Success)
}

/// `show STEP --output`: everything it printed.
async fn output(session: &Session, step: &StepRow) -> Outcome {
    for evidence in &step.evidence.0 {
        let path = format!("/v1/evidence/{}", evidence.sha256);
        let response = session.client.stream(&path, &[]).await?;
        print::note(paint(
            DIM,
            format!("--- {} ({} bytes)", evidence.name, evidence.size_bytes),
        ));
        each_line(response, |text| line(harmless(text))).await?;
    }
    Ok(Exit::Success)
}

/// What a program printed: as it is for another program, without what a terminal would obey at one.
fn harmless(text: &str) -> Cow<'_, str> {
    if std::io::stdout().is_terminal() {
        print::visible(&strip_str(text).to_string()).into()
    } else {
        text.into()
    }
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

fn show_gate(
    session: &Session,
    status: &StatusAnswer,
    gate: &str,
    history: &[TimelineRow],
) -> Outcome {
    let phases = status.view.data.phases.iter();
    let mut gates = phases.filter_map(|phase| phase.gate_detail.as_ref());
    let known = gates.clone().map(|detail| detail.gate.gate.as_str());
    let Some(detail) = gates.find(|detail| detail.gate.gate == gate) else {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-23",
            format!("there is no gate `{gate}`; `rollbook status` lists them"),
        )
        .meaning(did_you_mean(gate, known)));
    };
    if session.json {
        print::json(detail)?;
        return Ok(Exit::Success);
    }
    for text in gate_lines(detail) {
        line(text);
    }
    let of_gate = format!("gate {gate}");
    for BlockedAnswer { blocked, how } in &status.blocked {
        if blocked.what.to_string() != of_gate {
            continue;
        }
        let mut out = Vec::new();
        field(&mut out, "waits", &blocked.why);
        field(&mut out, "who can", &blocked.who.join("; "));
        field(&mut out, "how", how.as_deref().unwrap_or_default());
        for text in out {
            line(text);
        }
    }
    for text in history_lines(history) {
        line(text);
    }
    line(paint(
        DIM,
        format!(
            "what a signature covers: rollbook gate {gate} {}",
            status.view.data.rollout.rollout
        ),
    ));
    Ok(Exit::Success)
}

/// A gate with its signatures.
pub(crate) fn gate_lines(detail: &GateDetail) -> Vec<String> {
    let mut out = vec![format!(
        "{} {} {}",
        paint(BOLD, "gate"),
        paint(BOLD, print::visible(&detail.gate.gate)),
        detail.gate.status
    )];
    for reason in &detail.gate.reasons.0 {
        out.push(format!("  {}", print::visible(reason)));
    }
    for sign_off in &detail.sign_offs {
        out.push(format!(
            "  {} {} as {} ({}): {}{}",
            sign_off.given_at.map(print::time).unwrap_or_default(),
            print::visible(&sign_off.person),
            print::visible(&sign_off.role),
            sign_off.status,
            print::visible(&sign_off.statement),
            if sign_off.voided_cause.is_empty() {
                String::new()
            } else {
                format!(" [voided: {}]", print::visible(&sign_off.voided_cause))
            },
        ));
    }
    out
}
