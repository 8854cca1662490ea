//! Presents the bytes of a row group as if they were the whole file.

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::{Buf, Bytes};

/// The stored bytes of a row group, addressed by their offsets in the file.
#[derive(Debug, Default)]
pub(in crate::snapshot::parquet) struct Window {
    pub(in crate::snapshot::parquet) start: u64,
    pub(in crate::snapshot::parquet) bytes: Bytes,
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let from = usize::try_from(start.saturating_sub(self.start)).unwrap_or(usize::MAX);
        if start < self.start || from > self.bytes.len() {
            return Err(ParquetError::EOF(
                "a page lies outside its row group".into(),
            ));
        }
        Ok(self.bytes.slice(from..).reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.get_read(start)?.into_inner();
        if length > rest.len() {
            return Err(ParquetError::EOF(
                "a page lies outside its row group".into(),
            ));
        }
        Ok(rest.slice(..length))
    }
}
