//! What stands still and why, as data: the words for it are made from the same figures and are for
//! people only.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decide::cut;
use super::remedy::Remedy;
use crate::ids::{IdError, PhaseId, StepId};

/// The longest figure, in bytes; of a longer text the beginning and its digest.
const MAX_FIGURE_BYTES: usize = 256;

/// The numbers and names of a reason, each by its name.
pub type Figures = BTreeMap<String, String>;

/// What stands still; as text, and in JSON: `step 1.6`, `gate 1`, `rollout`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// The rollout as a whole.
    Rollout,
    /// A step.
    Step(StepId),
    /// The gate of a phase.
    Gate(PhaseId),
    /// A rollback under way, by its id.
    Rollback(String),
    /// A request for a second person, by its id.
    Request(String),
    /// A review of what one person did alone, by its id.
    Review(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rollout => f.write_str("rollout"),
            Self::Step(id) => write!(f, "step {id}"),
            Self::Gate(id) => write!(f, "gate {id}"),
            Self::Rollback(id) => write!(f, "rollback {id}"),
            Self::Request(id) => write!(f, "request {id}"),
            Self::Review(id) => write!(f, "review {id}"),
        }
    }
}

/// A text that names nothing that can stand still.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// No kind of thing is called so.
    #[error(
        "RB-SUBJECT-1: `{0}` names nothing that stands still; write `rollout`, or `step`, `gate`, `rollback`, `request` or `review` with an id"
    )]
    Kind(String),
    /// Its id is none.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "rollout" {
            return Ok(Self::Rollout);
        }
        match text.split_once(' ') {
            Some(("step", id)) => Ok(Self::Step(StepId::new(id)?)),
            Some(("gate", id)) => Ok(Self::Gate(PhaseId::new(id)?)),
            Some(("rollback", id)) => Ok(Self::Rollback(id.to_owned())),
            Some(("request", id)) => Ok(Self::Request(id.to_owned())),
            Some(("review", id)) => Ok(Self::Review(id.to_owned())),
            _ => Err(SubjectError::Kind(text.chars().take(100).collect())),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

/// The rule by which something stands still. The names are stable; docs/operators.md lists those
/// that a status shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldRule {
    /// The rollout is open and has not been started.
    NotStarted,
    /// A person, or a rollback that has ended, paused it.
    Paused,
    /// It was aborted, and something still runs.
    Aborting,
    /// A changed plan waits to be accepted.
    RevisionWaits,
    /// An undo failed.
    UndoFailed,
    /// A rollback waits for a step that still runs.
    UndoWaitsForStep,
    /// A worker looks whether an undo by hand took the effect back.
    UndoBeingVerified,
    /// An effect is undone by hand.
    UndoByHand,
    /// A step is done by hand.
    ManualStep,
    /// The `when` of a step is false; it is about to be left out.
    WhenFalse,
    /// The `when` of a step cannot be decided.
    WhenUndecided,
    /// The rollback point of a phase is not recorded yet.
    RollbackPointMissing,
    /// The delay before another attempt is not over.
    RetryDelay,
    /// No window is open, or one that denies is.
    Window,
    /// The plan has no such step.
    NotInPlan,
    /// The step is not one that has yet to run.
    NotPending,
    /// The rollout is not running.
    NotRunning,
    /// Another person must agree that a step does not apply.
    NotApplicableProposed,
    /// A check of a rollback waits for another one.
    RecheckNeeded,
    /// A step before it is not done.
    StepNeeded,
    /// A phase before it has not passed.
    PhaseNeeded,
    /// An attempt has no result, and its timeout is over.
    ResultOverdue,
    /// An attempt failed.
    StepFailed,
    /// An attempt came to no conclusion.
    StepInconclusive,
    /// An attempt ended in an error.
    StepErrored,
    /// An attempt was interrupted, and nobody knows what it did.
    StepInterrupted,
    /// The effect of a step was taken back by a rollback.
    StepUndone,
    /// A gate stands shut on a step of its phase that failed.
    PhaseFailed,
    /// A gate stands shut on a check that does not hold.
    CheckNotMet,
    /// A gate stands shut because somebody refused it.
    SignOffRefused,
    /// A gate waits for signatures.
    SignOffsMissing,
    /// A gate waits for signatures that nobody is left to give.
    NobodyLeftToSign,
    /// A request waits for a second person.
    RequestWaits,
    /// What one person did alone waits for its review.
    ReviewOpen,
}

/// What ends the waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Somebody has to do something.
    Person,
    /// It goes on by itself at a time, even where nobody knows when.
    Time,
    /// It goes on when a worker has ended what it does.
    Worker,
}

/// Why something does not move, and who can move it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// What it is.
    pub what: Subject,
    /// The rule that holds it.
    pub rule: HoldRule,
    /// The numbers and names of `why`, each at most 256 bytes.
    #[serde(default)]
    pub figures: Figures,
    /// The rule with its numbers, as a sentence for people; programs read `rule` and `figures`.
    pub why: String,
    /// Who can unblock it, for people: persons, roles with their persons, or "time".
    pub who: Vec<String>,
    /// What ends the waiting.
    pub waits_for: WaitsFor,
    /// The commands that would move it, the best first; any one of them helps.
    pub remedies: Vec<Remedy>,
    /// When it unblocks by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Why something may not go on, before it is said what it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hold {
    pub(crate) rule: HoldRule,
    pub(crate) figures: Figures,
    /// The rule, with its numbers.
    pub(crate) why: String,
    pub(crate) who: Vec<String>,
    pub(crate) waits_for: WaitsFor,
    pub(crate) remedies: Vec<Remedy>,
    pub(crate) until: Option<Timestamp>,
    /// It waits for something that moves or is reported by itself.
    pub(crate) explained: bool,
}

impl Hold {
    /// Waits for a person until something else is said.
    pub(crate) fn because(rule: HoldRule, why: impl Into<String>) -> Self {
        Self {
            rule,
            figures: Figures::new(),
            why: why.into(),
            who: Vec::new(),
            waits_for: WaitsFor::Person,
            remedies: Vec::new(),
            until: None,
            explained: false,
        }
    }

    pub(crate) fn explained(rule: HoldRule, why: impl Into<String>) -> Self {
        Self {
            explained: true,
            ..Self::because(rule, why)
        }
    }

    /// Waits for a time, known or not.
    pub(crate) fn time(rule: HoldRule, why: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self {
            who: vec!["time".to_owned()],
            waits_for: WaitsFor::Time,
            until,
            ..Self::because(rule, why)
        }
    }

    /// Goes on by itself when something that runs has ended.
    pub(crate) fn worker(rule: HoldRule, why: impl Into<String>) -> Self {
        Self {
            who: vec!["time".to_owned()],
            waits_for: WaitsFor::Worker,
            ..Self::because(rule, why)
        }
    }

    /// These can move it, by any of these commands.
    pub(crate) fn person(
        rule: HoldRule,
        why: impl Into<String>,
        who: Vec<String>,
        remedies: Vec<Remedy>,
    ) -> Self {
        Self {
            who,
            remedies,
            ..Self::because(rule, why)
        }
    }

    /// With one more figure of its sentence.
    pub(crate) fn figure(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = cut(&value.to_string(), MAX_FIGURE_BYTES);
        self.figures.insert(name.to_owned(), value);
        self
    }

    /// Says what it is that stands still.
    pub(crate) fn of(self, what: Subject) -> Blocked {
        Blocked {
            what,
            rule: self.rule,
            figures: self.figures,
            why: self.why,
            who: self.who,
            waits_for: self.waits_for,
            remedies: self.remedies,
            until: self.until,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_back_as_they_are_written() {
        let step = Subject::Step(StepId::new("1.6").unwrap());
        let gate = Subject::Gate(PhaseId::new("1").unwrap());
        for (subject, text) in [
            (Subject::Rollout, "rollout"),
            (step, "step 1.6"),
            (gate, "gate 1"),
            (Subject::Rollback("rb-1".to_owned()), "rollback rb-1"),
            (Subject::Request("q-1".to_owned()), "request q-1"),
            (Subject::Review("r-1".to_owned()), "review r-1"),
        ] {
            assert_eq!(subject.to_string(), text);
            assert_eq!(text.parse(), Ok(subject));
        }
        for text in ["", "phase 1", "rollout 1", "step", "step a b"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
