//! Decodes Parquet pages into flat buffers. Pure: bytes in, values out.
//!
//! Parts are written only with the encodings handled here, so these few functions read them at
//! memory speed; a page with any other encoding is refused by name.

use ::parquet::basic::Encoding;
use ::parquet::column::page::Page;
use ::parquet::errors::ParquetError;
use bytes::Bytes;

/// The largest width of a dictionary index, in bits.
const MAX_INDEX_BITS: u8 = 32;

fn broken(reason: &str) -> ParquetError {
    ParquetError::General(reason.to_owned())
}

/// The values of one data page, separate from its levels.
#[derive(Debug)]
pub(super) struct DataPage {
    /// The encoded values.
    pub(super) values: Bytes,
    /// Definition levels, RLE of one bit; empty for a required column.
    pub(super) levels: Bytes,
    /// Number of rows, nulls included.
    pub(super) rows: usize,
    /// Number of nulls, if the page says.
    pub(super) nulls: Option<usize>,
    /// Whether the values are indices into the column's dictionary.
    pub(super) indices: bool,
}

impl DataPage {
    /// Splits a data page. `optional` says that the column may hold nulls.
    pub(super) fn of(page: Page, optional: bool) -> Result<Self, ParquetError> {
        let (buf, encoding, rows, nulls, levels_end) = match page {
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                ..
            } => {
                let end = if optional {
                    if def_level_encoding != Encoding::RLE {
                        let reason = format!("it has levels encoded as {def_level_encoding}");
                        return Err(broken(&reason));
                    }
                    let length = u32_at(&buf, 0).ok_or_else(|| broken("levels are cut"))?;
                    Some((4, 4 + length as usize))
                } else {
                    None
                };
                (buf, encoding, num_values, None, end)
            }
            Page::DataPageV2 {
                buf,
                num_values,
                num_nulls,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let start = rep_levels_byte_len as usize;
                let end = start.saturating_add(def_levels_byte_len as usize);
                let levels = Some((start, end));
                (buf, encoding, num_values, Some(num_nulls as usize), levels)
            }
            Page::DictionaryPage { .. } => return Err(broken("a dictionary stands among data")),
        };
        let indices = match encoding {
            Encoding::PLAIN => false,
            Encoding::RLE_DICTIONARY => true,
            other => return Err(broken(&format!("it has a page encoded as {other}"))),
        };
        let (levels, values) = match levels_end {
            None => (Bytes::new(), buf),
            Some((start, end)) => {
                if start > end || end > buf.len() {
                    return Err(broken("levels are cut"));
                }
                (buf.slice(start..end), buf.slice(end..))
            }
        };
        Ok(Self {
            values,
            levels,
            rows: rows as usize,
            nulls,
            indices,
        })
    }

    /// Checks the number of values and nulls that were found in the page.
    pub(super) fn check(&self, values: usize, nulls: usize) -> Result<(), ParquetError> {
        let stated = self.nulls.is_none_or(|stated| stated == nulls);
        if stated && values.checked_add(nulls) == Some(self.rows) {
            return Ok(());
        }
        Err(broken("a value is missing"))
    }

    /// Appends 1 for every row of the page that has a value and 0 for every null.
    pub(super) fn present(&self, into: &mut Vec<u32>) -> Result<(), ParquetError> {
        rle(&self.levels, 1, self.rows, into)
    }

    /// Appends the dictionary indices of the page.
    pub(super) fn indices(&self, into: &mut Vec<u32>) -> Result<(), ParquetError> {
        let (bits, rest) = self
            .values
            .split_first()
            .ok_or_else(|| broken("indices are cut"))?;
        if *bits > MAX_INDEX_BITS {
            return Err(broken("a dictionary index is too wide"));
        }
        rle(rest, *bits, self.rows, into)
    }
}

/// The position of a text in its pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    page: u32,
    start: u32,
    end: u32,
}

/// Texts that stay in the buffers they were decompressed into.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    pages: Vec<Bytes>,
    spans: Vec<Span>,
}

impl Texts {
    pub(super) fn clear(&mut self) {
        self.pages.clear();
        self.spans.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Appends the texts of a page; each is prefixed with its length.
    pub(super) fn push_page(&mut self, bytes: &Bytes) -> Result<(), ParquetError> {
        let page = u32::try_from(self.pages.len()).map_err(|_| broken("too many pages"))?;
        let mut at = 0usize;
        while let Some(length) = u32_at(bytes, at) {
            let start = at + 4;
            let end = start.saturating_add(length as usize);
            if end > bytes.len() {
                return Err(broken("a text is cut"));
            }
            let narrow = |n: usize| u32::try_from(n).map_err(|_| broken("a page is too large"));
            self.spans.push(Span {
                page,
                start: narrow(start)?,
                end: narrow(end)?,
            });
            at = end;
        }
        if at != bytes.len() {
            return Err(broken("a text is cut"));
        }
        self.pages.push(bytes.clone());
        Ok(())
    }

    /// The bytes of a text; empty past the end.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        self.spans.get(index).map_or(&[], |span| self.at(*span))
    }

    fn at(&self, span: Span) -> &[u8] {
        self.pages
            .get(span.page as usize)
            .and_then(|page| page.get(span.start as usize..span.end as usize))
            .unwrap_or_default()
    }
}

/// Appends 64-bit integers.
pub(super) fn integers(bytes: &[u8], into: &mut Vec<i64>) -> Result<(), ParquetError> {
    let (whole, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(broken("a figure is cut"));
    }
    into.extend(whole.iter().map(|bytes| i64::from_le_bytes(*bytes)));
    Ok(())
}

/// Appends `count` values of the RLE and bit-packing hybrid.
fn rle(mut bytes: &[u8], bits: u8, count: usize, into: &mut Vec<u32>) -> Result<(), ParquetError> {
    let wanted = into.len().saturating_add(count);
    let value_bytes = usize::from(bits).div_ceil(8);
    while into.len() < wanted {
        let header = varint(&mut bytes).ok_or_else(|| broken("a run is cut"))?;
        let left = wanted - into.len();
        if header & 1 == 0 {
            let run = usize::try_from(header >> 1).unwrap_or(usize::MAX).min(left);
            let value = bytes
                .split_off(..value_bytes)
                .ok_or_else(|| broken("a run is cut"))?;
            if run == 0 {
                return Err(broken("a run is empty"));
            }
            into.resize(into.len() + run, little_endian(value));
        } else {
            let groups = usize::try_from(header >> 1).unwrap_or(usize::MAX);
            let packed_bytes = groups.saturating_mul(usize::from(bits));
            // The last run may be cut off after the values that are needed.
            let available = packed_bytes.min(bytes.len());
            let packed = bytes
                .split_off(..available)
                .ok_or_else(|| broken("a run is cut"))?;
            let run = groups.saturating_mul(8).min(left);
            if run == 0 || packed.len().saturating_mul(8) < run.saturating_mul(usize::from(bits)) {
                return Err(broken("a run is cut"));
            }
            unpack(packed, bits, run, into);
        }
    }
    Ok(())
}

fn unpack(packed: &[u8], bits: u8, count: usize, into: &mut Vec<u32>) {
    let mask = (1u64 << bits) - 1;
    let (mut held, mut held_bits) = (0u64, 0u8);
    let mut next = packed.iter();
    for _ in 0..count {
        while held_bits < bits {
            held |= u64::from(next.next().copied().unwrap_or_default()) << held_bits;
            held_bits += 8;
        }
        #[allow(clippy::cast_possible_truncation)] // Masked to at most 32 bits.
        into.push((held & mask) as u32);
        held >>= bits;
        held_bits -= bits;
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn little_endian(bytes: &[u8]) -> u32 {
    let fold = |value, byte: &u8| (value << 8) | u32::from(*byte);
    bytes.iter().rev().fold(0, fold)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let (four, _) = bytes.get(at..)?.split_first_chunk::<4>()?;
    Some(u32::from_le_bytes(*four))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn runs_and_packed_values_are_read() {
        let mut values = Vec::new();
        // A run of 3 × 5, then one group of eight 3-bit values 0 to 7.
        let bytes = [0b110, 5, 0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        rle(&bytes, 3, 11, &mut values).unwrap();
        assert_eq!(values, [5, 5, 5, 0, 1, 2, 3, 4, 5, 6, 7]);
        values.clear();
        // With zero bits the only value is 0, but a run still gives the count.
        rle(&[0b1000], 0, 4, &mut values).unwrap();
        assert_eq!(values, [0; 4]);
    }

    #[test]
    fn cut_and_empty_runs_are_refused() {
        for bytes in [
            &[][..],
            &[0b110],
            &[0b11, 1],
            &[0, 1, 0, 1],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
        ] {
            assert!(rle(bytes, 3, 8, &mut Vec::new()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn cut_texts_and_figures_are_refused() {
        let mut texts = Texts::default();
        texts
            .push_page(&Bytes::from_static(b"\x01\0\0\0a\x02\0\0\0bc"))
            .unwrap();
        assert_eq!((texts.len(), texts.get(1)), (2, &b"bc"[..]));
        assert_eq!(texts.get(2), b"");
        for cut in [&b"\x02\0\0\0a"[..], b"\x01\0\0", b"\xff\xff\xff\xffa"] {
            assert!(
                Texts::default()
                    .push_page(&Bytes::copy_from_slice(cut))
                    .is_err()
            );
        }
        assert!(integers(&[0; 9], &mut Vec::new()).is_err());
    }
}
