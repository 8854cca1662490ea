//! Shows what a signature at a gate covers, and signs: after a typed `yes`, or by the digest of
//! what was reviewed.

use std::io::{BufRead, IsTerminal, Write};

use rollbook_ledger::ids::PhaseId;
use rollbook_ledger::rollout::{Command, GatePresentation};
use rollbook_server::api::GateAnswer;
use rollbook_server::command_line;

use super::Session;
use crate::args::{ApproveArgs, GateArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, GREEN, RED, YELLOW, line, paint};

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
        evidence,
        evidence_left_out,
        evidence_left_out_sha256,
    } = &answer.shown;
    line(format!(
        "{} of {rollout} in {environment}",
        paint(BOLD, format!("gate {gate}"))
    ));
    line(format!("statement: {}", print::visible(statement)));
    let roles: Vec<String> = sign_offs
        .iter()
        .map(|rule| format!("{} × {}", rule.quorum, print::visible(&rule.role)))
        .collect();
    line(format!("sign-offs: {}", roles.join(", ")));
    line(format!("plan: {plan_digest}, revision {revision}"));
    for revised in revisions {
        line(format!(
            "revision {} by {}, accepted by {}: {} (plan {})",
            revised.revision,
            print::visible(&revised.by),
            print::visible(&revised.accepted_by),
            print::visible(&revised.reason),
            revised.plan_digest,
        ));
        for change in &revised.changes {
            line(format!("  {}", print::visible(change)));
        }
    }
    for check in checks {
        let style = if check.holds { GREEN } else { RED };
        line(format!(
            "check: {}",
            paint(style, print::visible(&check.says))
        ));
    }
    for step in steps {
        let style = if step.status == "succeeded" {
            GREEN
        } else {
            YELLOW
        };
        line(format!(
            "step {} {}, attempt {}: {} {}",
            step.step,
            paint(style, &step.status),
            step.attempt,
            print::visible(&step.title),
            paint(DIM, print::visible(&step.message)),
        ));
    }
    for piece in evidence {
        line(format!(
            "evidence {}: {} {} ({} bytes{})",
            piece.step,
            piece.sha256,
            print::visible(&piece.name),
            piece.size_bytes,
            if piece.truncated { ", cut" } else { "" },
        ));
    }
    if *evidence_left_out > 0 {
        line(format!(
            "evidence: {evidence_left_out} further pieces are not listed (together {evidence_left_out_sha256}); `rollbook show STEP` has them"
        ));
    }
    if answer.unread > 0 {
        line(paint(
            YELLOW,
            format!(
                "evidence: {} pieces are there and were not read, because they are too large",
                answer.unread
            ),
        ));
    }
    if let Some(hold) = &answer.hold {
        line(paint(YELLOW, format!("cannot be signed now: {}", hold.why)));
        if let Some(how) = command_line::command_lines(&hold.remedies) {
            line(format!("  how: {how}"));
        }
    }
    line(format!("seen: {}", paint(BOLD, &answer.seen)));
}
