//! `rollbook environment`: who may do what where.

use std::collections::BTreeMap;

use rollbook_ledger::environment::EnvironmentCommand as Change;
use rollbook_ledger::ids::EnvironmentId;
use rollbook_ledger::projection::rows::EnvironmentRow;
use rollbook_ledger::projection::views::ViewAnswer;
use rollbook_ledger::runbook::{BreakGlass, Span, Verb};
use rollbook_server::api::EnvironmentCommandAnswer;
use serde_json::Value;

use super::Session;
use crate::args::{EnvironmentCommand, EnvironmentSetArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, YELLOW, event_name, line, paint};
use crate::status::as_of;

/// `environment …`.
pub(crate) async fn run(session: &Session, command: EnvironmentCommand) -> Outcome {
    match command {
        EnvironmentCommand::Set(args) => set(session, args).await,
        EnvironmentCommand::Show { environment } => show(session, &environment).await,
        EnvironmentCommand::List => list(session).await,
        EnvironmentCommand::Accept {
            environment,
            revision,
        } => {
            if !session.json {
                show(session, &environment).await?;
            }
            send(session, &environment, &Change::Accept { revision }).await
        }
        EnvironmentCommand::Withdraw {
            environment,
            revision,
            reason,
        } => {
            send(
                session,
                &environment,
                &Change::Withdraw { revision, reason },
            )
            .await
        }
    }
}

fn path_of(environment: &str) -> Result<String, Failure> {
    let name = EnvironmentId::new(environment).map_err(Failure::usage)?;
    Ok(format!("/v1/environments/{name}"))
}

fn words(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

async fn set(session: &Session, args: EnvironmentSetArgs) -> Outcome {
    let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (role, persons) in &args.roles {
        roles
            .entry(role.clone())
            .or_default()
            .extend(words(persons));
    }
    let break_glass =
        match &args.break_glass {
            None => None,
            Some(verbs) => {
                let mut named = Vec::new();
                for word in words(verbs) {
                    named.push(Verb::of(&word).ok_or_else(|| {
                    Failure::own(Exit::Usage, "RB-CLI-90", format!(
                        "`{word}` is no verb; say abort, skip_critical, undo, accept or flag_on"
                    ))
                })?);
                }
                Some(BreakGlass {
                    verbs: named,
                    roles: args
                        .break_glass_roles
                        .as_deref()
                        .map(words)
                        .unwrap_or_default(),
                    review_within: args
                        .review_within
                        .as_deref()
                        .unwrap_or_default()
                        .parse::<Span>()
                        .map_err(Failure::usage)?,
                })
            }
        };
    let command = Change::Set {
        protected: match (args.protected, args.unprotected) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        roles: (!roles.is_empty()).then_some(roles),
        break_glass,
        reason: args.reason,
    };
    send(session, &args.environment, &command).await
}

async fn send(session: &Session, environment: &str, command: &Change) -> Outcome {
    let actor = session.config.actor()?;
    let path = format!("{}/commands", path_of(environment)?);
    let answer: EnvironmentCommandAnswer = session.client.command(&path, &actor, command).await?;
    let names: Vec<String> = answer.events.iter().map(event_name).collect();
    let waits = names.iter().any(|name| name == "environment_revised")
        && !names
            .iter()
            .any(|name| name == "environment_revision_accepted");
    if session.json {
        print::json(&answer)?;
    } else if names.is_empty() {
        line(format!(
            "{environment} nothing to do; as of sequence {}",
            answer.sequence
        ));
    } else {
        line(format!(
            "{environment} recorded {} at sequence {}",
            names.join(", "),
            answer.sequence
        ));
    }
    if waits {
        if !session.json {
            line("another person of its roles must accept it:");
            show(session, environment).await?;
        }
        return Ok(Exit::Waiting);
    }
    Ok(Exit::Success)
}

async fn show(session: &Session, environment: &str) -> Outcome {
    let answer: Value = session.client.get(&path_of(environment)?, &[]).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    let state = &answer["environment"];
    line(format!(
        "{} · {} · revision {}",
        paint(BOLD, environment),
        protection(state["terms"]["protected"].as_bool() == Some(true)),
        state["revision"]
    ));
    for (role, persons) in state["terms"]["roles"].as_object().into_iter().flatten() {
        let persons: Vec<&str> = persons
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        line(format!("  role {role}: {}", persons.join(" or ")));
    }
    if let Some(rule) = state["terms"]["break_glass"].as_object() {
        line(format!(
            "  break-glass is allowed for {}, reviewed within {}",
            rule.get("verbs")
                .map(ToString::to_string)
                .unwrap_or_default(),
            rule.get("review_within")
                .and_then(Value::as_str)
                .unwrap_or_default()
        ));
    }
    line(paint(
        DIM,
        format!(
            "  by {} at {}: {}",
            state["changed_by"].as_str().unwrap_or_default(),
            state["changed_at"].as_str().unwrap_or_default(),
            state["reason"].as_str().unwrap_or_default()
        ),
    ));
    if let Some(pending) = state["pending"].as_object() {
        let revision = &pending["revision"];
        line(paint(
            YELLOW,
            format!(
                "  revision {revision} by {} waits: {}",
                pending["by"].as_str().unwrap_or_default(),
                pending["reason"].as_str().unwrap_or_default()
            ),
        ));
        for change in answer["difference"].as_array().into_iter().flatten() {
            line(format!("    {}", change.as_str().unwrap_or_default()));
        }
        line(format!(
            "      how: rollbook environment accept {environment} {revision} --as <person>"
        ));
    }
    Ok(Exit::Success)
}

fn protection(protected: bool) -> &'static str {
    if protected {
        "protected"
    } else {
        "not protected"
    }
}

async fn list(session: &Session) -> Outcome {
    let answer: ViewAnswer<Vec<EnvironmentRow>> =
        session.client.get("/v1/environments", &[]).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    for row in &answer.data {
        let roles: Vec<String> = row
            .terms
            .roles
            .iter()
            .map(|(role, persons)| format!("{role}: {}", persons.join(" or ")))
            .collect();
        let waits = row
            .pending
            .as_ref()
            .map(|pending| format!(" (revision {} waits)", pending.revision))
            .unwrap_or_default();
        line(format!(
            "{:<20} {:<14} {}{}",
            row.environment,
            protection(row.protected),
            roles.join("; "),
            paint(YELLOW, waits)
        ));
    }
    if answer.data.is_empty() {
        line("no environment is recorded; record one with `rollbook environment set`");
    }
    line(paint(DIM, as_of(&answer)));
    Ok(Exit::Success)
}
