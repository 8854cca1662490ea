//! Step executors: one file per kind of action.
//!
//! ```text
//!  step + context ─▶ execute ─▶ action ─▶ verify ─▶ expect ─▶ Outcome ─▶ recorded by the fleet
//!                    (timeout, cancellation around all of it)
//! ```
//!
//! An executor never records a result itself and never decides what comes next. Whatever it returns
//! is redacted: no secret of the plan is in a message, a measurement or evidence.

pub mod attach;
pub mod calculator;
pub mod capture;
pub mod command;
pub mod context;
pub mod database;
pub mod deals;
pub mod error;
pub mod expect;
pub mod flag;
pub mod http;
pub mod json;
pub mod metric;
pub mod notify;
pub mod outcome;
pub mod own_secrets;
pub mod progress;
pub mod redact;
pub mod run;
pub mod secret;
pub mod shards;
pub mod sql;
pub(crate) mod truncate;
pub mod watch;
pub mod watch_rules;

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rollbook_ledger::runbook::kind::{Action, Sql, Transaction};
use rollbook_ledger::runbook::plan::{EffectiveUndo, effective_undo, has_effect};
use rollbook_ledger::runbook::step::Step;
use rollbook_ledger::runbook::undo::Check;
use rollbook_proto::v1::{UndoVerification, Verdict};

pub use capture::OUTPUT_CAP_BYTES;
pub use context::{
    Cancel, EffectMark, Facts, FlagCause, FlagPort, FlagReading, NoOutput, OutputLine, OutputSink,
    PortError, SampleSink, Scope, StepContext, Tools,
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

/// The time limit of an action without a `timeout` of its own, so that nothing runs forever. A
/// watch gets its own length on top.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4 * 60 * 60);

/// The extra time an action gets beyond its own limit before it is ended from outside: killing a
/// process group and keeping its output takes time.
const MARGIN: Duration = Duration::from_secs(30);

/// The time limit of a step.
pub fn limit_of(step: &Step) -> Duration {
    let base = step.timeout.map_or(DEFAULT_TIMEOUT, |span| span.to_std());
    match &step.action {
        Action::Watch(watch) if step.timeout.is_none() => base + watch.r#for.to_std(),
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
    let work = async {
        let mut outcome = action(step, context, limit).await?;
        if !step.evidence.is_empty() {
            let directory = match &step.action {
                Action::Run(run) => run.directory.as_deref(),
                _ => None,
            };
            match attach::files(context, &step.evidence, directory).await {
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
            outcome = outcome.and("verify", run_check(check, context, limit).await?);
        }
        Ok(outcome)
    };
    let mut outcome = bounded(step.action.kind().name(), context, limit, work).await;
    expect::apply(&step.expect, &context.facts.baselines, &mut outcome);
    outcome.effect = (outcome.effect || context.effect.is_raised()) && has_effect(step);
    outcome
}

/// Checks, without repeating the action, whether it has had its effect. `None`: the step has
/// nothing to check with.
pub async fn verify(step: &Step, context: &StepContext) -> Option<Outcome> {
    let limit = limit_of(step);
    let check = match (&step.verify, &step.action) {
        (Some(check), _) => Some(check.clone()),
        (
            None,
            Action::Sql(Sql {
                source,
                deploy: Some(_),
                verify: Some(verify),
                ..
            }),
        ) => Some(Check::Sql(Sql {
            source: source.clone(),
            deploy: None,
            verify: Some(verify.clone()),
            revert: None,
            query: None,
            must_fail: false,
            transaction: Transaction::One,
        })),
        _ => None,
    };
    match (check, &step.action) {
        (Some(check), _) => {
            let work = run_check(&check, context, limit);
            Some(bounded("verify", context, limit, work).await)
        }
        (None, Action::Flag(flag)) => {
            Some(bounded("verify", context, limit, flag::verify(context, flag)).await)
        }
        (None, _) => None,
    }
}

/// Undoes a step's effect and checks that it is gone.
pub async fn undo(step: &Step, context: &StepContext) -> Outcome {
    let limit = limit_of(step);
    let tells = tells(step, context).await;
    let work = async {
        match effective_undo(step) {
            EffectiveUndo::Run(run) => run::execute(context, run, Some(limit)).await,
            EffectiveUndo::Http(http) => http::execute(context, http).await,
            EffectiveUndo::Sql(sql) => sql::execute(context, sql, Some(limit)).await,
            EffectiveUndo::Revert { source, revert } => {
                let transaction = match &step.action {
                    Action::Sql(sql) => sql.transaction,
                    _ => Transaction::One,
                };
                sql::revert(context, source, revert, transaction, Some(limit)).await
            }
            EffectiveUndo::RestoreFlag { .. } => match &step.action {
                Action::Flag(flag) => flag::restore(context, flag).await,
                _ => Err(ExecutorError::Plan {
                    reason: "only a flag step can restore a flag".to_owned(),
                }),
            },
            EffectiveUndo::Manual(instructions) => Ok(Outcome::new(
                Verdict::Inconclusive,
                "a person undoes it",
                format!("a person must do this: {instructions}"),
            )),
            EffectiveUndo::Nothing => Ok(Outcome::new(
                Verdict::Pass,
                "nothing to undo",
                "the step has no effect to take back",
            )),
            EffectiveUndo::None | EffectiveUndo::Irreversible => Ok(Outcome::new(
                Verdict::Fail,
                "the plan says how to undo",
                "the plan says that this step cannot be undone",
            )),
        }
    };
    let mut outcome = bounded("undo", context, limit, work).await;
    if outcome.verdict == Verdict::Pass && outcome.verification.is_none() {
        outcome = apply_undo_check(outcome, verify_undo(step, context, tells).await);
    }
    outcome.effect |= context.effect.is_raised();
    outcome
}

/// Checks whether an undo that a person carried out removed the step's effect.
pub async fn verify_undo_by_hand(step: &Step, context: &StepContext) -> Outcome {
    let begun = Instant::now();
    let done = Outcome::new(Verdict::Pass, "the effect is gone", "undone manually");
    let tells = context.facts.has_passed;
    let mut outcome = apply_undo_check(done, verify_undo(step, context, tells).await);
    outcome.duration = begun.elapsed();
    outcome
}

/// Turns the outcome of an undo into the final one, given what the check of its effect found.
fn apply_undo_check(mut outcome: Outcome, looked: UndoCheck) -> Outcome {
    let (verdict, message) = match &looked {
        UndoCheck::EffectGone(message) => (Verdict::Pass, message.clone()),
        UndoCheck::EffectPresent(message) => (Verdict::Fail, message.clone()),
        UndoCheck::NotVerifiable(why) => (Verdict::Inconclusive, (*why).to_owned()),
        UndoCheck::Failed(message) => (Verdict::Error, message.clone()),
    };
    outcome.verdict = verdict;
    outcome.message = format!("{}; {message}", outcome.message);
    outcome.verification = looked.verification().map(|found| (found, message));
    outcome
}

/// Describes what remains of an action that stopped between its parts.
fn partial_words(done: &database::Done) -> String {
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

/// The time between two checks whether an effect is gone.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The message when the plan has nothing to check an undo with.
const NOTHING_TELLS: &str = "not verified: the step has neither `verify` nor `undo.verify`, so nothing can verify whether its effect is gone";

/// The message when `verify` never passed, so that it cannot check the undo.
const NEVER_PASSED: &str = "not verified: the step's `verify` did not pass before the undo either, so it cannot tell whether what the step left is gone; `undo.verify` could";

/// Whether `verify` can tell that the effect is gone: it must have passed in the step's last
/// attempt, or now, before the undo. For a step that failed half-way it proves nothing otherwise.
async fn tells(step: &Step, context: &StepContext) -> bool {
    let is_asked = step.undo_verify.is_none() && !matches!(step.action, Action::Flag(_));
    if !is_asked || context.facts.has_passed {
        return true;
    }
    match verify(step, context).await {
        Some(before) => before.verdict == Verdict::Pass,
        None => true,
    }
}

/// The result of checking for a step's effect after its undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoCheck {
    /// The effect is gone.
    EffectGone(String),
    /// The effect is still there.
    EffectPresent(String),
    /// The plan has nothing to check with, for this reason.
    NotVerifiable(&'static str),
    /// The check itself failed: the state is unknown.
    Failed(String),
}

impl UndoCheck {
    fn verification(&self) -> Option<UndoVerification> {
        match self {
            Self::EffectGone(_) => Some(UndoVerification::Verified),
            Self::EffectPresent(_) => Some(UndoVerification::Stands),
            Self::NotVerifiable(_) => Some(UndoVerification::NotVerified),
            Self::Failed(_) => None,
        }
    }
}

/// Checks whether a step's effect is gone: its `undo.verify` holds or, where there is none, its
/// `verify` no longer passes. The latter proves something only with `tells`: if `verify` passed
/// while the effect was there.
pub async fn verify_undo(step: &Step, context: &StepContext, tells: bool) -> UndoCheck {
    if let Some(check) = &step.undo_verify {
        let limit = limit_of(step);
        let within = step
            .undo_verify_within
            .map_or(Duration::ZERO, |span| span.to_std());
        let within = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
        let clock = &context.tools.clock;
        let begun = clock.now();
        let looked = loop {
            let looked = bounded("verify", context, limit, run_check(check, context, limit)).await;
            // An undo may take a while to become visible.
            if looked.verdict == Verdict::Pass || clock.now().duration_since(begun) >= within {
                break looked;
            }
            clock.sleep(ASKED_AGAIN_AFTER).await;
        };
        return match looked.verdict {
            Verdict::Pass => {
                UndoCheck::EffectGone(format!("`undo.verify` holds: {}", looked.message))
            }
            Verdict::Fail => UndoCheck::EffectPresent(format!(
                "the effect is still there: `undo.verify` does not hold: {}",
                looked.message
            )),
            _ => UndoCheck::Failed(format!("`undo.verify` gave no result: {}", looked.message)),
        };
    }
    match verify(step, context).await {
        None => UndoCheck::NotVerifiable(NOTHING_TELLS),
        Some(looked) => match looked.verdict {
            Verdict::Fail if !tells => UndoCheck::NotVerifiable(NEVER_PASSED),
            Verdict::Pass => UndoCheck::EffectPresent(format!(
                "the effect is still there: the step's `verify` passes as before ({}); where it passes without the effect too, say with `undo.verify` what holds afterwards",
                looked.message
            )),
            Verdict::Fail => UndoCheck::EffectGone(format!(
                "the step's `verify` no longer passes: {}",
                looked.message
            )),
            _ => UndoCheck::Failed(format!("`verify` gave no result: {}", looked.message)),
        },
    }
}

/// Describes what will run, for the recorded intent: redacted, one paragraph.
pub fn intent(step: &Step, context: &StepContext) -> String {
    let text = match &step.action {
        Action::Run(run) => format!("run `{}`", run.command.trim()),
        Action::Http(http) => format!(
            "{} {} of source {}",
            http.method.to_ascii_uppercase(),
            http.path,
            http.source
        ),
        Action::Sql(sql) => describe_sql(sql),
        Action::Flag(flag) => format!(
            "set flag {} to {} in {}",
            flag.key,
            flag::target_words(&flag.to),
            context.environment
        ),
        Action::Manual(_) => "a person's work".to_owned(),
        Action::Snapshot(snapshot) => format!("take snapshot {} `{}`", snapshot.of, snapshot.label),
        Action::Compare(compare) => format!(
            "compare snapshot {} `{}` with `{}`",
            compare.of, compare.before, compare.after
        ),
        Action::Audit(audit) => format!(
            "audit deal types of {} in source {}",
            audit.table.as_deref().unwrap_or("deals"),
            audit.source
        ),
        Action::Watch(watch) => format!(
            "watch {} for {}, every {}",
            watch
                .thresholds
                .iter()
                .map(|threshold| threshold.metric.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            watch.r#for,
            watch.every
        ),
        Action::Notify(notify) => {
            format!("send `{}` to channel {}", notify.subject, notify.channel)
        }
        Action::Wait(wait) => format!("wait {}", wait.r#for),
    };
    truncate::truncate_with_digest(&context.redactor.text(&text))
}

/// Describes what an undo will run, for the recorded intent.
pub fn undo_intent(step: &Step, context: &StepContext) -> String {
    let text = match effective_undo(step) {
        EffectiveUndo::Run(run) => format!("undo: run `{}`", run.command.trim()),
        EffectiveUndo::Http(http) => {
            format!(
                "undo: {} {} of source {}",
                http.method, http.path, http.source
            )
        }
        EffectiveUndo::Sql(sql) => format!("undo: {}", describe_sql(sql)),
        EffectiveUndo::Revert { source, .. } => format!("undo: revert script on source {source}"),
        EffectiveUndo::RestoreFlag { key } => {
            format!("undo: restore flag {key} in {}", context.environment)
        }
        EffectiveUndo::Manual(_) => "undo: a person's work".to_owned(),
        EffectiveUndo::Nothing => "undo: nothing to take back".to_owned(),
        EffectiveUndo::None | EffectiveUndo::Irreversible => "undo: not possible".to_owned(),
    };
    truncate::truncate_with_digest(&context.redactor.text(&text))
}

fn describe_sql(sql: &Sql) -> String {
    match (&sql.deploy, &sql.query) {
        (Some(_), _) => match sql.transaction {
            Transaction::One => format!("deploy script on source {}", sql.source),
            Transaction::None => format!(
                "deploy script on source {}, each statement by itself",
                sql.source
            ),
        },
        (None, Some(query)) if sql.must_fail => {
            format!(
                "on source {}, must be refused: {}",
                sql.source,
                query.trim()
            )
        }
        (None, Some(query)) => format!("on source {}: {}", sql.source, query.trim()),
        (None, None) => format!("verify script on source {}", sql.source),
    }
}

/// Runs the action alone, without `verify` and `expect`.
async fn action(
    step: &Step,
    context: &StepContext,
    limit: Duration,
) -> Result<Outcome, ExecutorError> {
    match &step.action {
        Action::Run(run) => run::execute(context, run, Some(limit)).await,
        Action::Http(http) => http::execute(context, http).await,
        Action::Sql(sql) => sql::execute(context, sql, Some(limit)).await,
        Action::Flag(flag) => flag::execute(context, flag).await,
        Action::Notify(notify) => notify::execute(context, notify).await,
        Action::Watch(watch) => watch::execute(context, watch).await,
        Action::Manual(_) => Err(ExecutorError::NotForWorkers {
            kind: "manual",
            instead: "a person completes it",
        }),
        Action::Wait(_) => Err(ExecutorError::NotForWorkers {
            kind: "wait",
            instead: "the orchestrator ends it when its time has come",
        }),
        Action::Snapshot(snapshot) => deals::snapshot(context, snapshot).await,
        Action::Compare(compare) => deals::compare(context, compare).await,
        Action::Audit(audit) => deals::audit_types(context, audit).await,
    }
}

async fn run_check(
    check: &Check,
    context: &StepContext,
    limit: Duration,
) -> Result<Outcome, ExecutorError> {
    match check {
        Check::Run(run) => run::execute(context, run, Some(limit)).await,
        Check::Http(http) => http::execute(context, http).await,
        Check::Sql(sql) => sql::execute(context, sql, Some(limit)).await,
    }
}

/// Applies the time limit and the cancellation to an action that does not check them itself.
/// Actions that do (commands, watches) react first and end in order.
async fn bounded(
    what: &str,
    context: &StepContext,
    limit: Duration,
    work: impl Future<Output = Result<Outcome, ExecutorError>>,
) -> Outcome {
    let begun = Instant::now();
    let ends_itself = matches!(what, "run" | "watch" | "undo" | "verify");
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
        outcome.partial = Some(database::Done {
            last: context.redactor.text(&done.last),
            ..done
        });
    }
    outcome.message = context.redactor.text(&outcome.message);
    outcome.rule = context.redactor.text(&outcome.rule);
    outcome.duration = begun.elapsed();
    outcome
}
