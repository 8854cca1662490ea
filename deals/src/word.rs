//! Compares texts of inventories with the words of rules and with each other: trimmed, ignoring
//! ASCII case, and with `-`, `_` and a blank as equal.

use std::cmp::Ordering;

/// Defines which words mean what, once: `WORDS` lists them and `of_word` reads one.
macro_rules! words {
    ($type:ty { $($($word:literal)|+ => $meaning:expr,)+ }) => {
        impl $type {
            /// Every word with its meaning.
            pub(crate) const WORDS: &'static [(&'static str, Self)] =
                &[$($(($word, $meaning),)+)+];

            /// The meaning of a word; `None` if it has none.
            #[inline]
            pub(crate) fn of_word(word: &str) -> Option<Self> {
                Some(match word {
                    $($($word)|+ => $meaning,)+
                    _ => return None,
                })
            }
        }
    };
}
pub(crate) use words;

/// A text without surrounding white space.
#[inline]
pub(super) fn trimmed(text: &str) -> &str {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        // A fast path that covers nearly every text.
        (Some(first), Some(last)) if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        (None, _) => text,
        _ => text.trim(),
    }
}

/// The meaning of a text, given the meaning of each word. Words are ASCII, in lower case, with `_`
/// between their parts.
///
/// Nearly every text is exactly a word, which is far cheaper to test first.
#[inline(always)]
pub(super) fn known<T>(text: &str, word: impl Fn(&str) -> Option<T>) -> Option<T> {
    word(text).or_else(|| match text {
        "" => None,
        _ => word(&plain(text)?),
    })
}

/// A text trimmed, in lower case and with `_` for `-` and blanks; `None` if it is so already.
#[inline(never)]
fn plain(text: &str) -> Option<String> {
    let trimmed = trimmed(text);
    let other = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b' ');
    let changes = trimmed.len() < text.len() || text.bytes().any(other);
    changes.then(|| trimmed.to_ascii_lowercase().replace(['-', ' '], "_"))
}

/// Whether a text contains one of the words. Words are ASCII; an empty word is in no text.
#[inline(always)]
pub(super) fn mentions(text: &str, words: &[impl AsRef<str>]) -> bool {
    let bytes = text.as_bytes();
    // Most texts are hardly longer than a word, so a word can begin at few positions.
    let shortest = words.iter().map(|word| word.as_ref().len()).min();
    let places = (bytes.len() + 1).saturating_sub(shortest.unwrap_or_default());
    for (at, byte) in bytes.iter().enumerate().take(places) {
        for word in words {
            let word = word.as_ref().as_bytes();
            // The first byte rules out most positions, before a comparison of slices.
            let begins = word.first().is_some_and(|it| it.eq_ignore_ascii_case(byte));
            let here = || bytes.get(at..at + word.len()).unwrap_or_default();
            if begins && here().eq_ignore_ascii_case(word) {
                return true;
            }
        }
    }
    false
}

/// Compares two texts in lower case; only ASCII letters are folded, regardless of any locale.
pub(super) fn folded_order(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.bytes(), right.bytes());
    let folded = |byte: u8| byte.to_ascii_lowercase();
    left.map(folded).cmp(right.map(folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whatever_their_case_and_surroundings() {
        let number = |text| {
            known(text, |word| {
                ["one", "two"].iter().position(|it| *it == word)
            })
        };
        assert_eq!(
            ["two", " \u{a0}One\n", "ONE", "ones", ""].map(number),
            [Some(1), Some(0), Some(0), None, None]
        );
        let joined = |text| known(text, |word| (word == "on_prem").then_some(()));
        for text in ["on_prem", "on-prem", "On Prem", " ON-PREM "] {
            assert_eq!(joined(text), Some(()), "{text}");
        }
        assert_eq!(joined("onprem"), None);
        assert!(mentions("on the PARENT's tenant", &["shared", "parent"]));
        assert!(!mentions("apparent", &["shared"]) && !mentions("par", &["parent"]));
        assert!(!mentions("anything", &[""]));
        assert!(folded_order("Z\u{fc}RICH", "z\u{fc}rich").is_eq());
        assert!(
            folded_order("Z\u{dc}RICH", "z\u{fc}rich").is_ne(),
            "ASCII only"
        );
        assert!(folded_order("GRAZ", "graz").is_eq() && folded_order("Graz", "ulm").is_lt());
    }
}
