//! Shows what a signature at a gate covers, and signs: after a typed `yes`, or by the digest of
//! what was reviewed.

use std::io::{BufRead, IsTerminal, Write};

use anstyle::Style;
use rollbook_ledger::ids::PhaseId;
use rollbook_ledger::rollout::{Command, GatePresentation};
use rollbook_server::api::GateAnswer;
use rollbook_server::command_line;

use super::Session;
use crate::args::{ApproveArgs, GateArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, GREEN, RED, YELLOW, line, paint};
use crate::{layout, terminal};

/// A gate's id as typed, with or without the prefix `gate/`.
pub(crate) fn gate_id(text: &str) -> Result<PhaseId, Failure> {
    let text = text.strip_prefix("gate/").unwrap_or(text);
    PhaseId::new(text).map_err(Failure::usage)
}

async fn look(session: &Session, rollout: &str, gate: &PhaseId) -> Result<GateAnswer, Failure> {
    let path = format!("/v1/rollouts/{rollout}/gates/{gate}");
    session.client.get(&path, &[]).await
}

/// `gate GATE`.
pub(crate) async fn gate(session: &Session, args: GateArgs) -> Outcome {
    let id = session.resolve(args.rollout.rollout.as_deref()).await?;
    let answer = look(session, &id, &gate_id(&args.gate)?).await?;
    if session.json {
        print::json(&answer)?;
    } else if args.digest {
        line(&answer.seen);
    } else {
        show(&answer);
    }
    Ok(Exit::Success)
}

/// `approve GATE`.
pub(crate) async fn approve(session: &Session, args: ApproveArgs) -> Outcome {
    // Fails before anything is shown if no person is named.
    session.config.actor()?;
    let id = session.resolve(args.rollout.rollout.as_deref()).await?;
    let gate = gate_id(&args.gate)?;
    let seen = match args.seen {
        Some(seen) => seen,
        None => {
            let answer = look(session, &id, &gate).await?;
            if let Some(hold) = answer.hold {
                return Err(Failure::whole(Exit::Failed, hold.code, hold.why).by(hold.remedies));
            }
            let says = args.statement.as_deref();
            confirm_at_terminal(session, &answer, says)?;
            answer.seen
        }
    };
    let command = Command::Approve {
        gate,
        role: args.role,
        statement: args.statement,
        seen: seen.clone(),
    };
    session
        .act_as_typed(Some(&id), &command, &["--seen", &seen])
        .await
}

/// Shows what is about to be signed and asks; only a `yes` typed at a terminal counts.
fn confirm_at_terminal(
    session: &Session,
    answer: &GateAnswer,
    statement: Option<&str>,
) -> Result<(), Failure> {
    let mut answer_here = std::io::stdin().lock();
    if session.json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let typed = session.client.typed_with(&["--seen", &answer.seen]);
        if !session.json {
            show(answer);
        }
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-83",
            format!(
                "nothing is signed: standard input is not a terminal to type yes at; look at what is signed (`rollbook gate {} {}`), then sign exactly that:\n  {typed}",
                answer.shown.gate, answer.shown.rollout
            ),
        ));
    }
    show(answer);
    if let Some(statement) = statement {
        line(format!("you state: {}", print::visible(statement)));
    }
    // If the prompt cannot be shown, nobody can answer it.
    let mut prompt = std::io::stderr();
    let _ = write!(prompt, "Type yes to sign: ").and_then(|()| prompt.flush());
    let mut typed = String::new();
    let read = answer_here.read_line(&mut typed);
    if read.is_ok() && typed.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::own(
        Exit::Usage,
        "RB-CLI-84",
        "nothing is signed: what was typed is not yes",
    ))
}

/// Prints a text of others after `first`, broken to fit.
fn told(first: &str, text: &str) {
    told_in(Style::new(), first, text);
}

fn told_in(style: Style, first: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    for text in layout::wrapped(first, text, style, 4, terminal::width()) {
        line(text);
    }
}

fn show(answer: &GateAnswer) {
    let GatePresentation {
        rollout,
        environment,
        gate,
        statement,
        sign_offs,
        plan_digest,
        revision,
        revisions,
        checks,
        steps,
        broken_glass,
        evidence,
        evidence_left_out,
        evidence_left_out_sha256,
    } = &answer.shown;
    line(format!(
        "{} of {rollout} in {environment}",
        paint(BOLD, format!("gate {gate}"))
    ));
    told("statement: ", statement);
    let roles: Vec<String> = sign_offs
        .iter()
        .map(|rule| format!("{} × {}", rule.quorum, rule.role))
        .collect();
    told("sign-offs: ", &roles.join(", "));
    line(format!("plan: revision {revision}, {plan_digest}"));
    line(format!("  rollbook plan {rollout} --full shows it"));
    for revised in revisions {
        told(
            &format!("revision {} ", revised.revision),
            &format!(
                "by {}, accepted by {}: {}",
                revised.by, revised.accepted_by, revised.reason
            ),
        );
        for change in &revised.changes {
            told("    ", change);
        }
    }
    for check in checks {
        let style = if check.holds { GREEN } else { RED };
        told_in(style, "", &check.says);
    }
    for step in steps {
        let style = if step.status == "succeeded" {
            GREEN
        } else {
            YELLOW
        };
        told(
            &format!("step {} {} ", step.step, paint(style, &step.status)),
            &match step.attempt {
                0 | 1 => step.title.clone(),
                attempt => format!("{} (attempt {attempt})", step.title),
            },
        );
        told_in(DIM, "    ", &step.message);
    }
    for used in broken_glass {
        let review = match (used.reviewed_by.as_str(), used.agreed) {
            ("", _) => format!("its review {} is open", used.review),
            (by, true) => format!("{by} reviewed it and agrees"),
            (by, false) => format!("{by} reviewed it and does not agree"),
        };
        told_in(
            YELLOW,
            "broken glass: ",
            &format!(
                "{} did alone: {} ({}); {review}",
                used.by, used.what, used.reason
            ),
        );
    }
    for piece in evidence {
        told(
            &format!("evidence of step {}: ", piece.step),
            &format!(
                "{} ({} bytes{})",
                piece.name,
                piece.size_bytes,
                if piece.truncated { ", cut" } else { "" },
            ),
        );
        line(paint(DIM, format!("    {}", piece.sha256)));
    }
    if *evidence_left_out > 0 {
        told(
            "evidence: ",
            &format!(
                "{evidence_left_out} further pieces are not listed (together {evidence_left_out_sha256}); `rollbook show STEP` has them"
            ),
        );
    }
    if answer.unread > 0 {
        told_in(
            YELLOW,
            "evidence: ",
            &format!(
                "{} pieces are there and were not read, because they are too large",
                answer.unread
            ),
        );
    }
    if let Some(hold) = &answer.hold {
        line(paint(YELLOW, format!("cannot be signed now: {}", hold.why)));
        if let Some(how) = command_line::command_lines(&hold.remedies) {
            line(format!("  how: {how}"));
        }
    }
    line(format!("seen: {}", paint(BOLD, &answer.seen)));
    if answer.hold.is_none() {
        line(paint(
            DIM,
            format!(
                "to sign exactly this: rollbook approve {gate} {rollout} --as <person> --seen {}",
                answer.seen
            ),
        ));
    }
}
