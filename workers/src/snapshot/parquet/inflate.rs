//! Decompressing pages with one decompressor that is kept.

use ::parquet::basic::Compression;
use ::parquet::column::page::Page;
use ::parquet::errors::ParquetError;
use bytes::Bytes;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

/// The largest page that is decompressed, in bytes. Pages are decompressed before they are known
/// to be undamaged, so their own word for their size is not enough.
const MAX_PAGE_BYTES: usize = 256 * 1024 * 1024;

/// Decompresses pages that were read as they are stored.
#[derive(Default)]
pub(super) struct Inflate(Option<Decompressor<'static>>);

impl std::fmt::Debug for Inflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflate")
    }
}

impl Inflate {
    /// The page with its values readable.
    pub(super) fn page(
        &mut self,
        mut page: Page,
        compression: Compression,
    ) -> Result<Page, ParquetError> {
        match compression {
            Compression::UNCOMPRESSED => return Ok(page),
            Compression::ZSTD(_) => {}
            other => {
                return Err(ParquetError::General(format!(
                    "it is compressed by {other}"
                )));
            }
        }
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = self.zstd(buf, &[])?;
            }
            // Levels stand before the compressed values and are not compressed themselves.
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed: true,
                ..
            } => {
                let levels = def_levels_byte_len.saturating_add(*rep_levels_byte_len) as usize;
                if levels > buf.len() {
                    return Err(ParquetError::EOF("levels are cut".to_owned()));
                }
                *buf = self.zstd(&buf.slice(levels..), &buf.slice(..levels))?;
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(page)
    }

    /// `head`, then what `compressed` holds.
    fn zstd(&mut self, compressed: &[u8], head: &[u8]) -> Result<Bytes, ParquetError> {
        let failed = |reason: &dyn std::fmt::Display| ParquetError::General(reason.to_string());
        if compressed.is_empty() {
            return Ok(Bytes::copy_from_slice(head));
        }
        let size = get_frame_content_size(compressed)
            .ok()
            .flatten()
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| *size <= MAX_PAGE_BYTES)
            .ok_or_else(|| failed(&"a page does not say how large it is, or is too large"))?;
        let decompressor = match &mut self.0 {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new().map_err(|error| failed(&error))?),
        };
        let values = decompressor.decompress(compressed, size);
        let mut values = values.map_err(|error| failed(&error))?;
        if values.len() != size {
            return Err(failed(&"a page is cut"));
        }
        if !head.is_empty() {
            values.splice(..0, head.iter().copied());
        }
        Ok(Bytes::from(values))
    }
}
