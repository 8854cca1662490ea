//! Builds a part: rows in, columns of row groups out.

use std::io::Write;
use std::sync::Arc;

use ::parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use bytes::{Bytes, BytesMut};

use super::{ERROR, ROW_GROUP_ROWS, SUCCESS, encode_error, properties, schema};
use crate::snapshot::SnapshotError;
use crate::snapshot::calculator::MetricInfo;
use crate::snapshot::manifest::Part;
use crate::snapshot::row::RowFields;

/// Builds one part, in memory unless it is given another place; a row takes some hundred bytes
/// compressed.
pub struct PartWriter<W: Write + Send = Vec<u8>> {
    writer: SerializedFileWriter<W>,
    metrics: Vec<MetricInfo>,
    pending: Pending,
    rows: u64,
    errors: u64,
    first_id: String,
    last_id: String,
}

/// The rows of the next row group, by column.
#[derive(Debug, Default)]
struct Pending {
    deal_ids: Texts,
    deal_types: Texts,
    errors: Texts,
    /// Whether each row has figures.
    success: Vec<bool>,
    /// The values of each numeric metric.
    numbers: Vec<Vec<i64>>,
    /// For each text metric, the values that are not NULL and the level of every row.
    texts: Vec<(Texts, Vec<i16>)>,
    digests: Texts,
}

/// Texts stored back to back in one buffer.
#[derive(Debug, Default)]
struct Texts {
    bytes: BytesMut,
    lengths: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.lengths.push(text.len());
    }

    /// Takes all texts out.
    fn take(&mut self) -> impl Iterator<Item = Bytes> {
        let mut bytes = self.bytes.split().freeze();
        self.lengths
            .drain(..)
            .map(move |length| bytes.split_to(length))
    }
}

impl Pending {
    fn of(metrics: &[MetricInfo]) -> Self {
        let texts = metrics.iter().filter(|metric| metric.is_text()).count();
        let mut pending = Self::default();
        pending.texts.resize_with(texts, Default::default);
        let numbers = metrics.len() - texts;
        pending.numbers.resize_with(numbers, Default::default);
        pending
    }

    /// Appends a row whose values match the metrics.
    fn push(&mut self, row: &impl RowFields) {
        self.deal_ids.push(row.deal_id().as_bytes());
        self.deal_types.push(row.deal_type().as_bytes());
        self.digests.push(row.digest());
        let error = row.error();
        self.success.push(error.is_none());
        if let Some(error) = error {
            self.errors.push(error.as_bytes());
            self.texts.iter_mut().for_each(|(_, levels)| levels.push(0));
            return;
        }
        for (column, value) in self.numbers.iter_mut().zip(row.numbers()) {
            column.push(value);
        }
        for ((texts, levels), text) in self.texts.iter_mut().zip(row.texts()) {
            levels.push(i16::from(text.is_some()));
            if let Some(text) = text {
                texts.push(text.as_bytes());
            }
        }
    }

    /// Writes the pending rows as the next row group.
    fn write(
        &mut self,
        metrics: &[MetricInfo],
        group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    ) -> Result<(), ParquetError> {
        let all =
            |column: &mut Texts| -> Vec<ByteArray> { column.take().map(ByteArray::from).collect() };
        write_column::<ByteArrayType>(group, &all(&mut self.deal_ids), None)?;
        write_column::<ByteArrayType>(group, &all(&mut self.deal_types), None)?;
        let status = |success: &bool| match success {
            true => Bytes::from_static(SUCCESS).into(),
            false => Bytes::from_static(ERROR).into(),
        };
        let statuses: Vec<ByteArray> = self.success.iter().map(status).collect();
        write_column::<ByteArrayType>(group, &statuses, None)?;
        let failed: Vec<i16> = self.success.iter().map(|it| i16::from(!it)).collect();
        write_column::<ByteArrayType>(group, &all(&mut self.errors), Some(&failed))?;
        let computed: Vec<i16> = self.success.iter().map(|it| i16::from(*it)).collect();
        let (mut numbers, mut texts) = (self.numbers.iter_mut(), self.texts.iter_mut());
        for metric in metrics {
            if metric.is_text() {
                if let Some((column, levels)) = texts.next() {
                    write_column::<ByteArrayType>(group, &all(column), Some(levels))?;
                    levels.clear();
                }
            } else if let Some(column) = numbers.next() {
                write_column::<Int64Type>(group, column, Some(&computed))?;
                column.clear();
            }
        }
        let digests = self.digests.take().map(ByteArray::from);
        let digests: Vec<_> = digests.map(FixedLenByteArray::from).collect();
        write_column::<FixedLenByteArrayType>(group, &digests, None)?;
        self.success.clear();
        Ok(())
    }
}

impl<W: Write + Send> std::fmt::Debug for PartWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartWriter")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl PartWriter {
    /// Starts an empty part in memory for rows with these metrics.
    pub fn new(metrics: &[MetricInfo]) -> Result<Self, SnapshotError> {
        Self::at(Vec::new(), metrics)
    }

    /// Ends the part and returns the file's bytes and its manifest entry, which has no address yet.
    pub fn finish(mut self) -> Result<(Vec<u8>, Part), SnapshotError> {
        self.flush()?;
        let bytes = self
            .writer
            .into_inner()
            .map_err(|error| encode_error(&error))?;
        let part = Part {
            sha256: String::new(),
            size_bytes: bytes.len() as u64,
            rows: self.rows,
            first_id: self.first_id,
            last_id: self.last_id,
            errors: self.errors,
        };
        Ok((bytes, part))
    }
}

impl<W: Write + Send> PartWriter<W> {
    /// Starts an empty part at `out`. One row group at most is in memory.
    pub(crate) fn at(out: W, metrics: &[MetricInfo]) -> Result<Self, SnapshotError> {
        let build = || {
            let properties = Arc::new(properties()?);
            SerializedFileWriter::new(out, schema(metrics)?, properties)
        };
        Ok(Self {
            writer: build().map_err(|error| encode_error(&error))?,
            metrics: metrics.to_vec(),
            pending: Pending::of(metrics),
            rows: 0,
            errors: 0,
            first_id: String::new(),
            last_id: String::new(),
        })
    }

    /// The number of rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends a row; the caller guarantees key order.
    pub fn push(&mut self, row: &impl RowFields) -> Result<(), SnapshotError> {
        let fits = || {
            row.numbers().len() == self.pending.numbers.len()
                && row.texts().len() == self.pending.texts.len()
        };
        if row.error().is_none() && !fits() {
            return Err(SnapshotError::Encode {
                reason: format!(
                    "deal {:?} has {} figures and {} texts, the model declares {} metrics",
                    row.deal_id(),
                    row.numbers().len(),
                    row.texts().len(),
                    self.metrics.len()
                ),
            });
        }
        if self.rows == 0 {
            row.deal_id().clone_into(&mut self.first_id);
        }
        row.deal_id().clone_into(&mut self.last_id);
        self.rows += 1;
        self.errors += u64::from(row.error().is_some());
        self.pending.push(row);
        if self.pending.success.len() >= ROW_GROUP_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// The id of the last row; empty before the first one.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    fn flush(&mut self) -> Result<(), SnapshotError> {
        if self.pending.success.is_empty() {
            return Ok(());
        }
        let mut write = || {
            let mut group = self.writer.next_row_group()?;
            self.pending.write(&self.metrics, &mut group)?;
            group.close()
        };
        write().map(|_| ()).map_err(|error| encode_error(&error))
    }

    /// Writes what is left and returns the place it was written to.
    pub(crate) fn into_inner(mut self) -> Result<W, SnapshotError> {
        self.flush()?;
        let inner = self.writer.into_inner();
        inner.map_err(|error| encode_error(&error))
    }
}

/// Writes the next column of a row group; a level is 1 where a nullable column has a value.
pub(crate) fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General(
            "the schema has too few columns".to_owned(),
        ));
    };
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}
