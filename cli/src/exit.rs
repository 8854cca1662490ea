//! Exit codes: a documented API (`docs/errors.md`), chosen in one place.

use std::process::ExitCode;

use rollbook_ledger::error_code::{Coded, ErrorCode};
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

/// An error for the terminal, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// The stable code.
    pub(crate) code: ErrorCode,
    /// What was wrong, where, and what to do; it starts with the code, or with the file that is
    /// wrong.
    pub(crate) message: String,
    /// The commands that help; any one of them does.
    pub(crate) remedies: Vec<Remedy>,
}

impl Failure {
    /// An error that knows its code.
    pub(crate) fn new(exit: Exit, error: impl Coded + std::fmt::Display) -> Self {
        Self::whole(exit, error.code(), error.to_string())
    }

    /// A failure that only this program has; `text` does not repeat the code.
    pub(crate) fn own(exit: Exit, code: &'static str, text: impl std::fmt::Display) -> Self {
        Self::whole(exit, ErrorCode::new(code), format!("{code}: {text}"))
    }

    /// A whole message and its code, as a server sends them.
    pub(crate) fn whole(exit: Exit, code: ErrorCode, message: String) -> Self {
        Self {
            exit,
            code,
            message,
            remedies: Vec::new(),
        }
    }

    /// The same, with the commands that help.
    pub(crate) fn by(self, remedies: Vec<Remedy>) -> Self {
        Self { remedies, ..self }
    }

    /// The same, with which name may be meant, as a question.
    pub(crate) fn meaning(mut self, meant: Option<String>) -> Self {
        if let Some(meant) = meant {
            self.message.push_str("; ");
            self.message.push_str(&meant);
        }
        self
    }

    pub(crate) fn usage(error: impl Coded + std::fmt::Display) -> Self {
        Self::new(Exit::Usage, error)
    }

    pub(crate) fn unavailable(error: impl Coded + std::fmt::Display) -> Self {
        Self::new(Exit::Unavailable, error)
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
