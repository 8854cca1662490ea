//! Comparing the texts of inventories with the words of rules: trimmed and without regard to case.

use std::borrow::Cow;

/// A text without the white space around it.
#[inline]
pub(super) fn trimmed(text: &str) -> &str {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        // Nearly every text, and far cheaper to see.
        (Some(first), Some(last)) if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        (None, _) => text,
        _ => text.trim(),
    }
}

/// What a text stands for, given what each word stands for. Words are ASCII and in lower case.
///
/// Nearly every text is a word as it is, which is far cheaper to see.
#[inline(always)]
pub(super) fn known<T>(text: &str, word: impl Fn(&str) -> Option<T>) -> Option<T> {
    word(text).or_else(|| word(&plain(text)?))
}

/// A text trimmed and in lower case, if that makes it another.
#[inline(never)]
fn plain(text: &str) -> Option<String> {
    let trimmed = trimmed(text);
    let changes = trimmed.len() < text.len() || text.bytes().any(|byte| byte.is_ascii_uppercase());
    changes.then(|| trimmed.to_ascii_lowercase())
}

/// Whether a text is a word. Words are ASCII.
#[inline]
pub(super) fn is(text: &str, word: &str) -> bool {
    text == word || trimmed(text).eq_ignore_ascii_case(word)
}

/// Whether a text contains one of the words. Words are ASCII; an empty one is in no text.
pub(super) fn mentions(text: &str, words: &[impl AsRef<str>]) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().any(|(at, byte)| {
        words.iter().any(|word| {
            let word = word.as_ref().as_bytes();
            // Most places end here, long before a comparison of slices would begin.
            word.first()
                .is_some_and(|first| first.eq_ignore_ascii_case(byte))
                && bytes
                    .get(at..at + word.len())
                    .is_some_and(|part| part.eq_ignore_ascii_case(word))
        })
    })
}

/// A text in lower case.
pub(super) fn lowercase(text: &str) -> Cow<'_, str> {
    let lower = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if text.bytes().all(lower) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whatever_their_case_and_surroundings() {
        assert!(is(" \u{a0}Active\n", "active") && !is("inactive", "active"));
        let number = |text| {
            known(text, |word| {
                ["one", "two"].iter().position(|it| *it == word)
            })
        };
        assert_eq!(
            ["two", " One ", "ONE\n", "ones", ""].map(number),
            [Some(1), Some(0), Some(0), None, None]
        );
        assert!(mentions("on the PARENT's tenant", &["shared", "parent"]));
        assert!(!mentions("apparent", &["shared"]) && !mentions("par", &["parent"]));
        assert!(!mentions("anything", &[""]));
        assert_eq!(lowercase("Z\u{dc}RICH"), "z\u{fc}rich");
        assert_eq!(lowercase("graz"), "graz");
    }
}
