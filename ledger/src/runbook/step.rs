//! Steps: what is common to all, and one action each.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{FlagTarget, NoData, RollbackLevel};
use super::span::Span;

/// One step. In YAML the action is one key of the step (`run:`, `sql:` …).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StepFields", into = "StepFields")]
#[schemars(with = "StepFields")]
pub struct Step {
    /// Quoted id, unique in the runbook.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Steps that must be done; `None`: the step before it in its phase.
    pub needs: Option<Vec<String>>,
    /// Expression over params; false: the step is not applicable.
    pub when: Option<String>,
    /// Environment of the step, when it is not the rollout's (staging before production).
    pub environment: Option<String>,
    /// Its failure blocks the rollout. Default true.
    pub critical: bool,
    /// The action is ended after this long.
    pub timeout: Option<Span>,
    /// Automatic retries.
    pub retry: Option<Retry>,
    /// Allow window it must run in.
    pub window: Option<String>,
    /// What a failure leads to.
    pub on_fail: OnFail,
    /// Files kept as evidence besides the output.
    pub evidence: Vec<String>,
    /// May be run again after a crash without asking.
    pub idempotent: bool,
    /// Label of the workers that may run it.
    pub runs_on: Option<String>,
    /// What kind of thing it changes, for rollback levels: `configuration`.
    pub changes: Option<Changes>,
    /// What is done.
    pub action: Action,
    /// Proves that the action has had its effect. Has none itself.
    pub verify: Option<Check>,
    /// Takes the effect back.
    pub undo: Undo,
    /// Expressions over the step's own measurements; all must hold.
    pub expect: Vec<String>,
}

/// The one thing a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A command.
    Run(Run),
    /// An HTTP request.
    Http(Http),
    /// A migration or a query with an expectation.
    Sql(Sql),
    /// A flag change.
    Flag(FlagStep),
    /// Something a person does.
    Manual(Manual),
    /// Capture outputs.
    Snapshot(SnapshotStep),
    /// Compare two captures.
    Compare(CompareStep),
    /// Audit deal types.
    Audit(AuditStep),
    /// Measure over a time.
    Watch(Watch),
    /// Tell someone.
    Notify(Notify),
    /// Let time pass.
    Wait(Wait),
}

impl Action {
    /// The kind as written in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Http(_) => "http",
            Self::Sql(_) => "sql",
            Self::Flag(_) => "flag",
            Self::Manual(_) => "manual",
            Self::Snapshot(_) => "snapshot",
            Self::Compare(_) => "compare",
            Self::Audit(_) => "audit",
            Self::Watch(_) => "watch",
            Self::Notify(_) => "notify",
            Self::Wait(_) => "wait",
        }
    }
}

/// Automatic retries of a step that failed or erred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, 2–20.
    pub attempts: u32,
    /// Wait before the second attempt; doubled before each further one, at most an hour.
    #[serde(default)]
    pub delay: Span,
}

/// What a failed step leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFail {
    /// Nothing that needs it runs; a person decides.
    #[default]
    Block,
    /// Go on; the failure stays on the record.
    Continue,
    /// Start a rollback of level `flags`.
    RollbackFlags,
    /// Start a rollback of level `full`.
    RollbackFull,
}

/// What a step changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Changes {
    /// Nothing outside: a check, a measurement, a backup.
    Nothing,
    /// Configuration.
    Configuration,
    /// Code or services.
    Code,
    /// Data or schema.
    Data,
}

/// A script or document kept in a file beside the runbook; inlined at load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Script {
    /// The text itself.
    Text(String),
    /// A file, relative to the runbook.
    File {
        /// Path.
        file: String,
        /// Its content, filled in at load.
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// Further environment variables.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, String>,
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
    /// Applied in one transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Script>,
    /// Raises an error when the deployed shape is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Script>,
    /// Takes `deploy` back, data included; the step's undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<Script>,
    /// A query: each column of the first row becomes a measurement of its name;
    /// no row is no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The query must fail (a constraint that must refuse); it is rolled back either way.
    #[serde(default)]
    pub must_fail: bool,
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
    /// Expression over `value` that raises a warning alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<String>,
    /// Expression over `value` that counts as a failure.
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
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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

/// The step as it stands in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Step")]
pub struct StepFields {
    id: String,
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    critical: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    on_fail: OnFail,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    idempotent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runs_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<Changes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<Http>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sql: Option<Sql>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flag: Option<FlagStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manual: Option<Manual>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<SnapshotStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compare: Option<CompareStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit: Option<AuditStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch: Option<Watch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notify: Option<Notify>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<Check>,
    #[serde(default, skip_serializing_if = "is_default")]
    undo: Undo,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    expect: Vec<String>,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why the fields of a step do not make a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepShapeError {
    /// No action key.
    #[error(
        "step `{id}` says nothing to do; give it one of run, http, sql, flag, manual, snapshot, compare, audit, watch, notify, wait"
    )]
    NoAction {
        /// The step.
        id: String,
    },
    /// Two or more action keys.
    #[error("step `{id}` has {count} actions ({kinds}); give it exactly one")]
    ManyActions {
        /// The step.
        id: String,
        /// How many.
        count: usize,
        /// Which.
        kinds: String,
    },
}

impl TryFrom<StepFields> for Step {
    type Error = StepShapeError;

    fn try_from(f: StepFields) -> Result<Self, StepShapeError> {
        let mut actions: Vec<Action> = [
            f.run.map(Action::Run),
            f.http.map(Action::Http),
            f.sql.map(Action::Sql),
            f.flag.map(Action::Flag),
            f.manual.map(Action::Manual),
            f.snapshot.map(Action::Snapshot),
            f.compare.map(Action::Compare),
            f.audit.map(Action::Audit),
            f.watch.map(Action::Watch),
            f.notify.map(Action::Notify),
            f.wait.map(Action::Wait),
        ]
        .into_iter()
        .flatten()
        .collect();
        if actions.len() > 1 {
            let kinds: Vec<&str> = actions.iter().map(Action::kind).collect();
            return Err(StepShapeError::ManyActions {
                id: f.id,
                count: actions.len(),
                kinds: kinds.join(", "),
            });
        }
        let Some(action) = actions.pop() else {
            return Err(StepShapeError::NoAction { id: f.id });
        };
        Ok(Self {
            id: f.id,
            title: f.title,
            needs: f.needs,
            when: f.when,
            environment: f.environment,
            critical: f.critical,
            timeout: f.timeout,
            retry: f.retry,
            window: f.window,
            on_fail: f.on_fail,
            evidence: f.evidence,
            idempotent: f.idempotent,
            runs_on: f.runs_on,
            changes: f.changes,
            action,
            verify: f.verify,
            undo: f.undo,
            expect: f.expect,
        })
    }
}

impl From<Step> for StepFields {
    fn from(s: Step) -> Self {
        let mut fields = Self {
            id: s.id,
            title: s.title,
            needs: s.needs,
            when: s.when,
            environment: s.environment,
            critical: s.critical,
            timeout: s.timeout,
            retry: s.retry,
            window: s.window,
            on_fail: s.on_fail,
            evidence: s.evidence,
            idempotent: s.idempotent,
            runs_on: s.runs_on,
            changes: s.changes,
            run: None,
            http: None,
            sql: None,
            flag: None,
            manual: None,
            snapshot: None,
            compare: None,
            audit: None,
            watch: None,
            notify: None,
            wait: None,
            verify: s.verify,
            undo: s.undo,
            expect: s.expect,
        };
        match s.action {
            Action::Run(a) => fields.run = Some(a),
            Action::Http(a) => fields.http = Some(a),
            Action::Sql(a) => fields.sql = Some(a),
            Action::Flag(a) => fields.flag = Some(a),
            Action::Manual(a) => fields.manual = Some(a),
            Action::Snapshot(a) => fields.snapshot = Some(a),
            Action::Compare(a) => fields.compare = Some(a),
            Action::Audit(a) => fields.audit = Some(a),
            Action::Watch(a) => fields.watch = Some(a),
            Action::Notify(a) => fields.notify = Some(a),
            Action::Wait(a) => fields.wait = Some(a),
        }
        fields
    }
}

impl RollbackLevel {
    /// The word used in files, commands and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flags => "flags",
            Self::Partial => "partial",
            Self::Migrations => "migrations",
            Self::Configuration => "configuration",
            Self::Full => "full",
        }
    }
}
