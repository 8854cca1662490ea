//! Steps: their common fields, and one action each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Action;
use super::span::Span;
use super::step_fields::StepFields;
pub use super::step_fields::StepShapeError;
use super::undo::{Check, Undo};

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
    /// Holds once the effect is gone; `None`: `verify` must no longer pass then.
    pub undo_verify: Option<Check>,
    /// `undo_verify` is asked again until it holds, for at most so long.
    pub undo_verify_within: Option<Span>,
    /// Expressions over the step's own measurements; all must hold.
    pub expect: Vec<String>,
}

impl Step {
    /// True if both steps do the same and their results mean the same. Retries, undo and waiting
    /// may differ.
    pub fn does_the_same(&self, other: &Self) -> bool {
        self.title == other.title
            && self.action == other.action
            && self.environment == other.environment
            && self.verify == other.verify
            && self.expect == other.expect
            && self.evidence == other.evidence
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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
    /// Undo these steps, the latest first, however this step failed, interrupted included: for what
    /// must not be left as it is until a person comes, such as an application that was stopped.
    Undo(Vec<String>),
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
