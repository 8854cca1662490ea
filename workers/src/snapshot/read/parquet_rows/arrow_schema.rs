//! What the Arrow schema in a Parquet file says of a column.
//!
//! Arrow's writers keep their schema beside Parquet's own: a message of Arrow IPC, which is a
//! flatbuffer, as base64. Older ones write a UUID as 16 bytes without a logical type, and only this
//! schema says what they are. Nothing else is read from it, so a schema that cannot be read says
//! nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The key under which the schema is in a file's metadata.
pub(super) const KEY: &str = "ARROW:schema";

/// The largest schema that is read, in bytes of base64.
const MAX_SCHEMA_BYTES: usize = 16 * 1024 * 1024;
/// What a message starts with, unless an old writer made it: the length follows.
const CONTINUATION: [u8; 4] = [0xff; 4];

const EXTENSION_NAME: &[u8] = b"ARROW:extension:name";
const UUID: &[u8] = b"arrow.uuid";

/// The places of fields in their tables, as `Message.fbs` and `Schema.fbs` of Arrow number them.
const MESSAGE_HEADER: usize = 2;
const SCHEMA_FIELDS: usize = 1;
const FIELD_NAME: usize = 0;
const FIELD_METADATA: usize = 6;
const ENTRY_KEY: usize = 0;
const ENTRY_VALUE: usize = 1;

/// Whether the schema calls the column at the top level with this name a UUID.
pub(super) fn is_uuid(schema: &str, column: &str) -> bool {
    if schema.len() > MAX_SCHEMA_BYTES {
        return false;
    }
    let Ok(message) = STANDARD.decode(schema) else {
        return false;
    };
    says_uuid(&message, column).unwrap_or(false)
}

fn says_uuid(message: &[u8], column: &str) -> Option<bool> {
    let message = message.strip_prefix(&CONTINUATION).unwrap_or(message);
    // The length of the flatbuffer comes first.
    let bytes = message.get(4..)?;
    let root = Table {
        bytes,
        at: offset(bytes, 0)?,
    };
    let fields = root.table(MESSAGE_HEADER)?.tables(SCHEMA_FIELDS)?;
    for field in fields {
        if field.text(FIELD_NAME) != Some(column.as_bytes()) {
            continue;
        }
        let mut entries = field.tables(FIELD_METADATA)?;
        return Some(entries.any(|entry| {
            entry.text(ENTRY_KEY) == Some(EXTENSION_NAME) && entry.text(ENTRY_VALUE) == Some(UUID)
        }));
    }
    None
}

/// A table of a flatbuffer. `None` from any of its methods means that a field is absent, or lies
/// outside the bytes.
#[derive(Clone, Copy)]
struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// The position that the offset at a position points to.
fn offset(bytes: &[u8], at: usize) -> Option<usize> {
    at.checked_add(usize::try_from(number(bytes, at)?).ok()?)
}

impl<'a> Table<'a> {
    /// The position of a field.
    fn field(self, place: usize) -> Option<usize> {
        // The offset to the table of fields is signed and points backwards.
        let back = number(self.bytes, self.at)?.cast_signed();
        let at = i64::try_from(self.at).ok()?;
        let fields = usize::try_from(at.checked_sub(i64::from(back))?).ok()?;
        let short = |at: usize| {
            let two = self.bytes.get(at..at.checked_add(2)?)?;
            Some(usize::from(u16::from_le_bytes(two.try_into().ok()?)))
        };
        let entry = 4 + 2 * place;
        if entry >= short(fields)? {
            return None;
        }
        match short(fields.checked_add(entry)?)? {
            0 => None,
            within => self.at.checked_add(within),
        }
    }

    fn table(self, place: usize) -> Option<Self> {
        Some(Self {
            at: offset(self.bytes, self.field(place)?)?,
            ..self
        })
    }

    /// The tables of a vector.
    fn tables(self, place: usize) -> Option<impl Iterator<Item = Self>> {
        let vector = offset(self.bytes, self.field(place)?)?;
        let count = usize::try_from(number(self.bytes, vector)?).ok()?;
        let entries = vector.checked_add(4)?;
        // Each entry takes four bytes, so a false count ends with the bytes.
        Some((0..count).map_while(move |entry| {
            let at = entries.checked_add(entry.checked_mul(4)?)?;
            Some(Self {
                at: offset(self.bytes, at)?,
                ..self
            })
        }))
    }

    fn text(self, place: usize) -> Option<&'a [u8]> {
        let at = offset(self.bytes, self.field(place)?)?;
        let length = usize::try_from(number(self.bytes, at)?).ok()?;
        let start = at.checked_add(4)?;
        self.bytes.get(start..start.checked_add(length)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!is_uuid(&STANDARD.encode(&bytes), "id"));
        }
    }

    #[test]
    fn what_is_no_schema_says_nothing() {
        for schema in ["", "!", "AAAA", "/////wgAAAAIAAAA"] {
            assert!(!is_uuid(schema, "id"), "{schema}");
        }
    }
}
