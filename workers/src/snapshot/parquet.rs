//! Writes and reads parts as Parquet files, through the column API.
//!
//! Columns: `deal_id`, `deal_type`, `status` (`success` or `error`), `error`, one INT64 per numeric
//! metric (null on error rows) or one string per text metric, and `digest`. Writer settings are
//! fixed here, so that equal rows give equal bytes on every machine and any number of threads.

mod chunk;
mod decode;
mod decompress;
mod group;
mod nullable;
mod part;
mod writer;

use std::sync::Arc;

use ::parquet::basic::LogicalType;
use ::parquet::basic::{Compression, Repetition, Type as Physical};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::schema::types::{ColumnPath, Type};

use super::SnapshotError;
use super::calculator::MetricInfo;

pub use group::RowGroup;
pub use part::PartReader;
pub use writer::PartWriter;
pub(crate) use writer::write_column;

/// Rows per row group, the unit of encoding and decoding.
pub const ROW_GROUP_ROWS: usize = 8192;

const SUCCESS: &[u8] = b"success";
const ERROR: &[u8] = b"error";
/// The size of a row's digest, in bytes.
const DIGEST_BYTES: usize = 16;
/// Number of columns before the metrics.
const FIXED_COLUMNS: usize = 4;

/// The columns of a part in order: name, physical type, whether null is allowed.
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
        .with_length(DIGEST_BYTES as i32)
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
        .set_compression(Compression::SNAPPY)
        // Digests are random and do not compress.
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

#[cfg(test)]
mod tests;
