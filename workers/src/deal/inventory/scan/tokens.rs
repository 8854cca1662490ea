//! Where the tokens of a JSON text lie, found 64 bytes at a time without a branch for each byte.
//!
//! Source: G. Langdale, D. Lemire, "Parsing Gigabytes of JSON per Second", VLDB Journal 28 (2019),
//! sections 3.1.1 to 3.1.3.

use wide::u8x16;

const CHUNK: usize = 64;
const LANES: usize = 16;

/// What each byte of a chunk is, a bit for each.
#[derive(Default)]
struct Classes {
    quote: u64,
    backslash: u64,
    structural: u64,
    space: u64,
    control: u64,
}

impl Classes {
    #[inline]
    fn of(chunk: &[u8; CHUNK]) -> Self {
        let mut classes = Self::default();
        let (parts, _) = chunk.as_chunks::<LANES>();
        for (index, part) in parts.iter().enumerate() {
            let part = u8x16::new(*part);
            let is = |byte: u8| part.simd_eq(u8x16::splat(byte));
            // `[` and `{`, `]` and `}` differ in this bit only, and no other byte becomes them.
            let folded = part | u8x16::splat(0x20);
            let folds_to = |byte: u8| folded.simd_eq(u8x16::splat(byte));
            let structural = is(b':') | is(b',') | folds_to(b'{') | folds_to(b'}');
            let control = part.min(u8x16::splat(0x1f)).simd_eq(part);
            let place = |lanes: u8x16| u64::from(lanes.to_bitmask()) << (LANES * index);
            classes.quote |= place(is(b'"'));
            classes.backslash |= place(is(b'\\'));
            classes.structural |= place(structural);
            classes.space |= place(is(b' '));
            classes.control |= place(control);
        }
        classes
    }
}

/// Tokens of one chunk that are not yet taken. A value of its own, apart from [`Tokens`], so that it
/// stays in registers: each token waits for the one before it, and a way through memory would take
/// as long as all the rest.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    /// Where the chunk begins.
    base: usize,
    /// A bit for each token.
    left: u64,
}

/// The tokens of a text in their order, each by its first byte: brackets, commas and colons outside
/// of strings, both quotes of each string, and numbers and words.
pub(super) struct Tokens<'a> {
    bytes: &'a [u8],
    /// Where the next chunk begins.
    ahead: usize,
    /// All ones when the chunk before ended inside a string.
    in_string: u64,
    /// Whether the chunk before ended with a backslash that escapes the first byte of the next.
    escaped: bool,
    /// Whether the chunk before ended inside a number or word.
    in_word: bool,
    /// Whether there was any backslash so far.
    backslashes: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            ahead: 0,
            in_string: 0,
            escaped: false,
            in_word: false,
            backslashes: false,
        }
    }

    /// Whether strings taken so far may have escapes.
    #[inline(always)]
    pub(super) fn backslashes(&self) -> bool {
        self.backslashes
    }

    /// The next token: its place and its first byte. Nothing at the end, and where a control
    /// character stands that JSON does not allow there.
    #[inline(always)]
    pub(super) fn next(&mut self, cursor: &mut Cursor) -> Option<(usize, u8)> {
        let at = self.place(cursor)?;
        self.bytes.get(at).map(|byte| (at, *byte))
    }

    /// The place of the next token. Behind the opening quote of a string that is the closing one.
    #[inline(always)]
    pub(super) fn place(&mut self, cursor: &mut Cursor) -> Option<usize> {
        while cursor.left == 0 {
            *cursor = self.chunk()?;
        }
        let at = cursor.base + cursor.left.trailing_zeros() as usize;
        cursor.left &= cursor.left - 1;
        Some(at)
    }

    /// The tokens of the next chunk.
    #[inline(never)]
    fn chunk(&mut self) -> Option<Cursor> {
        let base = self.ahead;
        let rest = self.bytes.get(base..).filter(|rest| !rest.is_empty())?;
        let classes = rest.first_chunk().map_or_else(
            || {
                let mut last = [b' '; CHUNK];
                last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                Classes::of(&last)
            },
            Classes::of,
        );
        self.ahead += CHUNK;
        let quote = if classes.backslash == 0 && !self.escaped {
            classes.quote
        } else {
            classes.quote & !self.escapes(classes.backslash)
        };
        // From each opening quote to before the closing one.
        let inside = up_to_each(quote) ^ self.in_string;
        self.in_string = if inside >> (CHUNK - 1) == 0 {
            0
        } else {
            u64::MAX
        };
        if classes.control != 0 {
            self.controls(base, classes.control, inside)?;
        }
        let word = !(classes.structural | classes.space | classes.control | quote | inside);
        let words = word & !(word << 1 | u64::from(self.in_word));
        self.in_word = word >> (CHUNK - 1) != 0;
        let left = quote | (classes.structural & !inside) | words;
        Some(Cursor { base, left })
    }

    /// The bytes that a backslash stands before which is not itself escaped.
    #[cold]
    fn escapes(&mut self, mut backslash: u64) -> u64 {
        self.backslashes = true;
        let mut escaped = u64::from(self.escaped);
        self.escaped = false;
        while backslash != 0 {
            let bit = backslash & backslash.wrapping_neg();
            backslash ^= bit;
            if escaped & bit == 0 {
                escaped |= bit << 1;
                self.escaped = bit >> (CHUNK - 1) != 0;
            }
        }
        escaped
    }

    /// Allows line ends and tabs outside of strings.
    #[cold]
    fn controls(&self, base: usize, mut control: u64, inside: u64) -> Option<()> {
        if control & inside != 0 {
            return None;
        }
        while control != 0 {
            let byte = self.bytes.get(base + control.trailing_zeros() as usize)?;
            if !matches!(byte, b'\n' | b'\r' | b'\t') {
                return None;
            }
            control &= control - 1;
        }
        Some(())
    }
}

/// Each bit set that has an odd number of set bits up to and with it.
#[inline]
fn up_to_each(mut bits: u64) -> u64 {
    for distance in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << distance;
    }
    bits
}
