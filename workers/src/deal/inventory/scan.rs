//! The fast way to read an inventory array: one pass over the bytes that notes where each value
//! lies, without serde between.
//!
//! It reads what nearly every inventory is made of and gives up on the rest: what is not JSON, a
//! field that appears twice, numbers with a sign, an exponent or many digits, deep nesting. The
//! reader of `read` then decides, so that there is one judge of what is an error, and what this one
//! accepts it reads the same (a property test holds it to that). Snapshots spend most of their time
//! here, which is why it exists beside a library's parser.

mod tokens;

use std::borrow::Cow;
use std::ops::Range;

use self::tokens::{Cursor, Tokens};

use super::super::number::Quantity;
use super::raw::{Field, Item, MAX_DEPTH, Scalar, USUAL_ITEMS};

/// Digits of a whole number, more than any that is allowed has.
const MAX_WHOLE_DIGITS: usize = 15;
/// Digits up to which a decimal number survives being held as a float: what is read here as digits
/// equals what the other reader gets through one.
const MAX_DECIMAL_DIGITS: usize = 15;

/// What a value is, as far as can be told without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Missing,
    True,
    False,
    /// Digits.
    Whole,
    /// Digits, a point and digits.
    Decimal,
    /// The inside of a string, as it is.
    Text,
    /// A string with its quotes, which has escapes.
    Escaped,
    Nested,
}

/// Where a value lies: first byte, length and kind in one word, so that it is passed in a register.
#[derive(Clone, Copy, Debug, Default)]
struct Mark(u64);

/// Texts must be shorter than this many bytes for their values to be marked.
const MAX_BYTES: usize = 1 << 29;

impl Mark {
    const KINDS: [Kind; 8] = [
        Kind::Missing,
        Kind::True,
        Kind::False,
        Kind::Whole,
        Kind::Decimal,
        Kind::Text,
        Kind::Escaped,
        Kind::Nested,
    ];

    #[inline]
    fn new(kind: Kind, start: usize, end: usize) -> Self {
        Self((start as u64) << 32 | ((end - start) as u64) << 3 | kind as u64)
    }

    #[inline]
    fn kind(self) -> Kind {
        Self::KINDS[(self.0 % 8) as usize]
    }

    #[inline]
    fn range(self) -> Range<usize> {
        let start = (self.0 >> 32) as usize;
        start..start + (self.0 as u32 >> 3) as usize
    }
}

/// One for each field, and one for what no rule reads.
type Marks = [Mark; Field::UNREAD + 1];

/// One item, each value noted.
#[derive(Clone, Debug)]
pub(super) struct ScannedItem<'a> {
    text: &'a str,
    marks: Marks,
}

impl<'a> Item<'a> for ScannedItem<'a> {
    #[inline(always)]
    fn take(&mut self, field: Field) -> Scalar<'a> {
        let mark = self.marks.get(field as usize).copied().unwrap_or_default();
        // The usual kinds one by one: which it is can be foreseen for each field.
        match mark.kind() {
            Kind::Missing => Scalar::Missing,
            Kind::Text => Scalar::Text(Cow::Borrowed(self.text(mark))),
            Kind::Whole => Quantity::from_u64(whole_number(self.text, mark.range())).into(),
            _ => self.unusual(mark),
        }
    }
}

impl<'a> ScannedItem<'a> {
    #[inline(always)]
    fn text(&self, mark: Mark) -> &'a str {
        self.text.get(mark.range()).unwrap_or_default()
    }

    #[inline(never)]
    fn unusual(&self, mark: Mark) -> Scalar<'a> {
        match mark.kind() {
            Kind::True => Scalar::Bool(true),
            Kind::False => Scalar::Bool(false),
            Kind::Decimal => Quantity::from_digits(self.text(mark)).into(),
            Kind::Escaped => {
                Scalar::Text(Cow::Owned(unescaped(self.text(mark)).unwrap_or_default()))
            }
            Kind::Missing | Kind::Text | Kind::Whole | Kind::Nested => Scalar::Nested,
        }
    }
}

/// The value of digits.
#[inline(always)]
fn whole_number(text: &str, digits: Range<usize>) -> u64 {
    let bytes = text.as_bytes();
    let last = bytes.get(..digits.end).and_then(|bytes| bytes.last_chunk());
    match last {
        Some(last) if digits.len() <= last.len() => {
            let others = 8 * (last.len() - digits.len());
            eight_digits(u64::from_le_bytes(*last) >> others << others)
        }
        _ => bytes
            .get(digits)
            .unwrap_or_default()
            .iter()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0')),
    }
}

/// The value of eight digits, the first in the lowest byte, zeros counting as `0`: pairs, then
/// fours, then all are joined at once.
///
/// Source: D. Lemire, "Quickly parsing eight digits", <https://lemire.me/blog/2018/10/03/> (public
/// domain).
#[inline(always)]
fn eight_digits(word: u64) -> u64 {
    let digits = word & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (digits.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}

/// The text of a string with its quotes; nothing where an escape is none.
fn unescaped(quoted: &str) -> Option<String> {
    serde_json::from_str(quoted).ok()
}

/// Notes an array of items, or nothing where the other reader must decide.
pub(super) fn scan(json: &[u8]) -> Option<Vec<ScannedItem<'_>>> {
    if json.len() >= MAX_BYTES {
        return None;
    }
    let mut scanner = Scanner {
        text: simdutf8::basic::from_utf8(json).ok()?,
        tokens: Tokens::new(json),
    };
    scanner.inventory()
}

type Token = (usize, u8);

struct Scanner<'a> {
    text: &'a str,
    tokens: Tokens<'a>,
}

impl<'a> Scanner<'a> {
    /// Passes a comma, or the end of a list: whether there is more.
    #[inline(always)]
    fn more(&mut self, cursor: &mut Cursor, end: u8) -> Option<bool> {
        let (_, byte) = self.tokens.next(cursor)?;
        let comma = byte == b',';
        (comma || byte == end).then_some(comma)
    }

    fn inventory(&mut self) -> Option<Vec<ScannedItem<'a>>> {
        let mut items = Vec::with_capacity(USUAL_ITEMS);
        let mut cursor = Cursor::default();
        if self.tokens.next(&mut cursor)?.1 != b'[' {
            return None;
        }
        let mut token = self.tokens.next(&mut cursor)?;
        if token.1 != b']' {
            loop {
                items.push(ScannedItem {
                    text: self.text,
                    marks: [Mark::default(); Field::UNREAD + 1],
                });
                let ScannedItem { marks, .. } = items.last_mut()?;
                cursor = self.object::<true>(cursor, token, marks)?;
                if !self.more(&mut cursor, b']')? {
                    break;
                }
                token = self.tokens.next(&mut cursor)?;
            }
        }
        self.tokens.next(&mut cursor).is_none().then_some(items)
    }

    /// An item, or its `data`.
    #[inline(never)]
    fn object<const HEAD: bool>(
        &mut self,
        mut cursor: Cursor,
        first: Token,
        marks: &mut Marks,
    ) -> Option<Cursor> {
        if first.1 != b'{' {
            return None;
        }
        let mut seen = 0;
        let mut key = self.tokens.next(&mut cursor)?;
        if key.1 == b'}' {
            return Some(cursor);
        }
        loop {
            // What no rule reads is noted too, in a place of its own: whether a key is known is
            // hard to foresee, and a wrong guess costs more than the note.
            let field = self.key(&mut cursor, key)?;
            let place = if Field::is_head(field) == HEAD {
                field
            } else {
                Field::UNREAD
            };
            let bit = 1_u32 << place;
            if seen & bit & Field::READ != 0 {
                return None;
            }
            seen |= bit;
            let value = self.tokens.next(&mut cursor)?;
            if !HEAD || place != Field::Data as usize {
                *marks.get_mut(place)? = self.value(&mut cursor, value, 0)?;
            } else if value.1 == b'n' {
                self.word(value.0, "null")?;
            } else {
                cursor = self.object::<false>(cursor, value, marks)?;
            }
            if !self.more(&mut cursor, b'}')? {
                return Some(cursor);
            }
            key = self.tokens.next(&mut cursor)?;
        }
    }

    /// Passes a key from its opening quote on, and its colon: the place of its field.
    #[inline(always)]
    fn key(&mut self, cursor: &mut Cursor, (quote, byte): Token) -> Option<usize> {
        if byte != b'"' {
            return None;
        }
        let start = quote + 1;
        let end = self.tokens.place(cursor)?;
        if self.tokens.next(cursor)?.1 != b':' {
            return None;
        }
        let rest = self.text.as_bytes().get(start..)?;
        match rest.first_chunk() {
            Some(bytes) if end - start <= bytes.len() && !self.tokens.backslashes() => {
                Some(Field::place_of_short(*bytes, end - start))
            }
            _ => self.unusual_key(start, end),
        }
    }

    /// The same for a long key, or one that may have escapes.
    #[inline(never)]
    fn unusual_key(&self, start: usize, end: usize) -> Option<usize> {
        if self.escaped(start, end) {
            let key = unescaped(self.text.get(start - 1..=end)?)?;
            return Some(Field::place_of(&key));
        }
        Some(Field::place_of(self.text.get(start..end)?))
    }

    /// Whether a string has escapes.
    #[inline(always)]
    fn escaped(&self, start: usize, end: usize) -> bool {
        let has = |text: &[u8]| text.contains(&b'\\');
        self.tokens.backslashes() && self.text.as_bytes().get(start..end).is_some_and(has)
    }

    /// Passes a value of any kind, so many levels below a field.
    #[inline(always)]
    fn value(&mut self, cursor: &mut Cursor, (start, byte): Token, depth: usize) -> Option<Mark> {
        let (kind, end) = match byte {
            b'"' => {
                let end = self.tokens.place(cursor)?;
                if !self.escaped(start, end) {
                    return Some(Mark::new(Kind::Text, start + 1, end));
                }
                unescaped(self.text.get(start..=end)?)?;
                (Kind::Escaped, end + 1)
            }
            b'0'..=b'9' => self.number(start)?,
            b't' => (Kind::True, self.word(start, "true")?),
            b'f' => (Kind::False, self.word(start, "false")?),
            b'n' => {
                self.word(start, "null")?;
                return Some(Mark::default());
            }
            b'[' | b'{' if depth < MAX_DEPTH => {
                *cursor = self.nested(*cursor, byte, depth)?;
                (Kind::Nested, start)
            }
            _ => return None,
        };
        Some(Mark::new(kind, start, end))
    }

    /// The rest of a list, behind its opening bracket.
    #[inline(never)]
    fn nested(&mut self, mut cursor: Cursor, open: u8, depth: usize) -> Option<Cursor> {
        let end = if open == b'[' { b']' } else { b'}' };
        let mut token = self.tokens.next(&mut cursor)?;
        if token.1 == end {
            return Some(cursor);
        }
        loop {
            if open == b'{' {
                self.key(&mut cursor, token)?;
                token = self.tokens.next(&mut cursor)?;
            }
            self.value(&mut cursor, token, depth + 1)?;
            if !self.more(&mut cursor, end)? {
                return Some(cursor);
            }
            token = self.tokens.next(&mut cursor)?;
        }
    }

    /// Whether a number or word ends before a place.
    #[inline]
    fn ends(&self, at: usize) -> bool {
        // Between two brackets there is no place for anything else.
        let next = self.text.as_bytes().get(at);
        next.is_some_and(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
    }

    #[inline]
    fn word(&self, start: usize, word: &str) -> Option<usize> {
        let found = self
            .text
            .as_bytes()
            .get(start..)?
            .starts_with(word.as_bytes());
        let end = start + word.len();
        (found && self.ends(end)).then_some(end)
    }

    /// The kind of a number, and where it ends.
    #[inline]
    fn number(&self, start: usize) -> Option<(Kind, usize)> {
        let rest = self.text.as_bytes().get(start..)?;
        let whole = digits(rest);
        if whole > MAX_WHOLE_DIGITS || (whole > 1 && rest.first() == Some(&b'0')) {
            return None;
        }
        if rest.get(whole) != Some(&b'.') {
            let end = start + whole;
            return self.ends(end).then_some((Kind::Whole, end));
        }
        let fraction = digits(rest.get(whole + 1..)?);
        let end = start + whole + 1 + fraction;
        let plain = fraction > 0 && whole + fraction <= MAX_DECIMAL_DIGITS && self.ends(end);
        plain.then_some((Kind::Decimal, end))
    }
}

/// How many digits come first, 16 for more. Few lengths are foreseen, so that all bytes are looked
/// at together: the high bit is set of each byte that is above `9` or, from the lowest on, below
/// `0`.
#[inline]
fn digits(bytes: &[u8]) -> usize {
    const ONES: u128 = u128::MAX / 0xff;
    let Some(word) = bytes.first_chunk().map(|word| u128::from_le_bytes(*word)) else {
        return bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
    };
    let above = (word & (ONES * 0x7f)).wrapping_add(ONES * (0x7f - b'9' as u128)) | word;
    let below = word.wrapping_sub(ONES * b'0' as u128);
    (((above | below) & (ONES << 7)).trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests;
