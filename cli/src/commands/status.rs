//! `rollbook status`: what is going on, what is next, what is blocked, why, and who can unblock it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rollbook_ledger::projection::rows::StepRow;
use rollbook_ledger::projection::words::{RolloutEnding, StepRowStatus, Verdict};
use rollbook_ledger::rollout::{Blocked, WaitsFor};
use rollbook_server::api::StatusAnswer;

use super::{Session, authority, watch};
use crate::args::StatusArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, YELLOW, line, paint};
use crate::status::{Picture, is_over, tree};
use crate::terminal;

/// Interval between two looks of `--wait`.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How many different reasons to wait are printed.
const MAX_REPORTED: usize = 100;

/// Warns if the views do not show everything as it is on the ledger.
async fn warn_about_anomalies(session: &Session) {
    let health: Result<serde_json::Value, _> = session.client.get("/health", &[]).await;
    if health.is_ok_and(|health| health["anomalies"].as_u64() > Some(0)) {
        print::note("the views have anomalies: `rollbook doctor` says where they begin");
    }
}

/// Names flags in the rollout's environment that somebody has switched with break-glass: nothing
/// else tells a rollout that depends on them.
async fn warn_about_reviews(session: &Session, answer: &StatusAnswer) {
    let environment = &answer.view.data.rollout.environment;
    let reviews = authority::open_reviews(session).await.unwrap_or_default();
    let of_flags = reviews
        .iter()
        .filter(|row| !row.flag.is_empty() && row.environment == *environment);
    for row in of_flags {
        line(paint(YELLOW, format!("\n{}", authority::review_text(row))));
    }
}

/// `status`.
pub(crate) async fn status(session: &Session, args: StatusArgs) -> Outcome {
    let id = session.resolve(args.rollout.rollout.as_deref()).await?;
    if let Some(seconds) = args.wait {
        let answer = wait(session, &id, Duration::from_secs(seconds)).await?;
        show(session, &answer).await?;
        return Ok(exit_of(&answer));
    }
    if args.watch {
        return watch::watch(session, &id).await;
    }
    let answer = session.status_of(&id).await?;
    show(session, &answer).await?;
    if !session.json {
        warn_about_reviews(session, &answer).await;
        warn_about_anomalies(session).await;
    }
    Ok(Exit::Success)
}

/// Looks until the rollout is over, a person is needed, or time is up. If it waits only for time to
/// pass, it says so once: that may take days.
pub(crate) async fn wait(
    session: &Session,
    id: &str,
    at_most: Duration,
) -> Result<StatusAnswer, Failure> {
    let deadline = Instant::now() + at_most;
    let mut reported = BTreeSet::new();
    loop {
        let answer = session.status_of(id).await?;
        if is_over(&answer) || needs_person(&answer) || Instant::now() >= deadline {
            return Ok(answer);
        }
        if !session.json && is_held_by_time(&answer) && !answer.due && answer.next.is_empty() {
            for text in standing_still(&answer)
                .filter(|it| goes_on_by_itself(it))
                .map(waiting_for)
            {
                if reported.len() < MAX_REPORTED && reported.insert(text.clone()) {
                    print::note(text);
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Nothing is running, due or about to happen by itself, and somebody could unblock it.
fn needs_person(answer: &StatusAnswer) -> bool {
    let running = runs(answer);
    let by_person = standing_still(answer).any(|blocked| !goes_on_by_itself(blocked));
    !running && !answer.due && answer.next.is_empty() && by_person
}

fn runs(answer: &StatusAnswer) -> bool {
    steps(answer).any(|step| matches!(step.status, StepRowStatus::Running | StepRowStatus::Undoing))
}

/// Nothing happens before a certain time.
fn is_held_by_time(answer: &StatusAnswer) -> bool {
    !runs(answer) && !needs_person(answer) && standing_still(answer).any(goes_on_by_itself)
}

/// It continues by itself, even if nobody knows when.
fn goes_on_by_itself(blocked: &Blocked) -> bool {
    match blocked.waits_for {
        WaitsFor::Time | WaitsFor::Worker => true,
        WaitsFor::Person => blocked.until.is_some(),
    }
}

fn standing_still(answer: &StatusAnswer) -> impl Iterator<Item = &Blocked> {
    answer.blocked.iter().map(|it| &it.blocked)
}

fn waiting_for(blocked: &Blocked) -> String {
    let until = blocked.until.map_or_else(String::new, |until| {
        format!(" until {}", print::time(until))
    });
    format!(
        "{} waits{until}: {}",
        blocked.what,
        print::indented(&blocked.why)
    )
}

/// The exit code for the state of a rollout. During and after a rollback the rollback counts:
/// failed if an undo failed, otherwise waiting for the person who decides how to continue.
pub(crate) fn exit_of(answer: &StatusAnswer) -> Exit {
    let rollout = &answer.view.data.rollout;
    if let Some(outcome) = rollout.outcome {
        return match outcome {
            RolloutEnding::Succeeded => Exit::Success,
            _ => Exit::Failed,
        };
    }
    if steps(answer).any(|step| step.status == StepRowStatus::UndoFailed) {
        return Exit::Failed;
    }
    let worst = steps(answer)
        .filter(|step| step.critical && step.status != StepRowStatus::Undone)
        .filter_map(|step| step.verdict)
        .find(|verdict| {
            matches!(
                verdict,
                Verdict::Fail | Verdict::Error | Verdict::Inconclusive
            )
        });
    match worst {
        Some(Verdict::Inconclusive) => Exit::Inconclusive,
        Some(_) => Exit::Failed,
        None if is_held_by_time(answer) => Exit::Blocked,
        None => Exit::Waiting,
    }
}

fn steps(answer: &StatusAnswer) -> impl Iterator<Item = &StepRow> {
    answer
        .view
        .data
        .phases
        .iter()
        .flat_map(|phase| &phase.steps)
}

/// Prints a rollout. The plan only adds to what is shown: without it the rest is shown all the same.
pub(crate) async fn show(session: &Session, answer: &StatusAnswer) -> Result<(), Failure> {
    if session.json {
        return print::json(answer);
    }
    let id = &answer.view.data.rollout.rollout;
    let plan = session.plan_of(id, None).await.ok();
    let picture = Picture {
        answer,
        plan: plan.as_ref(),
        now: Timestamp::now(),
        width: terminal::width(),
    };
    for text in tree(&picture) {
        line(text);
    }
    Ok(())
}
