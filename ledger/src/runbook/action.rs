//! What a step can do: one type for each kind.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment::Env;
use super::model::{FlagTarget, NoData};
use super::span::Span;

/// A script or document kept in a file beside the runbook; inlined at load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Script {
    /// The text itself.
    Text(String),
    /// A file, relative to the runbook.
    File {
        /// Path.
        file: String,
        /// Its content, filled in at load.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(skip)]
        text: Option<String>,
    },
}

impl Script {
    /// The content; `None` when a file has not been inlined.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::File { text, .. } => text.as_deref(),
        }
    }
}

/// A command, run by `sh -c`, with parameters also as `ROLLBOOK_PARAM_<NAME>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Shell text.
    pub command: String,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Its environment variables, besides the few that every program gets.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: Env,
    /// Environment variables from sources: variable → source name (its URL).
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env_sources: IndexMap<String, String>,
    /// Measurements from its output: name → regular expression with one group, the last match.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub measure: IndexMap<String, String>,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Source name.
    pub source: String,
    /// Path below the source's URL.
    pub path: String,
    /// Method, default GET.
    #[serde(default = "get")]
    pub method: String,
    /// JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// Expected status, default any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Measurements from the JSON answer: name → JSON pointer.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub measure: IndexMap<String, String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// A migration (`deploy`, `verify`, `revert`) or a `query` whose first row is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// Source name.
    pub source: String,
    /// Applied in one transaction, unless `transaction` says `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Script>,
    /// Raises an error when the deployed shape is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Script>,
    /// Takes `deploy` back, data included; the step's undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<Script>,
    /// A query, one statement: each column of the first row becomes a measurement of its name;
    /// no row is no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The query must fail (a constraint that must refuse); it is rolled back either way.
    #[serde(default)]
    pub must_fail: bool,
    /// `none`: `deploy` and `revert` run one statement at a time, each by itself, for statements
    /// that no transaction holds (`VACUUM`, `CREATE INDEX CONCURRENTLY`). What was done before an
    /// error stays. Needs `verify` and `revert` or `undo`.
    #[serde(default, skip_serializing_if = "Transaction::is_one")]
    pub transaction: Transaction,
}

/// Whether a script happens whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// One transaction around all of it. The default.
    #[default]
    One,
    /// None: each statement by itself.
    None,
}

impl Transaction {
    fn is_one(&self) -> bool {
        *self == Self::One
    }
}

/// A flag change. Its undo writes the value before it; verify reads the flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagStep {
    /// A flag of `flags`.
    pub key: String,
    /// What to set.
    pub to: FlagTarget,
}

/// Something a person does, with a checklist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    /// What to do.
    pub instructions: String,
    /// Each item must be answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<String>,
    /// Who may complete it; absent: anyone in any role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// At least one piece of evidence must be attached.
    #[serde(default)]
    pub evidence_required: bool,
    /// Items and the step itself may be answered "not applicable" (reviewed by another person).
    #[serde(default)]
    pub accept_not_applicable: bool,
}

/// Capture outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotStep {
    /// A snapshot of `snapshots`.
    pub of: String,
    /// Label, unique per snapshot: `before`.
    pub label: String,
    /// Deals that may be error rows before the step fails; default 0.
    #[serde(default)]
    pub max_errors: u64,
}

/// Compare two captures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareStep {
    /// A snapshot of `snapshots`.
    pub of: String,
    /// Label of the earlier capture.
    pub before: String,
    /// Label of the later capture.
    pub after: String,
    /// Cost tolerance in percent; default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_percent: Option<f64>,
}

/// Audit deal types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditStep {
    /// The database source.
    pub source: String,
    /// Table; default `deals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Only record; do not fail on CRITICAL.
    #[serde(default)]
    pub record_only: bool,
}

/// Measure over a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// How long.
    pub r#for: Span,
    /// Between samples.
    pub every: Span,
    /// What is measured and judged at each sample.
    pub thresholds: Vec<Threshold>,
}

/// A metric and the rules that judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// A metric of `metrics`.
    pub metric: String,
    /// Expression over `value` (or `delta(value)`, `rate(value, hour)`) that raises a warning alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<String>,
    /// Expression over `value` (or `delta(value)`, `rate(value, hour)`) that counts as a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<String>,
    /// Failing samples that are borne before the watch fails; default 0.
    #[serde(default)]
    pub tolerate: u32,
    /// What a sample without data means.
    #[serde(default)]
    pub no_data: NoData,
}

/// Tell someone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// A channel of `channels`.
    pub channel: String,
    /// Subject line.
    pub subject: String,
    /// Text.
    pub body: String,
}

/// Let time pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// How long.
    pub r#for: Span,
}

/// A check without effects; exactly one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Exit code 0.
    Run(Run),
    /// The expected status.
    Http(Http),
    /// Succeeds (or fails, with `must_fail`).
    Sql(Sql),
}

/// How to take an effect back.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Undo {
    /// Not said. Only right for actions that have no effect or derive their undo.
    #[default]
    Unset,
    /// Nothing to take back, on purpose.
    None,
    /// Cannot be taken back; said before it is done.
    Irreversible,
    /// A command.
    Run(Run),
    /// A request.
    Http(Http),
    /// A script (`deploy` of this is run).
    Sql(Sql),
    /// Instructions for a person.
    Manual(String),
}

/// How to take an effect back, as it stands in a file: a word, or one way and what proves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Undo")]
pub enum UndoFields {
    /// Nothing takes it back.
    Word(UndoWord),
    /// A way back.
    Way(Box<UndoWay>),
}

/// Why there is no way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UndoWord {
    /// Nothing to take back, on purpose.
    None,
    /// Cannot be taken back; said before it is done.
    Irreversible,
}

/// A way back: at most one of `run`, `http`, `sql` and `manual`; none of them where the step
/// derives its undo.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoWay {
    /// A command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// A request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// A script (`deploy` of this is run).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<Sql>,
    /// Instructions for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<String>,
    /// Holds once the effect is gone; absent: the step's `verify` must no longer pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Check>,
    /// `verify` is asked again until it holds, for at most so long; absent: it is asked once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_within: Option<Span>,
}

impl Default for UndoFields {
    fn default() -> Self {
        Self::Way(Box::default())
    }
}

impl UndoFields {
    /// The way back, what proves it and within which time; `None`: more than one way is given.
    pub(super) fn split(self) -> Option<(Undo, Option<Check>, Option<Span>)> {
        let way = match self {
            Self::Word(UndoWord::None) => return Some((Undo::None, None, None)),
            Self::Word(UndoWord::Irreversible) => return Some((Undo::Irreversible, None, None)),
            Self::Way(way) => *way,
        };
        let mut ways = [
            way.run.map(Undo::Run),
            way.http.map(Undo::Http),
            way.sql.map(Undo::Sql),
            way.manual.map(Undo::Manual),
        ]
        .into_iter()
        .flatten();
        let undo = ways.next().unwrap_or_default();
        ways.next()
            .is_none()
            .then_some((undo, way.verify, way.verify_within))
    }

    /// As it stands in a file.
    pub(super) fn of(undo: Undo, verify: Option<Check>, verify_within: Option<Span>) -> Self {
        let mut way = UndoWay {
            verify,
            verify_within,
            ..UndoWay::default()
        };
        match undo {
            Undo::None => return Self::Word(UndoWord::None),
            Undo::Irreversible => return Self::Word(UndoWord::Irreversible),
            Undo::Unset => {}
            Undo::Run(run) => way.run = Some(run),
            Undo::Http(http) => way.http = Some(http),
            Undo::Sql(sql) => way.sql = Some(sql),
            Undo::Manual(text) => way.manual = Some(text),
        }
        Self::Way(Box::new(way))
    }
}
