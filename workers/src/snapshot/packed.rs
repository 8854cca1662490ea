//! Computed rows packed into contiguous bytes between reading pages and writing parts; texts are
//! read back without copying.
//!
//! A row is the length of what follows (four bytes, little-endian), its digest, and the other
//! fields in postcard's encoding, starting with the deal's id.

use postcard::Error;
use serde::{Deserialize, Serialize};

use super::row::{Row, RowFields};

const LENGTH_BYTES: usize = size_of::<u32>();

/// A packed row, borrowed from its bytes.
#[derive(Debug)]
pub(super) struct PackedRow<'a> {
    digest: &'a [u8; 16],
    fields: Fields<'a, Vec<i64>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Fields<'a, N> {
    deal_id: &'a str,
    deal_type: &'a str,
    numbers: N,
    #[serde(borrow)]
    texts: Vec<Option<&'a str>>,
    error: Option<&'a str>,
}

/// Appends a row to packed rows.
pub(super) fn pack(row: &Row, packed: Vec<u8>) -> Result<Vec<u8>, Error> {
    let (start, mut packed) = (packed.len(), packed);
    packed.extend_from_slice(&[0; LENGTH_BYTES]);
    packed.extend_from_slice(&row.digest);
    let fields = Fields {
        deal_id: &row.deal_id,
        deal_type: &row.deal_type,
        numbers: row.values().map_or(&[][..], |values| &values.numbers),
        texts: row.texts().collect(),
        error: row.error(),
    };
    let mut packed = postcard::to_extend(&fields, packed)?;
    let length = packed.len() - start - LENGTH_BYTES;
    let length = u32::try_from(length).map_err(|_| Error::SerializeBufferFull)?;
    if let Some(room) = packed.get_mut(start..start + LENGTH_BYTES) {
        room.copy_from_slice(&length.to_le_bytes());
    }
    Ok(packed)
}

/// Splits off the bytes of the first row and returns them with the rest.
pub(super) fn split(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// The deal id in the bytes of a row.
pub(super) fn id_of(row: &[u8]) -> Result<&str, Error> {
    let (_, fields) = parts(row)?;
    postcard::take_from_bytes(fields).map(|(id, _)| id)
}

/// The digest and the encoded fields in the bytes of a row.
fn parts(row: &[u8]) -> Result<(&[u8; 16], &[u8]), Error> {
    row.split_first_chunk()
        .ok_or(Error::DeserializeUnexpectedEnd)
}

impl<'a> PackedRow<'a> {
    /// Decodes the bytes of a row.
    pub(super) fn of(row: &'a [u8]) -> Result<Self, Error> {
        let (digest, fields) = parts(row)?;
        Ok(Self {
            digest,
            fields: postcard::from_bytes(fields)?,
        })
    }
}

impl RowFields for PackedRow<'_> {
    fn deal_id(&self) -> &str {
        self.fields.deal_id
    }

    fn deal_type(&self) -> &str {
        self.fields.deal_type
    }

    fn numbers(&self) -> impl ExactSizeIterator<Item = i64> {
        self.fields.numbers.iter().copied()
    }

    fn texts(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.fields.texts.iter().copied()
    }

    fn error(&self) -> Option<&str> {
        self.fields.error
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
