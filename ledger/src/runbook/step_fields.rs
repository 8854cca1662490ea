//! The file format of a step, where the action is one of its keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::{self, Action, with_step_kinds};
use super::span::Span;
use super::step::{Changes, OnFail, Retry, Step};
use super::undo::{Check, UndoFields};

macro_rules! step_fields {
    ($($(#[$($about:tt)*])* $key:ident: $variant:ident($fields:ident),)*) => {
        /// A step as written in a file: what is common to all, and exactly one action key.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
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
            $(
                $(#[$($about)*])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $key: Option<kind::$fields>,
            )*
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

        impl StepFields {
            /// Takes out the actions; a step has exactly one.
            fn take_actions(&mut self) -> Vec<Action> {
                let actions = [$(self.$key.take().map(Action::$variant)),*];
                actions.into_iter().flatten().collect()
            }

            fn set_action(&mut self, action: Action) {
                match action {
                    $(Action::$variant(fields) => self.$key = Some(fields),)*
                }
            }
        }
    };
}
with_step_kinds!(step_fields);

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
    #[error("step `{id}` says nothing to do; give it one of {}", Action::KEYS.join(", "))]
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

    fn try_from(mut f: StepFields) -> Result<Self, StepShapeError> {
        let mut actions = f.take_actions();
        if actions.len() > 1 {
            let kinds: Vec<&str> = actions.iter().map(|it| it.kind().name()).collect();
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
            verify: s.verify,
            undo: UndoFields::of(s.undo, s.undo_verify, s.undo_verify_within),
            expect: s.expect,
            ..Self::default()
        };
        fields.set_action(s.action);
        fields
    }
}
