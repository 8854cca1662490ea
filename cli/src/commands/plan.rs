//! `plan` and `diff`: what a runbook or a rollout's plan says, and what one revision changes.

use std::path::Path;

use rollbook_ledger::runbook::{Plan, describe};
use rollbook_server::api::{DifferenceAnswer, DifferenceKind};

use super::{Session, authority, runbook};
use crate::args::{DiffArgs, PlanArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::outline;
use crate::print::{self, BOLD, DIM, line, paint};

/// `plan`: opens nothing, runs nothing.
pub(crate) async fn plan(session: &Session, args: PlanArgs) -> Outcome {
    let environment = args.environment.as_deref();
    let file = args.what.as_deref().filter(|what| is_file(what));
    let (plan, of) = match file {
        Some(file) if args.revision.is_none() => {
            let plan = runbook::read(Path::new(file), &args.params, environment)?;
            (plan, "nothing has been opened or run".to_owned())
        }
        Some(file) => {
            return Err(Failure::own(
                Exit::Usage,
                "RB-CLI-100",
                format!(
                    "{file} is a runbook, which has no revisions; name a rollout, or leave out --revision"
                ),
            ));
        }
        None if !args.params.params.is_empty()
            || args.params.params_file.is_some()
            || (environment.is_some() && !args.authority) =>
        {
            return Err(Failure::own(
                Exit::Usage,
                "RB-CLI-109",
                "the plan of a rollout has its parameters and its environment already; leave out --param and --env",
            ));
        }
        None => {
            let id = session.resolve(args.what.as_deref()).await?;
            let plan = session.plan_of(&id, args.revision).await?;
            let of = match args.revision {
                Some(revision) => format!("revision {revision} of the plan of {id}"),
                None => format!("the plan of {id} that is in force"),
            };
            (plan, of)
        }
    };
    if args.authority {
        return authority::table(&plan, environment, session.json);
    }
    if session.json {
        let mut items =
            serde_json::to_value(describe::describe(&plan)).map_err(print::unprintable)?;
        if args.full {
            for item in items.as_array_mut().into_iter().flatten() {
                let id = item["id"].as_str().unwrap_or_default();
                let is_step = item["kind"] != "gate";
                let step = plan.steps().find(|step| is_step && step.id.as_str() == id);
                if let Some(step) = step {
                    item["written"] = describe::written(step.step).into();
                }
            }
        }
        print::json(&items)?;
        return Ok(Exit::Success);
    }
    for text in outline::of(&plan, args.full) {
        line(text);
    }
    line("");
    line(paint(
        DIM,
        format!("{of}; --authority shows who may do what"),
    ));
    Ok(Exit::Success)
}

/// Whether it names a file rather than a rollout, whose id has neither `/` nor an ending.
fn is_file(what: &str) -> bool {
    Path::new(what).is_file() || what.contains(['/', '.'])
}

impl Session {
    /// A revision of a rollout's plan, or the one in force.
    pub(crate) async fn plan_of(&self, id: &str, revision: Option<u32>) -> Result<Plan, Failure> {
        let query: Vec<_> = revision
            .map(|revision| ("revision", revision.to_string()))
            .into_iter()
            .collect();
        let path = format!("/v1/rollouts/{id}/plan");
        let bytes = self.client.bytes(&path, &query).await?;
        Plan::from_canonical(&bytes).map_err(|error| {
            Failure::own(
                Exit::Integrity,
                "RB-CLI-101",
                format!("the plan of {id} cannot be read: {error}"),
            )
        })
    }
}

/// `diff`.
pub(crate) async fn diff(session: &Session, args: DiffArgs) -> Outcome {
    let id = session.resolve(Some(&args.rollout)).await?;
    let query = [("from", args.from.to_string()), ("to", args.to.to_string())];
    let path = format!("/v1/rollouts/{id}/difference");
    let answer: DifferenceAnswer = session.client.get(&path, &query).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    for (which, revision, digest) in [
        ("from", answer.from, &answer.from_digest),
        ("to", answer.to, &answer.to_digest),
    ] {
        line(paint(
            DIM,
            format!("{which} revision {revision}, plan {digest}"),
        ));
    }
    if answer.changes.is_empty() {
        line("nothing differs");
    }
    for change in &answer.changes {
        let (mark, style) = match change.change {
            DifferenceKind::Added => ("+", print::GREEN),
            DifferenceKind::Removed => ("-", print::RED),
            DifferenceKind::Changed => ("~", print::YELLOW),
        };
        line(format!(
            "{} {}",
            paint(style, mark),
            paint(BOLD, print::visible(&change.what))
        ));
        for (mark, style, text) in [
            ("-", print::RED, &change.before),
            ("+", print::GREEN, &change.after),
        ] {
            for text in text.lines() {
                let text = format!("    {mark} {}", print::visible(text));
                line(paint(style, text));
            }
        }
    }
    Ok(Exit::Success)
}
