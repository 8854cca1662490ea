//! Rows on their way from pages to parts: bytes one behind the other, read without copying.
//!
//! A row is the length of what follows (four bytes), its digest, the number of its figures (two
//! bytes) and the figures (eight bytes each), all little-endian, then its texts in postcard's
//! encoding. Figures have a fixed size because most of a row is figures and both ways lead through
//! here for every deal.

use postcard::Error;

use super::row::{Row, RowFields};

const LENGTH_BYTES: usize = size_of::<u32>();

/// What a row says besides figures: deal id, type, texts, error.
type Texts<'a> = (&'a str, &'a str, Vec<Option<&'a str>>, Option<&'a str>);

/// Digest, figures and encoded texts in the bytes of a row.
type Parts<'a> = (&'a [u8; 16], &'a [[u8; 8]], &'a [u8]);

/// A row as it lies in memory.
#[derive(Debug)]
pub(super) struct PackedRow<'a> {
    digest: &'a [u8; 16],
    numbers: &'a [[u8; 8]],
    texts: Texts<'a>,
}

/// Appends a row.
pub(super) fn pack(row: &Row, packed: Vec<u8>) -> Result<Vec<u8>, Error> {
    let (start, mut packed) = (packed.len(), packed);
    packed.extend_from_slice(&[0; LENGTH_BYTES]);
    packed.extend_from_slice(&row.digest);
    let numbers = row.numbers();
    let count = u16::try_from(numbers.len()).map_err(|_| Error::SerializeBufferFull)?;
    packed.extend_from_slice(&count.to_le_bytes());
    for number in numbers {
        packed.extend_from_slice(&number.to_le_bytes());
    }
    let texts: Texts<'_> = (
        &row.deal_id,
        &row.deal_type,
        row.texts().collect(),
        row.error(),
    );
    let mut packed = postcard::to_extend(&texts, packed)?;
    let length = packed.len() - start - LENGTH_BYTES;
    let length = u32::try_from(length).map_err(|_| Error::SerializeBufferFull)?;
    if let Some(room) = packed.get_mut(start..start + LENGTH_BYTES) {
        room.copy_from_slice(&length.to_le_bytes());
    }
    Ok(packed)
}

/// The bytes of the first row, and those behind it.
pub(super) fn split(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// The id in the bytes of a row.
pub(super) fn id_of(row: &[u8]) -> Result<&str, Error> {
    let (_, _, texts) = parts(row).ok_or(Error::DeserializeUnexpectedEnd)?;
    postcard::take_from_bytes(texts).map(|(id, _)| id)
}

fn parts(row: &[u8]) -> Option<Parts<'_>> {
    let (digest, rest) = row.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let size = usize::from(u16::from_le_bytes(*count)) * size_of::<i64>();
    let (numbers, texts) = rest.split_at_checked(size)?;
    let (numbers, _) = numbers.as_chunks();
    Some((digest, numbers, texts))
}

impl<'a> PackedRow<'a> {
    /// Reads the bytes of a row.
    pub(super) fn of(row: &'a [u8]) -> Result<Self, Error> {
        let (digest, numbers, texts) = parts(row).ok_or(Error::DeserializeUnexpectedEnd)?;
        Ok(Self {
            digest,
            numbers,
            texts: postcard::from_bytes(texts)?,
        })
    }
}

impl RowFields for PackedRow<'_> {
    fn deal_id(&self) -> &str {
        self.texts.0
    }

    fn deal_type(&self) -> &str {
        self.texts.1
    }

    fn numbers(&self) -> impl ExactSizeIterator<Item = i64> {
        self.numbers.iter().map(|bytes| i64::from_le_bytes(*bytes))
    }

    fn texts(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.texts.2.iter().copied()
    }

    fn error(&self) -> Option<&str> {
        self.texts.3
    }

    fn digest(&self) -> &[u8; 16] {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::values::Values;

    fn row() -> impl Strategy<Value = Row> {
        let values = (any::<Vec<i64>>(), any::<Vec<Option<String>>>())
            .prop_map(|(numbers, texts)| Values { numbers, texts });
        let outcome = prop_oneof![values.prop_map(Ok), any::<String>().prop_map(Err)];
        (any::<String>(), any::<Option<String>>(), outcome).prop_map(
            |(id, deal_type, outcome): (_, _, Result<Values, String>)| {
                Row::new(id, deal_type.as_deref(), outcome)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_come_back_as_they_were(rows in prop::collection::vec(row(), 0..6)) {
            let packed = rows.iter().try_fold(Vec::new(), |packed, row| pack(row, packed)).unwrap();
            let mut rest = packed.as_slice();
            for row in &rows {
                let (bytes, behind) = split(rest).unwrap();
                let found = PackedRow::of(bytes).unwrap();
                prop_assert_eq!(id_of(bytes).unwrap(), row.deal_id());
                prop_assert_eq!(found.deal_id(), row.deal_id());
                prop_assert_eq!(found.deal_type(), row.deal_type());
                prop_assert_eq!(found.error(), row.error());
                prop_assert_eq!(found.digest(), row.digest());
                prop_assert!(found.numbers().eq(row.numbers()) && found.texts().eq(row.texts()));
                for end in 0..bytes.len() {
                    prop_assert!(PackedRow::of(&bytes[..end]).is_err());
                }
                rest = behind;
            }
            prop_assert!(rest.is_empty() && split(rest).is_none());
        }
    }
}
