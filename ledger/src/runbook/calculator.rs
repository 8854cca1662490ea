//! Calculators: what computes the figures of a snapshot in place of the built-in model.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment::Env;
use super::span::Span;

/// Maximum number of metrics a calculator may declare.
pub const MAX_METRICS: usize = 100;

/// Maximum timeout of a program for one deal.
pub const MAX_DEAL_TIMEOUT: Span = Span::from_millis(10 * 60 * 1000);

/// Maximum size of a text metric's value, in bytes of UTF-8: for names, states and codes, not
/// documents.
pub const MAX_METRIC_TEXT_BYTES: usize = 1024;

/// Columns of every snapshot part, which no metric may be named after.
pub const RESERVED_METRICS: [&str; 5] = ["deal_id", "deal_type", "status", "error", "digest"];

/// What computes the figures of a snapshot; exactly one of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CalculatorSpec {
    /// A program of your own that is asked for every deal.
    Exec(ExecCalculatorSpec),
    /// A query on the source of the snapshot.
    Sql(SqlCalculatorSpec),
}

impl CalculatorSpec {
    /// Returns its key in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Sql(_) => "sql",
        }
    }

    /// Returns the declared metrics, in order.
    pub fn metrics(&self) -> &[MetricDeclaration] {
        match self {
            Self::Exec(spec) => &spec.metrics,
            Self::Sql(spec) => &spec.metrics,
        }
    }
}

/// A program that speaks JSON lines: a request per deal on its standard input, an answer per
/// deal on its standard output. One is kept running per compute thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecCalculatorSpec {
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Its environment variables, besides the few that every program gets.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: Env,
    /// Environment variables from sources: variable → source name (its URL).
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env_sources: IndexMap<String, String>,
    /// A file, seen from the working directory, whose content belongs to the model: when it
    /// changes, snapshots are of another model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The figures of every deal.
    pub metrics: Vec<MetricDeclaration>,
    /// How long one deal may take, `5s` by default; then it is an error row.
    #[serde(default = "deal_timeout")]
    pub timeout: Span,
    /// Whether the program is told deal types; `false`: every deal is an acquisition.
    #[serde(default = "yes")]
    pub deal_types: bool,
}

/// A query with one row per deal of the snapshot's table: its id and its figures, by name.
///
/// It is read as of the same moment as the deals. A deal without a row, with several, or with a
/// NULL for a number is an error row; a text may be NULL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlCalculatorSpec {
    /// One SELECT. A column for every metric, amounts of money in the currency, not in cents.
    pub query: String,
    /// The column with the deal's id, `id` by default.
    #[serde(default = "id")]
    pub key: String,
    /// The figures of every deal.
    pub metrics: Vec<MetricDeclaration>,
}

/// A metric with its unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricDeclaration {
    /// The name that comparison rules refer to: letters, digits and `_`.
    pub name: String,
    /// What the value is.
    pub unit: MetricUnit,
}

/// What the value of a metric is: a whole number of something, or a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricUnit {
    /// Hundredths of the currency.
    Cents,
    /// Things.
    Count,
    /// A text of at most 1,024 bytes, compared as equal or different; it may be NULL.
    Text,
}

impl MetricUnit {
    /// All metric kinds.
    pub const ALL: [Self; 3] = [Self::Cents, Self::Count, Self::Text];

    /// Returns the word used in files and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cents => "cents",
            Self::Count => "count",
            Self::Text => "text",
        }
    }
}

/// What is wrong with declared metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricFault {
    /// There are none, or too many.
    Number,
    /// The metric at this index has an invalid name.
    Name(usize),
    /// The metric at this index has the same name as an earlier one.
    Twice(usize),
}

impl MetricFault {
    /// Describes the fault.
    pub fn describe(&self, declared: &[MetricDeclaration]) -> String {
        let name = |index: &usize| declared.get(*index).map_or("", |metric| &metric.name);
        match self {
            Self::Number => format!(
                "{} metrics are declared, 1 to {MAX_METRICS} can be",
                declared.len()
            ),
            Self::Name(index) => format!(
                "`{}` cannot name a metric: letters, digits and `_`, at most 64, and none of {}",
                name(index),
                RESERVED_METRICS.join(", ")
            ),
            Self::Twice(index) => format!("metric `{}` is declared twice", name(index)),
        }
    }
}

/// Checks declared metrics; returns the first fault.
pub fn check_metrics(metrics: &[MetricDeclaration]) -> Result<(), MetricFault> {
    if metrics.is_empty() || metrics.len() > MAX_METRICS {
        return Err(MetricFault::Number);
    }
    for (index, metric) in metrics.iter().enumerate() {
        let name = metric.name.as_str();
        let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !well_formed || RESERVED_METRICS.contains(&name) {
            return Err(MetricFault::Name(index));
        }
        if metrics.iter().take(index).any(|m| m.name == name) {
            return Err(MetricFault::Twice(index));
        }
    }
    Ok(())
}

fn deal_timeout() -> Span {
    Span::from_millis(5_000)
}

fn id() -> String {
    "id".to_owned()
}

fn yes() -> bool {
    true
}
