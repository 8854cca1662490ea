//! Texts on their way into an event.

use sha2::{Digest, Sha256};

/// A text of an event is cut after this many bytes: with what is said of the cut it is within what
/// the rules take.
pub(crate) const TEXT_BYTES: usize = 3_000;

/// A text that fits; of a longer one the beginning, its length and the digest of all of it.
pub(crate) fn shorten(text: &str) -> String {
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
