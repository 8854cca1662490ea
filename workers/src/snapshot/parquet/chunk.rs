//! One column of a row group as it is stored, and the way to its values.
//!
//! Everything that is read from a part comes through [`Chunk`]. It takes the pages from the parquet
//! crate and decodes them by `decode` and `nullable`, which know only the encodings that parts are
//! written with. `plain` reads the same columns with the crate's own reader; tests check that both
//! find the same values.

#[cfg(test)]
mod plain;
mod window;

use std::cell::RefCell;
use std::sync::Arc;

use ::parquet::basic::{Compression, Encoding};
use ::parquet::column::page::Page;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ColumnChunkMetaData;
use ::parquet::file::serialized_reader::SerializedPageReader;

use super::DIGEST_BYTES;
use super::decode::{DataPage, Texts, integers};
use super::decompress::PageDecompressor;
use super::nullable::NullableTexts;

pub(super) use self::window::Window;

/// A stored column of a row group.
#[derive(Debug)]
pub(super) struct Chunk<'g> {
    /// The bytes of the group.
    pub(super) window: &'g Arc<Window>,
    pub(super) stored: &'g ColumnChunkMetaData,
    /// The number of rows of the group.
    pub(super) rows: usize,
    pub(super) inflate: &'g RefCell<PageDecompressor>,
}

impl Chunk<'_> {
    /// Reads the texts of a column without nulls.
    pub(super) fn texts(&self, into: &mut Texts) -> Result<(), ParquetError> {
        into.clear();
        self.each_page(|page| {
            let first = into.len();
            into.push_page(&page.values)?;
            page.check(into.len() - first, 0)
        })
    }

    /// Reads a text column of few distinct values as indices into a list of names.
    pub(super) fn names(
        &self,
        names: &mut Vec<String>,
        places: &mut Vec<u32>,
    ) -> Result<(), ParquetError> {
        names.clear();
        places.clear();
        let mut texts = Texts::default();
        self.pages(|page| {
            texts.clear();
            let page = match page {
                Page::DictionaryPage {
                    buf,
                    num_values,
                    encoding: Encoding::PLAIN | Encoding::PLAIN_DICTIONARY,
                    ..
                } => {
                    texts.push_page(&buf)?;
                    if texts.len() != num_values as usize {
                        return Err(ParquetError::General("a name is missing".to_owned()));
                    }
                    for index in 0..texts.len() {
                        names.push(name(texts.get(index))?);
                    }
                    return Ok(());
                }
                page => DataPage::of(page, false)?,
            };
            if page.indices {
                page.check(page.rows, 0)?;
                return page.indices(places);
            }
            texts.push_page(&page.values)?;
            page.check(texts.len(), 0)?;
            for index in 0..texts.len() {
                places.push(place_of(name(texts.get(index))?, names));
            }
            Ok(())
        })?;
        if places.iter().any(|place| *place as usize >= names.len()) {
            return Err(ParquetError::General("an index has no value".to_owned()));
        }
        Ok(())
    }

    /// Reads a column of digests, one after another.
    pub(super) fn digests(&self, into: &mut Vec<u8>) -> Result<(), ParquetError> {
        into.clear();
        self.each_page(|page| {
            into.extend_from_slice(&page.values);
            page.check(page.values.len() / DIGEST_BYTES, 0)
        })
    }

    /// Reads the integers that are not null and 1 for every row that has one, 0 for every null.
    /// Without `present` no row may be null.
    pub(super) fn integers(
        &self,
        into: &mut Vec<i64>,
        mut present: Option<&mut Vec<u32>>,
    ) -> Result<(), ParquetError> {
        into.clear();
        self.each_page(|page| {
            let first = into.len();
            integers(&page.values, into)?;
            let found = into.len() - first;
            let mut nulls = 0;
            if let Some(present) = &mut present {
                let first = present.len();
                page.present(present)?;
                nulls = present.iter().skip(first).filter(|it| **it != 1).count();
            }
            page.check(found, nulls)
        })
    }

    /// Reads the texts of a column with nulls.
    pub(super) fn nullable_texts(&self, into: &mut NullableTexts) -> Result<(), ParquetError> {
        into.clear();
        self.each_page(|page| into.push_page(&page))
    }

    /// Passes each data page of a column without a dictionary to `take`.
    fn each_page(
        &self,
        mut take: impl FnMut(DataPage) -> Result<(), ParquetError>,
    ) -> Result<(), ParquetError> {
        let optional = self.stored.column_descr().max_def_level() > 0;
        self.pages(|page| {
            let page = DataPage::of(page, optional)?;
            if page.indices {
                return Err(ParquetError::General("a dictionary is missing".to_owned()));
            }
            take(page)
        })
    }

    /// Passes each page, dictionary pages included, to `take`.
    ///
    /// The parquet crate would make room for as many bytes as a damaged page says it has, up to 2 GB.
    /// It is therefore told that nothing is compressed, and the pages are decompressed here, within a
    /// bound.
    fn pages(
        &self,
        mut take: impl FnMut(Page) -> Result<(), ParquetError>,
    ) -> Result<(), ParquetError> {
        let stored = self.stored.clone().into_builder();
        let stored = stored.set_compression(Compression::UNCOMPRESSED).build()?;
        let pages = SerializedPageReader::new(Arc::clone(self.window), &stored, self.rows, None)?;
        let mut inflate = self.inflate.borrow_mut();
        for page in pages {
            let page = page?;
            // A damaged header may state any number, for which room would be made.
            let is_data = !matches!(page, Page::DictionaryPage { .. });
            if is_data && page.num_values() as usize > self.rows {
                let reason = "a page has more rows than its group".to_owned();
                return Err(ParquetError::General(reason));
            }
            take(inflate.page(page, self.stored.compression())?)?;
        }
        Ok(())
    }
}

fn name(bytes: &[u8]) -> Result<String, ParquetError> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| ParquetError::General("a text is not UTF-8".to_owned()))
}

/// The index of a name in a list, to which it is added if it is new.
fn place_of(name: String, names: &mut Vec<String>) -> u32 {
    let known = names.iter().position(|known| *known == name);
    let place = known.unwrap_or(names.len());
    if known.is_none() {
        names.push(name);
    }
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
