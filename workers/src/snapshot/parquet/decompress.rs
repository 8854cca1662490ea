//! Decompresses pages with one decompressor that is reused.

use ::parquet::basic::Compression;
use ::parquet::column::page::Page;
use ::parquet::errors::ParquetError;
use bytes::Bytes;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

/// The largest page that is decompressed, in bytes. Pages are decompressed before the part's digest
/// is checked, so the size they state cannot be trusted.
const MAX_PAGE_BYTES: usize = 256 * 1024 * 1024;

/// Decompresses pages that were read in stored form.
#[derive(Default)]
pub(super) struct PageDecompressor(Option<Decompressor<'static>>);

impl std::fmt::Debug for PageDecompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageDecompressor")
    }
}

impl PageDecompressor {
    /// Returns the page with its values decompressed.
    pub(super) fn page(
        &mut self,
        mut page: Page,
        compression: Compression,
    ) -> Result<Page, ParquetError> {
        if compression == Compression::UNCOMPRESSED {
            return Ok(page);
        }
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = self.values(compression, buf, &[])?;
            }
            // Levels precede the compressed values and are not compressed themselves.
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
                *buf = self.values(compression, &buf.slice(levels..), &buf.slice(..levels))?;
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(page)
    }

    /// Returns `head` followed by the decompressed bytes of `compressed`.
    fn values(
        &mut self,
        compression: Compression,
        compressed: &[u8],
        head: &[u8],
    ) -> Result<Bytes, ParquetError> {
        if compressed.is_empty() {
            return Ok(Bytes::copy_from_slice(head));
        }
        let mut values = match compression {
            Compression::SNAPPY => snappy(compressed)?,
            Compression::ZSTD(_) => self.zstd(compressed)?,
            other => return Err(failed(format!("it is compressed by {other}"))),
        };
        if !head.is_empty() {
            values.splice(..0, head.iter().copied());
        }
        Ok(Bytes::from(values))
    }

    fn zstd(&mut self, compressed: &[u8]) -> Result<Vec<u8>, ParquetError> {
        let size = get_frame_content_size(compressed).ok().flatten();
        let size = checked_size(size.and_then(|size| usize::try_from(size).ok()))?;
        let decompressor = match &mut self.0 {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new().map_err(failed)?),
        };
        let values = decompressor.decompress(compressed, size).map_err(failed)?;
        if values.len() != size {
            return Err(failed("a page is cut"));
        }
        Ok(values)
    }
}

fn snappy(compressed: &[u8]) -> Result<Vec<u8>, ParquetError> {
    checked_size(snap::raw::decompress_len(compressed).ok())?;
    let values = snap::raw::Decoder::new().decompress_vec(compressed);
    values.map_err(failed)
}

/// Checks the size a page states against the bound.
fn checked_size(stated: Option<usize>) -> Result<usize, ParquetError> {
    stated
        .filter(|size| *size <= MAX_PAGE_BYTES)
        .ok_or_else(|| failed("a page does not say how large it is, or is too large"))
}

fn failed(reason: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(reason.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ::parquet::basic::{Encoding, ZstdLevel};

    use super::*;

    const VALUES: &[u8] = b"figures figures figures figures figures";
    const LEVELS: &[u8] = b"levels";

    fn codecs() -> [(Compression, Vec<u8>); 2] {
        let level = ZstdLevel::try_new(1).unwrap();
        let snappy = snap::raw::Encoder::new().compress_vec(VALUES).unwrap();
        let zstd = zstd::bulk::compress(VALUES, level.compression_level()).unwrap();
        [
            (Compression::SNAPPY, snappy),
            (Compression::ZSTD(level), zstd),
        ]
    }

    fn first(buf: Bytes) -> Page {
        Page::DataPage {
            buf,
            num_values: 1,
            encoding: Encoding::PLAIN,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        }
    }

    fn second(buf: Bytes) -> Page {
        Page::DataPageV2 {
            buf,
            num_values: 1,
            encoding: Encoding::PLAIN,
            num_nulls: 0,
            num_rows: 1,
            def_levels_byte_len: LEVELS.len() as u32,
            rep_levels_byte_len: 0,
            is_compressed: true,
            statistics: None,
        }
    }

    #[test]
    fn pages_of_both_versions_and_codecs_are_readable() {
        for (codec, compressed) in codecs() {
            let mut inflate = PageDecompressor::default();
            let page = inflate.page(first(compressed.clone().into()), codec);
            assert_eq!(page.unwrap().buffer().as_ref(), VALUES);
            let whole = [LEVELS, &compressed].concat();
            let page = inflate.page(second(whole.into()), codec);
            assert_eq!(page.unwrap().buffer().as_ref(), [LEVELS, VALUES].concat());
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        for (codec, compressed) in codecs() {
            let mut inflate = PageDecompressor::default();
            for end in 1..compressed.len() {
                let cut = Bytes::copy_from_slice(&compressed[..end]);
                assert!(inflate.page(first(cut), codec).is_err(), "{codec} {end}");
            }
        }
        // A page that states a size of four gigabytes.
        let huge = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]);
        let message = |codec| {
            let refused = PageDecompressor::default().page(first(huge.clone()), codec);
            refused.unwrap_err().to_string()
        };
        assert!(message(Compression::SNAPPY).contains("too large"));
        assert!(message(Compression::LZ4_RAW).contains("it is compressed by"));
    }
}
