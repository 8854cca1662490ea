//! How a plan takes effects back, and how it checks them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::{Http, Run, Sql, StepKind};
use super::span::Span;

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

impl Check {
    /// Returns the kind of step that does the same.
    pub fn kind(&self) -> &dyn StepKind {
        match self {
            Self::Run(run) => run,
            Self::Http(http) => http,
            Self::Sql(sql) => sql,
        }
    }

    /// Returns the kind, to fill in its scripts.
    pub(super) fn kind_mut(&mut self) -> &mut dyn StepKind {
        match self {
            Self::Run(run) => run,
            Self::Http(http) => http,
            Self::Sql(sql) => sql,
        }
    }
}

/// How to take an effect back.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Undo {
    /// Not said. Only right for actions that have no effect or derive their undo.
    #[default]
    Unset,
    /// Nothing to undo, on purpose.
    None,
    /// Cannot be undone; people are told before it is done.
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

impl Undo {
    /// Returns the kind of step that does the same; `None` if no worker can do it.
    pub fn kind(&self) -> Option<&dyn StepKind> {
        match self {
            Self::Run(run) => Some(run),
            Self::Http(http) => Some(http),
            Self::Sql(sql) => Some(sql),
            Self::Unset | Self::None | Self::Irreversible | Self::Manual(_) => None,
        }
    }

    /// Returns the kind, to fill in its scripts.
    pub(super) fn kind_mut(&mut self) -> Option<&mut dyn StepKind> {
        match self {
            Self::Run(run) => Some(run),
            Self::Http(http) => Some(http),
            Self::Sql(sql) => Some(sql),
            Self::Unset | Self::None | Self::Irreversible | Self::Manual(_) => None,
        }
    }
}

/// How to undo an effect, as written in a file: a word, or one way and what proves it.
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
    /// Nothing to undo, on purpose.
    None,
    /// Cannot be undone; people are told before it is done.
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
