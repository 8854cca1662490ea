//! The executors of steps: one for each kind, in its own file, implemented by the kind's fields.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rollbook_ledger::runbook::kind::Action;
use rollbook_ledger::runbook::undo::Check;

use super::context::StepContext;
use super::error::ExecutorError;
use super::outcome::Outcome;

/// Carries out one kind of step. It never records a result itself and never decides what comes
/// next. Around it, texts are redacted, and the time limit and the cancellation are applied.
#[async_trait]
pub(super) trait Executor: Sync {
    /// Describes what will run, for the recorded intent.
    fn intent(&self, context: &StepContext) -> String;

    /// Runs the action alone, without the step's `verify` and `expect`, for at most `limit`.
    async fn execute(
        &self,
        context: &StepContext,
        limit: Duration,
    ) -> Result<Outcome, ExecutorError>;

    /// True if it checks the time limit and the cancellation itself, so that it ends in order when
    /// it is given a little more time.
    fn ends_itself(&self) -> bool {
        false
    }

    /// Returns the directory in which it writes files, if not the worker's.
    fn directory(&self) -> Option<&str> {
        None
    }

    /// Checks, without repeating the action, whether it has had its effect. `None`: it cannot tell
    /// without a `verify` of the step.
    fn verify<'a>(
        &'a self,
        context: &'a StepContext,
        limit: Duration,
    ) -> Option<BoxFuture<'a, Result<Outcome, ExecutorError>>> {
        let _ = (context, limit);
        None
    }

    /// Carries out the undo that the kind derives, for at most `limit`.
    async fn undo(&self, context: &StepContext, limit: Duration) -> Result<Outcome, ExecutorError> {
        let _ = (context, limit);
        Err(ExecutorError::Plan {
            reason: "a step of this kind derives no undo".to_owned(),
        })
    }

    /// Describes the undo that the kind derives, for the recorded intent.
    fn undo_intent(&self, context: &StepContext) -> String {
        let _ = context;
        "not possible".to_owned()
    }
}

/// Returns the executor of an action.
pub(super) fn of_action(action: &Action) -> &dyn Executor {
    match action {
        Action::Run(run) => run,
        Action::Http(http) => http,
        Action::Sql(sql) => sql,
        Action::Flag(flag) => flag,
        Action::Manual(manual) => manual,
        Action::Snapshot(snapshot) => snapshot,
        Action::Compare(compare) => compare,
        Action::Audit(audit) => audit,
        Action::Watch(watch) => watch,
        Action::Notify(notify) => notify,
        Action::Wait(wait) => wait,
    }
}

/// Returns the executor of a check.
pub(super) fn of_check(check: &Check) -> &dyn Executor {
    match check {
        Check::Run(run) => run,
        Check::Http(http) => http,
        Check::Sql(sql) => sql,
    }
}
