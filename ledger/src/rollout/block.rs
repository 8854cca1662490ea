//! What is blocked and why, as data. The sentences for people are built from the same figures;
//! programs read the data.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::limits::cut;
use super::remedy::Remedy;
use crate::authority::ANY_OPERATOR;
use crate::error_code::Coded;
use crate::ids::{IdError, PhaseId, StepId};

/// Maximum size of a figure in bytes; longer text is cut and followed by its digest.
const MAX_FIGURE_BYTES: usize = 256;

/// The named numbers and names that a blocking reason mentions.
pub type Figures = BTreeMap<String, String>;

/// The object that is blocked; written `step 1.6`, `gate 1` or `rollout`, in JSON too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// The rollout as a whole.
    Rollout,
    /// A step.
    Step(StepId),
    /// The gate of a phase.
    Gate(PhaseId),
    /// A rollback in progress, by its id.
    Rollback(String),
    /// A request that needs a second person, by its id.
    Request(String),
    /// A review of a command that one person executed alone, by its id.
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

/// A text that does not parse as a [`Subject`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum SubjectError {
    /// The kind of object is unknown.
    #[error(
        "RB-SUBJECT-1: `{0}` is not a subject that can be blocked; write `rollout`, or `step`, `gate`, `rollback`, `request` or `review` with an id"
    )]
    Kind(String),
    /// The id is malformed.
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

/// The rule that blocks something. The names are stable; docs/status.md lists those that a
/// status shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockRule {
    /// The rollout is open and has not been started.
    NotStarted,
    /// A person or a finished rollback paused the rollout.
    Paused,
    /// The rollout was aborted, and something is still running.
    Aborting,
    /// A changed plan waits for acceptance.
    RevisionWaits,
    /// An undo failed.
    UndoFailed,
    /// A rollback waits for a running step.
    UndoWaitsForStep,
    /// A worker is verifying an undo that a person did by hand.
    UndoBeingVerified,
    /// A person has to undo an effect by hand.
    UndoByHand,
    /// A person has to do a manual step.
    ManualStep,
    /// The `when` of a step is false; the next settle marks it not applicable.
    WhenFalse,
    /// The `when` of a step cannot be evaluated.
    WhenUndecided,
    /// The rollback point of a phase has not been recorded yet.
    RollbackPointMissing,
    /// The delay before the next attempt has not elapsed.
    RetryDelay,
    /// No allowing window is open, or a denying one is.
    Window,
    /// The plan has no such step.
    NotInPlan,
    /// The step is not pending.
    NotPending,
    /// The rollout is not running.
    NotRunning,
    /// Another person must review a claim that the step does not apply.
    NotApplicableProposed,
    /// A check of a rollback waits for another check.
    RecheckNeeded,
    /// A step before this one is not done.
    StepNeeded,
    /// A phase before this one has not passed.
    PhaseNeeded,
    /// An attempt has no result although its timeout has elapsed.
    ResultOverdue,
    /// An attempt failed.
    StepFailed,
    /// An attempt was inconclusive.
    StepInconclusive,
    /// An attempt ended in an error.
    StepErrored,
    /// An attempt was interrupted, and its effect is unknown.
    StepInterrupted,
    /// A rollback undid the step's effect.
    StepUndone,
    /// The gate is blocked by a failed step of its phase.
    PhaseFailed,
    /// The gate is blocked by a check that does not hold.
    CheckNotMet,
    /// The gate is blocked because a person rejected it.
    SignOffRefused,
    /// The gate is missing sign-offs.
    SignOffsMissing,
    /// The gate is missing sign-offs that nobody is eligible to give.
    NobodyLeftToSign,
    /// A request waits for a second person.
    RequestWaits,
    /// A command that one person executed alone waits for its review.
    ReviewOpen,
}

/// What resolves a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// A person has to act.
    Person,
    /// Time: it resolves by itself, even if the moment is unknown.
    Time,
    /// A running worker has to finish.
    Worker,
}

impl WaitsFor {
    /// Nobody has to act.
    pub fn is_by_itself(self) -> bool {
        match self {
            Self::Person => false,
            Self::Time | Self::Worker => true,
        }
    }
}

/// Why something is blocked, and who can unblock it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The blocked object.
    pub what: Subject,
    /// The rule that blocks it.
    pub rule: BlockRule,
    /// The numbers and names that `why` mentions, each at most 256 bytes.
    #[serde(default)]
    pub figures: Figures,
    /// The reason as a sentence for people; programs read `rule` and `figures`.
    pub why: String,
    /// Who can unblock it, for display: persons, roles with their members, or "time".
    pub who: Vec<String>,
    /// What resolves it.
    pub waits_for: WaitsFor,
    /// The commands that would unblock it, best first; any one of them is enough.
    pub remedies: Vec<Remedy>,
    /// When it resolves by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Blocked {
    /// True if this person can unblock it, as `who` says: by name, in a role, or as anybody. A rule
    /// that looks at the person may still refuse.
    pub fn is_for(&self, person: &str) -> bool {
        self.who.iter().any(|text| names(text, person))
    }
}

/// Whether an entry of [`Blocked::who`] names a person: `any operator`, `dba: dora or dan`, `dora`.
fn names(text: &str, person: &str) -> bool {
    if text == ANY_OPERATOR {
        return true;
    }
    let (_, persons) = text.split_once(": ").unwrap_or(("", text));
    persons.split(" or ").any(|name| {
        let (name, _) = name.split_once(" (").unwrap_or((name, ""));
        name == person
    })
}

/// A blocking reason without its subject; [`BlockReason::of`] turns it into a [`Blocked`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BlockReason {
    pub(crate) rule: BlockRule,
    pub(crate) figures: Figures,
    /// The reason, with its numbers.
    pub(crate) why: Box<str>,
    pub(crate) who: Vec<String>,
    pub(crate) waits_for: WaitsFor,
    pub(crate) remedies: Vec<Remedy>,
    pub(crate) until: Option<Timestamp>,
    /// The cause is something that makes progress or is reported on its own, so this is not
    /// reported.
    pub(crate) explained: bool,
}

impl BlockReason {
    /// Creates a hold that waits for a person unless changed.
    pub(crate) fn because(rule: BlockRule, why: impl Into<String>) -> Self {
        Self {
            rule,
            figures: Figures::new(),
            why: why.into().into_boxed_str(),
            who: Vec::new(),
            waits_for: WaitsFor::Person,
            remedies: Vec::new(),
            until: None,
            explained: false,
        }
    }

    pub(crate) fn explained(rule: BlockRule, why: impl Into<String>) -> Self {
        Self {
            explained: true,
            ..Self::because(rule, why)
        }
    }

    /// Creates a hold that waits for a time, known or not.
    pub(crate) fn time(rule: BlockRule, why: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self {
            who: vec!["time".to_owned()],
            waits_for: WaitsFor::Time,
            until,
            ..Self::because(rule, why)
        }
    }

    /// Creates a hold that resolves when a running worker finishes.
    pub(crate) fn worker(rule: BlockRule, why: impl Into<String>) -> Self {
        Self {
            who: vec!["time".to_owned()],
            waits_for: WaitsFor::Worker,
            ..Self::because(rule, why)
        }
    }

    /// Creates a hold that these people can resolve by any one of these commands.
    pub(crate) fn person(
        rule: BlockRule,
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

    /// Adds one named figure, cut to [`MAX_FIGURE_BYTES`].
    pub(crate) fn figure(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = cut(&value.to_string(), MAX_FIGURE_BYTES);
        self.figures.insert(name.to_owned(), value);
        self
    }

    /// Attaches the subject.
    pub(crate) fn of(self, what: Subject) -> Blocked {
        Blocked {
            what,
            rule: self.rule,
            figures: self.figures,
            why: self.why.into(),
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
    fn a_person_is_found_by_name_in_a_role_and_as_anybody() {
        for (text, is_for) in [
            ("any operator", true),
            ("dba: dora or dan", true),
            ("dan", true),
            ("dan (by signing after all)", true),
            ("dba: daniel or dora", false),
            ("dba: no eligible signer remains (dan)", false),
            ("a worker", false),
            ("time", false),
        ] {
            assert_eq!(names(text, "dan"), is_for, "{text}");
        }
    }

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
