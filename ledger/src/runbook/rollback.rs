//! Rollback levels: each is a selector of effects, evaluated by one rule, plus a few properties.
//! All differences between levels are defined here.

use std::str::FromStr;

use rollbook_proto::v1;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::{FlagStep, Sql};
use super::step::{Changes, Step};
use crate::ids::StepId;

/// How far a rollback goes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RollbackLevel {
    /// Flags to their safe value; seconds, never waits for approval.
    Flags,
    /// Named steps.
    Partial,
    /// `sql` steps.
    Migrations,
    /// `run` steps marked `configuration`.
    Configuration,
    /// Everything with an undo.
    Full,
}

/// Selects the effects that a rollback undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector<'a> {
    /// All effects.
    All,
    /// Effects of steps of one kind.
    Kind(&'static str),
    /// Effects of steps that declare this kind of change.
    Changes(Changes),
    /// Effects of these steps.
    Steps(&'a [StepId]),
}

impl Selector<'_> {
    /// True if it selects the step's effect.
    #[must_use]
    pub fn takes(&self, id: &StepId, step: &Step) -> bool {
        match self {
            Self::All => true,
            Self::Kind(kind) => step.action.kind().name() == *kind,
            Self::Changes(changes) => step.changes == Some(*changes),
            Self::Steps(named) => named.contains(id),
        }
    }
}

/// The fixed properties of a level.
struct Terms {
    /// The word used in files, commands and events.
    word: &'static str,
    wire: v1::RollbackLevel,
    /// `None` selects the named steps.
    selects: Option<Selector<'static>>,
}

impl RollbackLevel {
    /// All levels, narrowest first.
    pub const ALL: [Self; 5] = [
        Self::Flags,
        Self::Partial,
        Self::Migrations,
        Self::Configuration,
        Self::Full,
    ];

    const fn terms(self) -> Terms {
        let (word, wire, selects) = match self {
            Self::Flags => (
                "flags",
                v1::RollbackLevel::Flags,
                Some(Selector::Kind(FlagStep::KEY)),
            ),
            Self::Partial => ("partial", v1::RollbackLevel::Partial, None),
            Self::Migrations => (
                "migrations",
                v1::RollbackLevel::Migrations,
                Some(Selector::Kind(Sql::KEY)),
            ),
            Self::Configuration => (
                "configuration",
                v1::RollbackLevel::Configuration,
                Some(Selector::Changes(Changes::Configuration)),
            ),
            Self::Full => ("full", v1::RollbackLevel::Full, Some(Selector::All)),
        };
        Terms {
            word,
            wire,
            selects,
        }
    }

    /// Returns the word used in files, commands and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.terms().word
    }

    /// Converts to the event's form.
    #[must_use]
    pub const fn to_wire(self) -> v1::RollbackLevel {
        self.terms().wire
    }

    /// Converts an event's field; `None` if it is absent or unknown.
    #[must_use]
    pub fn from_wire(number: i32) -> Option<Self> {
        let is_it = |level: &Self| i32::from(level.to_wire()) == number;
        Self::ALL.into_iter().find(is_it)
    }

    /// Returns the selector of the effects that it undoes; `named` are the steps named with it.
    #[must_use]
    pub const fn selector(self, named: &[StepId]) -> Selector<'_> {
        match self.terms().selects {
            Some(selector) => selector,
            None => Selector::Steps(named),
        }
    }

    /// True if the requester names the steps; the other levels select them.
    #[must_use]
    pub const fn names_steps(self) -> bool {
        self.terms().selects.is_none()
    }

    /// True if it sets flags to their safe values, waits for nothing, and interrupts another
    /// rollback, which then continues.
    #[must_use]
    pub const fn is_urgent(self) -> bool {
        matches!(self, Self::Flags)
    }

    /// True if it ends the rollout, even a running one that has nothing to undo.
    #[must_use]
    pub const fn ends_rollout(self) -> bool {
        matches!(self, Self::Full)
    }
}

impl FromStr for RollbackLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or(UnknownLevel)
    }
}

/// The text is not a rollback level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a level of rollback; levels are flags, partial, migrations, configuration and full")]
pub struct UnknownLevel;

/// What a rule of the decision tree advises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Patch and go on.
    FixForward,
    /// Roll back flags.
    Flags,
    /// Roll back named steps.
    Partial,
    /// Roll back migrations.
    Migrations,
    /// Roll back configuration.
    Configuration,
    /// Roll back everything.
    Full,
}

impl Advice {
    /// Returns the rollback level that it advises; `None` if it advises against a rollback.
    #[must_use]
    pub const fn level(self) -> Option<RollbackLevel> {
        match self {
            Self::FixForward => None,
            Self::Flags => Some(RollbackLevel::Flags),
            Self::Partial => Some(RollbackLevel::Partial),
            Self::Migrations => Some(RollbackLevel::Migrations),
            Self::Configuration => Some(RollbackLevel::Configuration),
            Self::Full => Some(RollbackLevel::Full),
        }
    }

    /// Returns the word used in files and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.level().map_or("fix_forward", RollbackLevel::as_str)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_files_say_the_same() {
        for level in RollbackLevel::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
            assert_eq!(
                RollbackLevel::from_wire(level.to_wire().into()),
                Some(level)
            );
            let written = serde_json::to_value(level).unwrap();
            assert_eq!(written, level.as_str());
            let advice: Advice = serde_json::from_value(written).unwrap();
            assert_eq!(advice.level(), Some(level));
        }
        let wire: Vec<i32> = RollbackLevel::ALL
            .iter()
            .map(|level| level.to_wire().into())
            .collect();
        assert_eq!(wire, [1, 2, 3, 4, 5]);
        assert_eq!(RollbackLevel::from_wire(0), None);
        assert_eq!("Full".parse::<RollbackLevel>(), Err(UnknownLevel));
        assert_eq!(Advice::FixForward.as_str(), "fix_forward");
    }
}
