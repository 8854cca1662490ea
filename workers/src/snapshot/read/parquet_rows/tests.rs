#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::ByteArrayType;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::*;

/// Writes deals with inventories of these sizes in one row group.
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

/// Rows and bytes of each batch, starting at a row.
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
    // A single deal may exceed the bound; its batch ends with it.
    let huge = BATCH_BYTES * 3;
    let sizes = [10, huge, 10, huge, huge];
    let expected = [(2, huge + 10), (2, huge + 10), (1, huge)];
    assert_eq!(batches(&sizes, 0), expected);
    assert_eq!(batches(&sizes, 2), expected.get(1..).unwrap());
}

/// Writes a file with one deal whose id has the declared type; returns its id as read, or why the
/// file is refused.
fn id_of<T: ::parquet::data_type::DataType>(declared: &str, id: T::T) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deals.parquet");
    let schema = format!(
        "message deal {{ REQUIRED {declared}; OPTIONAL BYTE_ARRAY deal_type (UTF8); \
         OPTIONAL BYTE_ARRAY inventory (UTF8); }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(&[id], None, None).unwrap();
    column.close().unwrap();
    for _ in 0..2 {
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&[], Some(&[0]), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let source = SnapshotSource::new(format!("parquet:{}", path.display()));
    let file = SourceFile::open(&path).unwrap();
    let rows = Rows::open(file, source, 0, 1).and_then(|mut rows| rows.next_batch());
    rows.map(|deals| deals[0].id.clone())
        .map_err(|error| error.to_string())
}

#[test]
fn ids_are_read_by_the_type_that_is_declared() {
    use ::parquet::data_type::{Int32Type, Int64Type};
    let read = |declared: &str, id: i64| id_of::<Int64Type>(declared, id);
    assert_eq!(read("INT64 id", -1).as_deref(), Ok("-1"));
    for unsigned in ["INT64 id (UINT_64)", "INT64 id (INTEGER(64, false))"] {
        assert_eq!(read(unsigned, -1).as_deref(), Ok("18446744073709551615"));
    }
    let unsigned = id_of::<Int32Type>("INT32 id (UINT_32)", -1);
    assert_eq!(unsigned.as_deref(), Ok("4294967295"));
    assert_eq!(read("INT64 id (DECIMAL(18, 0))", 125).as_deref(), Ok("125"));
    let refused = read("INT64 id (DECIMAL(18, 2))", 125).unwrap_err();
    assert!(
        refused.contains("column `id` is DECIMAL(18, 2)"),
        "{refused}"
    );
    let date = id_of::<Int32Type>("INT32 id (DATE)", 7).unwrap_err();
    assert!(date.contains("is DATE"), "{date}");
    let bytes = id_of::<ByteArrayType>("BYTE_ARRAY id (DECIMAL(20, 3))", ByteArray::from("12"));
    assert!(bytes.unwrap_err().contains("DECIMAL(20, 3)"));
}

#[test]
fn small_inventories_make_batches_of_so_many_rows() {
    let found = batches(&[3; BATCH_ROWS * 2 + 7], 1);
    assert_eq!(found, [(256, 768), (256, 768), (6, 18)]);
}

/// A UUID whose text has letters and leading zeros.
const UUID_BYTES: [u8; 16] = [
    0x00, 0x01, 0xf3, 0xb2, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0xff,
];

#[test]
fn uuids_are_read_as_hyphenated_texts_in_lower_case() {
    use ::parquet::data_type::FixedLenByteArrayType;
    let read = |declared: &str, bytes: &[u8]| {
        let id = FixedLenByteArray::from(ByteArray::from(bytes.to_vec()));
        id_of::<FixedLenByteArrayType>(declared, id)
    };
    let uuid = read("FIXED_LEN_BYTE_ARRAY (16) id (UUID)", &UUID_BYTES);
    assert_eq!(uuid.as_deref(), Ok("0001f3b2-0000-4000-8000-0000000000ff"));
    let bare = read("FIXED_LEN_BYTE_ARRAY (16) id", &UUID_BYTES).unwrap_err();
    assert!(
        bare.contains("column `id` is FIXED_LEN_BYTE_ARRAY(16) without the logical type UUID"),
        "{bare}"
    );
    let short = read("FIXED_LEN_BYTE_ARRAY (4) id", &[1, 2, 3, 4]).unwrap_err();
    assert!(short.contains("FIXED_LEN_BYTE_ARRAY(4)"), "{short}");
}

/// Written by pyarrow 18, which names the extension type `arrow.uuid` in its own schema only.
const ARROW_UUIDS: &[u8] = include_bytes!("arrow-uuid.parquet");

#[test]
fn uuids_that_only_the_schema_of_arrow_names_are_read_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deals.parquet");
    std::fs::write(&path, ARROW_UUIDS).unwrap();
    let source = SnapshotSource::new(format!("parquet:{}", path.display()));
    let file = SourceFile::open(&path).unwrap();
    let mut rows = Rows::open(file, source, 0, 3).unwrap();
    let ids: Vec<_> = rows.next_batch().unwrap();
    let ids: Vec<_> = ids.iter().map(|deal| deal.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "0001f3b2-0000-4000-8000-0000000000ff",
            "7f000000-0000-4000-8000-00000000000a",
            "f0e1d2c3-b4a5-4697-8899-aabbccddeeff",
        ]
    );
}
