//! Parses the rows of PostgreSQL's binary COPY without copying the values.
//!
//! The stream is an 11-byte signature, 4 bytes of flags and a header extension prefixed with its
//! length; then, per row, the number of fields as 16 bits and, per field, its length as 32 bits
//! (-1: NULL) and its bytes; and finally -1 in place of a number of fields. All numbers are
//! big-endian.

use bytes::{Buf, Bytes, BytesMut};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Bit 16 of the flags: every row begins with an object id, which current servers never send.
const HAS_OIDS: u32 = 1 << 16;

/// The fields of a row; `None` is NULL.
pub(super) type Fields<const N: usize> = [Option<Bytes>; N];

/// Splits the chunks of a COPY stream into rows of `N` fields. A row may span several chunks.
#[derive(Debug, Default)]
pub(super) struct CopyRows {
    rest: Bytes,
    began: bool,
    ended: bool,
}

impl CopyRows {
    /// Adds the next chunk. All rows of earlier chunks must have been taken out before.
    pub(super) fn push(&mut self, chunk: Bytes) {
        if self.rest.is_empty() {
            self.rest = chunk;
        } else {
            // A server sends whole rows; only a proxy makes this necessary.
            let mut joined = BytesMut::with_capacity(self.rest.len() + chunk.len());
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&chunk);
            self.rest = joined.freeze();
        }
    }

    /// The next complete row; `None` when more chunks are needed or the stream has ended.
    pub(super) fn next<const N: usize>(&mut self) -> Result<Option<Fields<N>>, String> {
        if !self.began && !self.header()? {
            return Ok(None);
        }
        if self.ended || self.rest.len() < 2 {
            return Ok(None);
        }
        let mut ahead = self.rest.as_ref();
        let count = ahead.get_i16();
        if count == -1 {
            self.ended = true;
            return Ok(None);
        }
        if usize::try_from(count) != Ok(N) {
            return Err(format!("a row has {count} fields, not {N}"));
        }
        // Peek at the lengths first, so that an incomplete row stays untouched.
        let mut lengths = [None; N];
        let mut size = 2;
        for length in &mut lengths {
            let Some(stated) = ahead.try_get_i32().ok() else {
                return Ok(None);
            };
            size += 4;
            if stated != -1 {
                let bytes = usize::try_from(stated)
                    .map_err(|_| format!("a field has the length {stated}"))?;
                if ahead.len() < bytes {
                    return Ok(None);
                }
                ahead.advance(bytes);
                size += bytes;
                *length = Some(bytes);
            }
        }
        let mut row = self.rest.split_to(size);
        row.advance(2);
        let fields = lengths.map(|length| {
            row.advance(4);
            length.map(|bytes| row.split_to(bytes))
        });
        Ok(Some(fields))
    }

    /// Whether the stream ended with its end mark and nothing after it.
    pub(super) fn is_complete(&self) -> bool {
        self.ended
    }

    fn header(&mut self) -> Result<bool, String> {
        const FIXED: usize = SIGNATURE.len() + 8;
        if self.rest.len() < FIXED {
            return Ok(false);
        }
        let mut ahead = self.rest.as_ref();
        if !ahead.starts_with(SIGNATURE) {
            return Err("it is not a binary COPY stream".to_owned());
        }
        ahead.advance(SIGNATURE.len());
        if ahead.get_u32() & HAS_OIDS != 0 {
            return Err("rows with object ids are not understood".to_owned());
        }
        let extension = usize::try_from(ahead.get_u32()).unwrap_or(usize::MAX);
        if ahead.len() < extension {
            return Ok(false);
        }
        self.rest.advance(FIXED + extension);
        self.began = true;
        Ok(true)
    }
}

/// The size of the buffers into which values are gathered. The allocator keeps buffers of this
/// size; it returns larger ones to the system, which then clears them page by page for the next
/// use.
const PIECE_BYTES: usize = 32 * 1024;
/// A larger value is not copied into a buffer.
const MAX_GATHERED_BYTES: usize = 8 * 1024;

/// Moves values out of the connection's buffers into larger ones.
///
/// Values go to other threads. If the connection's buffers went with them, each would be allocated
/// here and freed there, which costs more than the copy; this way the connection keeps reading into
/// the same cached memory.
#[derive(Debug, Default)]
pub(super) struct Gather {
    piece: BytesMut,
}

impl Gather {
    /// Returns the same bytes, stored outside the connection's buffers.
    pub(super) fn keep(&mut self, value: Bytes) -> Bytes {
        if value.len() > MAX_GATHERED_BYTES {
            return value;
        }
        if self.piece.capacity() < value.len() {
            self.piece = BytesMut::with_capacity(PIECE_BYTES);
        }
        self.piece.extend_from_slice(&value);
        self.piece.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn stream(rows: &[[Option<Vec<u8>>; 2]]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3, 7, 7, 7]);
        for row in rows {
            bytes.extend_from_slice(&2i16.to_be_bytes());
            for field in row {
                match field {
                    None => bytes.extend_from_slice(&(-1i32).to_be_bytes()),
                    Some(value) => {
                        bytes.extend_from_slice(&i32::try_from(value.len()).unwrap().to_be_bytes());
                        bytes.extend_from_slice(value);
                    }
                }
            }
        }
        bytes.extend_from_slice(&(-1i16).to_be_bytes());
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn rows_are_the_same_however_the_stream_is_cut(
            rows in prop::collection::vec(
                any::<[Option<Vec<u8>>; 2]>(), 0..8),
            cut in 1usize..64,
        ) {
            let bytes = stream(&rows);
            let mut copy = CopyRows::default();
            let mut found = Vec::new();
            for chunk in bytes.chunks(cut) {
                copy.push(Bytes::copy_from_slice(chunk));
                while let Some(row) = copy.next::<2>().unwrap() {
                    found.push(row.map(|field| field.map(|bytes| bytes.to_vec())));
                }
            }
            prop_assert!(copy.is_complete());
            prop_assert_eq!(found, rows);
        }
    }

    #[test]
    fn gathered_values_are_the_same_whatever_their_size() {
        let mut gather = Gather::default();
        let sizes = (0..2_000).map(|n| (n * 37) % 10_000);
        let values: Vec<Bytes> = sizes.map(|size| vec![size as u8; size].into()).collect();
        let kept: Vec<Bytes> = values.iter().map(|it| gather.keep(it.clone())).collect();
        assert_eq!(kept, values);
    }

    #[test]
    fn what_is_no_such_stream_is_refused() {
        let refused = |bytes: Vec<u8>| {
            let mut copy = CopyRows::default();
            copy.push(Bytes::from(bytes));
            copy.next::<3>().unwrap_err()
        };
        assert!(refused(b"1\tacquisition\t[]\n1\tacquisition\t[]\n".to_vec()).contains("COPY"));
        assert!(refused(stream(&[[None, None]])).contains("2 fields"));
        let mut cut = CopyRows::default();
        let whole = stream(&[[None, Some(b"x".to_vec())]]);
        cut.push(Bytes::copy_from_slice(&whole[..whole.len() - 2]));
        assert!(cut.next::<2>().unwrap().is_some());
        assert!(cut.next::<2>().unwrap().is_none() && !cut.is_complete());
    }
}
