//! Parts as Parquet files, through the column API.
//!
//! Columns: `deal_id`, `deal_type`, `status` (`success` or `error`), `error`, one INT64 per
//! metric (null on error rows) and `digest`. Writer settings are fixed here, so that equal
//! rows give equal bytes on every machine and any number of threads.

use std::fs::File;
use std::sync::{Arc, OnceLock};

use ::parquet::basic::LogicalType;
use ::parquet::basic::{Compression, Repetition, Type as Physical, ZstdLevel};
use ::parquet::column::reader::ColumnReader;
use ::parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::reader::{FileReader, RowGroupReader};
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::{ColumnPath, Type};

use super::SnapshotError;
use super::calculator::MetricInfo;
use super::manifest::Part;
use super::row::{Row, RowOutcome};

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
    metrics: usize,
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
            metrics: metrics.len(),
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
            && values.len() != self.metrics
        {
            return Err(SnapshotError::Encode {
                reason: format!(
                    "deal {:?} has {} figures, the model declares {}",
                    row.deal_id,
                    values.len(),
                    self.metrics
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
        let texts = |text: fn(&Row) -> &[u8]| -> Vec<ByteArray> {
            rows.iter()
                .map(|row| ByteArray::from(text(row).to_vec()))
                .collect()
        };
        write_column::<ByteArrayType>(&mut group, &texts(|row| row.deal_id.as_bytes()), None)?;
        write_column::<ByteArrayType>(&mut group, &texts(|row| row.deal_type.as_bytes()), None)?;
        let status = |row: &Row| if row.is_error() { ERROR } else { SUCCESS };
        let statuses: Vec<_> = rows
            .iter()
            .map(|row| ByteArray::from(status(row).to_vec()))
            .collect();
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
        for metric in 0..self.metrics {
            let values: Vec<i64> = rows
                .iter()
                .filter_map(|row| match &row.outcome {
                    RowOutcome::Success(values) => values.get(metric).copied(),
                    RowOutcome::Error(_) => None,
                })
                .collect();
            write_column::<Int64Type>(&mut group, &values, Some(&levels))?;
        }
        let digests: Vec<_> = rows
            .iter()
            .map(|row| FixedLenByteArray::from(row.digest.to_vec()))
            .collect();
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

fn write_column<T: DataType>(
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

/// Reads one part, row group by row group.
pub struct PartReader {
    file: Arc<SerializedFileReader<File>>,
    part: Part,
    metrics: usize,
    next_group: usize,
    rows_seen: u64,
}

impl std::fmt::Debug for PartReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartReader")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

fn malformed(sha256: &str, reason: impl std::fmt::Display) -> SnapshotError {
    SnapshotError::Malformed {
        what: "part",
        sha256: sha256.to_owned(),
        reason: reason.to_string(),
    }
}

impl PartReader {
    /// Opens a part whose checksum was verified, and checks that it has the columns and rows
    /// its manifest says.
    pub fn open(file: File, part: &Part, metrics: &[MetricInfo]) -> Result<Self, SnapshotError> {
        let bad = |error: ParquetError| malformed(&part.sha256, error);
        let file = SerializedFileReader::new(file).map_err(bad)?;
        let expected = schema(metrics).map_err(bad)?;
        let metadata = file.metadata().file_metadata();
        if metadata.schema() != expected.as_ref() {
            return Err(malformed(
                &part.sha256,
                "its columns are not those of the manifest",
            ));
        }
        if u64::try_from(metadata.num_rows()).ok() != Some(part.rows) {
            return Err(malformed(
                &part.sha256,
                format!(
                    "it has {} rows, the manifest says {}",
                    metadata.num_rows(),
                    part.rows
                ),
            ));
        }
        Ok(Self {
            file: Arc::new(file),
            part: part.clone(),
            metrics: metrics.len(),
            next_group: 0,
            rows_seen: 0,
        })
    }

    /// The next row group; `None` when the part has ended with the promised number of rows.
    pub fn next_group(&mut self) -> Result<Option<RowGroup>, SnapshotError> {
        if self.next_group >= self.file.num_row_groups() {
            if self.rows_seen != self.part.rows {
                return Err(malformed(&self.part.sha256, "it ends early"));
            }
            return Ok(None);
        }
        let group = RowGroup::read(&self.file, self.next_group, &self.part.sha256, self.metrics)?;
        self.next_group += 1;
        self.rows_seen += group.len() as u64;
        Ok(Some(group))
    }
}

/// A decoded row group. Metrics and errors are decoded when they are first asked for, so a
/// comparison that finds equal digests never touches them.
pub struct RowGroup {
    file: Arc<SerializedFileReader<File>>,
    index: usize,
    sha256: String,
    ids: Vec<ByteArray>,
    types: Vec<ByteArray>,
    errors_at: Vec<bool>,
    digests: Vec<FixedLenByteArray>,
    errors: OnceLock<Vec<Option<ByteArray>>>,
    metrics: Vec<OnceLock<Vec<Option<i64>>>>,
}

impl std::fmt::Debug for RowGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowGroup")
            .field("rows", &self.len())
            .finish_non_exhaustive()
    }
}

impl RowGroup {
    fn read(
        file: &Arc<SerializedFileReader<File>>,
        index: usize,
        sha256: &str,
        metrics: usize,
    ) -> Result<Self, SnapshotError> {
        let bad = |error: ParquetError| malformed(sha256, error);
        let group = file.get_row_group(index).map_err(bad)?;
        let rows = usize::try_from(group.metadata().num_rows())
            .ok()
            .filter(|rows| *rows <= ROW_GROUP_ROWS)
            .ok_or_else(|| malformed(sha256, "a row group is too large"))?;
        let reader = group.as_ref();
        let ids = texts(reader, 0, rows).map_err(bad)?;
        let types = texts(reader, 1, rows).map_err(bad)?;
        let statuses = texts(reader, 2, rows).map_err(bad)?;
        let digests =
            required::<FixedLenByteArrayType>(reader, FIXED_COLUMNS + metrics, rows, |column| {
                match column {
                    ColumnReader::FixedLenByteArrayColumnReader(reader) => Some(reader),
                    _ => None,
                }
            })
            .map_err(bad)?;
        let errors_at = statuses
            .iter()
            .map(|status| match status.data() {
                SUCCESS => Ok(false),
                ERROR => Ok(true),
                other => Err(malformed(
                    sha256,
                    format!("status {:?}", String::from_utf8_lossy(other)),
                )),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if ids.iter().chain(&types).any(|text| text.as_utf8().is_err()) {
            return Err(malformed(sha256, "a text is not UTF-8"));
        }
        Ok(Self {
            file: Arc::clone(file),
            index,
            sha256: sha256.to_owned(),
            ids,
            types,
            errors_at,
            digests,
            errors: OnceLock::new(),
            metrics: (0..metrics).map(|_| OnceLock::new()).collect(),
        })
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The deal id of a row; empty beyond the last row.
    pub fn deal_id(&self, row: usize) -> &str {
        text_at(&self.ids, row)
    }

    /// The deal type of a row.
    pub fn deal_type(&self, row: usize) -> &str {
        text_at(&self.types, row)
    }

    /// Whether a row has an error in place of figures.
    pub fn is_error(&self, row: usize) -> bool {
        self.errors_at.get(row).copied().unwrap_or(false)
    }

    /// The digest of a row.
    pub fn digest(&self, row: usize) -> &[u8] {
        self.digests.get(row).map_or(&[], |digest| digest.data())
    }

    /// The error of a row, empty when it has none.
    pub fn error(&self, row: usize) -> Result<&str, SnapshotError> {
        let column = match self.errors.get() {
            Some(column) => column,
            None => {
                let read = self.optional::<ByteArrayType>(3, |column| match column {
                    ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
                    _ => None,
                })?;
                self.errors.get_or_init(|| read)
            }
        };
        let text = column.get(row).and_then(Option::as_ref);
        text.map_or(Ok(""), |text| {
            text.as_utf8()
                .map_err(|error| malformed(&self.sha256, error))
        })
    }

    /// A figure of a row; `None` on error rows.
    pub fn metric(&self, row: usize, metric: usize) -> Result<Option<i64>, SnapshotError> {
        let Some(cell) = self.metrics.get(metric) else {
            return Ok(None);
        };
        let column = match cell.get() {
            Some(column) => column,
            None => {
                let read =
                    self.optional::<Int64Type>(FIXED_COLUMNS + metric, |column| match column {
                        ColumnReader::Int64ColumnReader(reader) => Some(reader),
                        _ => None,
                    })?;
                let gaps = read.iter().zip(&self.errors_at);
                if gaps.clone().any(|(value, error)| value.is_none() != *error) {
                    return Err(malformed(&self.sha256, "a figure is missing"));
                }
                cell.get_or_init(|| read)
            }
        };
        Ok(column.get(row).copied().flatten())
    }

    /// A whole row.
    pub fn row(&self, row: usize) -> Result<Row, SnapshotError> {
        let outcome = if self.is_error(row) {
            Err(self.error(row)?.to_owned())
        } else {
            let values = (0..self.metrics.len())
                .map(|metric| Ok(self.metric(row, metric)?.unwrap_or_default()))
                .collect::<Result<Vec<i64>, SnapshotError>>()?;
            Ok(values)
        };
        let built = Row::new(
            self.deal_id(row).to_owned(),
            Some(self.deal_type(row)),
            outcome,
        );
        if built.digest != self.digest(row) {
            return Err(malformed(
                &self.sha256,
                format!(
                    "the digest of deal {:?} is not that of its row",
                    built.deal_id
                ),
            ));
        }
        Ok(built)
    }

    fn optional<T: DataType>(
        &self,
        column: usize,
        typed: fn(ColumnReader) -> Option<TypedReader<T>>,
    ) -> Result<Vec<Option<T::T>>, SnapshotError> {
        let bad = |error: ParquetError| malformed(&self.sha256, error);
        let group = self.file.get_row_group(self.index).map_err(bad)?;
        let mut reader = open_column(group.as_ref(), column, typed).map_err(bad)?;
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        while levels.len() < self.len() {
            let left = self.len() - levels.len();
            let (read, _, _) = reader
                .read_records(left, Some(&mut levels), None, &mut values)
                .map_err(bad)?;
            if read == 0 {
                return Err(malformed(&self.sha256, "a column ends early"));
            }
        }
        let mut values = values.into_iter();
        Ok(levels
            .iter()
            .map(|level| if *level > 0 { values.next() } else { None })
            .collect())
    }
}

type TypedReader<T> = ::parquet::column::reader::ColumnReaderImpl<T>;

fn open_column<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    typed: fn(ColumnReader) -> Option<TypedReader<T>>,
) -> Result<TypedReader<T>, ParquetError> {
    let reader = group.get_column_reader(column)?;
    typed(reader).ok_or_else(|| ParquetError::General(format!("column {column} has another type")))
}

fn required<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    rows: usize,
    typed: fn(ColumnReader) -> Option<TypedReader<T>>,
) -> Result<Vec<T::T>, ParquetError> {
    let mut reader = open_column(group, column, typed)?;
    let mut values = Vec::with_capacity(rows);
    while values.len() < rows {
        let (read, _, _) = reader.read_records(rows - values.len(), None, None, &mut values)?;
        if read == 0 {
            return Err(ParquetError::EOF(format!("column {column} ends early")));
        }
    }
    Ok(values)
}

fn texts(
    group: &dyn RowGroupReader,
    column: usize,
    rows: usize,
) -> Result<Vec<ByteArray>, ParquetError> {
    required::<ByteArrayType>(group, column, rows, |column| match column {
        ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
        _ => None,
    })
}

fn text_at(texts: &[ByteArray], row: usize) -> &str {
    // UTF-8 was checked when the group was read.
    texts
        .get(row)
        .and_then(|text| text.as_utf8().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
