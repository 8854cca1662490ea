//! Opens rollouts, drives one for CI, revises its plan, and reads the plan in force.

use std::time::Duration;

use bytes::Bytes;
use rollbook_ledger::ids::{EnvironmentId, RolloutId};
use rollbook_ledger::projection::words::RevisionStatus;
use rollbook_ledger::rollout::Command;
use rollbook_ledger::runbook::Plan;
use rollbook_server::api::{CommandAnswer, OpenBody};

use super::{Session, authority, runbook, status};
use crate::args::{OpenArgs, ReviseArgs, RunArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt;
use crate::print;

/// `open`.
pub(crate) async fn open(session: &Session, args: &OpenArgs) -> Outcome {
    let mut answer = open_rollout(session, args).await?;
    if !session.json {
        print::command_answer(&answer, false)?;
    }
    if args.start {
        let started = start(session, &answer).await?;
        if session.json {
            answer.sequence = started.sequence;
            answer.events.extend(started.events);
        } else {
            print::command_answer(&started, false)?;
        }
    }
    if session.json {
        print::command_answer(&answer, true)?;
    }
    Ok(Exit::Success)
}

async fn start(session: &Session, opened: &CommandAnswer) -> Result<CommandAnswer, Failure> {
    let path = format!("/v1/rollouts/{}/commands", opened.rollout);
    let actor = session.config.actor()?;
    session
        .client
        .second_command(&path, &actor, &Command::Start {})
        .await
}

async fn open_rollout(session: &Session, args: &OpenArgs) -> Result<CommandAnswer, Failure> {
    let actor = session.config.actor()?;
    let environment = EnvironmentId::new(&*args.environment).map_err(Failure::usage)?;
    let plan = runbook::read(
        &args.runbook.runbook,
        &args.runbook.params,
        Some(&args.environment),
    )?;
    let id = args
        .id
        .as_deref()
        .map(RolloutId::new)
        .transpose()
        .map_err(Failure::usage)?;
    let body = OpenBody {
        id,
        name: args.name.clone(),
        plan: plan_json(&plan)?,
        environment,
        params: plan.params().clone(),
    };
    session.client.command("/v1/rollouts", &actor, &body).await
}

fn plan_json(plan: &Plan) -> Result<serde_json::Value, Failure> {
    serde_json::from_slice(plan.canonical_json()).map_err(|error| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-33",
            format!("the plan does not read back: {error}"),
        )
    })
}

/// `run`: opens, starts, and waits for the end or until a person is needed.
pub(crate) async fn run(session: &Session, args: &RunArgs) -> Outcome {
    let opened = open_rollout(session, &args.open).await?;
    let id = opened.rollout.to_string();
    if !session.json {
        print::command_answer(&opened, false)?;
    }
    interrupt::set_parting_message(format!(
        "{id} continues; `rollbook status {id} --wait SECONDS` waits for it again"
    ));
    start(session, &opened).await?;
    let answer = status::wait(session, &id, Duration::from_secs(args.timeout)).await?;
    status::show(session, &answer).await?;
    Ok(status::exit_of(&answer))
}

/// `revise`.
pub(crate) async fn revise(session: &Session, args: &ReviseArgs) -> Outcome {
    let id = session.resolve(args.rollout.rollout.as_deref()).await?;
    let environment = session.status_of(&id).await?.view.data.rollout.environment;
    let before = session.plan_of(&id, None).await?;
    let named = runbook::params_of(&args.params)?;
    let plan = runbook::read_revision(&args.runbook, &before, &named, Some(&environment))?;
    let actor = session.config.actor()?;
    let bytes = Bytes::copy_from_slice(plan.canonical_json());
    let stored = session
        .client
        .put_evidence(&actor, "plan", bytes.to_vec())
        .await?;
    let command = Command::Revise {
        plan: stored,
        params: named,
        reason: args.reason.clone(),
    };
    let exit = session.act(Some(&id), &command).await?;
    if !session.json {
        let detail = session.status_of(&id).await?.view.data;
        let waits = detail.revisions.iter();
        for row in waits.filter(|row| row.status == RevisionStatus::Proposed) {
            authority::show_revision(row);
            print::line(format!(
                "  then: rollbook accept {} {id} --as <person>",
                row.revision
            ));
        }
    }
    Ok(exit)
}
