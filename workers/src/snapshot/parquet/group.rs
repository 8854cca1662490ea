//! One row group of a part, decoded column by column into reused buffers.

mod lazy;

use std::cell::RefCell;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ParquetMetaData;
use bytes::Bytes;
use rollbook_ledger::evidence::CheckedFile;

use super::chunk::{Chunk, Window};
use super::decode::Texts;
use super::decompress::PageDecompressor;
use super::nullable::NullableTexts;
use super::part::malformed;
use super::{DIGEST_BYTES, ERROR, FIXED_COLUMNS, ROW_GROUP_ROWS, SUCCESS};
use crate::snapshot::SnapshotError;
use crate::snapshot::manifest::Part;

/// The largest row group that is read, in stored bytes.
const MAX_GROUP_BYTES: u64 = 1024 * 1024 * 1024;

/// Which columns of a row group are stored in the same bytes as in a group of another snapshot.
#[derive(Clone, Debug)]
struct Twin {
    /// The serial number of the other group.
    of: u64,
    metrics: Vec<bool>,
}

/// A row group. Ids, types and digests are decoded when it is read; figures, texts and errors when
/// they are first requested, so a comparison that finds equal digests skips most of it.
#[derive(Debug, Default)]
pub struct RowGroup {
    sha256: String,
    metadata: Option<Arc<ParquetMetaData>>,
    index: usize,
    window: Arc<Window>,
    ids: Texts,
    type_names: Vec<String>,
    types: Vec<u32>,
    errors_at: Vec<bool>,
    failed: usize,
    digests: Vec<u8>,
    errors: Option<Vec<String>>,
    metrics: Vec<Column>,
    texts: Vec<TextColumn>,
    /// Incremented for every group read into these buffers.
    serial: u64,
    twin: Option<Twin>,
    inflate: RefCell<PageDecompressor>,
}

/// The texts of one metric; NULL on error rows.
#[derive(Debug, Default)]
struct TextColumn {
    /// The index of the metric.
    metric: usize,
    loaded: bool,
    texts: NullableTexts,
}

/// The figures of one metric; 0 on error rows.
#[derive(Debug, Default)]
struct Column {
    loaded: bool,
    values: Vec<i64>,
}

impl RowGroup {
    /// Reads the stored bytes of a group.
    pub(super) fn begin(
        &mut self,
        file: &mut CheckedFile,
        metadata: &Arc<ParquetMetaData>,
        index: usize,
        part: &Part,
        metrics: usize,
        texts: &[usize],
    ) -> Result<(), SnapshotError> {
        self.sha256.clone_from(&part.sha256);
        self.metadata = Some(Arc::clone(metadata));
        self.index = index;
        self.serial += 1;
        self.twin = None;
        self.metrics.resize_with(metrics, Column::default);
        self.metrics
            .iter_mut()
            .for_each(|column| column.loaded = false);
        self.texts.resize_with(texts.len(), TextColumn::default);
        for (column, metric) in self.texts.iter_mut().zip(texts) {
            (column.metric, column.loaded) = (*metric, false);
        }
        self.errors = None;
        let group = metadata.row_group(index);
        let ranges = group.columns().iter().map(|column| column.byte_range());
        let (start, end) = ranges.fold((u64::MAX, 0), |(start, end), (at, length)| {
            (start.min(at), end.max(at.saturating_add(length)))
        });
        if start > end || end > file.size_bytes() || end - start > MAX_GROUP_BYTES {
            return Err(malformed(&self.sha256, "a row group lies outside the file"));
        }
        // No page refers to the previous group's window any more, so its memory can be reused.
        let window = std::mem::take(&mut self.window);
        let mut bytes = Arc::try_unwrap(window).map_or_else(|_| Vec::new(), |w| w.bytes.into());
        file.read(start, end, &mut bytes)?;
        self.window = Arc::new(Window {
            start,
            bytes: Bytes::from(bytes),
        });
        Ok(())
    }

    pub(super) fn decode(&mut self, beside: Option<&Self>) -> Result<(), SnapshotError> {
        let group = self
            .metadata
            .as_ref()
            .map(|file| file.row_group(self.index));
        let rows = group.map_or(0, |group| group.num_rows());
        let rows = usize::try_from(rows)
            .ok()
            .filter(|rows| (1..=ROW_GROUP_ROWS).contains(rows))
            .ok_or_else(|| malformed(&self.sha256, "a row group is empty or too large"))?;
        let twin = beside.filter(|other| {
            other.len() == rows
                && other.metrics.len() == self.metrics.len()
                && self.shares(other, 0)
        });
        let decoded = self.decode_texts(twin).and_then(|()| {
            let whole = self.ids.len() == rows
                && self.errors_at.len() == rows
                && self.types.len() == rows
                && self.digests.len() == rows * DIGEST_BYTES;
            if whole {
                return Ok(());
            }
            Err(ParquetError::EOF("a column ends early".to_owned()))
        });
        decoded.map_err(|error| malformed(&self.sha256, error))?;
        self.twin = twin.map(|other| Twin {
            of: other.serial,
            metrics: (0..self.metrics.len())
                .map(|metric| self.shares(other, FIXED_COLUMNS + metric))
                .collect(),
        });
        Ok(())
    }

    /// Whether a column has the same stored bytes, and so the same values, as in another group.
    fn shares(&self, other: &Self, column: usize) -> bool {
        let stored = self.stored(column);
        stored.is_some() && stored == other.stored(column)
    }

    /// The stored bytes of a column and their compression.
    fn stored(&self, column: usize) -> Option<(&[u8], Compression)> {
        let group = self.metadata.as_ref()?.row_group(self.index);
        let chunk = group.columns().get(column)?;
        let (start, length) = chunk.byte_range();
        let start = usize::try_from(start.checked_sub(self.window.start)?).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        Some((self.window.bytes.get(start..end)?, chunk.compression()))
    }

    /// Whether a metric is known, without decoding it, to have the same figures row for row as in
    /// another group.
    pub fn shares_metric(&self, other: &Self, metric: usize) -> bool {
        self.twin_of(other)
            .is_some_and(|twin| twin.metrics.get(metric) == Some(&true))
    }

    /// Whether the group is known to have the same deals row for row as another group.
    pub fn shares_deals(&self, other: &Self) -> bool {
        self.twin_of(other).is_some()
    }

    fn twin_of(&self, other: &Self) -> Option<&Twin> {
        self.twin.as_ref().filter(|twin| twin.of == other.serial)
    }

    fn decode_texts(&mut self, twin: Option<&Self>) -> Result<(), ParquetError> {
        let mut ids = std::mem::take(&mut self.ids);
        match twin {
            Some(twin) => ids.clone_from(&twin.ids),
            None => self.column(0)?.texts(&mut ids)?,
        }
        self.ids = ids;
        let mut names = std::mem::take(&mut self.type_names);
        match twin.filter(|twin| self.shares(twin, 2)) {
            Some(twin) => {
                self.errors_at.clone_from(&twin.errors_at);
                self.failed = twin.failed;
            }
            None => self.decode_statuses(&mut names)?,
        }
        let mut types = std::mem::take(&mut self.types);
        match twin.filter(|twin| self.shares(twin, 1)) {
            Some(twin) => {
                names.clone_from(&twin.type_names);
                types.clone_from(&twin.types);
            }
            None => self.column(1)?.names(&mut names, &mut types)?,
        }
        (self.type_names, self.types) = (names, types);
        let mut digests = std::mem::take(&mut self.digests);
        let column = self.column(FIXED_COLUMNS + self.metrics.len())?;
        column.digests(&mut digests)?;
        self.digests = digests;
        Ok(())
    }

    fn decode_statuses(&mut self, names: &mut Vec<String>) -> Result<(), ParquetError> {
        let mut statuses = Vec::new();
        self.column(2)?.names(names, &mut statuses)?;
        let failed: Vec<bool> = names
            .iter()
            .map(|name| match name.as_bytes() {
                SUCCESS => Ok(false),
                ERROR => Ok(true),
                _ => Err(ParquetError::General(format!("status {name:?}"))),
            })
            .collect::<Result<_, _>>()?;
        self.errors_at.clear();
        self.errors_at.extend(
            statuses
                .iter()
                .map(|status| failed.get(*status as usize).copied().unwrap_or(false)),
        );
        self.failed = self.errors_at.iter().filter(|error| **error).count();
        Ok(())
    }

    /// A column as it is stored.
    fn column(&self, column: usize) -> Result<Chunk<'_>, ParquetError> {
        let group = self
            .metadata
            .as_ref()
            .map(|file| file.row_group(self.index));
        let stored = group.and_then(|group| Some((group, group.columns().get(column)?)));
        let (group, stored) =
            stored.ok_or_else(|| ParquetError::General(format!("there is no column {column}")))?;
        Ok(Chunk {
            window: &self.window,
            stored,
            rows: usize::try_from(group.num_rows()).unwrap_or(0),
            inflate: &self.inflate,
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the group has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a row's deal id; empty past the last row.
    pub fn key(&self, row: usize) -> &[u8] {
        self.ids.get(row)
    }

    /// The deal id of a row.
    pub fn deal_id(&self, row: usize) -> Result<&str, SnapshotError> {
        std::str::from_utf8(self.key(row))
            .map_err(|_| malformed(&self.sha256, "a deal id is not UTF-8"))
    }

    /// The deal type of a row; empty past the last row.
    pub fn deal_type(&self, row: usize) -> &str {
        let place = self.types.get(row).map(|place| *place as usize);
        place
            .and_then(|place| self.type_names.get(place))
            .map_or("", String::as_str)
    }

    /// Whether a row has an error instead of figures.
    pub fn is_error(&self, row: usize) -> bool {
        self.failed > 0 && self.errors_at.get(row).copied().unwrap_or(false)
    }

    /// The digest of a row; empty past the last row.
    pub fn digest(&self, row: usize) -> &[u8] {
        let start = row.saturating_mul(DIGEST_BYTES);
        self.digests
            .get(start..start + DIGEST_BYTES)
            .unwrap_or_default()
    }
}
