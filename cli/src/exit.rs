//! Exit codes: a documented API (`docs/errors.md`), chosen in one place.

use std::process::ExitCode;

use rollbook_ledger::rollout::Remedy;
use rollbook_server::api::ErrorClass;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Success,
    /// 1: failed by a rule: a regression, a failed check, a refused command.
    Failed,
    /// 2: wrong usage or an invalid file.
    Usage,
    /// 3: inconclusive, no data.
    Inconclusive,
    /// 4: waiting for a person.
    Waiting,
    /// 5: blocked by a window or a policy.
    Blocked,
    /// 6: stored history or evidence is damaged.
    Integrity,
    /// 7: a dependency is unavailable.
    Unavailable,
    /// 130: ended by Ctrl-C.
    Interrupted,
    /// 143: ended by SIGTERM.
    Terminated,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Waiting => 4,
            Self::Blocked => 5,
            Self::Integrity => 6,
            Self::Unavailable => 7,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error for the terminal: a message that starts with its code, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What was wrong, where, and what to do.
    pub(crate) message: String,
    /// The commands that help; any one of them does.
    pub(crate) remedies: Vec<Remedy>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            remedies: Vec::new(),
        }
    }

    /// The same, with the commands that help.
    pub(crate) fn by(self, remedies: Vec<Remedy>) -> Self {
        Self { remedies, ..self }
    }

    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The stable code of the first problem in the message; a problem in a file starts with its
    /// position in the file.
    pub(crate) fn code(&self) -> &str {
        let is_end = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-');
        self.message
            .match_indices("RB-")
            .filter_map(|(start, _)| self.message.get(start..))
            .filter_map(|rest| rest.split(is_end).next())
            .find(|code| code.ends_with(|c: char| c.is_ascii_digit()))
            .unwrap_or("RB-CLI-0")
    }

    pub(crate) fn unavailable(message: impl std::fmt::Display) -> Self {
        Self::new(Exit::Unavailable, message)
    }
}

impl From<ErrorClass> for Exit {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Usage => Self::Usage,
            ErrorClass::Refused => Self::Failed,
            ErrorClass::Policy => Self::Blocked,
            ErrorClass::Integrity => Self::Integrity,
            ErrorClass::Unavailable => Self::Unavailable,
        }
    }
}

/// What a command returns.
pub(crate) type Outcome = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_first_problem() {
        for (message, code) in [
            ("RB-CLI-5: no server; see RB-CLI-6: x", "RB-CLI-5"),
            (
                "a.yaml:3:7: error RB-RUNBOOK-6: `kind`\nb RB-RUNBOOK-1: c",
                "RB-RUNBOOK-6",
            ),
            ("RB-X.yaml: RB-MODEL-1: does not parse", "RB-MODEL-1"),
            ("no code", "RB-CLI-0"),
            ("RB-", "RB-CLI-0"),
        ] {
            assert_eq!(Failure::usage(message).code(), code, "{message}");
        }
    }
}
