//! The runbook: intent only, never status. This is the typed form of `apiVersion: rollbook/v1` with
//! parameters substituted and script files inlined, so that its canonical JSON, and the digest of
//! that, covers everything a rollout may execute.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authority::Authority;
use super::rollback::{Advice, RollbackLevel};
use super::span::Span;
use super::step::Step;

/// The whole plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runbook {
    /// Always `rollbook/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Runbook`.
    pub kind: String,
    /// Name, version and people.
    pub metadata: Metadata,
    /// Parameters, used as `${{ name }}` in any text of the runbook.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub params: IndexMap<String, Param>,
    /// Where a rollout of this runbook can run.
    pub environments: IndexMap<String, Environment>,
    /// Role → persons that may act in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Vec<String>>,
    /// Narrows who may what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Authority>,
    /// When steps may run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Flags this rollout changes.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub flags: IndexMap<String, FlagSpec>,
    /// Databases and endpoints; credentials only by reference.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub sources: IndexMap<String, Source>,
    /// Where notices and `notify` steps go.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub channels: IndexMap<String, Channel>,
    /// What `snapshot` and `compare` steps capture.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub snapshots: IndexMap<String, SnapshotSpec>,
    /// Named measurements for watches, gates, advice and success.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub metrics: IndexMap<String, MetricSpec>,
    /// The work, in order.
    pub phases: Vec<Phase>,
    /// Ways back, by level.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rollbacks: BTreeMap<RollbackLevel, RollbackSpec>,
    /// The decision tree: first rule that holds wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decide: Vec<Decision>,
    /// Messages to stakeholders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// What the post-rollout review is measured by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub success: Vec<SuccessMetric>,
}

/// Name, version and people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Short name: letters, digits, `-`.
    pub name: String,
    /// Title for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Version of the runbook, a quoted text.
    pub version: String,
    /// Responsible team or person.
    pub owner: String,
    /// What is rolled out and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whom to call: role → contact.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub contacts: IndexMap<String, String>,
}

/// A parameter. The value given at `open` (or the default) replaces `${{ name }}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// What it is for.
    pub description: String,
    /// Used when none is given; without a default the parameter is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// More care is taken here: only persons of the roles act, what is risky takes two of them,
    /// each phase has a rollback point, and no weak server is accepted. An environment that the
    /// ledger has recorded as protected is so whatever a runbook says.
    #[serde(default)]
    pub protected: bool,
}

/// Whether a window opens or closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// Steps may run inside.
    Allow,
    /// Steps may not run inside; wins over allow.
    Deny,
}

/// A span of time in which steps may or may not run: recurring (`cron` + `duration`) or once
/// (`from` + `until`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Name, used by `step.window`.
    pub name: String,
    /// Allow or deny.
    pub kind: WindowKind,
    /// Five-field cron expression of the starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// How long each occurrence lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// IANA time zone of `cron`; default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// One-off start, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<jiff::Timestamp>,
    /// One-off end, RFC 3339, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<jiff::Timestamp>,
    /// Environments it applies to; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// An allow window that binds only the steps that name it (`step.window`), not all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named_only: bool,
}

/// A flag the rollout changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagSpec {
    /// What it switches.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// What an instant rollback writes, `off` unless said.
    #[serde(default = "FlagTarget::off")]
    pub safe: FlagTarget,
    /// RFC 3339 date after which the flag should be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire_by: Option<String>,
}

/// A flag's setting as written in a runbook: `on`, `off`, `safe`, `parallel`,
/// `{percentage: 50}` or `{beta: [label]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlagTarget {
    /// New path for everyone.
    On,
    /// Old path for everyone.
    Off,
    /// The flag's declared safe value.
    Safe,
    /// Both paths run, the old one is authoritative.
    Parallel,
    /// New path for this share, 0–100, up to three decimals.
    Percentage(f64),
    /// New path for contexts with one of these labels.
    Beta(Vec<String>),
}

impl FlagTarget {
    /// Returns `off`.
    pub fn off() -> Self {
        Self::Off
    }
}

/// Text that must not stand in a runbook, by reference. Resolved by the worker at execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// An environment variable of the worker.
    Env(String),
    /// A file the worker can read; trailing newline dropped.
    File(String),
    /// A text that is no secret (a local path, a loopback URL without credentials).
    Value(String),
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A PostgreSQL database.
    Postgres,
    /// A SQLite file.
    Sqlite,
    /// Either, by the URL's scheme.
    Database,
    /// An HTTP base URL.
    Http,
}

/// A database or endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// Environment → URL; the step's environment chooses.
    pub url: IndexMap<String, SecretRef>,
}

/// Where messages go; exactly one of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// POST JSON to this URL.
    Webhook(SecretRef),
    /// Append a JSON line to this file.
    File(String),
}

/// What a snapshot captures and how two of them compare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotSpec {
    /// The database source.
    pub source: String,
    /// The flag that decides whether deal types matter; its value in force is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awareness_flag: Option<String>,
    /// Model file, inlined at load as JSON text; absent, or an empty file name: the built-in
    /// model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<super::script::Script>,
    /// What computes the figures in place of the built-in model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calculator: Option<super::calculator::CalculatorSpec>,
    /// Table with one JSON inventory per deal; default `deals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Query yielding (deal id, item JSON) in deal order, when items are rows of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_query: Option<String>,
    /// SQL condition on deals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
    /// Comparison rules as data; absent: the default rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<serde_json::Value>,
}

/// A named measurement; exactly one way to take it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    /// What the number means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Unit for people: `%`, `s`, `deals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// First column of the first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlMeasure>,
    /// A number in a JSON answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpMeasure>,
    /// The number a command prints (its last line, or at a JSON pointer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunMeasure>,
    /// The measurement of this name that a step of the rollout recorded
    /// (`compare`: regressions, affected_percent, …; `audit`: health_percent, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// A number from a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlMeasure {
    /// Source name.
    pub source: String,
    /// Query; its first column of its first row is the value.
    pub query: String,
}

/// A number from an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpMeasure {
    /// Source name.
    pub source: String,
    /// Path below the source's URL.
    pub path: String,
    /// JSON pointer (RFC 6901) to the value; absent: the HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

/// A number from a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunMeasure {
    /// Shell command.
    pub command: String,
    /// Its environment variables, besides the few that every program gets.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: super::environment::Env,
    /// Environment variables from sources: variable → source name (its URL).
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env_sources: IndexMap<String, String>,
    /// JSON pointer into its output; absent: the last line is the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

/// A phase: steps, then perhaps a gate. Its gate has the phase's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Quoted id.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Phases that must have passed; absent: the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<String>>,
    /// Who does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responsible: Option<String>,
    /// Planned duration, shown beside the actual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Span>,
    /// The work. Steps without `needs` follow the step before them.
    pub steps: Vec<Step>,
    /// What must hold before the next phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

/// A gate: every sign-off and every check must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Who must sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sign_offs: Vec<SignOffRule>,
    /// Expressions over recorded measurements: `regressions == 0`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// What a missing measurement means for `checks`.
    #[serde(default)]
    pub no_data: NoData,
    /// Persons who executed a step of the phase may not sign it (four eyes). Default true.
    #[serde(default = "yes")]
    pub not_executor: bool,
    /// A sign-off counts for this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Span>,
    /// What is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

fn yes() -> bool {
    true
}

/// A role and how many different persons of it must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOffRule {
    /// Role name.
    pub role: String,
    /// How many persons; default 1.
    #[serde(default = "one")]
    pub quorum: u32,
}

fn one() -> u32 {
    1
}

/// What a check without data means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// Neither pass nor fail: the gate or watch does not pass on it.
    #[default]
    Inconclusive,
    /// Counts as a failure.
    Fail,
    /// Counts as a pass; says so.
    Pass,
}

/// A way back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackSpec {
    /// How long it should take at most; reported against the actual time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Span>,
    /// What a person should know before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// One rule of the decision tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Expression over recorded measurements.
    pub when: String,
    /// What to do.
    pub then: Advice,
    /// Do it without asking.
    #[serde(default)]
    pub auto: bool,
}

/// A message to stakeholders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Id, unique in the runbook.
    pub id: String,
    /// Channel name.
    pub channel: String,
    /// Whom it is for.
    pub audience: String,
    /// What the offset counts from: an RFC 3339 time, `opened`, `started`, `closed`, `rollback`
    /// (the start of the latest), or `phase/<id>` (its first step's start).
    pub anchor: String,
    /// After the anchor, `7d`; before it (`-7d`) only where the anchor is a time: of all others
    /// nobody knows beforehand when they come.
    #[serde(default)]
    pub offset: Span,
    /// Subject line.
    pub subject: String,
    /// Text.
    pub body: String,
}

/// One line of the post-rollout review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuccessMetric {
    /// Name for people.
    pub name: String,
    /// Metric whose last value is judged.
    pub metric: String,
    /// Expression over `value` and figures of it: `value <= 5`, `p95(value) < 2`.
    pub target: String,
}
