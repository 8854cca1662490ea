//! `rollbook status`: what is going on, what is next, what is blocked, why, and who can unblock it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anstyle::Style;
use rollbook_ledger::projection::rows::{RolloutRow, StepRow};
use rollbook_ledger::projection::words::{
    AlertStatus, GateStatus, Health, RevisionStatus, RolloutEnding, RolloutStatus, StepRowStatus,
    UndoVerification, Verdict,
};
use rollbook_ledger::rollout::{Blocked, NO_ADVICE, WaitsFor};
use rollbook_server::api::{BlockedAnswer, StatusAnswer};

use super::{Session, authority};
use crate::args::StatusArgs;
use crate::exit::{Exit, Outcome};
use crate::print::{self, BOLD, DIM, GREEN, RED, YELLOW, line, paint};
use crate::progress::{Steps, lines};

/// Interval between two looks of `--watch` and `--wait`.
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
        show(&answer, session.json)?;
        return Ok(exit_of(&answer));
    }
    if !args.watch {
        let answer = session.status_of(&id).await?;
        show(&answer, session.json)?;
        if !session.json {
            warn_about_reviews(session, &answer).await;
            warn_about_anomalies(session).await;
        }
        return Ok(Exit::Success);
    }
    let mut shown = 0;
    let mut reported = Vec::new();
    let mut steps = Steps::new();
    loop {
        let answer = session.status_of(&id).await?;
        let moved = session.json && answer.progress != reported;
        if answer.view.data.rollout.updated_sequence != shown || moved {
            shown = answer.view.data.rollout.updated_sequence;
            steps.suspended(|| {
                if !session.json {
                    line("");
                }
                show(&answer, session.json)
            })?;
        }
        if !session.json {
            steps.update(&answer.progress);
        }
        reported.clone_from(&answer.progress);
        if is_over(&answer) {
            return Ok(exit_of(&answer));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks until the rollout is over, a person is needed, or time is up. If it waits only for time to
/// pass, it says so once: that may take days.
pub(crate) async fn wait(
    session: &Session,
    id: &str,
    at_most: Duration,
) -> Result<StatusAnswer, crate::exit::Failure> {
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

/// It has ended, and no rollback is in progress.
fn is_over(answer: &StatusAnswer) -> bool {
    answer.view.data.rollout.status == RolloutStatus::Closed
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
    let until = blocked
        .until
        .map_or_else(String::new, |until| format!(" until {until}"));
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

/// Prints a rollout.
pub(crate) fn show(answer: &StatusAnswer, as_json: bool) -> Result<(), crate::exit::Failure> {
    if as_json {
        return print::json(answer);
    }
    let detail = &answer.view.data;
    let rollout = &detail.rollout;
    let score = rollout
        .health_score
        .map(|score| format!(" {score}"))
        .unwrap_or_default();
    line(format!(
        "{} · {} {} · {} · {} · {}{score}",
        paint(BOLD, &rollout.rollout),
        rollout.runbook,
        rollout.runbook_version,
        rollout.environment,
        paint(BOLD, status_text(rollout)),
        paint(health_style(rollout.health), rollout.health),
    ));
    for deduction in &detail.health_detail.deductions.0 {
        line(format!(
            "  −{} {}: {}",
            deduction.points,
            deduction.reason,
            print::indented(&deduction.message)
        ));
    }
    for phase in &detail.phases {
        line(format!(
            "\n{} {}",
            paint(BOLD, &phase.phase.phase),
            paint(BOLD, print::visible(&phase.phase.title))
        ));
        for step in &phase.steps {
            line(step_line(step));
            let states = answer.progress.iter();
            for state in states.filter(|state| state.step.as_str() == step.step) {
                for text in lines(state) {
                    line(format!("          {}", paint(DIM, text)));
                }
            }
        }
        if let Some(gate) = &phase.gate_detail {
            let style = match gate.gate.status {
                GateStatus::Passed => GREEN,
                GateStatus::Blocked => RED,
                _ => YELLOW,
            };
            let signed: Vec<String> = gate
                .sign_offs
                .iter()
                .map(|sign_off| {
                    format!(
                        "{} as {} ({})",
                        print::visible(&sign_off.person),
                        print::visible(&sign_off.role),
                        sign_off.status
                    )
                })
                .collect();
            line(format!(
                "  ◆ gate {} {} {}",
                gate.gate.gate,
                paint(style, gate.gate.status),
                paint(DIM, signed.join(", "))
            ));
        }
    }
    for alert in detail
        .alerts
        .iter()
        .filter(|alert| alert.resolved_at.is_none())
    {
        line(paint(
            RED,
            format!(
                "\nalert {} ({}{}): {}",
                alert.alert,
                alert.severity,
                if alert.status == AlertStatus::Unwatched {
                    ", its watch has ended"
                } else {
                    ""
                },
                alert.raised.0.rule
            ),
        ));
    }
    let advice = detail.advice.last();
    if let Some(advice) = advice.filter(|advice| advice.advice != NO_ADVICE) {
        line(format!(
            "\nadvice: {} because {} ({})",
            paint(BOLD, &advice.advice),
            advice.rule,
            advice.inputs.0.join(", ")
        ));
    }
    let waits = detail.revisions.iter();
    for row in waits.filter(|row| row.status == RevisionStatus::Proposed) {
        line("");
        authority::show_revision(row);
    }
    if !answer.blocked.is_empty() {
        line(paint(BOLD, "\nwhy it is blocked"));
    }
    for BlockedAnswer { blocked, how } in &answer.blocked {
        line(format!(
            "  {}: {}",
            paint(YELLOW, &blocked.what),
            print::indented(&blocked.why)
        ));
        if !blocked.who.is_empty() {
            line(format!("      who: {}", blocked.who.join(", ")));
        }
        if let Some(until) = blocked.until {
            line(format!("      until: {until}"));
        }
        if let Some(how) = how {
            line(format!("      how: {how}"));
        }
    }
    line(paint(DIM, as_of(&answer.view)));
    Ok(())
}

/// The status, and once the rollout is over its outcome: `closed as succeeded`.
pub(crate) fn status_text(rollout: &RolloutRow) -> String {
    match rollout.outcome {
        Some(outcome) => format!("{} as {outcome}", rollout.status),
        None => rollout.status.to_string(),
    }
}

/// The line that says how fresh an answer is.
pub(crate) fn as_of<T>(answer: &rollbook_ledger::projection::views::ViewAnswer<T>) -> String {
    let at = answer
        .as_of
        .recorded_at
        .map(|at| format!(" ({at})"))
        .unwrap_or_default();
    match answer.lag {
        Some(0) | None => format!("as of sequence {}{at}", answer.as_of.sequence),
        Some(lag) => format!(
            "as of sequence {}{at}, {lag} commits behind",
            answer.as_of.sequence
        ),
    }
}

fn step_line(step: &StepRow) -> String {
    let (mark, style) = mark(step);
    let time = step.duration_ms.map(print::duration).unwrap_or_default();
    let mut text = format!(
        "  {} {:<5} {:<52} {:<9} {} {}",
        paint(style, mark),
        step.step,
        clip(&print::visible(&step.title), 52),
        step.kind,
        paint(style, word(step)),
        paint(DIM, time),
    );
    let bad = matches!(
        step.verdict,
        Some(Verdict::Fail | Verdict::Error | Verdict::Inconclusive | Verdict::Warning)
    );
    if (bad || step.status == StepRowStatus::Interrupted) && !step.message.is_empty() {
        text.push_str(&format!(
            "\n          {}",
            paint(style, print::indented(&step.message))
        ));
    }
    text
}

fn mark(step: &StepRow) -> (&'static str, Style) {
    match (step.status, step.verdict) {
        (StepRowStatus::Running | StepRowStatus::Undoing, _) => ("▶", YELLOW),
        (StepRowStatus::Finished, Some(Verdict::Pass)) => ("✔", GREEN),
        (StepRowStatus::Finished, Some(Verdict::Warning)) => ("!", YELLOW),
        (StepRowStatus::Finished, Some(Verdict::Inconclusive)) => ("?", YELLOW),
        (StepRowStatus::Finished, _)
        | (StepRowStatus::Interrupted | StepRowStatus::UndoFailed, _) => ("✘", RED),
        (StepRowStatus::Skipped | StepRowStatus::NotApplicable | StepRowStatus::Undone, _) => {
            ("−", DIM)
        }
        (StepRowStatus::InReview, _) => ("?", YELLOW),
        (StepRowStatus::Pending, _) => ("·", DIM),
    }
}

/// The result of a step: its verdict once finished, otherwise its status.
fn word(step: &StepRow) -> String {
    match (step.status, step.verdict) {
        (StepRowStatus::Finished, Some(verdict)) => verdict.to_string(),
        (StepRowStatus::Undone, _)
            if step.undo_verification == Some(UndoVerification::NotVerified) =>
        {
            "undone, not verified".to_owned()
        }
        (status, _) => status.to_string(),
    }
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    out.push('…');
    out
}

fn health_style(health: Health) -> Style {
    match health {
        Health::Healthy => GREEN,
        Health::NeedsAttention => YELLOW,
        Health::Critical => RED,
        Health::NoData => DIM,
    }
}
