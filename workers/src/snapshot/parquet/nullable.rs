//! One nullable text column of a row group. Pure: pages in, texts out.

use ::parquet::errors::ParquetError;

use super::decode::{DataPage, Texts};

/// The entry in [`NullableTexts::places`] for NULL.
const NULL: u32 = u32::MAX;

/// The texts of a column by row; they stay in the buffers they were decompressed into.
#[derive(Debug, Default)]
pub(super) struct NullableTexts {
    texts: Texts,
    /// For each row, the index of its text.
    places: Vec<u32>,
}

impl NullableTexts {
    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.places.clear();
    }

    /// Appends the rows of a page.
    pub(super) fn push_page(&mut self, page: &DataPage) -> Result<(), ParquetError> {
        let rows = self.places.len();
        let first = self.texts.len();
        let mut place = u32::try_from(first).unwrap_or(NULL);
        page.present(&mut self.places)?;
        for level in self.places.iter_mut().skip(rows) {
            if *level == 1 {
                *level = place;
                place = place.saturating_add(1);
            } else {
                *level = NULL;
            }
        }
        self.texts.push_page(&page.values)?;
        if self.texts.len() != place as usize {
            return Err(ParquetError::General("a text is missing".to_owned()));
        }
        let found = self.texts.len() - first;
        page.check(found, page.rows.saturating_sub(found))
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The bytes of a row's text; `None` for NULL and past the last row.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        let place = *self.places.get(row).filter(|place| **place != NULL)?;
        Some(self.texts.get(place as usize))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;

    use super::*;

    fn page(levels: &'static [u8], values: &'static [u8], rows: usize) -> DataPage {
        DataPage {
            values: Bytes::from_static(values),
            levels: Bytes::from_static(levels),
            rows,
            nulls: None,
            indices: false,
        }
    }

    #[test]
    fn pages_follow_each_other_and_nulls_take_no_text() {
        let mut texts = NullableTexts::default();
        // Packed levels 1, 0, 1; then a run of two NULLs; then an empty text.
        let first = page(&[0b11, 0b101], b"\x01\0\0\0a\x02\0\0\0bc", 3);
        texts.push_page(&first).unwrap();
        texts.push_page(&page(&[0b100, 0], b"", 2)).unwrap();
        texts.push_page(&page(&[0b10, 1], b"\0\0\0\0", 1)).unwrap();
        let found: Vec<_> = (0..texts.len() + 1).map(|row| texts.get(row)).collect();
        let expected: [Option<&[u8]>; 7] =
            [Some(b"a"), None, Some(b"bc"), None, None, Some(b""), None];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_text_too_few_or_too_many_is_refused() {
        for values in [&b""[..], b"\0\0\0\0\0\0\0\0"] {
            let page = page(&[0b10, 1], values, 1);
            assert!(NullableTexts::default().push_page(&page).is_err());
        }
    }
}
