//! Reads a part row group by row group and hashes it on the way.

use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use bytes::{Buf, Bytes};
use rollbook_ledger::evidence::CheckedFile;

use super::group::RowGroup;
use super::schema;
use crate::snapshot::SnapshotError;
use crate::snapshot::calculator::MetricInfo;
use crate::snapshot::manifest::Part;

/// The size of the footer length and the magic after it, in bytes.
const TAIL_BYTES: u64 = 8;
const MAGIC: &[u8] = b"PAR1";
/// The largest footer that is read, in bytes.
const MAX_FOOTER_BYTES: u64 = 64 * 1024 * 1024;

/// Reads one part row group by row group and hashes it on the way.
#[derive(Debug)]
pub struct PartReader {
    /// `None` once everything was read and the digest matched the address.
    file: Option<CheckedFile>,
    metadata: Arc<ParquetMetaData>,
    part: Part,
    metrics: usize,
    /// The indices of the text metrics.
    texts: Vec<usize>,
    next_group: usize,
    rows_seen: u64,
}

pub(super) fn malformed(sha256: &str, reason: impl std::fmt::Display) -> SnapshotError {
    SnapshotError::Malformed {
        what: "part",
        sha256: sha256.to_owned(),
        reason: reason.to_string(),
    }
}

impl PartReader {
    /// Opens a part and checks that it has the columns and rows its manifest states.
    ///
    /// Bytes are decoded before their digest is verified. [`SnapshotError::Malformed`], here and
    /// from every row group, may therefore mean a damaged part; the caller checks which it is.
    pub fn open(
        file: CheckedFile,
        part: &Part,
        metrics: &[MetricInfo],
    ) -> Result<Self, SnapshotError> {
        let metadata = read_footer(&file, part, metrics)?;
        Ok(Self {
            file: Some(file),
            metadata: Arc::new(metadata),
            part: part.clone(),
            metrics: metrics.len(),
            texts: (0..)
                .zip(metrics)
                .filter(|(_, metric)| metric.is_text())
                .map(|(place, _)| place)
                .collect(),
            next_group: 0,
            rows_seen: 0,
        })
    }

    /// Reads the next row group into `group`. Returns `false` when the part has ended with the
    /// stated number of rows and its digest matches its address.
    ///
    /// Rows read so far can be relied on only after this returns `false` or
    /// [`PartReader::skip_rest`] has succeeded.
    pub fn next_group(&mut self, group: &mut RowGroup) -> Result<bool, SnapshotError> {
        self.next_group_beside(group, None)
    }

    /// Like [`PartReader::next_group`], but takes a row group of another snapshot at about the same
    /// keys; columns with the same stored bytes there are not decoded again.
    pub fn next_group_beside(
        &mut self,
        group: &mut RowGroup,
        beside: Option<&RowGroup>,
    ) -> Result<bool, SnapshotError> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        if self.next_group >= self.metadata.num_row_groups() {
            if self.rows_seen != self.part.rows {
                return Err(malformed(&self.part.sha256, "it ends early"));
            }
            return self.skip_rest().map(|()| false);
        }
        group.begin(
            file,
            &self.metadata,
            self.next_group,
            &self.part,
            self.metrics,
            &self.texts,
        )?;
        group.decode(beside)?;
        self.next_group += 1;
        self.rows_seen += group.len() as u64;
        let ends_wrong = self.next_group == self.metadata.num_row_groups()
            && group.key(group.len().saturating_sub(1)) != self.part.last_id.as_bytes();
        let starts_wrong = self.next_group == 1 && group.key(0) != self.part.first_id.as_bytes();
        if starts_wrong || ends_wrong {
            let reason = "it does not start or end with the deals its manifest says";
            return Err(malformed(&self.part.sha256, reason));
        }
        Ok(true)
    }

    /// Hashes the bytes not yet read and compares the digest with the part's address.
    pub fn skip_rest(&mut self) -> Result<(), SnapshotError> {
        match self.file.take() {
            Some(file) => Ok(file.finish()?),
            None => Ok(()),
        }
    }
}

fn read_footer(
    file: &CheckedFile,
    part: &Part,
    metrics: &[MetricInfo],
) -> Result<ParquetMetaData, SnapshotError> {
    let bad = |reason: &str| malformed(&part.sha256, reason);
    let end = file.size_bytes().checked_sub(TAIL_BYTES);
    let end = end.ok_or_else(|| bad("it is too short for a Parquet file"))?;
    let mut tail = Bytes::from(file.peek(end, 8)?);
    let length = u64::from(tail.try_get_u32_le().unwrap_or_default());
    let start = end
        .checked_sub(length)
        .filter(|_| length <= MAX_FOOTER_BYTES && tail == MAGIC)
        .ok_or_else(|| bad("it does not end as a Parquet file does"))?;
    let footer = file.peek(start, usize::try_from(length).unwrap_or(0))?;
    let wrong = |error: ParquetError| malformed(&part.sha256, error);
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).map_err(wrong)?;
    let expected = schema(metrics).map_err(wrong)?;
    if metadata.file_metadata().schema() != expected.as_ref() {
        return Err(bad("its columns are not those of the manifest"));
    }
    let rows = metadata.file_metadata().num_rows();
    if u64::try_from(rows).ok() != Some(part.rows) {
        let reason = format!("it has {rows} rows, the manifest says {}", part.rows);
        return Err(malformed(&part.sha256, reason));
    }
    Ok(metadata)
}
