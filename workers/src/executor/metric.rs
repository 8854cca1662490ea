//! Takes one sample of a metric of the plan.

use std::time::Duration;

use rollbook_ledger::runbook::model::{HttpMeasure, MetricSpec, RunMeasure, SqlMeasure};
use rollbook_ledger::runbook::step::Run;

use super::command::{self, Ending};
use super::context::StepContext;
use super::database::Database;
use super::error::ExecutorError;
use super::http;
use super::run;

/// A sample: the number, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The number; `None` is no data.
    pub value: Option<f64>,
    /// Why there is no data, redacted; empty with a value.
    pub reason: String,
}

impl Sample {
    fn none(reason: impl Into<String>) -> Self {
        Self {
            value: None,
            reason: reason.into(),
        }
    }

    fn number(text: &str) -> Self {
        match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => Self {
                value: Some(value),
                reason: String::new(),
            },
            _ => Self::none(format!(
                "`{}` is not a number",
                text.trim().chars().take(60).collect::<String>()
            )),
        }
    }

    fn json(value: Option<&serde_json::Value>, pointer: &str) -> Self {
        match value {
            None | Some(serde_json::Value::Null) => Self::none(format!("nothing at `{pointer}`")),
            Some(serde_json::Value::Bool(yes)) => Self::number(if *yes { "1" } else { "0" }),
            Some(serde_json::Value::String(text)) => Self::number(text),
            Some(other) => Self::number(&other.to_string()),
        }
    }
}

/// Takes a sample within `limit`. Whatever goes wrong is no data, with the reason; only a
/// metric that the plan does not have, or has in no usable form, is an error.
pub async fn take(
    context: &StepContext,
    name: &str,
    limit: Duration,
) -> Result<Sample, ExecutorError> {
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
        // A command ends itself at the limit, with its process group.
        MetricSpec { run: Some(run), .. } => by_run(context, run, limit).await,
        MetricSpec {
            step: Some(recorded),
            ..
        } => Ok(match context.facts.measurements.get(recorded) {
            Some(value) => Sample {
                value: Some(*value),
                reason: String::new(),
            },
            None => Sample::none(format!("no step has recorded `{recorded}` yet")),
        }),
        _ => {
            return Err(ExecutorError::Plan {
                reason: format!("metric `{name}` has none of sql, http, run, step"),
            });
        }
    };
    let mut sample = taken.unwrap_or_else(|error| Sample::none(error.to_string()));
    sample.reason = context.redactor.text(&sample.reason);
    Ok(sample)
}

async fn limited(
    limit: Duration,
    taking: impl Future<Output = Result<Sample, ExecutorError>>,
) -> Result<Sample, ExecutorError> {
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
) -> Result<Sample, ExecutorError> {
    let mut database = Database::connect(context, &sql.source).await?;
    database.limit_statements(limit).await?;
    database.read_only().await?;
    let row = database.first_row("query", sql.query.clone()).await;
    database.close().await;
    let cell = row?.and_then(|cells| cells.into_iter().next());
    Ok(match cell {
        None => Sample::none("the query gave no row"),
        Some(cell) => match cell.text {
            None => Sample::none("the query gave NULL"),
            Some(text) => Sample::number(&text),
        },
    })
}

async fn by_http(context: &StepContext, measure: &HttpMeasure) -> Result<Sample, ExecutorError> {
    let answer = http::request(context, &measure.source, &measure.path, "GET", None).await?;
    let Some(pointer) = &measure.pointer else {
        return Ok(Sample {
            value: Some(f64::from(answer.status)),
            reason: String::new(),
        });
    };
    if !(200..300).contains(&answer.status) {
        return Ok(Sample::none(format!("status {}", answer.status)));
    }
    Ok(
        match serde_json::from_slice::<serde_json::Value>(&answer.body) {
            Ok(document) => Sample::json(document.pointer(pointer), pointer),
            Err(_) => Sample::none("the answer is not JSON"),
        },
    )
}

async fn by_run(
    context: &StepContext,
    measure: &RunMeasure,
    limit: Duration,
) -> Result<Sample, ExecutorError> {
    let command = Run {
        command: measure.command.clone(),
        directory: None,
        env: measure.env.clone(),
        env_sources: measure.env_sources.clone(),
        measure: indexmap::IndexMap::new(),
    };
    let ran = command::run(context, &run::shell(context, &command, Some(limit))?).await?;
    let text = String::from_utf8_lossy(ran.stdout.end());
    Ok(match (&ran.ending, &measure.pointer) {
        (Ending::Exited(0), None) => {
            let end = text.trim_end();
            let last = end.rfind('\n').map_or(0, |at| at + 1);
            if ran.stdout.is_cut_at(last) {
                Sample::none("the last line of the output is too long, its beginning was cut")
            } else {
                Sample::number(end.get(last..).unwrap_or_default())
            }
        }
        (Ending::Exited(0), Some(_)) if ran.stdout.truncated => {
            Sample::none("the output is too long, its middle was cut")
        }
        (Ending::Exited(0), Some(pointer)) => {
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(document) => Sample::json(document.pointer(pointer), pointer),
                Err(_) => Sample::none("the output is not JSON"),
            }
        }
        (Ending::Exited(code), _) => Sample::none(format!("exit code {code}")),
        (Ending::Signalled(signal), _) => Sample::none(format!("ended by signal {signal}")),
        (Ending::TimedOut(after), _) => {
            Sample::none(format!("timed out after {}", super::seconds(*after)))
        }
        (Ending::Cancelled(reason), _) => Sample::none(format!("cancelled: {reason}")),
    })
}
