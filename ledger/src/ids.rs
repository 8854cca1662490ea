//! Typed ids and their encoding into NATS subjects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error_code::Coded;

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum IdError {
    /// The text is empty.
    #[error("RB-ID-1: {what} is empty; give a non-empty name")]
    Empty {
        /// The kind of id.
        what: &'static str,
    },
    /// The text is too long.
    #[error("RB-ID-2: {what} `{text}` is longer than {limit} bytes; shorten it")]
    TooLong {
        /// The kind of id.
        what: &'static str,
        /// The text.
        text: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text contains a character that is not allowed.
    #[error("RB-ID-3: {what} `{text}` contains {found:?}; {allowed}")]
    Character {
        /// The kind of id.
        what: &'static str,
        /// The text.
        text: String,
        /// The offending character.
        found: char,
        /// The allowed characters.
        allowed: &'static str,
    },
}

impl IdError {
    /// Renames the kind of id, for one that reuses the format of another: `notice id`.
    #[must_use]
    pub fn of(self, what: &'static str) -> Self {
        match self {
            Self::Empty { .. } => Self::Empty { what },
            Self::TooLong { text, limit, .. } => Self::TooLong { what, text, limit },
            Self::Character {
                text,
                found,
                allowed,
                ..
            } => Self::Character {
                what,
                text,
                found,
                allowed,
            },
        }
    }
}

/// Number of digest bytes that make a rollout's id unique.
const SUFFIX_BYTES: usize = 6;

/// Maximum length of an id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Validates and wraps a text.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if text.is_empty() {
                    return Err(IdError::Empty { what: $what });
                }
                if text.len() > MAX_ID_BYTES {
                    return Err(IdError::TooLong { what: $what, text, limit: MAX_ID_BYTES });
                }
                let ok: fn(char) -> bool = $ok;
                if let Some(found) = text.chars().find(|c| !ok(*c)) {
                    return Err(IdError::Character { what: $what, text, found, allowed: $allowed });
                }
                Ok(Self(text))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// A ledger's name; a ledger is one tenant or audit boundary.
    LedgerId, "ledger id", "use a-z, 0-9, - and _",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'
);
text_id!(
    /// A rollout: one execution of a runbook in one environment.
    RolloutId, "rollout id", "use letters, digits, - and _",
    |c| c.is_ascii_alphanumeric() || c == '-' || c == '_'
);
text_id!(
    /// A phase of a runbook; also the id of its gate.
    PhaseId, "phase id", "use letters, digits, . - and _",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
);
text_id!(
    /// A step of a runbook.
    StepId, "step id", "use letters, digits, . - and _",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
);
text_id!(
    /// A deployment environment.
    EnvironmentId, "environment", "use letters, digits, - and _",
    |c| c.is_ascii_alphanumeric() || c == '-' || c == '_'
);
text_id!(
    /// The key by which applications evaluate a flag.
    FlagKey, "flag key", "use letters, digits, . - and _",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
);
text_id!(
    /// A worker of the fleet.
    WorkerName, "worker name", "use no control characters",
    |c| !c.is_control()
);

impl RolloutId {
    /// Generates the id of the rollout that a command opens: `<runbook>-<suffix>`, short enough to
    /// type. The same command id gives the same rollout id.
    pub fn generate(runbook: &str, command_id: &str) -> Self {
        let stem: String = runbook
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .take(40)
            .collect();
        let tail = hex::encode(&Sha256::digest(command_id)[..SUFFIX_BYTES]);
        Self(format!(
            "{}-{tail}",
            if stem.is_empty() { "rollout" } else { &stem }
        ))
    }
}

/// The aggregate, and consistency boundary, that a commit belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aggregate {
    /// One rollout.
    Rollout(RolloutId),
    /// One flag in one environment.
    Flag(EnvironmentId, FlagKey),
    /// One worker of the fleet.
    Worker(WorkerName),
    /// One environment.
    Environment(EnvironmentId),
}

impl Aggregate {
    /// Returns "rollout", "flag", "worker" or "environment", as written in the commit.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rollout(_) => "rollout",
            Self::Flag(..) => "flag",
            Self::Worker(_) => "worker",
            Self::Environment(_) => "environment",
        }
    }

    /// Returns the id as written in the commit: `<rollout>`, `<environment>/<key>`, `<worker>` or
    /// `<environment>`.
    pub fn id(&self) -> String {
        match self {
            Self::Rollout(id) => id.to_string(),
            Self::Flag(environment, key) => format!("{environment}/{key}"),
            Self::Worker(name) => name.to_string(),
            Self::Environment(name) => name.to_string(),
        }
    }

    /// Parses the aggregate named by a commit; `None` if kind or id is invalid.
    pub fn of(kind: &str, id: &str) -> Option<Self> {
        match kind {
            "rollout" => RolloutId::new(id).ok().map(Self::Rollout),
            "flag" => {
                let (environment, key) = id.split_once('/')?;
                Some(Self::Flag(
                    EnvironmentId::new(environment).ok()?,
                    FlagKey::new(key).ok()?,
                ))
            }
            "worker" => WorkerName::new(id).ok().map(Self::Worker),
            "environment" => EnvironmentId::new(id).ok().map(Self::Environment),
            _ => None,
        }
    }

    /// Returns the aggregate's subject: `rollbook.<ledger>.<kind>.<id tokens>`.
    pub fn subject(&self, ledger: &LedgerId) -> String {
        match self {
            Self::Rollout(id) => {
                format!("rollbook.{ledger}.rollout.{}", subject_token(id.as_str()))
            }
            Self::Flag(environment, key) => format!(
                "rollbook.{ledger}.flag.{}.{}",
                subject_token(environment.as_str()),
                subject_token(key.as_str())
            ),
            Self::Worker(name) => {
                format!("rollbook.{ledger}.worker.{}", subject_token(name.as_str()))
            }
            Self::Environment(name) => format!(
                "rollbook.{ledger}.environment.{}",
                subject_token(name.as_str())
            ),
        }
    }
}

impl Aggregate {
    /// Parses a subject of this ledger; `None` if it names no aggregate.
    pub fn of_subject(ledger: &LedgerId, subject: &str) -> Option<Self> {
        let rest = subject.strip_prefix("rollbook.")?;
        let rest = rest.strip_prefix(ledger.as_str())?.strip_prefix('.')?;
        let (kind, tokens) = rest.split_once('.')?;
        let texts: Option<Vec<String>> = tokens.split('.').map(text_of_token).collect();
        Self::of(kind, &texts?.join("/"))
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.id())
    }
}

/// Encodes any text as exactly one subject token, so that user text can never add a token or a
/// wildcard. Letters, digits, `-` and `_` stay; every other byte becomes `=` and two hex digits.
pub fn subject_token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("={byte:02X}"));
        }
    }
    token
}

/// Decodes a token made by [`subject_token`]; `None` if it is not one.
pub fn text_of_token(token: &str) -> Option<String> {
    let mut parts = token.split('=');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_token_never_adds_tokens_or_wildcards() {
        assert_eq!(subject_token("a.b*>c d"), "a=2Eb=2A=3Ec=20d");
        assert_eq!(subject_token("DEAL_TYPE-1"), "DEAL_TYPE-1");
        for text in ["a.b*>c d", "é=", ""] {
            assert_eq!(text_of_token(&subject_token(text)).as_deref(), Some(text));
        }
        assert_eq!(text_of_token("a=2"), None);
    }

    #[test]
    fn an_aggregate_is_found_again_from_kind_and_id() {
        let flag = Aggregate::Flag(
            EnvironmentId::new("production").unwrap(),
            FlagKey::new("x.y").unwrap(),
        );
        assert_eq!(Aggregate::of(flag.kind(), &flag.id()), Some(flag.clone()));
        let ledger = LedgerId::new("main").unwrap();
        assert_eq!(flag.subject(&ledger), "rollbook.main.flag.production.x=2Ey");
        assert_eq!(Aggregate::of("rollout", "a b"), None);
        let worker = Aggregate::Worker(WorkerName::new("host.de/7").unwrap());
        assert_eq!(Aggregate::of("worker", "host.de/7"), Some(worker.clone()));
        assert_eq!(
            worker.subject(&ledger),
            "rollbook.main.worker.host=2Ede=2F7"
        );
        let environment = Aggregate::Environment(EnvironmentId::new("production").unwrap());
        assert_eq!(
            Aggregate::of("environment", "production"),
            Some(environment.clone())
        );
        assert_eq!(
            environment.subject(&ledger),
            "rollbook.main.environment.production"
        );
    }
}
