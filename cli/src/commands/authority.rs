//! Commands for what takes two persons: requests, break-glass reviews, accepting a changed plan.

use rollbook_ledger::authority::{Permissions, rows};
use rollbook_ledger::environment::Environments;
use rollbook_ledger::flag::FlagCommand;
use rollbook_ledger::ids::EnvironmentId;
use rollbook_ledger::projection::rows::{RequestRow, RevisionRow};
use rollbook_ledger::projection::views::ViewAnswer;
use rollbook_ledger::projection::words::{RequestKind, RevisionStatus};
use rollbook_ledger::rollout::Command;
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::suggestion::did_you_mean;
use rollbook_proto::v1::{self, event::Kind};

use super::Session;
use super::flag;
use crate::args::{AcceptArgs, BreakGlassArg, ConfirmArgs, RequestsArgs, ReviewArgs, WithdrawArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, YELLOW, line, paint};
use crate::status::{as_of, revision_lines};
use crate::terminal;

/// The command, wrapped in break-glass if requested.
pub(crate) fn with(glass: &BreakGlassArg, command: Command) -> Command {
    if glass.break_glass {
        Command::BreakGlass {
            of: Box::new(command),
        }
    } else {
        command
    }
}

/// The exit code after these events: a request waits for somebody else.
pub(crate) fn exit_of(events: &[v1::Event], json: bool) -> Exit {
    let made = events.iter().find_map(|event| match &event.kind {
        Some(Kind::RequestMade(made)) => Some(made),
        _ => None,
    });
    for event in events {
        if let Some(Kind::GlassBroken(broken)) = &event.kind
            && !json
        {
            line(paint(
                YELLOW,
                format!(
                    "review {} is open: somebody else must close it with `rollbook review {}`",
                    broken.review_id, broken.review_id
                ),
            ));
        }
    }
    let Some(made) = made else {
        return Exit::Success;
    };
    if !json {
        line(paint(
            YELLOW,
            format!(
                "nothing is done yet: to {} takes a second person, who confirms it with `rollbook confirm {} --as PERSON`",
                made.what, made.request_id
            ),
        ));
    }
    Exit::Waiting
}

/// The aggregate that a request or review belongs to.
async fn find(session: &Session, id: &str) -> Result<RequestRow, Failure> {
    let query = [("request", id.to_owned())];
    let answer: ViewAnswer<Vec<RequestRow>> = session.client.get("/v1/requests", &query).await?;
    let mut rows = answer.data;
    let open = rows.iter().rposition(|row| row.status.is_open());
    match open.or(rows.len().checked_sub(1)) {
        Some(at) => Ok(rows.swap_remove(at)),
        None => {
            let open = [("open_only", "true".to_owned())];
            let open: ViewAnswer<Vec<RequestRow>> =
                session.client.get("/v1/requests", &open).await?;
            let known = open.data.iter().map(|row| row.request.as_str());
            Err(Failure::own(
                Exit::Usage,
                "RB-CLI-91",
                format!(
                    "there is no request or review `{id}`; `rollbook requests` lists those that wait"
                ),
            )
            .meaning(did_you_mean(id, known)))
        }
    }
}

async fn decide_request(
    session: &Session,
    id: &str,
    rollout: Option<&str>,
    of_rollout: Command,
    of_flag: FlagCommand,
) -> Outcome {
    if rollout.is_some() {
        return session.act(rollout, &of_rollout).await;
    }
    let row = find(session, id).await?;
    if row.flag.is_empty() {
        session.act(Some(&row.rollout), &of_rollout).await
    } else {
        flag::send(session, &row.environment, &row.flag, &of_flag).await
    }
}

/// `confirm ID`.
pub(crate) async fn confirm(session: &Session, args: ConfirmArgs) -> Outcome {
    let request = args.request.clone();
    decide_request(
        session,
        &args.request,
        args.rollout.as_deref(),
        Command::Confirm {
            request: request.clone(),
        },
        FlagCommand::Confirm { request },
    )
    .await
}

/// `withdraw ID`.
pub(crate) async fn withdraw(session: &Session, args: WithdrawArgs) -> Outcome {
    // The ids of requests begin with a letter.
    if let Ok(revision) = args.request.parse() {
        let command = Command::WithdrawRevision {
            revision,
            reason: args.reason,
        };
        return session.act(args.rollout.as_deref(), &command).await;
    }
    let (request, reason) = (args.request.clone(), args.reason);
    decide_request(
        session,
        &args.request,
        args.rollout.as_deref(),
        Command::Withdraw {
            request: request.clone(),
            reason: reason.clone(),
        },
        FlagCommand::Withdraw { request, reason },
    )
    .await
}

/// `review ID`.
pub(crate) async fn review(session: &Session, args: ReviewArgs) -> Outcome {
    let (review, agreed, note) = (args.review.clone(), args.agree, args.note);
    decide_request(
        session,
        &args.review,
        args.rollout.as_deref(),
        Command::Review {
            review: review.clone(),
            agreed,
            note: note.clone(),
        },
        FlagCommand::Review {
            review,
            agreed,
            note,
        },
    )
    .await
}

/// `requests`.
pub(crate) async fn requests(session: &Session, args: RequestsArgs) -> Outcome {
    let query = [("open_only", (!args.all).to_string())];
    let answer: ViewAnswer<Vec<RequestRow>> = session.client.get("/v1/requests", &query).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    for row in &answer.data {
        let due = row.due_at.map(print::time).unwrap_or_default();
        line(format!(
            "{:<13} {:<10} {} · {} by {}, {} {due}: {}",
            row.request,
            row.status,
            print::visible(&row.aggregate),
            print::visible(&row.what),
            print::visible(&row.made_by),
            match row.kind {
                RequestKind::Confirm => "until",
                RequestKind::Review => "to be reviewed by",
            },
            print::visible(&row.reason)
        ));
    }
    if answer.data.is_empty() {
        line("nothing waits for another person");
    }
    line(paint(DIM, as_of(&answer)));
    Ok(Exit::Success)
}

/// Break-glass reviews that nobody has closed.
pub(crate) async fn open_reviews(session: &Session) -> Result<Vec<RequestRow>, Failure> {
    let query = [("open_only", "true".to_owned())];
    let answer: ViewAnswer<Vec<RequestRow>> = session.client.get("/v1/requests", &query).await?;
    let mut rows = answer.data;
    rows.retain(|row| row.kind == RequestKind::Review);
    Ok(rows)
}

/// A review, with the command that closes it.
pub(crate) fn review_text(row: &RequestRow) -> String {
    let due = row.due_at.map(print::time).unwrap_or_default();
    let rollout = if row.rollout.is_empty() {
        String::new()
    } else {
        format!(" {}", row.rollout)
    };
    format!(
        "review {0} of {1}: {2} used break-glass to {3} ({4}), which somebody else must review by {due}: rollbook review {0}{rollout} --agree --note … --as <person>",
        row.request,
        print::visible(&row.aggregate),
        print::visible(&row.made_by),
        print::visible(&row.what),
        print::visible(&row.reason)
    )
}

/// `accept REVISION`: shows what it changes, then accepts exactly that.
pub(crate) async fn accept(session: &Session, args: AcceptArgs) -> Outcome {
    let id = session.resolve(args.rollout.rollout.as_deref()).await?;
    let detail = session.status_of(&id).await?.view.data;
    let waits = detail
        .revisions
        .iter()
        .find(|row| row.revision == args.revision && row.status == RevisionStatus::Proposed);
    if let Some(row) = waits.filter(|_| !session.json) {
        show_revision(row);
    }
    let command = Command::AcceptRevision {
        revision: args.revision,
        difference: waits
            .map(|row| row.difference_sha256.clone())
            .filter(|digest| !digest.is_empty()),
        reason: args.reason,
    };
    session.act(Some(&id), &with(&args.glass, command)).await
}

/// What a changed plan changes.
pub(crate) fn show_revision(row: &RevisionRow) {
    for text in revision_lines(row, terminal::width()) {
        line(text);
    }
}

/// The table of who may do what, for each environment of a plan or for one.
pub(crate) fn table(plan: &Plan, only: Option<&str>, json: bool) -> Outcome {
    let mut all = serde_json::Map::new();
    for name in plan.runbook().environments.keys() {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let environment = EnvironmentId::new(name.as_str()).map_err(Failure::usage)?;
        let permissions = Permissions::of_rollout(plan, &environment, false, Environments::NONE);
        let rows = rows(&permissions);
        if json {
            let value = serde_json::to_value(&rows).map_err(print::unprintable)?;
            all.insert(name.clone(), value);
            continue;
        }
        line(format!(
            "\n{} {}",
            paint(BOLD, format!("permissions in {name}")),
            if permissions.is_protected() {
                "(protected)"
            } else {
                "(not protected by this runbook; what the ledger has recorded of it may be stricter)"
            }
        ));
        for row in rows {
            let glass = if row.break_glass.is_empty() {
                String::new()
            } else {
                format!(" [break glass by {}]", row.break_glass.join(", "))
            };
            line(format!(
                "  {:<24} {:<48} {}{glass}",
                row.verb,
                row.rule,
                row.who.join("; ")
            ));
        }
    }
    if json {
        print::json(&all)?;
    }
    Ok(Exit::Success)
}
