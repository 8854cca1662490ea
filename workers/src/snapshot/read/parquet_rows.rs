//! Parquet: one row per deal, columns by name at the top level.

use ::parquet::basic::Type as Physical;
use ::parquet::column::reader::ColumnReader;
use ::parquet::data_type::ByteArray;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, RowGroupReader};
use ::parquet::file::serialized_reader::SerializedFileReader;
use bytes::Bytes;

use super::RawDeal;
use super::file::{Place, Scan, SourceFile};
use crate::snapshot::SnapshotError;
use crate::snapshot::batch::{BATCH_BYTES, BATCH_DEALS};
use crate::snapshot::row::KeyOrder;
use crate::snapshot::source::SnapshotSource;

/// Rows of the key columns read together.
const BATCH_ROWS: usize = BATCH_DEALS;

/// A cell of the columns deals are made of.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Text(ByteArray),
    Integer(i64),
    /// Of a type only whose presence matters.
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
            Self::Other => Err("an id, type or tenant is neither text nor integer".to_owned()),
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

/// Which columns of the file are which.
#[derive(Clone, Copy, Debug)]
struct Columns {
    id: usize,
    id_order: KeyOrder,
    deal_type: usize,
    inventory: usize,
    deleted_at: Option<usize>,
    tenant: Option<usize>,
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
        let columns = columns(&file, &reader, source)?;
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

fn columns(
    file: &SourceFile,
    reader: &SerializedFileReader<std::fs::File>,
    source: &SnapshotSource,
) -> Result<Columns, SnapshotError> {
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let find = |name: &str| {
        let found = schema.columns().iter().position(|column| {
            column.path().parts().len() == 1 && column.name() == name && column.max_rep_level() == 0
        });
        found.and_then(|index| Some((index, schema.columns().get(index)?.physical_type())))
    };
    let table = &source.table;
    let need = |name: &str| {
        find(name).ok_or_else(|| file.error(&format!("it has no plain column `{name}`")))
    };
    let (id, id_type) = need(&table.id)?;
    let id_order = match id_type {
        Physical::INT32 | Physical::INT64 => KeyOrder::Integer,
        _ => KeyOrder::Bytes,
    };
    let tenant = match source.tenant {
        Some(_) => Some(need(&table.tenant_id)?.0),
        None => None,
    };
    Ok(Columns {
        id,
        id_order,
        deal_type: need(&table.deal_type)?.0,
        inventory: need(&table.inventory)?.0,
        deleted_at: table
            .deleted_at
            .as_deref()
            .and_then(find)
            .map(|(index, _)| index),
        tenant,
    })
}

/// One column of a row group, read in step with the others.
struct Column(ColumnReader);

impl Column {
    fn open(group: &dyn RowGroupReader, index: usize) -> Result<Self, ParquetError> {
        group.get_column_reader(index).map(Self)
    }

    fn skip(&mut self, rows: usize) -> Result<(), ParquetError> {
        macro_rules! skip {
            ($($kind:ident),*) => {
                match &mut self.0 { $(ColumnReader::$kind(reader) => reader.skip_records(rows),)* }
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
        Ok(match &mut self.0 {
            ColumnReader::ByteArrayColumnReader(reader) => read!(reader, Cell::Text),
            ColumnReader::Int64ColumnReader(reader) => read!(reader, Cell::Integer),
            ColumnReader::Int32ColumnReader(reader) => {
                read!(reader, |value| Cell::Integer(i64::from(value)))
            }
            ColumnReader::BoolColumnReader(reader) => read!(reader, |_| Cell::Other),
            ColumnReader::Int96ColumnReader(reader) => read!(reader, |_| Cell::Other),
            ColumnReader::FloatColumnReader(reader) => read!(reader, |_| Cell::Other),
            ColumnReader::DoubleColumnReader(reader) => read!(reader, |_| Cell::Other),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => read!(reader, |_| Cell::Other),
        })
    }
}

/// The planning pass: checks the order of the ids; gives the number of rows.
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
                        scan.deal(&id, order, place).map_err(wrong)?;
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
    /// Of another tenant.
    Skipped,
    Deleted,
    Live(String),
}

/// The columns that say whether a row is a deal of the snapshot.
struct Keys {
    id: Column,
    deleted_at: Option<Column>,
    tenant: Option<Column>,
}

impl Keys {
    fn open(group: &dyn RowGroupReader, columns: &Columns) -> Result<Self, ParquetError> {
        let open = |index: Option<usize>| index.map(|i| Column::open(group, i)).transpose();
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

/// The open row group of a shard.
struct Group {
    keys: Keys,
    deal_type: Column,
    inventory: Column,
    left: u64,
}

/// The rows of one shard.
pub(super) struct Rows {
    opened: Opened,
    source: SnapshotSource,
    /// Rows of the shard still to be read, and those before them in the next group.
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

    /// The next deals; none at the end of the shard.
    pub(super) fn next_batch(&mut self) -> Result<Vec<RawDeal>, SnapshotError> {
        let mut deals = Vec::new();
        while deals.is_empty() && self.left > 0 && self.enter_group()? {
            deals = self.read_rows()?;
        }
        Ok(deals)
    }

    /// Stands in a group that has rows left; `false` at the end of the file.
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
        let open = |index| Column::open(reader.as_ref(), index).map_err(bad);
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
        // One by one: how large an inventory is, is known when it is read.
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
            // The planning pass named rows that are no deals.
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
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    use ::parquet::data_type::ByteArrayType;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    use super::*;

    /// Deals with inventories of these sizes, in one row group.
    fn write(path: &Path, sizes: &[usize]) {
        let schema = "message deal { REQUIRED BYTE_ARRAY id (UTF8); \
                      OPTIONAL BYTE_ARRAY deal_type (UTF8); \
                      REQUIRED BYTE_ARRAY inventory (UTF8); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let ids = (0..sizes.len()).map(|n| ByteArray::from(format!("{n:06}").into_bytes()));
        let nulls = vec![0i16; sizes.len()];
        let inventories = sizes.iter().map(|size| ByteArray::from(vec![b' '; *size]));
        let columns: [(Vec<ByteArray>, Option<&[i16]>); 3] = [
            (ids.collect(), None),
            (Vec::new(), Some(&nulls)),
            (inventories.collect(), None),
        ];
        for (values, levels) in columns {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, levels, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
    }

    /// Rows and bytes of each batch from a row on.
    fn batches(sizes: &[usize], start: u64) -> Vec<(usize, usize)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deals.parquet");
        write(&path, sizes);
        let source = SnapshotSource::new(format!("parquet:{}", path.display()));
        let file = SourceFile::open(&path).unwrap();
        let mut rows = Rows::open(file, source, start, sizes.len() as u64).unwrap();
        let (mut batches, mut next) = (Vec::new(), start);
        loop {
            let deals = rows.next_batch().unwrap();
            if deals.is_empty() {
                assert_eq!(next, sizes.len() as u64);
                return batches;
            }
            for deal in &deals {
                assert_eq!(deal.id, format!("{next:06}"));
                next += 1;
            }
            let bytes = deals.iter().map(|deal| deal.inventory.len()).sum();
            batches.push((deals.len(), bytes));
        }
    }

    #[test]
    fn large_inventories_make_small_batches() {
        let half = BATCH_BYTES / 2 + 1;
        assert_eq!(
            batches(&[half; 5], 0),
            [(2, 2 * half), (2, 2 * half), (1, half)]
        );
        // One may exceed the bound; its batch ends with it.
        let huge = BATCH_BYTES * 3;
        let sizes = [10, huge, 10, huge, huge];
        let expected = [(2, huge + 10), (2, huge + 10), (1, huge)];
        assert_eq!(batches(&sizes, 0), expected);
        assert_eq!(batches(&sizes, 2), expected.get(1..).unwrap());
    }

    #[test]
    fn small_inventories_make_batches_of_so_many_rows() {
        let found = batches(&[3; BATCH_ROWS * 2 + 7], 1);
        assert_eq!(found, [(256, 768), (256, 768), (6, 18)]);
    }
}
