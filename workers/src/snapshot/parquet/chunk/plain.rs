//! Reads a stored column with the column reader of the parquet crate: any encoding and compression
//! that the crate knows.

use std::sync::Arc;

use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::ParquetError;
use ::parquet::file::serialized_reader::SerializedPageReader;

use super::Chunk;

/// The values of a column: `None` for every null.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    Bytes(Vec<Option<Vec<u8>>>),
    Integers(Vec<Option<i64>>),
}

/// Reads all rows of a column; fewer than the group has are an error.
pub(super) fn read(chunk: &Chunk<'_>) -> Result<Values, ParquetError> {
    let (window, rows) = (Arc::clone(chunk.window), chunk.rows);
    let pages = SerializedPageReader::new(window, chunk.stored, rows, None)?;
    let column = chunk.stored.column_descr_ptr();
    Ok(match get_column_reader(column, Box::new(pages)) {
        ColumnReader::ByteArrayColumnReader(reader) => {
            let bytes = |value: ByteArray| value.data().to_vec();
            Values::Bytes(all(reader, rows, bytes)?)
        }
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            Values::Bytes(all(reader, rows, |value| value.data().to_vec())?)
        }
        ColumnReader::Int64ColumnReader(reader) => Values::Integers(all(reader, rows, |it| it)?),
        _ => return Err(ParquetError::General("no column of a part".to_owned())),
    })
}

fn all<T: DataType, V>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    value: impl Fn(T::T) -> V,
) -> Result<Vec<Option<V>>, ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, _, _) =
            reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(ParquetError::EOF("a column ends early".to_owned()));
        }
        read += records;
    }
    let mut values = values.into_iter().map(value);
    // A required column has no levels: every row has a value.
    if levels.is_empty() {
        return Ok(values.map(Some).collect());
    }
    let value = |level: &i16| if *level == 1 { values.next() } else { None };
    Ok(levels.iter().map(value).collect())
}
