//! Parquet as a source: one row per deal, top-level columns found by name.

mod arrow_schema;
mod columns;

use ::parquet::column::reader::ColumnReader;
use ::parquet::data_type::{ByteArray, FixedLenByteArray};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, RowGroupReader};
use ::parquet::file::serialized_reader::SerializedFileReader;
use bytes::Bytes;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use self::columns::{Columns, Reading, Where};
use super::RawDeal;
use super::file::{Place, Scan, SourceFile};
use crate::snapshot::SnapshotError;
use crate::snapshot::batch::{BATCH_BYTES, BATCH_DEALS};
use crate::snapshot::source::SnapshotSource;

/// Rows of the key columns that are read together.
const BATCH_ROWS: usize = BATCH_DEALS;

/// A cell of a column that deals are made of.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Text(ByteArray),
    Integer(i128),
    /// A value of a type for which only presence matters.
    Other,
}

impl Cell {
    fn text(&self) -> Result<Option<String>, String> {
        match self {
            Self::Null => Ok(None),
            Self::Integer(value) => Ok(Some(value.to_string())),
            Self::Text(bytes) => match std::str::from_utf8(bytes.data()) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err("an id, type or tenant is not UTF-8".to_owned()),
            },
            Self::Other => {
                Err("an id, type or tenant is neither text nor integer nor UUID".to_owned())
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(bytes) => bytes.len(),
            Self::Null | Self::Integer(_) | Self::Other => 0,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

struct Opened {
    file: SourceFile,
    reader: SerializedFileReader<std::fs::File>,
    columns: Columns,
}

impl Opened {
    fn open(file: SourceFile, source: &SnapshotSource) -> Result<Self, SnapshotError> {
        let reader =
            SerializedFileReader::new(file.reopen()?).map_err(|error| file.error(&error))?;
        let columns = Columns::of(&file, &reader, source)?;
        Ok(Self {
            file,
            reader,
            columns,
        })
    }

    fn rows_of(&self, group: usize) -> u64 {
        let metadata = self.reader.metadata();
        let rows = metadata
            .row_groups()
            .get(group)
            .map(|group| group.num_rows());
        rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0)
    }
}

/// A UUID of 16 bytes as its usual text, hyphenated and in lower case, which orders as the bytes
/// do.
fn uuid_cell(value: &FixedLenByteArray) -> Cell {
    Uuid::from_slice(value.data()).map_or(Cell::Other, |uuid| {
        let mut text = vec![0; Hyphenated::LENGTH];
        uuid.hyphenated().encode_lower(&mut text);
        Cell::Text(ByteArray::from(text))
    })
}

/// One column of a row group, read in step with the others.
struct Column {
    reader: ColumnReader,
    reading: Reading,
}

impl Column {
    fn open(group: &dyn RowGroupReader, place: Where) -> Result<Self, ParquetError> {
        Ok(Self {
            reader: group.get_column_reader(place.index)?,
            reading: place.reading,
        })
    }

    fn skip(&mut self, rows: usize) -> Result<(), ParquetError> {
        macro_rules! skip {
            ($($kind:ident),*) => {
                match &mut self.reader { $(ColumnReader::$kind(reader) => reader.skip_records(rows),)* }
            };
        }
        skip!(
            BoolColumnReader,
            Int32ColumnReader,
            Int64ColumnReader,
            Int96ColumnReader,
            FloatColumnReader,
            DoubleColumnReader,
            ByteArrayColumnReader,
            FixedLenByteArrayColumnReader
        )
        .map(|_| ())
    }

    fn read(&mut self, rows: usize) -> Result<Vec<Cell>, ParquetError> {
        macro_rules! read {
            ($reader:expr, $cell:expr) => {{
                let (mut values, mut levels) = (Vec::new(), Vec::new());
                let mut read = 0;
                while read < rows {
                    let (records, _, _) =
                        $reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
                    if records == 0 {
                        return Err(ParquetError::EOF("a column ends early".to_owned()));
                    }
                    read += records;
                }
                let mut values = values.into_iter().map($cell);
                // A required column has no levels: every row has a value.
                if levels.is_empty() {
                    values.collect()
                } else {
                    let cell = |level: &i16| match level {
                        0 => Cell::Null,
                        _ => values.next().unwrap_or(Cell::Null),
                    };
                    levels.iter().map(cell).collect()
                }
            }};
        }
        let unsigned = self.reading == Reading::Unsigned;
        let is_uuid = self.reading == Reading::Uuid;
        Ok(match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => read!(reader, Cell::Text),
            ColumnReader::Int64ColumnReader(reader) => {
                read!(reader, |value: i64| Cell::Integer(match unsigned {
                    true => value.cast_unsigned().into(),
                    false => value.into(),
                }))
            }
            ColumnReader::Int32ColumnReader(reader) => {
                read!(reader, |value: i32| Cell::Integer(match unsigned {
                    true => value.cast_unsigned().into(),
                    false => value.into(),
                }))
            }
            ColumnReader::BoolColumnReader(reader) => read!(reader, |_| Cell::Other),
            ColumnReader::Int96ColumnReader(reader) => read!(reader, |_| Cell::Other),
            ColumnReader::FloatColumnReader(reader) => read!(reader, |_| Cell::Other),
            ColumnReader::DoubleColumnReader(reader) => read!(reader, |_| Cell::Other),
            ColumnReader::FixedLenByteArrayColumnReader(reader) if is_uuid => {
                read!(reader, |value| uuid_cell(&value))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => read!(reader, |_| Cell::Other),
        })
    }
}

/// The planning pass: checks the order of the ids and returns the number of rows.
pub(super) fn scan(
    file: &SourceFile,
    source: &SnapshotSource,
    scan: &mut Scan,
) -> Result<u64, SnapshotError> {
    let opened = Opened::open(file.clone(), source)?;
    let mut row = 0u64;
    for group in 0..opened.reader.num_row_groups() {
        let mut left = opened.rows_of(group);
        let bad = |error: ParquetError| file.error(&error);
        let reader = opened.reader.get_row_group(group).map_err(bad)?;
        let mut keys = Keys::open(reader.as_ref(), &opened.columns).map_err(bad)?;
        while left > 0 {
            let rows = usize::try_from(left).unwrap_or(BATCH_ROWS).min(BATCH_ROWS);
            for key in keys.read(rows, source).map_err(bad)? {
                let place = Place { at: row, line: 0 };
                row += 1;
                let wrong = |reason: String| file.row_error(format!("row {row}"), reason);
                match key.map_err(wrong)? {
                    Key::Skipped => {}
                    Key::Deleted => scan.deleted += 1,
                    Key::Live(id) => {
                        let order = opened.columns.id_order;
                        scan.deal(&id, order, place)
                            .map_err(|reason| file.order_error(format!("row {row}"), reason))?;
                    }
                }
            }
            left -= rows as u64;
        }
    }
    Ok(row)
}

/// What the key columns say about a row.
enum Key {
    /// Belongs to another tenant.
    Skipped,
    Deleted,
    Live(String),
}

/// The columns that decide whether a row is a deal of the snapshot.
struct Keys {
    id: Column,
    deleted_at: Option<Column>,
    tenant: Option<Column>,
}

impl Keys {
    fn open(group: &dyn RowGroupReader, columns: &Columns) -> Result<Self, ParquetError> {
        let open = |place: Option<Where>| place.map(|it| Column::open(group, it)).transpose();
        Ok(Self {
            id: Column::open(group, columns.id)?,
            deleted_at: open(columns.deleted_at)?,
            tenant: open(columns.tenant)?,
        })
    }

    fn skip(&mut self, rows: usize) -> Result<(), ParquetError> {
        let optional = self.deleted_at.iter_mut().chain(&mut self.tenant);
        for column in optional.chain([&mut self.id]) {
            column.skip(rows)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        rows: usize,
        source: &SnapshotSource,
    ) -> Result<Vec<Result<Key, String>>, ParquetError> {
        let ids = self.id.read(rows)?;
        let absent = || vec![Cell::Null; rows];
        let deleted = match &mut self.deleted_at {
            Some(column) => column.read(rows)?,
            None => absent(),
        };
        let tenants = match &mut self.tenant {
            Some(column) => column.read(rows)?,
            None => absent(),
        };
        let cells = ids.iter().zip(&deleted).zip(&tenants);
        let key = |((id, deleted), tenant): ((&Cell, &Cell), &Cell)| {
            if source.tenant.is_some() && tenant.text()? != source.tenant {
                return Ok(Key::Skipped);
            }
            if !deleted.is_null() {
                return Ok(Key::Deleted);
            }
            match id.text()? {
                Some(id) => Ok(Key::Live(id)),
                None => Err("the id is null".to_owned()),
            }
        };
        Ok(cells.map(key).collect())
    }
}

/// The row group of a shard that is open.
struct Group {
    keys: Keys,
    deal_type: Column,
    inventory: Column,
    left: u64,
}

/// Reads the rows of one shard.
pub(super) struct Rows {
    opened: Opened,
    source: SnapshotSource,
    /// Rows of the shard still to be read, and rows to skip before them in the next group.
    left: u64,
    skip: u64,
    next_group: usize,
    group: Option<Group>,
}

impl Rows {
    pub(super) fn open(
        file: SourceFile,
        source: SnapshotSource,
        start: u64,
        end: u64,
    ) -> Result<Self, SnapshotError> {
        let opened = Opened::open(file, &source)?;
        let (mut skip, mut next_group) = (start, 0);
        while next_group < opened.reader.num_row_groups() && skip >= opened.rows_of(next_group) {
            skip -= opened.rows_of(next_group);
            next_group += 1;
        }
        Ok(Self {
            opened,
            source,
            left: end.saturating_sub(start),
            skip,
            next_group,
            group: None,
        })
    }

    /// The next batch of deals; empty at the end of the shard.
    pub(super) fn next_batch(&mut self) -> Result<Vec<RawDeal>, SnapshotError> {
        let mut deals = Vec::new();
        while deals.is_empty() && self.left > 0 && self.enter_group()? {
            deals = self.read_rows()?;
        }
        Ok(deals)
    }

    /// Moves to a row group with rows left; `false` at the end of the file.
    fn enter_group(&mut self) -> Result<bool, SnapshotError> {
        if self.group.as_ref().is_some_and(|group| group.left > 0) {
            return Ok(true);
        }
        if self.next_group >= self.opened.reader.num_row_groups() {
            return Ok(false);
        }
        let bad = |error: ParquetError| self.opened.file.error(&error);
        let reader = self
            .opened
            .reader
            .get_row_group(self.next_group)
            .map_err(bad)?;
        let columns = &self.opened.columns;
        let open = |place| Column::open(reader.as_ref(), place).map_err(bad);
        let mut group = Group {
            keys: Keys::open(reader.as_ref(), columns).map_err(bad)?,
            deal_type: open(columns.deal_type)?,
            inventory: open(columns.inventory)?,
            left: self
                .opened
                .rows_of(self.next_group)
                .saturating_sub(self.skip),
        };
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
        group.keys.skip(skip).map_err(bad)?;
        group.deal_type.skip(skip).map_err(bad)?;
        group.inventory.skip(skip).map_err(bad)?;
        self.skip = 0;
        self.next_group += 1;
        self.group = Some(group);
        Ok(true)
    }

    fn read_rows(&mut self) -> Result<Vec<RawDeal>, SnapshotError> {
        let file = &self.opened.file;
        let bad = |error: ParquetError| file.error(&error);
        let Some(group) = &mut self.group else {
            return Ok(Vec::new());
        };
        let most = self.left.min(group.left).min(BATCH_ROWS as u64);
        let most = usize::try_from(most).unwrap_or(BATCH_ROWS);
        // One at a time: the size of an inventory is known only once it is read.
        let (mut inventories, mut bytes) = (Vec::with_capacity(most), 0usize);
        while inventories.len() < most && bytes < BATCH_BYTES {
            for inventory in group.inventory.read(1).map_err(bad)? {
                bytes = bytes.saturating_add(inventory.len());
                inventories.push(inventory);
            }
        }
        let rows = inventories.len();
        let keys = group.keys.read(rows, &self.source).map_err(bad)?;
        let types = group.deal_type.read(rows).map_err(bad)?;
        group.left = group.left.saturating_sub(rows as u64);
        self.left = self.left.saturating_sub(rows as u64);
        let mut deals = Vec::with_capacity(rows);
        for ((key, deal_type), inventory) in keys.into_iter().zip(types).zip(inventories) {
            // The planning pass has reported rows that are not deals.
            let wrong = |reason: String| file.error(&reason);
            let Key::Live(id) = key.map_err(wrong)? else {
                continue;
            };
            deals.push(RawDeal {
                id,
                deal_type: deal_type.text().map_err(wrong)?,
                inventory: match inventory {
                    Cell::Null => Bytes::from_static(b"[]"),
                    Cell::Text(bytes) => Bytes::copy_from_slice(bytes.data()),
                    Cell::Integer(_) | Cell::Other => {
                        return Err(file.error(&"the inventory column is no text"));
                    }
                },
            });
        }
        Ok(deals)
    }
}

#[cfg(test)]
mod tests;
