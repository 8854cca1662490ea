//! The file format of a step, where the action is one of its keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::{
    AuditStep, Check, CompareStep, FlagStep, Http, Manual, Notify, Run, SnapshotStep, Sql,
    UndoFields, Wait, Watch,
};
use super::span::Span;
use super::step::{Action, Changes, OnFail, Retry, Step};

/// A step as it stands in a file: what is common to all, and exactly one action key
/// (`run`, `http`, `sql`, `flag`, `manual`, `snapshot`, `compare`, `audit`, `watch`, `notify`,
/// `wait`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Step")]
pub struct StepFields {
    /// Quoted id, unique in the runbook.
    id: String,
    /// Title for people.
    title: String,
    /// Steps that must be done before; absent: the step before it in its phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs: Option<Vec<String>>,
    /// Expression over params; false: the step is not applicable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    /// Environment of the step, when it is not the rollout's (staging before production).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    /// Its failure blocks the rollout. Default true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    critical: bool,
    /// The action is ended after this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    /// Automatic retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    /// Allow window it must run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<String>,
    /// What a failure leads to; default `block`.
    #[serde(default, skip_serializing_if = "is_default")]
    on_fail: OnFail,
    /// Files kept as evidence besides the output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<String>,
    /// May be run again after a crash without asking.
    #[serde(default, skip_serializing_if = "is_default")]
    idempotent: bool,
    /// Label of the workers that may run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runs_on: Option<String>,
    /// What kind of thing it changes; `nothing` for a check, a measurement, a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<Changes>,
    /// Action: a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    /// Action: an HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<Http>,
    /// Action: a migration, or a query with an expectation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sql: Option<Sql>,
    /// Action: a flag change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flag: Option<FlagStep>,
    /// Action: something a person does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manual: Option<Manual>,
    /// Action: capture outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<SnapshotStep>,
    /// Action: compare two captures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compare: Option<CompareStep>,
    /// Action: audit deal types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit: Option<AuditStep>,
    /// Action: measure over a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch: Option<Watch>,
    /// Action: tell someone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notify: Option<Notify>,
    /// Action: let time pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<Wait>,
    /// Proves that the action has had its effect. Has none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<Check>,
    /// Takes the effect back; flags and migrations derive theirs.
    #[serde(default, skip_serializing_if = "is_default")]
    undo: UndoFields,
    /// Expressions over the step's own measurements; all must hold.
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

/// Why the fields do not form a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepShapeError {
    /// There is no action key.
    #[error(
        "step `{id}` says nothing to do; give it one of run, http, sql, flag, manual, snapshot, compare, audit, watch, notify, wait"
    )]
    NoAction {
        /// The step.
        id: String,
    },
    /// The undo has two or more actions.
    #[error(
        "step `{id}` has more than one way back in `undo`; give it one of run, http, sql, manual"
    )]
    ManyUndos {
        /// The step.
        id: String,
    },
    /// There are two or more action keys.
    #[error("step `{id}` has {count} actions ({kinds}); give it exactly one")]
    ManyActions {
        /// The step.
        id: String,
        /// How many.
        count: usize,
        /// The keys.
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
        let Some((undo, undo_verify, undo_verify_within)) = f.undo.split() else {
            return Err(StepShapeError::ManyUndos { id: f.id });
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
            undo,
            undo_verify,
            undo_verify_within,
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
            undo: UndoFields::of(s.undo, s.undo_verify, s.undo_verify_within),
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
