//! The `sql` step: migrations and queries on PostgreSQL and SQLite.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rollbook_ledger::runbook::kind::{Sql, Transaction};
use rollbook_ledger::runbook::script::Script;
use rollbook_ledger::runbook::sql_text::Ending;
use rollbook_proto::v1::Verdict;

use super::context::StepContext;
use super::database::{Access, CommitError, Database, Failure, SqlScript};
use super::error::ExecutorError;
use super::kind::Executor;
use super::outcome::Outcome;

#[async_trait]
impl Executor for Sql {
    fn intent(&self, _: &StepContext) -> String {
        let source = &self.source;
        match (&self.deploy, &self.query) {
            (Some(_), _) => match self.transaction {
                Transaction::One => format!("deploy script on source {source}"),
                Transaction::None => {
                    format!("deploy script on source {source}, each statement by itself")
                }
            },
            (None, Some(query)) if self.must_fail => {
                format!("on source {source}, must be refused: {}", query.trim())
            }
            (None, Some(query)) => format!("on source {source}: {}", query.trim()),
            (None, None) => format!("verify script on source {source}"),
        }
    }

    /// Runs the action: `deploy` with its `verify`, `verify` alone, or the `query`.
    ///
    /// `deploy` and `verify` share one transaction that is committed only if both succeed, so a
    /// deploy that does not verify leaves nothing behind. With `transaction: none` each statement of
    /// `deploy` stays in place. A query cannot write, unless it is meant to fail; then it is rolled
    /// back either way.
    async fn execute(
        &self,
        context: &StepContext,
        limit: Duration,
    ) -> Result<Outcome, ExecutorError> {
        let access = match (&self.deploy, &self.query) {
            (None, Some(_)) if !self.must_fail => Access::Read,
            _ => Access::Write,
        };
        let mut database = connect(context, &self.source, access, limit).await?;
        let outcome = match (&self.deploy, &self.verify, &self.query) {
            (Some(deploy), verify, _) => {
                let deploy = effecting(deploy, "deploy", &database)?;
                let verify = verify
                    .as_ref()
                    .map(|verify| looking(verify, "verify", &database))
                    .transpose()?;
                match self.transaction {
                    Transaction::One => {
                        deploy_and_verify(context, &mut database, &deploy, verify.as_ref()).await
                    }
                    Transaction::None => {
                        one_by_one(context, &mut database, &deploy, verify.as_ref()).await
                    }
                }
            }
            (None, Some(verify), None) => {
                let verify = looking(verify, "verify", &database)?;
                verify_alone(&mut database, &verify).await
            }
            (None, _, Some(query)) if self.must_fail => must_fail(&mut database, query).await,
            (None, _, Some(query)) => query_row(context, &mut database, query).await,
            (None, None, None) => Err(ExecutorError::Plan {
                reason: "the sql step has neither deploy, verify nor query".to_owned(),
            }),
        };
        database.close().await;
        outcome
    }

    /// Runs the `verify` script of a deploy alone.
    fn verify<'a>(
        &'a self,
        context: &'a StepContext,
        limit: Duration,
    ) -> Option<BoxFuture<'a, Result<Outcome, ExecutorError>>> {
        self.deploy.as_ref()?;
        let script = self.verify.as_ref()?;
        Some(Box::pin(async move {
            let mut database = connect(context, &self.source, Access::Write, limit).await?;
            let outcome = match looking(script, "verify", &database) {
                Ok(script) => verify_alone(&mut database, &script).await,
                Err(error) => Err(error),
            };
            database.close().await;
            outcome
        }))
    }

    /// Reverts a deploy with the `revert` script, in one transaction or in none, like the deploy.
    async fn undo(&self, context: &StepContext, limit: Duration) -> Result<Outcome, ExecutorError> {
        let Some(revert) = &self.revert else {
            return Err(ExecutorError::Plan {
                reason: "the sql step has no `revert`".to_owned(),
            });
        };
        let mut database = connect(context, &self.source, Access::Write, limit).await?;
        let revert = effecting(revert, "revert", &database)?;
        let outcome = match self.transaction {
            Transaction::One => in_one(context, &mut database, &revert).await,
            Transaction::None => one_by_one(context, &mut database, &revert, None).await,
        };
        database.close().await;
        outcome
    }

    fn undo_intent(&self, _: &StepContext) -> String {
        format!("revert script on source {}", self.source)
    }
}

async fn connect(
    context: &StepContext,
    source: &str,
    access: Access,
    limit: Duration,
) -> Result<Database, ExecutorError> {
    let mut database = Database::connect(context, source, access).await?;
    database.limit_statements(limit).await?;
    Ok(database)
}

/// A script whose effects are to be kept.
fn effecting(
    script: &Script,
    name: &'static str,
    database: &Database,
) -> Result<SqlScript, ExecutorError> {
    SqlScript::of_plan(script, name, database.dialect(), Ending::Commit)
}

/// A script that is always rolled back.
fn looking(
    script: &Script,
    name: &'static str,
    database: &Database,
) -> Result<SqlScript, ExecutorError> {
    SqlScript::of_plan(script, name, database.dialect(), Ending::Any)
}

async fn deploy_and_verify(
    context: &StepContext,
    database: &mut Database,
    deploy: &SqlScript,
    verify: Option<&SqlScript>,
) -> Result<Outcome, ExecutorError> {
    let rule = match verify {
        Some(_) => "deploy and verify succeed",
        None => "deploy succeeds",
    };
    database.begin().await?;
    if let Err(failure) = database.run(deploy).await {
        return Ok(not_done(context, database, (rule, ""), failure).await);
    }
    let mut message = "deployed";
    if let Some(verify) = verify {
        // What a verify script creates (temporary tables) does not belong to the migration.
        database.mark_verify().await?;
        if let Err(failure) = database.run(verify).await {
            return Ok(not_done(
                context,
                database,
                (rule, "deploy was rolled back because "),
                failure,
            )
            .await);
        }
        database.forget_verify().await?;
        message = "deployed and verified";
    }
    commit(context, database, rule, message).await
}

async fn in_one(
    context: &StepContext,
    database: &mut Database,
    revert: &SqlScript,
) -> Result<Outcome, ExecutorError> {
    const RULE: &str = "revert succeeds";
    database.begin().await?;
    if let Err(failure) = database.run(revert).await {
        return Ok(not_done(context, database, (RULE, ""), failure).await);
    }
    commit(context, database, RULE, "reverted").await
}

async fn commit(
    context: &StepContext,
    database: &mut Database,
    rule: &str,
    message: &str,
) -> Result<Outcome, ExecutorError> {
    // From here on, a lost connection leaves the outcome unknown.
    context.effect.raise();
    match database.commit().await {
        Ok(()) => {
            let mut outcome = Outcome::new(Verdict::Pass, rule, message);
            outcome.effect = true;
            Ok(outcome)
        }
        Err(CommitError::Refused(failure)) => {
            context.effect.lower();
            Ok(not_done(context, database, (rule, ""), failure).await)
        }
        Err(CommitError::Unknown(error)) => Err(error),
    }
}

/// The outcome of a failed script, rolled back. It says that nothing changed only where that is
/// known.
async fn not_done(
    context: &StepContext,
    database: &mut Database,
    (rule, because): (&str, &str),
    failure: Failure,
) -> Outcome {
    // SQLite may already have rolled back.
    let _ = database.rollback().await;
    if failure.transaction_lost {
        context.effect.raise();
        let mut outcome = Outcome::new(
            Verdict::Fail,
            rule,
            format!(
                "{because}{}; what the script did before that may stand: look at the database",
                failure.error
            ),
        );
        outcome.effect = true;
        return outcome;
    }
    Outcome::new(
        Verdict::Fail,
        rule,
        format!("{because}{}; nothing was changed", failure.error),
    )
}

/// Runs each statement by itself. What succeeded before an error stays in place, and the outcome
/// says so.
async fn one_by_one(
    context: &StepContext,
    database: &mut Database,
    script: &SqlScript,
    verify: Option<&SqlScript>,
) -> Result<Outcome, ExecutorError> {
    let rule = format!("every statement of {} succeeds", script.name);
    context.effect.raise();
    context.effect.begin_parts();
    let mark = context.effect.clone();
    let ran = database
        .run_alone(script, move |done| mark.part_done(done))
        .await;
    let mut outcome = match ran {
        Err(failure) => Outcome::new(Verdict::Fail, rule, failure.error.to_string()),
        Ok(()) => {
            context.effect.whole();
            let done = match script.name {
                "revert" => "reverted",
                _ => "deployed",
            };
            let outcome = Outcome::new(Verdict::Pass, rule, done);
            match verify {
                Some(verify) => outcome.and("verify", verify_alone(database, verify).await?),
                None => outcome,
            }
        }
    };
    outcome.effect = true;
    Ok(outcome)
}

async fn verify_alone(
    database: &mut Database,
    verify: &SqlScript,
) -> Result<Outcome, ExecutorError> {
    const RULE: &str = "verify succeeds";
    database.begin().await?;
    let outcome = match database.run(verify).await {
        Ok(()) => Outcome::new(Verdict::Pass, RULE, "verified"),
        Err(failure) => Outcome::new(Verdict::Fail, RULE, failure.error.to_string()),
    };
    let _ = database.rollback().await;
    Ok(outcome)
}

/// Passes if the database refuses the statement for what it would do. A statement that is itself
/// wrong (a missing table, a syntax error) proves nothing.
async fn must_fail(database: &mut Database, query: &str) -> Result<Outcome, ExecutorError> {
    const RULE: &str = "the statement is refused";
    let query = SqlScript::query(query, "query")?;
    database.begin().await?;
    let outcome = match database.run(&query).await {
        Ok(()) => Outcome::new(
            Verdict::Fail,
            RULE,
            "the statement was accepted (and rolled back)",
        ),
        Err(failure) if failure.is_constraint => {
            Outcome::new(Verdict::Pass, RULE, format!("refused: {}", failure.error))
        }
        Err(failure) => {
            return Err(failure.error);
        }
    };
    // After an error PostgreSQL accepts only a rollback; SQLite may already have rolled back.
    let _ = database.rollback().await;
    Ok(outcome)
}

async fn query_row(
    context: &StepContext,
    database: &mut Database,
    query: &str,
) -> Result<Outcome, ExecutorError> {
    const RULE: &str = "the query gives a row";
    database.begin().await?;
    let row = database
        .first_row(&SqlScript::query(query, "query")?)
        .await?;
    let Some(cells) = row else {
        return Ok(Outcome::new(
            Verdict::Inconclusive,
            RULE,
            "the query returned no row: no data",
        ));
    };
    let mut outcome = Outcome::new(Verdict::Pass, RULE, "");
    let mut shown = Vec::new();
    for cell in cells {
        shown.push(format!(
            "{} = {}",
            cell.name,
            cell.text.as_deref().unwrap_or("NULL")
        ));
        outcome.measurements.push(match &cell.text {
            Some(text) => context.text_or_number(&cell.name, text),
            None => context.no_data(&cell.name),
        });
    }
    // Redact first, then cut: half a secret would not be recognised.
    let message = context.redactor.text(&shown.join(", "));
    outcome.message = message.chars().take(MESSAGE_CHARS).collect();
    Ok(outcome)
}

/// Maximum characters of a row in the message.
const MESSAGE_CHARS: usize = 500;
