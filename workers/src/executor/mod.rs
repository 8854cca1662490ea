//! Executes steps; each kind has its `Executor` in a file of its own.
//!
//! ```text
//!  step + context ─▶ execute ─▶ action ─▶ verify ─▶ expect ─▶ Outcome ─▶ recorded by the fleet
//!                    (timeout, cancellation around all of it)
//! ```
//!
//! An executor never records a result itself and never decides what comes next. Whatever it returns
//! is redacted: no secret of the plan is in a message, a measurement or evidence.

pub mod attach;
mod audit;
pub mod calculator;
pub mod capture;
pub mod command;
mod compare;
pub mod context;
pub mod database;
mod deals;
pub mod error;
pub mod expect;
pub mod flag;
pub mod http;
pub mod json;
mod kind;
mod manual;
pub mod metric;
pub mod notify;
pub mod outcome;
pub mod own_secrets;
pub mod progress;
pub mod redact;
pub mod run;
pub mod secret;
pub mod shards;
mod snapshot;
pub mod sql;
pub(crate) mod truncate;
mod undo;
mod wait;
pub mod watch;
pub mod watch_rules;

use std::time::{Duration, Instant};

use rollbook_ledger::runbook::plan::has_effect;
use rollbook_ledger::runbook::step::Step;
use rollbook_proto::v1::Verdict;

use kind::{of_action, of_check};

pub use capture::OUTPUT_CAP_BYTES;
pub use context::{
    Cancel, EffectMark, Facts, FlagCause, FlagPort, FlagReading, NoOutput, OutputLine, OutputSink,
    PortError, SampleSink, StepContext, StepScope, Tools,
};
pub use error::ExecutorError;
pub use flag::{describe as describe_flag, setting_of};
pub use http::client as http_client;
pub use notify::{Message, RetryPolicy, send};
pub use outcome::Outcome;
pub use progress::{NoProgress, ProgressSink, StepProgress};
pub use redact::{MASK, RedactError, RedactStream, Redactor};
pub use secret::{ProcessSecrets, SecretResolver, describe as describe_secret, redactor_for};
pub use shards::{ShardFleet, ShardJob, ShardResult, ShardWork, ShardsError};
pub use undo::{UndoCheck, undo, undo_intent, verify_undo, verify_undo_by_hand};

/// The time limit of an action without a `timeout` of its own, so that nothing runs forever. A
/// watch gets its own length on top.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4 * 60 * 60);

/// The extra time an action gets beyond its own limit before it is ended from outside: killing a
/// process group and keeping its output takes time.
const MARGIN: Duration = Duration::from_secs(30);

/// The time limit of a step.
pub fn limit_of(step: &Step) -> Duration {
    let base = step.timeout.map_or(DEFAULT_TIMEOUT, |span| span.to_std());
    match step.action.kind().lasts() {
        Some(span) if step.timeout.is_none() => base + span.to_std(),
        _ => base,
    }
}

/// Formats a duration: `90 s`, `1.5 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let text = format!("{:.3}", duration.as_secs_f64());
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Executes a step: its action and, while everything passes, its `verify` and its `expect`.
pub async fn execute(step: &Step, context: &StepContext) -> Outcome {
    let limit = limit_of(step);
    let executor = of_action(&step.action);
    let work = async {
        let mut outcome = executor.execute(context, limit).await?;
        if !step.evidence.is_empty() {
            match attach::files(context, &step.evidence, executor.directory()).await {
                Ok(files) => outcome.evidence.extend(files),
                Err(error) => {
                    let missing = Outcome::error("the evidence is there", &error);
                    outcome = outcome.and("evidence", missing);
                }
            }
        }
        if outcome.verdict == Verdict::Pass
            && let Some(check) = &step.verify
        {
            outcome = outcome.and("verify", of_check(check).execute(context, limit).await?);
        }
        Ok(outcome)
    };
    let bound = Bound {
        limit,
        ends_itself: executor.ends_itself(),
    };
    let mut outcome = bounded(step.action.kind().name(), context, bound, work).await;
    expect::apply(&step.expect, &context.facts.baselines, &mut outcome);
    outcome.effect = (outcome.effect || context.effect.is_raised()) && has_effect(step);
    outcome
}

/// Checks, without repeating the action, whether it has had its effect. `None`: the step has
/// nothing to check with.
pub async fn verify(step: &Step, context: &StepContext) -> Option<Outcome> {
    let limit = limit_of(step);
    let work = match &step.verify {
        Some(check) => of_check(check).execute(context, limit),
        None => of_action(&step.action).verify(context, limit)?,
    };
    Some(bounded("verify", context, Bound::ends_itself(limit), work).await)
}

/// Describes what remains of an action that stopped between its parts.
fn partial_words(done: &database::ScriptProgress) -> String {
    if done.statements == 0 {
        return "effect: partial: no statement was done, but what a failed one leaves (an invalid \
                index, for example) stands"
            .to_owned();
    }
    format!(
        "effect: partial: {} done and standing, the last at {}",
        match done.statements {
            1 => "1 statement is".to_owned(),
            n => format!("{n} statements are"),
        },
        done.last
    )
}

/// Describes what will run, for the recorded intent: redacted, one paragraph.
pub fn intent(step: &Step, context: &StepContext) -> String {
    let text = of_action(&step.action).intent(context);
    truncate::truncate_with_digest(&context.redactor.text(&text))
}

/// The time limit of an action.
#[derive(Clone, Copy)]
struct Bound {
    limit: Duration,
    /// It checks time limit and cancellation itself, so it is given [`MARGIN`] to end in order.
    ends_itself: bool,
}

impl Bound {
    fn ends_itself(limit: Duration) -> Self {
        Self {
            limit,
            ends_itself: true,
        }
    }
}

/// Applies the time limit and the cancellation to an action that does not check them itself.
/// Actions that do (commands, watches) react first and end in order.
async fn bounded(
    what: &str,
    context: &StepContext,
    Bound { limit, ends_itself }: Bound,
    work: impl Future<Output = Result<Outcome, ExecutorError>>,
) -> Outcome {
    let begun = Instant::now();
    let margin = if ends_itself { MARGIN } else { Duration::ZERO };
    let clock = &context.tools.clock;
    let cancelled = async {
        let reason = context.cancel.cancelled().await;
        clock.sleep(margin).await;
        reason
    };
    let ended = tokio::select! {
        biased;
        done = work => done,
        () = clock.sleep(limit + margin) => Err(ExecutorError::TimedOut {
            after: seconds(limit),
        }),
        reason = cancelled => Err(ExecutorError::Cancelled { reason }),
    };
    let mut outcome = match ended {
        Ok(outcome) => outcome,
        Err(error) => Outcome::error(format!("{what} gives a result"), &error),
    };
    if outcome.verdict != Verdict::Pass
        && let Some(done) = context.effect.partly()
    {
        outcome.message = format!("{}; {}", outcome.message, partial_words(&done));
        outcome.partial = Some(database::ScriptProgress {
            last: context.redactor.text(&done.last),
            ..done
        });
    }
    outcome.message = context.redactor.text(&outcome.message);
    outcome.rule = context.redactor.text(&outcome.rule);
    outcome.duration = begun.elapsed();
    outcome
}
