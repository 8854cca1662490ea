//! Stable codes of errors. A program decides by [`Coded::code`], a person by the text, which starts
//! with the same code.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use rollbook_codes::Coded;
use serde::{Deserialize, Serialize};

/// A stable code, `RB-MODULE-n`; `docs/errors.md` lists all of them. A code that was received may
/// be one that only another version knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(Cow<'static, str>);

impl ErrorCode {
    /// The code of this program that is written so.
    #[must_use]
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// Returns it as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<&str> for ErrorCode {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// An error with a stable code. Derived from the texts of an error's variants, so that a code is
/// written once.
pub trait Coded {
    /// Returns the code; the text of the error starts with it.
    fn code(&self) -> ErrorCode;
}

impl<T: Coded + ?Sized> Coded for Box<T> {
    fn code(&self) -> ErrorCode {
        (**self).code()
    }
}

impl<T: Coded + ?Sized> Coded for Arc<T> {
    fn code(&self) -> ErrorCode {
        (**self).code()
    }
}

impl<T: Coded + ?Sized> Coded for &T {
    fn code(&self) -> ErrorCode {
        (**self).code()
    }
}

#[cfg(test)]
mod tests {
    use super::{Coded, ErrorCode};

    #[derive(Debug, thiserror::Error, Coded)]
    enum Outer {
        #[error("RB-FOLD-1: {}: no {what}", .what.len())]
        Named { what: String },
        #[error(transparent)]
        Held(#[from] Inner),
        #[error(transparent)]
        Boxed { source: Box<Inner> },
        #[error("RB-FOLD-3: nothing")]
        Unit,
    }

    #[derive(Debug, Clone, thiserror::Error, Coded)]
    #[error(
        "RB-FOLD-2: \
         {0}"
    )]
    struct Inner(u8);

    #[test]
    fn the_code_is_what_the_text_starts_with() {
        let what = "figure: RB-FOLD-7".to_owned();
        for (error, code) in [
            (Outer::Named { what }, "RB-FOLD-1"),
            (Inner(7).into(), "RB-FOLD-2"),
            (
                Outer::Boxed {
                    source: Box::new(Inner(7)),
                },
                "RB-FOLD-2",
            ),
            (Outer::Unit, "RB-FOLD-3"),
        ] {
            assert_eq!(error.code(), code);
            assert!(
                error.to_string().starts_with(&format!("{code}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_code_of_another_version_is_read_and_written_as_it_is() {
        let code: ErrorCode = serde_json::from_str("\"RB-LATER\"").unwrap_or(ErrorCode::new(""));
        assert_eq!(code, "RB-LATER");
        assert_eq!(serde_json::json!(code), "RB-LATER");
    }
}
