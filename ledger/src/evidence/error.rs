//! Errors of the evidence store.

use std::error::Error as StdError;
use std::io::ErrorKind;

use super::s3;
use crate::error_code::Coded;

/// Why evidence could not be stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum EvidenceError {
    /// The text is not an evidence digest.
    #[error(
        "RB-EVIDENCE-1: `{text}` is not an evidence address; give 64 lower-case hex digits (a SHA-256)"
    )]
    Address {
        /// The text, shortened.
        text: String,
    },
    /// Nothing is stored under the digest.
    #[error(
        "RB-EVIDENCE-2: evidence {sha256} is not in {location}; check that this is the store the ledger was written with"
    )]
    NotFound {
        /// The digest.
        sha256: String,
        /// The store searched.
        location: String,
    },
    /// The stored bytes do not match their digest.
    #[error(
        "RB-EVIDENCE-3: evidence {sha256} is damaged: the {size_bytes} stored bytes hash to {found}; restore it from a copy"
    )]
    Corrupt {
        /// The digest.
        sha256: String,
        /// The hash of the stored bytes.
        found: String,
        /// Their size in bytes.
        size_bytes: u64,
    },
    /// No space left. Nothing was stored; retry once space is free.
    #[error(
        "RB-EVIDENCE-4: cannot {action} in {location}: no space left ({reason}); free space and retry"
    )]
    Full {
        /// The store.
        location: String,
        /// The operation.
        action: &'static str,
        /// The system's message.
        reason: String,
    },
    /// This process may not write to or read from the store.
    #[error(
        "RB-EVIDENCE-5: cannot {action} in {location}: {reason}; check that the disk is writable and who owns the directory"
    )]
    Denied {
        /// The store.
        location: String,
        /// The operation.
        action: &'static str,
        /// The system's message.
        reason: String,
    },
    /// The store failed; a retry may succeed.
    #[error("RB-EVIDENCE-6: cannot {action} in {location}: {reason}")]
    Unavailable {
        /// The store.
        location: String,
        /// The operation.
        action: &'static str,
        /// The system's message.
        reason: String,
    },
    /// The location does not name a store.
    #[error("RB-EVIDENCE-7: the evidence location `{location}` cannot be used: {reason}")]
    Location {
        /// The refused location.
        location: String,
        /// The problem.
        reason: String,
    },
    /// The bucket does not exist.
    #[error(
        "RB-EVIDENCE-9: the bucket of {location} does not exist; create it, or correct the location or AWS_ENDPOINT_URL_S3"
    )]
    NoBucket {
        /// The store.
        location: String,
    },
    /// S3 rejected the credentials, or they lack the permission.
    #[error(
        "RB-EVIDENCE-10: cannot {action} in {location}: refused ({reason}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that their policy allows s3:GetObject, s3:PutObject and s3:ListBucket"
    )]
    Refused {
        /// The store.
        location: String,
        /// The operation.
        action: &'static str,
        /// The server's error code and message.
        reason: String,
    },
    /// S3 did not answer in time, despite retries; a later call may succeed.
    #[error(
        "RB-EVIDENCE-11: cannot {action} in {location}: no answer ({reason}); check the network, AWS_REGION and AWS_ENDPOINT_URL_S3, then retry"
    )]
    Unreachable {
        /// The store.
        location: String,
        /// The operation.
        action: &'static str,
        /// The system's message.
        reason: String,
    },
    /// There are no credentials to sign requests with.
    #[error(
        "RB-EVIDENCE-12: {location} needs credentials: {reason}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where AWS gives a role"
    )]
    Credentials {
        /// The store.
        location: String,
        /// What is missing.
        reason: String,
    },
}

impl EvidenceError {
    /// True if stored content is missing or has changed. Missing content is damage only if it is
    /// known to have been stored.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Corrupt { .. })
    }

    /// True if the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::Unavailable { .. } | Self::Unreachable { .. }
        )
    }

    /// Returns this error for remote users: without the store's location on the server's machine
    /// and without the system's messages, which name files.
    pub fn without_places(&self) -> Self {
        let place = || "the evidence store".to_owned();
        let mut told = self.clone();
        match &mut told {
            Self::Address { .. } | Self::Corrupt { .. } => {}
            Self::NotFound { location, .. } | Self::NoBucket { location } => *location = place(),
            Self::Full {
                location, reason, ..
            }
            | Self::Denied {
                location, reason, ..
            }
            | Self::Unavailable {
                location, reason, ..
            }
            | Self::Location { location, reason }
            | Self::Refused {
                location, reason, ..
            }
            | Self::Unreachable {
                location, reason, ..
            }
            | Self::Credentials { location, reason } => {
                *location = place();
                *reason = without_paths(reason);
            }
        }
        told
    }

    pub(super) fn from_io(location: &str, action: &'static str, source: &std::io::Error) -> Self {
        Self::classify(location, action, source.kind(), source.to_string())
    }

    pub(super) fn from_store(
        location: &str,
        action: &'static str,
        source: object_store::Error,
    ) -> Self {
        s3::classify(location, action, &source).unwrap_or_else(|| {
            Self::classify(location, action, io_kind(&source), source.to_string())
        })
    }

    pub(super) fn from_read(location: &str, sha256: &str, source: object_store::Error) -> Self {
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound {
                sha256: sha256.to_owned(),
                location: location.to_owned(),
            },
            other => Self::from_store(location, "read", other),
        }
    }

    fn classify(location: &str, action: &'static str, kind: ErrorKind, reason: String) -> Self {
        let location = location.to_owned();
        match kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full {
                location,
                action,
                reason,
            },
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists => Self::Denied {
                location,
                action,
                reason,
            },
            _ => Self::Unavailable {
                location,
                action,
                reason,
            },
        }
    }
}

/// Replaces every absolute path and file URL in a text with `…`.
pub fn without_paths(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = next_path(rest) {
        let (before, path) = rest.split_at(start);
        shown.push_str(before);
        shown.push('…');
        // A path may be followed by a closing quote. A space within a path ends it too early, which
        // leaves only its less revealing tail.
        let end = path
            .find(|c: char| c.is_whitespace() || "\"'`,;:)]}>".contains(c))
            .unwrap_or(path.len());
        rest = path.get(end..).unwrap_or_default();
    }
    shown.push_str(rest);
    shown
}

/// Finds the next absolute path: a `/` at the start of a word that is followed by more.
fn next_path(text: &str) -> Option<usize> {
    let mut before = None;
    for (at, c) in text.char_indices() {
        let begins = before.is_none_or(|b: char| b.is_whitespace() || "\"'`(<[=".contains(b));
        let more = text.get(at + 1..).and_then(|rest| rest.chars().next());
        if c == '/' && begins && more.is_some_and(|c| c.is_alphanumeric() || "._-/~".contains(c)) {
            return Some(at);
        }
        before = Some(c);
    }
    None
}

/// Returns the kind of the system error behind an object-store error.
fn io_kind(error: &object_store::Error) -> ErrorKind {
    match error {
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => return ErrorKind::PermissionDenied,
        _ => {}
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return io.kind();
        }
        cause = current.source();
    }
    ErrorKind::Other
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn wrapped(source: std::io::Error) -> EvidenceError {
        let outer = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(source),
        };
        EvidenceError::from_store("evidence", "store", outer)
    }

    #[test]
    fn a_full_disk_is_found_inside_the_stores_error_and_is_retryable() {
        // /dev/full fails every write with ENOSPC, like a full disk.
        let error = wrapped(std::fs::write("/dev/full", b"x").unwrap_err());
        assert!(matches!(error, EvidenceError::Full { .. }), "{error}");
        assert!(error.is_retryable());
    }

    #[test]
    fn paths_are_hidden_from_callers() {
        for (text, shown) in [
            ("open /srv/a/b.db: denied", "open …: denied"),
            ("`/srv/a` and '/srv/b'", "`…` and '…'"),
            (
                "a/b, 3 / 4, n/a, s3://bucket/x",
                "a/b, 3 / 4, n/a, s3://bucket/x",
            ),
            ("path=/x", "path=…"),
            ("", ""),
        ] {
            assert_eq!(without_paths(text), shown);
        }
        let error = EvidenceError::Denied {
            location: "/srv/objects".to_owned(),
            action: "read",
            reason: "Unable to open file /srv/objects/ab/cd: Permission denied".to_owned(),
        };
        let told = error.without_places().to_string();
        assert!(!told.contains("/srv"), "{told}");
        assert!(
            told.starts_with("RB-EVIDENCE-5: cannot read in the evidence store"),
            "{told}"
        );
        assert!(told.contains("Permission denied"), "{told}");
    }

    #[test]
    fn a_read_only_disk_is_not_retryable() {
        let error = wrapped(std::io::Error::from(ErrorKind::ReadOnlyFilesystem));
        assert!(matches!(error, EvidenceError::Denied { .. }), "{error}");
        assert!(!error.is_retryable());
    }

    #[test]
    fn an_input_output_error_is_retryable() {
        // Error 5 is EIO on Linux.
        let error = wrapped(std::io::Error::from_raw_os_error(5));
        assert!(
            matches!(error, EvidenceError::Unavailable { .. }),
            "{error}"
        );
        assert!(error.is_retryable());
    }
}
