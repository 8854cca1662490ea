//! The fast reader of an inventory array: one pass over the bytes records where each value lies,
//! without serde.
//!
//! It handles what nearly every inventory consists of and gives up on the rest: invalid JSON, a
//! field that appears twice, deep nesting. The reader in `plain` then decides, so that only one
//! reader defines what is an error. What this one accepts it reads in the same way, as a property
//! test checks. Snapshots spend most of their time here, which justifies it beside a library's
//! parser.

mod windows;

use std::borrow::Cow;
use std::ops::Range;

use self::windows::Ahead;
use super::super::number::Quantity;
use super::raw::{Field, FieldValue, Item, KEY_BYTES, MAX_DEPTH, Scalar, USUAL_ITEMS};

/// Maximum digits of a whole number, more than any allowed number has.
const MAX_WHOLE_DIGITS: usize = 15;
/// Maximum digits of a usual decimal number.
const MAX_DECIMAL_DIGITS: usize = 15;

/// The kind of a value, as far as it can be told without parsing it.
#[derive(Clone, Copy)]
enum Kind {
    Null = 1,
    True,
    False,
    /// Digits only.
    Whole,
    /// Digits, a point and digits.
    Decimal,
    /// Any other number: with a sign, an exponent or many digits.
    Number,
    /// The inside of a string without escapes.
    Text,
    /// A string with escapes, including its quotes.
    Escaped,
    Nested,
}

/// Where a value lies: first byte, length and kind in one word, so that it is passed in a register.
/// Zero means no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark(u64);

/// Inputs must be shorter than this many bytes for their values to be marked.
const MAX_BYTES: usize = 1 << 28;

impl Mark {
    #[inline(always)]
    fn new(kind: Kind, start: usize, end: usize) -> Self {
        Self((start as u64) << 32 | ((end - start) as u64) << 4 | kind as u64)
    }

    #[inline(always)]
    fn is(self, kind: Kind) -> bool {
        self.0 % 16 == kind as u64
    }

    #[inline(always)]
    fn range(self) -> Range<usize> {
        let start = (self.0 >> 32) as usize;
        start..start + (self.0 as u32 >> 4) as usize
    }
}

/// A mark for each field, and one for everything that no rule reads.
type Marks = [Mark; Field::UNREAD + 1];

/// The items of an inventory, with the position of each value.
#[derive(Debug)]
pub(super) struct Scanned<'a> {
    text: &'a str,
    items: Vec<Marks>,
}

impl<'a> Scanned<'a> {
    /// The items in stored order.
    pub(super) fn items(&self) -> impl ExactSizeIterator<Item = ScannedItem<'_, 'a>> {
        let text = self.text;
        self.items
            .iter()
            .map(move |marks| ScannedItem { text, marks })
    }
}

/// One item, with the position of each value.
#[derive(Debug)]
pub(super) struct ScannedItem<'s, 'a> {
    text: &'a str,
    marks: &'s Marks,
}

impl<'a> Item<'a> for ScannedItem<'_, 'a> {
    #[inline(always)]
    fn usual(&self, field: Field) -> FieldValue<'a> {
        let mark = self.mark(field);
        // One comparison per kind, because the kind of each field is well predicted.
        if mark.is(Kind::Text) {
            FieldValue::Text(self.text(mark))
        } else if mark == Mark::default() {
            FieldValue::Missing
        } else if mark.is(Kind::Whole) {
            FieldValue::Whole(whole_number(self.text, mark.range()))
        } else if mark.is(Kind::True) || mark.is(Kind::False) {
            FieldValue::Bool(mark.is(Kind::True))
        } else {
            FieldValue::Other
        }
    }

    fn take(&mut self, field: Field) -> Scalar<'a> {
        let mark = self.mark(field);
        match self.usual(field) {
            FieldValue::Missing => Scalar::Missing,
            FieldValue::Bool(value) => Scalar::Bool(value),
            FieldValue::Whole(value) => Quantity::from_u64(value).into(),
            FieldValue::Text(text) => Scalar::Text(Cow::Borrowed(text)),
            FieldValue::Other if mark.is(Kind::Decimal) => {
                Quantity::from_digits(self.text(mark)).into()
            }
            FieldValue::Other if mark.is(Kind::Number) => {
                Quantity::from_text(self.text(mark)).into()
            }
            FieldValue::Other if mark.is(Kind::Escaped) => {
                Scalar::Text(Cow::Owned(unescaped(self.text(mark)).unwrap_or_default()))
            }
            FieldValue::Other if mark.is(Kind::Null) => Scalar::Missing,
            FieldValue::Other => Scalar::Nested,
        }
    }
}

impl<'a> ScannedItem<'_, 'a> {
    #[inline(always)]
    fn mark(&self, field: Field) -> Mark {
        self.marks.get(field as usize).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn text(&self, mark: Mark) -> &'a str {
        self.text.get(mark.range()).unwrap_or_default()
    }
}

/// The number that digits represent.
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

/// The number that eight digits represent, the first in the lowest byte; zero bytes count as `0`.
/// Digits are combined into pairs, then into fours, then into the whole.
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

/// The text of a quoted string; `None` if an escape is invalid.
fn unescaped(quoted: &str) -> Option<String> {
    serde_json::from_str(quoted).ok()
}

/// Scans an array of items; `None` where the plain reader must decide.
pub(super) fn scan(json: &[u8]) -> Option<Scanned<'_>> {
    if json.len() >= MAX_BYTES {
        return None;
    }
    let text = simdutf8::basic::from_utf8(json).ok()?;
    let items = if windows::is_plain(json) {
        Scanner::<true> { text }.inventory()?
    } else {
        Scanner::<false> { text }.inventory()?
    };
    Some(Scanned { text, items })
}

/// Scans a text from left to right. Each step takes the position where it begins and returns where
/// it ends, so that the position stays in a register. A `PLAIN` text has no escapes, line ends or
/// tabs.
struct Scanner<'a, const PLAIN: bool> {
    text: &'a str,
}

/// A byte that is not white space, with its position.
type Token = (usize, u8);

impl<'a, const PLAIN: bool> Scanner<'a, PLAIN> {
    #[inline(always)]
    fn rest(&self, at: usize) -> Option<&'a [u8]> {
        self.text.as_bytes().get(at..)
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The next token at or after a position.
    #[inline(always)]
    fn token(&self, at: usize) -> Option<Token> {
        let byte = self.byte(at)?;
        if byte > b' ' {
            return Some((at, byte));
        }
        // JSON printed by the database has one space after each comma and colon.
        match self.byte(at + 1) {
            Some(next) if byte == b' ' && next > b' ' => Some((at + 1, next)),
            _ => self.behind_space(at),
        }
    }

    #[inline(never)]
    fn behind_space(&self, at: usize) -> Option<Token> {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        let rest = self.rest(at)?;
        let spaces = rest.iter().take_while(|byte| is_space(byte)).count();
        Some((at + spaces, *rest.get(spaces)?))
    }

    /// Skips a token that must be this byte.
    #[inline(always)]
    fn pass(&self, at: usize, byte: u8) -> Option<usize> {
        if self.byte(at)? == byte {
            return Some(at + 1);
        }
        let (at, found) = self.token(at)?;
        (found == byte).then_some(at + 1)
    }

    fn inventory(&self) -> Option<Vec<Marks>> {
        let mut items = Vec::with_capacity(USUAL_ITEMS);
        let (open, byte) = self.token(0)?;
        if byte != b'[' {
            return None;
        }
        let mut at = open + 1;
        let (first, byte) = self.token(at)?;
        if byte == b']' {
            at = first + 1;
        } else {
            loop {
                items.push([Mark::default(); Field::UNREAD + 1]);
                let item = self.token(at)?;
                let end = self.object::<true>(item, items.last_mut()?)?;
                match self.pass(end, b',') {
                    Some(next) => at = next,
                    None => {
                        at = self.pass(end, b']')?;
                        break;
                    }
                }
            }
        }
        self.behind_space(at).is_none().then_some(items)
    }

    /// Scans an item, or its `data`, and returns where it ends.
    #[inline(never)]
    fn object<const ITEM: bool>(&self, (open, byte): Token, marks: &mut Marks) -> Option<usize> {
        if byte != b'{' {
            return None;
        }
        let mut at = open + 1;
        if let (end, b'}') = self.token(at)? {
            return Some(end + 1);
        }
        loop {
            // Values that no rule reads are recorded too, at an index of their own: whether a key
            // is known is hard to predict, and a misprediction costs more than the write.
            let (place, value, ahead) = self.key::<ITEM>(at)?;
            let mark = marks.get_mut(place)?;
            if *mark != Mark::default() && place != Field::UNREAD {
                return None;
            }
            let end = if !ITEM || place != Field::Data as usize {
                let end;
                (*mark, end) = self.value(value, ahead, 0)?;
                end
            } else {
                // The fields of `data` are recorded; of `data` itself only that it was present.
                *mark = Mark::new(Kind::Null, value.0, value.0);
                match value.1 {
                    b'n' => self.word(value.0, "null")?,
                    _ => self.object::<false>(value, marks)?,
                }
            };
            match self.pass(end, b',') {
                Some(next) => at = next,
                None => return self.pass(end, b'}'),
            }
        }
    }

    /// Scans a key and its colon; returns the index of its field, the first token of the value and
    /// the quotes ahead of it.
    #[inline(always)]
    fn key<const ITEM: bool>(&self, at: usize) -> Option<(usize, Token, Ahead)> {
        let quote = self.pass(at, b'"')? - 1;
        let mut ahead = Ahead::default();
        let near = self.rest(quote)?.first_chunk();
        let (place, end) = match near.filter(|_| PLAIN) {
            Some(near) => {
                ahead = Ahead::of(near, quote);
                let [_, key @ ..] = near;
                match (ahead.pass(), key.first_chunk()) {
                    (Some(end), Some(key)) => (Field::place_of::<ITEM>(key, end - quote - 1), end),
                    _ => self.unusual_key::<ITEM>(quote)?,
                }
            }
            None => self.unusual_key::<ITEM>(quote)?,
        };
        let behind = self.pass(end + 1, b':')?;
        Some((place, self.token(behind)?, ahead))
    }

    /// Handles a key that is long, has escapes or lies near the end; returns its index and where it
    /// ends.
    #[inline(never)]
    fn unusual_key<const ITEM: bool>(&self, quote: usize) -> Option<(usize, usize)> {
        let (end, escaped) = self.end_of_text(quote + 1, &mut Ahead::default())?;
        let place = if escaped {
            let key = unescaped(self.text.get(quote..=end)?)?;
            Field::of::<ITEM>(&key).map_or(Field::UNREAD, |field| field as usize)
        } else {
            let mut bytes = [0; KEY_BYTES];
            let rest = self.rest(quote + 1)?;
            bytes
                .iter_mut()
                .zip(rest)
                .for_each(|(to, from)| *to = *from);
            Field::place_of::<ITEM>(&bytes, end - quote - 1)
        };
        Some((place, end))
    }

    /// Starting after the opening quote, finds the closing quote of a string and whether it has
    /// escapes.
    #[inline(always)]
    fn end_of_text(&self, start: usize, ahead: &mut Ahead) -> Option<(usize, bool)> {
        if PLAIN {
            let end = ahead
                .pass()
                .or_else(|| windows::quote(self.text.as_bytes(), start));
            return Some((end?, false));
        }
        let (mut at, mut escaped) = (start, false);
        loop {
            at = windows::special(self.text.as_bytes(), at)?;
            match self.byte(at)? {
                b'"' => return Some((at, escaped)),
                b'\\' => (at, escaped) = (at + 2, true),
                _ => return None,
            }
        }
    }

    /// Scans a value of any kind at a nesting level below a field; returns its mark and where it
    /// ends.
    #[inline(always)]
    fn value(&self, (start, byte): Token, mut ahead: Ahead, depth: usize) -> Option<(Mark, usize)> {
        // Most values are texts, so these are checked first.
        if byte == b'"' {
            ahead.pass();
            let (end, escaped) = self.end_of_text(start + 1, &mut ahead)?;
            if !escaped {
                return Some((Mark::new(Kind::Text, start + 1, end), end + 1));
            }
            unescaped(self.text.get(start..=end)?)?;
            return Some((Mark::new(Kind::Escaped, start, end + 1), end + 1));
        }
        let (kind, end) = match byte {
            b'0'..=b'9' | b'-' => self.number(start)?,
            b't' => (Kind::True, self.word(start, "true")?),
            b'f' => (Kind::False, self.word(start, "false")?),
            b'n' => (Kind::Null, self.word(start, "null")?),
            b'[' | b'{' if depth < MAX_DEPTH => {
                let end = self.nested((start, byte), depth)?;
                return Some((Mark::new(Kind::Nested, start, start), end));
            }
            _ => return None,
        };
        Some((Mark::new(kind, start, end), end))
    }

    /// Skips an array or object and returns where it ends.
    #[inline(never)]
    fn nested(&self, (open, byte): Token, depth: usize) -> Option<usize> {
        let is_list = byte == b'[';
        let end = if is_list { b']' } else { b'}' };
        let mut at = open + 1;
        let (first, byte) = self.token(at)?;
        if byte == end {
            return Some(first + 1);
        }
        loop {
            let (value, ahead) = if is_list {
                (self.token(at)?, Ahead::default())
            } else {
                let (_, value, ahead) = self.key::<false>(at)?;
                (value, ahead)
            };
            let (_, behind) = self.value(value, ahead, depth + 1)?;
            match self.pass(behind, b',') {
                Some(next) => at = next,
                None => return self.pass(behind, end),
            }
        }
    }

    /// Returns where a literal word ends. The caller checks that a token of its own follows.
    #[inline]
    fn word(&self, start: usize, word: &str) -> Option<usize> {
        let found = self.rest(start)?.starts_with(word.as_bytes());
        found.then_some(start + word.len())
    }

    /// The kind of a number, and where it ends.
    #[inline(always)]
    fn number(&self, start: usize) -> Option<(Kind, usize)> {
        let rest = self.rest(start)?;
        let whole = digits(rest);
        let is_usual =
            (1..=MAX_WHOLE_DIGITS).contains(&whole) && (whole == 1 || rest.first() != Some(&b'0'));
        match rest.get(whole) {
            _ if !is_usual => self.unusual_number(start),
            Some(b'.') => {
                let fraction = digits(rest.get(whole + 1..)?);
                let end = whole + 1 + fraction;
                let plain = fraction > 0 && whole + fraction <= MAX_DECIMAL_DIGITS;
                match rest.get(end) {
                    Some(b'e' | b'E') => self.unusual_number(start),
                    _ if plain => Some((Kind::Decimal, start + end)),
                    _ => self.unusual_number(start),
                }
            }
            Some(b'e' | b'E') => self.unusual_number(start),
            _ => Some((Kind::Whole, start + whole)),
        }
    }

    /// Scans a number with a sign, an exponent or many digits, and returns where it ends.
    #[inline(never)]
    fn unusual_number(&self, start: usize) -> Option<(Kind, usize)> {
        let some_digits = |at: usize| {
            let count = digits(self.rest(at)?);
            (count > 0).then_some(at + count)
        };
        let first = start + usize::from(self.byte(start)? == b'-');
        let mut end = some_digits(first)?;
        if self.byte(first) == Some(b'0') && end > first + 1 {
            return None;
        }
        if self.byte(end) == Some(b'.') {
            end = some_digits(end + 1)?;
        }
        if let Some(b'e' | b'E') = self.byte(end) {
            let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            end = some_digits(end + 1 + sign)?;
        }
        Some((Kind::Number, end))
    }
}

/// The number of leading digits.
#[inline(always)]
fn digits(bytes: &[u8]) -> usize {
    let counted = |bytes: &[u8]| bytes.iter().take_while(|it| it.is_ascii_digit()).count();
    let Some(word) = bytes.first_chunk().map(|word| u64::from_le_bytes(*word)) else {
        return counted(bytes);
    };
    // Lengths are hard to predict, so eight bytes are tested together: the high bit is set of every
    // byte above `9` and, from the lowest such byte on, below `0`.
    const ONES: u64 = u64::MAX / 0xff;
    let above = (word & (ONES * 0x7f)).wrapping_add(ONES * (0x7f - b'9' as u64)) | word;
    let below = word.wrapping_sub(ONES * b'0' as u64);
    match (above | below) & (ONES << 7) {
        0 => counted(bytes),
        others => (others.trailing_zeros() / 8) as usize,
    }
}

#[cfg(test)]
mod tests;
