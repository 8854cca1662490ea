//! `rollbook` alone: what is open, and what waits for the person who asks.

use rollbook_ledger::projection::rows::{RequestRow, RolloutRow};
use rollbook_ledger::projection::views::ViewAnswer;
use rollbook_server::api::{BlockedAnswer, StatusAnswer};

use rollbook_server::command_line;

use super::Session;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, YELLOW, line, paint};
use crate::status::status_text;

/// The most open rollouts that are looked at.
const MAX_SHOWN: usize = 20;

/// What waits for a person, with the rollout it belongs to.
struct Waiting<'a> {
    rollout: &'a str,
    answer: &'a BlockedAnswer,
}

/// `rollbook` without a command. Fails as unavailable if no server answers.
pub(crate) async fn run(session: &Session) -> Outcome {
    let query = [("open_only", "true".to_owned())];
    let open: ViewAnswer<Vec<RolloutRow>> = session.client.get("/v1/rollouts", &query).await?;
    let mut shown = Vec::new();
    for rollout in open.data.iter().take(MAX_SHOWN) {
        shown.push(session.status_of(&rollout.rollout).await?);
    }
    let person = session.config.actor_if_named()?;
    let waiting = waiting(&shown, person.as_deref());
    if session.json {
        return as_json(&open.data, &waiting, person.as_deref());
    }
    if open.data.is_empty() {
        line(
            "nothing is open; open a rollout with `rollbook open RUNBOOK --env ENVIRONMENT --as PERSON`",
        );
    }
    for status in &shown {
        rollout(status);
    }
    if open.data.len() > shown.len() {
        line(format!(
            "and {} more: rollbook list",
            open.data.len() - shown.len()
        ));
    }
    match &person {
        None => line(paint(
            DIM,
            "say who you are to see what waits for you: --as PERSON, or ROLLBOOK_AS",
        )),
        Some(person) => for_person(&waiting, person),
    }
    requests(session).await?;
    line(paint(DIM, "every command: rollbook --help"));
    Ok(Exit::Success)
}

fn waiting<'a>(shown: &'a [StatusAnswer], person: Option<&str>) -> Vec<Waiting<'a>> {
    let Some(person) = person else {
        return Vec::new();
    };
    let of = |status: &'a StatusAnswer| {
        status.blocked.iter().map(move |answer| Waiting {
            rollout: &status.view.data.rollout.rollout,
            answer,
        })
    };
    shown
        .iter()
        .flat_map(of)
        .filter(|waiting| waiting.answer.blocked.is_for(person))
        .collect()
}

fn rollout(status: &StatusAnswer) {
    let row = &status.view.data.rollout;
    let phase = row
        .current_phase
        .as_ref()
        .map(|phase| format!(", phase {}", print::visible(phase)))
        .unwrap_or_default();
    line(format!(
        "{} in {}: {}{phase}, {}",
        paint(BOLD, &row.rollout),
        print::visible(&row.environment),
        status_text(row),
        row.health
    ));
    if !status.next.is_empty() {
        line(format!("  running or due: {}", status.next.join(", ")));
    }
    for answer in &status.blocked {
        let why = answer.blocked.why.lines().next().unwrap_or_default();
        for text in print::wrapped(&format!("  {} waits: ", answer.blocked.what), why) {
            line(text);
        }
    }
}

fn for_person(waiting: &[Waiting<'_>], person: &str) {
    let person = print::visible(person);
    if waiting.is_empty() {
        line(format!("nothing in these rollouts waits for you, {person}"));
        return;
    }
    line(paint(BOLD, format!("\nwaits for you, {person}")));
    for Waiting { rollout, answer } in waiting {
        line(format!(
            "  {rollout}: {}",
            paint(YELLOW, &answer.blocked.what)
        ));
        for remedy in &answer.blocked.remedies {
            line(format!(
                "      {}",
                for_them(&command_line::line(remedy), &person)
            ));
        }
    }
}

/// A command with this person in place of `<role>`, and quoted where a shell needs it.
fn for_them(command: &str, person: &str) -> String {
    let named = shlex::try_quote(person).unwrap_or(person.into());
    match command.split_once(" --as <") {
        Some((before, after)) => {
            let rest = after.split_once('>').map_or("", |(_, rest)| rest);
            format!("{before} --as {named}{rest}")
        }
        None => format!("{command} --as {named}"),
    }
}

/// Requests and reviews, which may be about flags and environments as well.
async fn requests(session: &Session) -> Result<(), Failure> {
    let query = [("open_only", "true".to_owned())];
    let answer: ViewAnswer<Vec<RequestRow>> = session.client.get("/v1/requests", &query).await?;
    if !answer.data.is_empty() {
        line(format!(
            "{} requests and reviews are open: rollbook requests",
            answer.data.len()
        ));
    }
    Ok(())
}

fn as_json(open: &[RolloutRow], waiting: &[Waiting<'_>], person: Option<&str>) -> Outcome {
    let waiting: Vec<_> = waiting
        .iter()
        .map(|waiting| serde_json::json!({ "rollout": waiting.rollout, "blocked": waiting.answer }))
        .collect();
    print::json(&serde_json::json!({ "open": open, "person": person, "waiting": waiting }))?;
    Ok(Exit::Success)
}
