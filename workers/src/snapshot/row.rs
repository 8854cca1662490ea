//! One row of a snapshot: a deal and its outcome.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::prefix::first_bytes;
use super::values::Values;

/// The longest error text of a row, in characters.
const MAX_ERROR_CHARS: usize = 500;

/// The size that most rows' canonical encoding fits in, in bytes.
const USUAL_ENCODED_BYTES: usize = 320;

/// The type recorded for a deal without one (SQL NULL or blank).
pub const NULL_TYPE: &str = "NULL";

/// How the keys of a snapshot are ordered. Two snapshots can be merged only if they share the
/// order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyOrder {
    /// By the bytes of their UTF-8 text.
    #[default]
    Bytes,
    /// As integers: 9 before 10.
    Integer,
}

impl KeyOrder {
    /// A number that orders keys wherever it differs.
    pub(super) fn rank(self, key: &str) -> u128 {
        match self {
            Self::Bytes => first_bytes(key),
            // Keys that are not integers also get the lowest rank.
            Self::Integer => {
                integer(key).map_or(0, |integer| integer.cast_unsigned() ^ 1 << (u128::BITS - 1))
            }
        }
    }

    /// Compares two keys. They are equal only if their texts are; in integer order, keys that are
    /// not integers come first.
    pub fn compare(self, left: &str, right: &str) -> Ordering {
        let bytes = || left.as_bytes().cmp(right.as_bytes());
        match self {
            Self::Bytes => bytes(),
            Self::Integer => integer(left).cmp(&integer(right)).then_with(bytes),
        }
    }
}

/// A key as an integer; the range covers integers of databases and unsigned ones of files.
fn integer(key: &str) -> Option<i128> {
    match key.parse::<i64>() {
        Ok(integer) => Some(i128::from(integer)),
        Err(_) => key.parse::<u64>().ok().map(i128::from),
    }
}

/// The result of computing a deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// The figures and texts, in the order of the manifest's metrics.
    Success(Values),
    /// Why the deal has no figures.
    Error(String),
}

/// One deal of a snapshot with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The deal's id.
    pub deal_id: String,
    /// The type as stored; `NULL` when the deal has none.
    pub deal_type: String,
    /// Figures or an error.
    pub outcome: RowOutcome,
    /// The first 128 bits of the SHA-256 of the row's canonical encoding.
    pub digest: [u8; 16],
}

/// Access to the fields of a row, however it is stored.
pub trait RowFields {
    /// The deal's id.
    fn deal_id(&self) -> &str;
    /// The type as stored; `NULL` when the deal has none.
    fn deal_type(&self) -> &str;
    /// The figures, in the order of the manifest's metrics; empty for an error row.
    fn numbers(&self) -> impl ExactSizeIterator<Item = i64>;
    /// The texts, in the order of the manifest's metrics; `None` is NULL.
    fn texts(&self) -> impl ExactSizeIterator<Item = Option<&str>>;
    /// Why the deal has no figures; `None` if it has them.
    fn error(&self) -> Option<&str>;
    /// The first 128 bits of the SHA-256 of the row's canonical encoding.
    fn digest(&self) -> &[u8; 16];
}

impl RowFields for Row {
    fn deal_id(&self) -> &str {
        &self.deal_id
    }

    fn deal_type(&self) -> &str {
        &self.deal_type
    }

    fn numbers(&self) -> impl ExactSizeIterator<Item = i64> {
        let numbers = self.values().map(|values| values.numbers.as_slice());
        numbers.unwrap_or_default().iter().copied()
    }

    fn texts(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        let texts = self.values().map(|values| values.texts.as_slice());
        texts.unwrap_or_default().iter().map(Option::as_deref)
    }

    fn error(&self) -> Option<&str> {
        match &self.outcome {
            RowOutcome::Success(_) => None,
            RowOutcome::Error(error) => Some(error),
        }
    }

    fn digest(&self) -> &[u8; 16] {
        &self.digest
    }
}

impl Row {
    /// Makes a row with its digest. Error texts are cut to 500 characters.
    pub fn new(
        deal_id: String,
        deal_type: Option<&str>,
        outcome: Result<impl Into<Values>, String>,
    ) -> Self {
        let deal_type = match deal_type.map(str::trim) {
            None | Some("") => NULL_TYPE.to_owned(),
            Some(text) => text.to_owned(),
        };
        let outcome = match outcome {
            Ok(values) => RowOutcome::Success(values.into()),
            Err(text) => RowOutcome::Error(text.chars().take(MAX_ERROR_CHARS).collect()),
        };
        let digest = digest(&deal_id, &deal_type, &outcome);
        Self {
            deal_id,
            deal_type,
            outcome,
            digest,
        }
    }

    /// The figures and texts; `None` for an error row.
    pub fn values(&self) -> Option<&Values> {
        match &self.outcome {
            RowOutcome::Success(values) => Some(values),
            RowOutcome::Error(_) => None,
        }
    }

    /// Whether the deal could not be computed.
    pub fn is_error(&self) -> bool {
        matches!(self.outcome, RowOutcome::Error(_))
    }
}

/// The digest of a row's canonical encoding.
///
/// The encoding is a version tag; every text, prefixed with its length; the status; the figures as
/// little-endian 64-bit integers, prefixed with their number; and, if there are any, the texts of
/// metrics, prefixed with their number, each marked by 1 or, for NULL, by 0.
fn digest(deal_id: &str, deal_type: &str, outcome: &RowOutcome) -> [u8; 16] {
    // One buffer, because hashing many small pieces takes longer.
    let mut encoded = Vec::with_capacity(USUAL_ENCODED_BYTES);
    encoded.extend_from_slice(b"rollbook row 1\0");
    let put = |encoded: &mut Vec<u8>, text: &str| {
        encoded.extend_from_slice(&(text.len() as u64).to_le_bytes());
        encoded.extend_from_slice(text.as_bytes());
    };
    put(&mut encoded, deal_id);
    put(&mut encoded, deal_type);
    match outcome {
        RowOutcome::Success(values) => {
            encoded.push(1);
            encoded.extend_from_slice(&(values.numbers.len() as u64).to_le_bytes());
            for value in &values.numbers {
                encoded.extend_from_slice(&value.to_le_bytes());
            }
            if !values.texts.is_empty() {
                encoded.extend_from_slice(&(values.texts.len() as u64).to_le_bytes());
            }
            for text in &values.texts {
                encoded.push(u8::from(text.is_some()));
                if let Some(text) = text {
                    put(&mut encoded, text);
                }
            }
        }
        RowOutcome::Error(message) => {
            encoded.push(0);
            put(&mut encoded, message);
        }
    }
    let whole = Sha256::digest(&encoded);
    let mut first = [0u8; 16];
    first
        .iter_mut()
        .zip(whole.iter())
        .for_each(|(to, from)| *to = *from);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_ordered_by_value_and_texts_by_bytes() {
        let sorted = |order: KeyOrder| {
            let mut keys = ["10", "9", "-2", "-10", "0", "é", "Z", "a"];
            keys.sort_by(|left, right| order.compare(left, right));
            keys
        };
        let by_value = ["Z", "a", "é", "-10", "-2", "0", "9", "10"];
        assert_eq!(sorted(KeyOrder::Integer), by_value);
        let large = ["9223372036854775807", "18446744073709551615"];
        assert!(KeyOrder::Integer.compare(large[0], large[1]).is_lt());
        let by_bytes = ["-10", "-2", "0", "10", "9", "Z", "a", "é"];
        assert_eq!(sorted(KeyOrder::Bytes), by_bytes);
    }

    #[test]
    fn ranks_never_contradict_the_order() {
        let keys = [
            "",
            "\0",
            "10",
            "9",
            "-2",
            "-10",
            "0",
            "\u{e9}",
            "Z",
            "a",
            "abcdefgh1",
            "abcdefghijklmnop1",
            "abcdefghijklmnop",
            "abcdefgh",
            "-9223372036854775808",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
        ];
        for order in [KeyOrder::Bytes, KeyOrder::Integer] {
            for (left, right) in keys
                .iter()
                .flat_map(|left| keys.map(|right| (*left, right)))
            {
                let ranked = order.rank(left).cmp(&order.rank(right));
                assert!(
                    ranked.is_eq() || ranked == order.compare(left, right),
                    "{left:?} {right:?}"
                );
            }
        }
    }

    #[test]
    fn blank_and_null_types_are_the_same_row() {
        let null = Row::new("d".into(), None, Ok(vec![1]));
        let blank = Row::new("d".into(), Some("  "), Ok(vec![1]));
        assert_eq!(null, blank);
        assert_eq!(null.deal_type, "NULL");
    }

    #[test]
    fn the_digest_sees_every_field_and_no_field_runs_into_the_next() {
        let failed = |text: &str| Err::<Values, _>(text.to_owned());
        let texts = |texts: &[Option<&str>]| {
            let texts = texts.iter().map(|text| text.map(str::to_owned));
            let values = Values {
                numbers: vec![1, 2],
                texts: texts.collect(),
            };
            Row::new("ab".into(), Some("c"), Ok(values)).digest
        };
        let digests = [
            Row::new("ab".into(), Some("c"), Ok(vec![1, 2])).digest,
            Row::new("a".into(), Some("bc"), Ok(vec![1, 2])).digest,
            Row::new("ab".into(), Some("c"), Ok(vec![1, 3])).digest,
            Row::new("ab".into(), Some("c"), Ok(vec![1])).digest,
            Row::new("ab".into(), Some("c"), failed("x")).digest,
            Row::new("ab".into(), Some("c"), failed("y")).digest,
            texts(&[None]),
            texts(&[Some("")]),
            texts(&[Some("a"), Some("b")]),
            texts(&[Some("ab"), Some("")]),
            texts(&[Some("ab"), None]),
        ];
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
