//! Names of people: one spelling for each, without invisible characters.

use unicode_normalization::UnicodeNormalization;

use crate::error_code::Coded;

/// Maximum length of a name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Why a text is not a valid name of a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum NameError {
    /// Empty or only whitespace.
    #[error("RB-PERSON-1: a person has no name; give one")]
    Empty,
    /// Too long.
    #[error("RB-PERSON-2: a name of {bytes} bytes is longer than {MAX_NAME_BYTES}; shorten it")]
    TooLong {
        /// Its length in bytes, in normal form.
        bytes: usize,
    },
    /// Contains an invisible character, or one that looks like a space.
    #[error(
        "RB-PERSON-3: the name `{shown}` contains U+{code:04X}, which cannot be seen or passes for a space; write it without"
    )]
    Invisible {
        /// The name with such characters escaped.
        shown: String,
        /// The character.
        code: u32,
    },
}

/// Returns the name as it is recorded and compared: Unicode normal form C, trimmed.
pub fn name(text: &str) -> Result<String, NameError> {
    let name = normal(text);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    match name.chars().find(|c| is_invisible(*c)) {
        None => Ok(name),
        Some(found) => Err(NameError::Invisible {
            shown: shown(&name),
            code: u32::from(found),
        }),
    }
}

/// Normalizes a text of a plan or a command for comparison.
pub fn normal(text: &str) -> String {
    text.trim().nfc().collect()
}

/// True if both are the same name or item, however their accents are composed.
pub fn same(a: &str, b: &str) -> bool {
    a == b || normal(a) == normal(b)
}

/// True if the text has no visible character.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c == ' ' || is_invisible(c))
}

fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        if is_invisible(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// True for controls, format characters, fillers, selectors, private-use and non-characters, and
/// every space except U+0020.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(
            u32::from(c),
            0x00AD
                | 0x034F
                | 0x061C
                | 0x115F..=0x1160
                | 0x17B4..=0x17B5
                | 0x180B..=0x180F
                | 0x200B..=0x200F
                | 0x202A..=0x202E
                | 0x2060..=0x206F
                | 0x2800
                | 0x3164
                | 0xE000..=0xF8FF
                | 0xFDD0..=0xFDEF
                | 0xFE00..=0xFE0F
                | 0xFEFF
                | 0xFFA0
                | 0xFFF0..=0xFFFF
                | 0x13430..=0x1343F
                | 0x16FE4
                | 0x1D159
                | 0x1BCA0..=0x1BCA3
                | 0x1D173..=0x1D17A
                | 0xE0000..=0x10FFFF
        )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_normalised_to_one_spelling() {
        assert_eq!(name(" ame\u{301}lie ").unwrap(), "am\u{e9}lie");
        assert_eq!(name("Tech Lead").unwrap(), "Tech Lead");
        for kept in ["日本 太郎", "Nguyễn Thị", "أحمد", "O'Neil", "a=b:c"] {
            assert_eq!(name(kept).unwrap(), kept);
        }
        assert!(same("benoi\u{302}t", "beno\u{ee}t"));
        assert!(!same("benoit", "beno\u{ee}t"));
    }

    #[test]
    fn a_text_of_invisible_characters_is_blank() {
        for text in ["", " \n", "\u{200b}", "\u{feff} \u{2060}"] {
            assert!(is_blank(text), "{text:?}");
        }
        assert!(!is_blank("\u{200b}x"));
    }

    #[test]
    fn invisible_characters_are_refused() {
        assert_eq!(name(" \t "), Err(NameError::Empty));
        assert!(matches!(
            name(&"x".repeat(129)),
            Err(NameError::TooLong { bytes: 129 })
        ));
        for c in [
            '\u{0}',
            '\u{7f}',
            '\n',
            '\u{a0}',
            '\u{200b}',
            '\u{202e}',
            '\u{feff}',
            '\u{3164}',
            '\u{e0041}',
            '\u{e000}',
            '\u{fdd0}',
            '\u{13430}',
            '\u{16fe4}',
            '\u{1d159}',
            '\u{10ffff}',
        ] {
            let text = format!("al{c}ice");
            let error = name(&text).unwrap_err();
            assert!(matches!(error, NameError::Invisible { .. }), "{error}");
            assert!(!error.to_string().contains(c), "{error}");
        }
    }
}
