//! Takes one sample of a metric of the plan.

use std::time::Duration;

use rollbook_ledger::decimal::{Decimal, DecimalError};
use rollbook_ledger::runbook::kind::Run;
use rollbook_ledger::runbook::model::{HttpMeasure, MetricSpec, RunMeasure, SqlMeasure};

use super::command::{self, ExitReason};
use super::context::StepContext;
use super::database::{Access, Database, SqlScript};
use super::error::ExecutorError;
use super::http;
use super::json::{self, Found, NotJson};
use super::run;

/// A sample: a number, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSample {
    /// The number; `None` means no data.
    pub value: Option<Decimal>,
    /// Why there is no data, redacted; empty if there is a value.
    pub reason: String,
    /// Whether there is no data because the output it is read from was cut off.
    pub incomplete: bool,
}

impl MetricSample {
    fn none(reason: impl Into<String>) -> Self {
        Self {
            value: None,
            reason: reason.into(),
            incomplete: false,
        }
    }

    fn cut() -> Self {
        Self {
            incomplete: true,
            ..Self::none(run::cut("standard output"))
        }
    }

    fn some(value: Decimal) -> Self {
        Self {
            value: Some(value),
            reason: String::new(),
            incomplete: false,
        }
    }

    fn number(text: &str) -> Self {
        match text.trim().parse() {
            Ok(value) => Self::some(value),
            Err(error) => {
                let start: String = text.trim().chars().take(60).collect();
                let error: DecimalError = error;
                Self::none(format!("`{start}`: {error}"))
            }
        }
    }

    fn json(document: &[u8], pointer: &str) -> Self {
        match json::at(document, pointer) {
            Err(NotJson) => Self::none("it is not JSON"),
            Ok(None | Some(Found::Null)) => Self::none(format!("nothing at `{pointer}`")),
            Ok(Some(Found::Bool(yes))) => Self::some(Decimal::from(i32::from(yes))),
            Ok(Some(Found::Text(text) | Found::Number(text) | Found::Nested(text))) => {
                Self::number(&text)
            }
        }
    }
}

/// Takes a sample within `limit`. Any failure is no data, with its reason; only a metric that the
/// plan lacks, or has in no usable form, is an error.
pub async fn take(
    context: &StepContext,
    name: &str,
    limit: Duration,
) -> Result<MetricSample, ExecutorError> {
    let spec = context
        .plan
        .runbook()
        .metrics
        .get(name)
        .ok_or_else(|| ExecutorError::Plan {
            reason: format!("metric `{name}` is not declared; add it to `metrics`"),
        })?;
    let taken = match spec {
        MetricSpec { sql: Some(sql), .. } => limited(limit, by_sql(context, sql, limit)).await,
        MetricSpec {
            http: Some(http), ..
        } => limited(limit, by_http(context, http)).await,
        // A command ends itself at the limit, together with its process group.
        MetricSpec { run: Some(run), .. } => by_run(context, run, limit).await,
        MetricSpec {
            step: Some(recorded),
            ..
        } => Ok(match context.facts.measurements.get(recorded) {
            Some(value) => MetricSample::some(*value),
            None => MetricSample::none(format!("no step has recorded `{recorded}` yet")),
        }),
        _ => {
            return Err(ExecutorError::Plan {
                reason: format!("metric `{name}` has none of sql, http, run, step"),
            });
        }
    };
    let mut sample = taken.unwrap_or_else(|error| MetricSample::none(error.to_string()));
    sample.reason = context.redactor.text(&sample.reason);
    Ok(sample)
}

async fn limited(
    limit: Duration,
    taking: impl Future<Output = Result<MetricSample, ExecutorError>>,
) -> Result<MetricSample, ExecutorError> {
    tokio::time::timeout(limit, taking)
        .await
        .unwrap_or_else(|_| {
            Err(ExecutorError::TimedOut {
                after: super::seconds(limit),
            })
        })
}

async fn by_sql(
    context: &StepContext,
    sql: &SqlMeasure,
    limit: Duration,
) -> Result<MetricSample, ExecutorError> {
    let query = SqlScript::query(&sql.query, "query")?;
    let mut database = Database::connect(context, &sql.source, Access::Read).await?;
    database.limit_statements(limit).await?;
    database.begin().await?;
    let row = database.first_row(&query).await;
    database.close().await;
    let cell = row?.and_then(|cells| cells.into_iter().next());
    Ok(match cell {
        None => MetricSample::none("the query returned no row"),
        Some(cell) => match cell.text {
            None => MetricSample::none("the query gave NULL"),
            Some(text) => MetricSample::number(&text),
        },
    })
}

async fn by_http(
    context: &StepContext,
    measure: &HttpMeasure,
) -> Result<MetricSample, ExecutorError> {
    let answer = http::request(context, &measure.source, &measure.path, "GET", None).await?;
    let Some(pointer) = &measure.pointer else {
        return Ok(MetricSample::some(Decimal::from(u32::from(answer.status))));
    };
    if !(200..300).contains(&answer.status) {
        return Ok(MetricSample::none(format!("status {}", answer.status)));
    }
    Ok(MetricSample::json(&answer.body, pointer))
}

async fn by_run(
    context: &StepContext,
    measure: &RunMeasure,
    limit: Duration,
) -> Result<MetricSample, ExecutorError> {
    let command = Run {
        command: measure.command.clone(),
        directory: None,
        env: measure.env.clone(),
        env_sources: measure.env_sources.clone(),
        measure: indexmap::IndexMap::new(),
    };
    let ran = command::run(context, &run::shell(context, &command, Some(limit))?).await?;
    if let Some(why) = ran.ending.unfinished() {
        return Ok(MetricSample::none(why));
    }
    if let ExitReason::Exited(code) = ran.ending
        && code != 0
    {
        return Ok(MetricSample::none(format!("exit code {code}")));
    }
    let output = &ran.stdout;
    Ok(match &measure.pointer {
        // A document with a part missing cannot be read.
        Some(_) if output.truncated => MetricSample::cut(),
        Some(pointer) => MetricSample::json(&output.bytes, pointer),
        None => {
            let whole = output.bytes.get(output.whole_from()..).unwrap_or_default();
            let text = String::from_utf8_lossy(whole);
            match text.lines().rfind(|line| !line.trim().is_empty()) {
                Some(line) => MetricSample::number(line),
                None if output.truncated => MetricSample::cut(),
                None => MetricSample::none("it printed nothing"),
            }
        }
    })
}
