//! Shortens texts that go into an event.

use sha2::{Digest, Sha256};

/// A text in an event is cut to this many bytes; with the note about the cut it stays within what
/// the rules accept.
pub(crate) const TEXT_BYTES: usize = 3_000;

/// A text that fits into an event; a longer one becomes its beginning, its length and the digest of
/// the whole.
pub(crate) fn truncate_with_digest(text: &str) -> String {
    if text.len() <= TEXT_BYTES {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(TEXT_BYTES));
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    format!(
        "{}… [{} bytes, SHA-256 {digest}]",
        kept.unwrap_or_default(),
        text.len()
    )
}
