//! Tests several bytes of a text at once.

use wide::u8x16;

const LANES: usize = 16;
/// The number of bytes within which most strings end.
const WINDOW: usize = 2 * LANES;

/// The lanes of a window for which a test holds, one bit each.
#[inline(always)]
fn lanes(window: &[u8; WINDOW], holds: impl Fn(u8x16) -> u8x16) -> u32 {
    let (parts, _) = window.as_chunks::<LANES>();
    let mut bits = 0;
    for (index, part) in parts.iter().enumerate() {
        bits |= holds(u8x16::new(*part)).to_bitmask() << (LANES * index);
    }
    bits
}

#[inline(always)]
fn is_quote(bytes: u8x16) -> u8x16 {
    bytes.simd_eq(u8x16::splat(b'"'))
}

/// Whether bytes are ones that no plain text contains.
#[inline(always)]
fn is_odd(bytes: u8x16) -> u8x16 {
    bytes.simd_eq(u8x16::splat(b'\\')) | bytes.min(u8x16::splat(0x1f)).simd_eq(bytes)
}

/// Whether a text has no backslash and no control character.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let (windows, rest) = text.as_chunks::<WINDOW>();
    let mut odd = u8x16::splat(0);
    for window in windows {
        let (parts, _) = window.as_chunks::<LANES>();
        for part in parts {
            odd |= is_odd(u8x16::new(*part));
        }
    }
    odd.to_bitmask() == 0 && !rest.iter().any(|byte| *byte == b'\\' || *byte < b' ')
}

/// The number of bytes tested together.
pub(super) const NEAR: usize = 4 * LANES;

/// The known quotes ahead of a position.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead {
    from: usize,
    /// One bit for each byte from that position on.
    left: u64,
}

impl Ahead {
    /// The quotes among the bytes at a position, without the first byte.
    #[inline(always)]
    pub(super) fn of(near: &[u8; NEAR], from: usize) -> Self {
        let (parts, _) = near.as_chunks::<LANES>();
        let mut left = 0;
        for (index, part) in parts.iter().enumerate() {
            let quotes = is_quote(u8x16::new(*part)).to_bitmask();
            left |= u64::from(quotes) << (LANES * index);
        }
        Self {
            from,
            left: left & !1,
        }
    }

    /// Takes the position of the next quote; `None` when no further one is known.
    #[inline(always)]
    pub(super) fn pass(&mut self) -> Option<usize> {
        let next = self.left;
        if next == 0 {
            return None;
        }
        self.left &= next - 1;
        Some(self.from + next.trailing_zeros() as usize)
    }
}

/// The position of the next quote.
#[inline(always)]
pub(super) fn quote(text: &[u8], from: usize) -> Option<usize> {
    if let Some(window) = text.get(from..)?.first_chunk() {
        let found = lanes(window, is_quote);
        if found != 0 {
            return Some(from + found.trailing_zeros() as usize);
        }
    }
    far(text, from, is_quote)
}

/// The position of the next quote, backslash or control character.
#[inline]
pub(super) fn special(text: &[u8], from: usize) -> Option<usize> {
    far(text, from, |bytes| is_quote(bytes) | is_odd(bytes))
}

#[inline(never)]
fn far(text: &[u8], from: usize, holds: impl Fn(u8x16) -> u8x16) -> Option<usize> {
    let (windows, rest) = text.get(from..)?.as_chunks::<WINDOW>();
    let mut at = from;
    for window in windows {
        let found = lanes(window, &holds);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += WINDOW;
    }
    let mut last = [b' '; WINDOW];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let found = lanes(&last, &holds);
    (found != 0).then(|| at + found.trailing_zeros() as usize)
}
