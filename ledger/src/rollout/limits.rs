//! How large texts and events of a rollout may be, and how longer texts are shortened.

use sha2::{Digest, Sha256};

/// Maximum length of a command's text in an event, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 4_096;

/// Maximum size of the events of one command, in bytes. A commit holds 65,535; the rest is for the
/// actor, the command id and the trace context.
pub(super) const MAX_EVENT_BYTES: usize = 56 * 1024;

/// Shortens a text built by the domain or received from elsewhere: a longer one is cut and followed
/// by its length and the digest of the full text.
pub(super) fn shortened(text: &str) -> String {
    cut(text, MAX_TEXT_BYTES)
}

/// Shortens a text like [`shortened`], to a maximum size in bytes.
pub(super) fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    let note = format!("… [{} bytes, SHA-256 {digest}]", text.len());
    let end = text.floor_char_boundary(bytes.saturating_sub(note.len()));
    format!("{}{note}", text.get(..end).unwrap_or_default())
}
