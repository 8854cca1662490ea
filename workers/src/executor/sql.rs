//! The `sql` action: migrations and queries on PostgreSQL and SQLite.

use std::time::Duration;

use rollbook_ledger::runbook::step::{Script, Sql};
use rollbook_proto::v1::Verdict;

use super::context::StepContext;
use super::database::Database;
use super::error::ExecutorError;
use super::outcome::Outcome;
use super::sql_text;

/// Runs the action: `deploy` with its `verify`, or `verify` alone, or the `query`.
///
/// `deploy` and `verify` share one transaction that is committed only when both succeed, so a
/// deploy that does not verify leaves nothing behind. A query can write nothing, unless it
/// must fail, and then it is rolled back either way.
pub async fn execute(
    context: &StepContext,
    sql: &Sql,
    limit: Option<Duration>,
) -> Result<Outcome, ExecutorError> {
    let mut database = Database::connect(context, &sql.source).await?;
    if let Some(limit) = limit {
        database.limit_statements(limit).await?;
    }
    let outcome = match (&sql.deploy, &sql.verify, &sql.query) {
        (Some(deploy), verify, _) => {
            let deploy = script(deploy, "deploy", &database)?;
            let verify = verify
                .as_ref()
                .map(|verify| script(verify, "verify", &database))
                .transpose()?;
            deploy_and_verify(context, &mut database, deploy, verify).await
        }
        (None, Some(verify), None) => {
            let verify = script(verify, "verify", &database)?;
            verify_alone(&mut database, verify).await
        }
        (None, _, Some(query)) if sql.must_fail => must_fail(&mut database, query).await,
        (None, _, Some(query)) => query_row(context, &mut database, query).await,
        (None, None, None) => Err(ExecutorError::Plan {
            reason: "the sql step has neither deploy, verify nor query".to_owned(),
        }),
    };
    database.close().await;
    outcome
}

/// Takes a deploy back with the `revert` script, in one transaction.
pub async fn revert(
    context: &StepContext,
    source: &str,
    revert: &Script,
    limit: Option<Duration>,
) -> Result<Outcome, ExecutorError> {
    let mut database = Database::connect(context, source).await?;
    if let Some(limit) = limit {
        database.limit_statements(limit).await?;
    }
    let revert = script(revert, "revert", &database)?;
    database.begin().await?;
    let outcome = match database.run("revert", revert).await {
        Ok(()) => {
            context.effect.raise();
            database.commit().await?;
            let mut outcome = Outcome::new(Verdict::Pass, "revert succeeds", "reverted");
            outcome.effect = true;
            outcome
        }
        Err(error) => Outcome::new(
            Verdict::Fail,
            "revert succeeds",
            format!("{error}; nothing was changed"),
        ),
    };
    database.close().await;
    Ok(outcome)
}

/// The script's text, fit for one transaction.
fn script(script: &Script, name: &str, database: &Database) -> Result<String, ExecutorError> {
    let text = script.text().ok_or_else(|| ExecutorError::Plan {
        reason: format!("the {name} script's file was not inlined when the plan was made"),
    })?;
    sql_text::body(text, database.dialect()).map_err(|error| ExecutorError::Plan {
        reason: format!("{name} script, {error}"),
    })
}

async fn deploy_and_verify(
    context: &StepContext,
    database: &mut Database,
    deploy: String,
    verify: Option<String>,
) -> Result<Outcome, ExecutorError> {
    let rule = match verify {
        Some(_) => "deploy and verify succeed",
        None => "deploy succeeds",
    };
    database.begin().await?;
    if let Err(error) = database.run("deploy", deploy).await {
        return Ok(Outcome::new(
            Verdict::Fail,
            rule,
            format!("{error}; nothing was changed"),
        ));
    }
    let mut message = "deployed";
    if let Some(verify) = verify {
        // What a verify script leaves (temporary tables) does not belong to the migration.
        database
            .run("SAVEPOINT", "SAVEPOINT rollbook_verify".to_owned())
            .await?;
        if let Err(error) = database.run("verify", verify).await {
            return Ok(Outcome::new(
                Verdict::Fail,
                rule,
                format!("deploy was rolled back because {error}"),
            ));
        }
        database
            .run(
                "ROLLBACK TO SAVEPOINT",
                "ROLLBACK TO SAVEPOINT rollbook_verify".to_owned(),
            )
            .await?;
        message = "deployed and verified";
    }
    // From here the outcome of a lost connection is not known.
    context.effect.raise();
    database.commit().await?;
    let mut outcome = Outcome::new(Verdict::Pass, rule, message);
    outcome.effect = true;
    Ok(outcome)
}

async fn verify_alone(database: &mut Database, verify: String) -> Result<Outcome, ExecutorError> {
    const RULE: &str = "verify succeeds";
    database.begin().await?;
    let outcome = match database.run("verify", verify).await {
        Ok(()) => Outcome::new(Verdict::Pass, RULE, "verified"),
        Err(error) => Outcome::new(Verdict::Fail, RULE, error.to_string()),
    };
    database.rollback().await?;
    Ok(outcome)
}

/// Passes when the database refuses the statement for what it would do. A statement that is
/// wrong in itself (a missing table, a syntax error) proves nothing.
async fn must_fail(database: &mut Database, query: &str) -> Result<Outcome, ExecutorError> {
    const RULE: &str = "the statement is refused";
    let query = sql_text::body(query, database.dialect()).map_err(|error| ExecutorError::Plan {
        reason: format!("query, {error}"),
    })?;
    database.begin().await?;
    let ran = database.run_checked("query", query).await;
    let outcome = match ran {
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
    // After an error PostgreSQL takes nothing but this; SQLite may have rolled back itself.
    let _ = database.rollback().await;
    Ok(outcome)
}

async fn query_row(
    context: &StepContext,
    database: &mut Database,
    query: &str,
) -> Result<Outcome, ExecutorError> {
    const RULE: &str = "the query gives a row";
    database.read_only().await?;
    let row = database.first_row("query", query.to_owned()).await?;
    let Some(cells) = row else {
        return Ok(Outcome::new(
            Verdict::Inconclusive,
            RULE,
            "the query gave no row: no data",
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
    let message: String = shown.join(", ").chars().take(MESSAGE_CHARS).collect();
    outcome.message = context.redactor.text(&message);
    Ok(outcome)
}

/// A row is shown in the message up to so many characters.
const MESSAGE_CHARS: usize = 500;
