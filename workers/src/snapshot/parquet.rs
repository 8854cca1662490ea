//! Parts as Parquet files, through the column API.
//!
//! Columns: `deal_id`, `deal_type`, `status` (`success` or `error`), `error`, one INT64 per
//! metric (null on error rows), or a string where the metric is a text, and `digest`. Writer settings are fixed here, so that equal
//! rows give equal bytes on every machine and any number of threads.

mod decode;
mod group;
mod inflate;
mod nullable;
mod part;

use std::sync::Arc;

use ::parquet::basic::LogicalType;
use ::parquet::basic::{Compression, Repetition, Type as Physical, ZstdLevel};
use ::parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::{ColumnPath, Type};

use bytes::{Bytes, BytesMut};

use super::SnapshotError;
use super::calculator::MetricInfo;
use super::manifest::Part;
use super::row::{Row, RowOutcome};

pub use group::RowGroup;
pub use part::PartReader;

/// Rows that are encoded, and later decoded, together.
pub const ROW_GROUP_ROWS: usize = 8192;

const SUCCESS: &[u8] = b"success";
const ERROR: &[u8] = b"error";
/// Columns before the metrics.
const FIXED_COLUMNS: usize = 4;

/// Columns of a part in order: name, physical type, whether null is allowed.
fn schema(metrics: &[MetricInfo]) -> Result<Arc<Type>, ParquetError> {
    let text = |name: &str, repetition| {
        Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
            .with_repetition(repetition)
            .with_logical_type(Some(LogicalType::String))
            .build()
            .map(Arc::new)
    };
    let mut fields = vec![
        text("deal_id", Repetition::REQUIRED)?,
        text("deal_type", Repetition::REQUIRED)?,
        text("status", Repetition::REQUIRED)?,
        text("error", Repetition::OPTIONAL)?,
    ];
    for metric in metrics {
        if metric.is_text() {
            fields.push(text(&metric.name, Repetition::OPTIONAL)?);
            continue;
        }
        let column = Type::primitive_type_builder(&metric.name, Physical::INT64)
            .with_repetition(Repetition::OPTIONAL)
            .build()?;
        fields.push(Arc::new(column));
    }
    let digest = Type::primitive_type_builder("digest", Physical::FIXED_LEN_BYTE_ARRAY)
        .with_repetition(Repetition::REQUIRED)
        .with_length(16)
        .build()?;
    fields.push(Arc::new(digest));
    let schema = Type::group_type_builder("deal")
        .with_fields(fields)
        .build()?;
    Ok(Arc::new(schema))
}

fn properties() -> Result<WriterProperties, ParquetError> {
    Ok(WriterProperties::builder()
        .set_created_by("rollbook".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        // What is random does not compress.
        .set_column_compression(ColumnPath::from("digest"), Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled(ColumnPath::from("deal_type"), true)
        .set_column_dictionary_enabled(ColumnPath::from("status"), true)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build())
}

fn encode_error(error: &ParquetError) -> SnapshotError {
    SnapshotError::Encode {
        reason: error.to_string(),
    }
}

/// Builds one part in memory; compressed, a row takes some hundred bytes.
pub struct PartWriter {
    writer: SerializedFileWriter<Vec<u8>>,
    metrics: Vec<MetricInfo>,
    pending: Vec<Row>,
    rows: u64,
    errors: u64,
    first_id: String,
    last_id: String,
}

impl std::fmt::Debug for PartWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartWriter")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl PartWriter {
    /// An empty part for rows of these metrics.
    pub fn new(metrics: &[MetricInfo]) -> Result<Self, SnapshotError> {
        let build = || {
            let properties = Arc::new(properties()?);
            SerializedFileWriter::new(Vec::new(), schema(metrics)?, properties)
        };
        Ok(Self {
            writer: build().map_err(|error| encode_error(&error))?,
            metrics: metrics.to_vec(),
            pending: Vec::new(),
            rows: 0,
            errors: 0,
            first_id: String::new(),
            last_id: String::new(),
        })
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends a row; the caller keeps the key order.
    pub fn push(&mut self, row: Row) -> Result<(), SnapshotError> {
        if let RowOutcome::Success(values) = &row.outcome
            && !values.fit(&self.metrics)
        {
            return Err(SnapshotError::Encode {
                reason: format!(
                    "deal {:?} has {} figures and {} texts, the model declares {} metrics",
                    row.deal_id,
                    values.numbers.len(),
                    values.texts.len(),
                    self.metrics.len()
                ),
            });
        }
        if self.rows == 0 {
            self.first_id.clone_from(&row.deal_id);
        }
        self.last_id.clone_from(&row.deal_id);
        self.rows += 1;
        self.errors += u64::from(row.is_error());
        self.pending.push(row);
        if self.pending.len() >= ROW_GROUP_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SnapshotError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.pending);
        self.write_group(&rows)
            .map_err(|error| encode_error(&error))
    }

    fn write_group(&mut self, rows: &[Row]) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        let ids = shared(rows, |row| row.deal_id.as_bytes());
        write_column::<ByteArrayType>(&mut group, &ids, None)?;
        let deal_types = shared(rows, |row| row.deal_type.as_bytes());
        write_column::<ByteArrayType>(&mut group, &deal_types, None)?;
        let status = |row: &Row| if row.is_error() { ERROR } else { SUCCESS };
        let statuses = rows
            .iter()
            .map(|row| Bytes::from_static(status(row)).into());
        let statuses: Vec<_> = statuses.collect();
        write_column::<ByteArrayType>(&mut group, &statuses, None)?;
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.is_error())).collect();
        let errors: Vec<_> = rows
            .iter()
            .filter_map(|row| match &row.outcome {
                RowOutcome::Error(text) => Some(ByteArray::from(text.as_bytes().to_vec())),
                RowOutcome::Success(_) => None,
            })
            .collect();
        write_column::<ByteArrayType>(&mut group, &errors, Some(&levels))?;
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(!row.is_error())).collect();
        let (mut number, mut text) = (0, 0);
        for metric in &self.metrics {
            if metric.is_text() {
                write_texts(&mut group, rows, text)?;
                text += 1;
                continue;
            }
            let values: Vec<i64> = rows
                .iter()
                .filter_map(|row| row.values()?.numbers.get(number).copied())
                .collect();
            write_column::<Int64Type>(&mut group, &values, Some(&levels))?;
            number += 1;
        }
        let digests = shared(rows, |row| &row.digest);
        let digests: Vec<_> = digests.into_iter().map(FixedLenByteArray::from).collect();
        write_column::<FixedLenByteArrayType>(&mut group, &digests, None)?;
        group.close()?;
        Ok(())
    }

    /// Ends the part: the file's bytes, and its entry with the address still empty.
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

/// A text of each row, all in one piece of memory.
fn shared(rows: &[Row], text: impl Fn(&Row) -> &[u8]) -> Vec<ByteArray> {
    let mut all = BytesMut::with_capacity(rows.iter().map(|row| text(row).len()).sum());
    for row in rows {
        all.extend_from_slice(text(row));
    }
    let mut all = all.freeze();
    let texts = rows.iter().map(|row| all.split_to(text(row).len()).into());
    texts.collect()
}

/// Writes the column of the text with this place among a deal's texts.
fn write_texts(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    rows: &[Row],
    place: usize,
) -> Result<(), ParquetError> {
    let text = |row: &Row| {
        let text = row.values()?.texts.get(place)?.as_ref()?;
        Some(ByteArray::from(text.as_bytes().to_vec()))
    };
    let texts: Vec<Option<ByteArray>> = rows.iter().map(text).collect();
    let levels: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
    let texts: Vec<ByteArray> = texts.into_iter().flatten().collect();
    write_column::<ByteArrayType>(group, &texts, Some(&levels))
}

/// Writes the next column of a row group; `levels` are 1 where a nullable column has a value.
pub(crate) fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
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

#[cfg(test)]
mod tests;
