#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArrayType, Int64Type};
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use bytes::Bytes;
use proptest::prelude::*;

use super::plain::{self, Values};
use super::*;
use crate::snapshot::calculator::MetricInfo;
use crate::snapshot::parquet::{FIXED_COLUMNS, schema};

/// A row of a part with one figure and one text, whatever its digest.
#[derive(Clone, Debug)]
struct Stored {
    id: String,
    deal_type: String,
    error: Option<String>,
    figure: Option<i64>,
    text: Option<String>,
    digest: [u8; DIGEST_BYTES],
}

const COLUMNS: usize = FIXED_COLUMNS + 3;

fn stored() -> impl Strategy<Value = Stored> {
    let text = || {
        prop_oneof![
            4 => "\\PC{0,12}",
            1 => Just("a\n\"b\"\0\u{1b}é😀".to_owned()),
            1 => Just("x".repeat(700)),
        ]
    };
    (
        text(),
        "[a-c]{0,2}",
        prop::option::of(text()),
        prop::option::of(any::<i64>()),
        prop::option::weighted(0.7, text()),
        any::<[u8; DIGEST_BYTES]>(),
    )
        .prop_map(|(id, deal_type, error, figure, text, digest)| Stored {
            id,
            deal_type,
            error,
            figure,
            text,
            digest,
        })
}

/// How a file is written: in any way that parts are or were, and in short pages.
fn properties(
    compression: impl Strategy<Value = Compression>,
) -> impl Strategy<Value = WriterProperties> {
    let version = prop_oneof![
        3 => Just(WriterVersion::PARQUET_1_0),
        1 => Just(WriterVersion::PARQUET_2_0),
    ];
    (compression, version, 1..40_usize, any::<bool>()).prop_map(
        |(compression, version, page_rows, of_names)| {
            WriterProperties::builder()
                .set_compression(compression)
                .set_writer_version(version)
                .set_encoding(Encoding::PLAIN)
                .set_dictionary_enabled(false)
                .set_column_dictionary_enabled("deal_type".into(), of_names)
                .set_column_dictionary_enabled("status".into(), of_names)
                // Pages end at multiples of a batch.
                .set_write_batch_size(page_rows)
                .set_data_page_row_count_limit(page_rows)
                .build()
        },
    )
}

fn any_compression() -> impl Strategy<Value = Compression> {
    prop_oneof![
        2 => Just(Compression::SNAPPY),
        1 => Just(Compression::ZSTD(ZstdLevel::default())),
        1 => Just(Compression::UNCOMPRESSED),
    ]
}

fn metrics() -> Vec<MetricInfo> {
    [("price_total", "cents"), ("owner", "text")]
        .map(|(name, unit)| MetricInfo {
            name: name.to_owned(),
            unit: unit.to_owned(),
        })
        .into()
}

fn write(rows: &[Stored], properties: WriterProperties) -> Vec<u8> {
    let schema = schema(&metrics()).unwrap();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    for index in 0..COLUMNS {
        let mut column = group.next_column().unwrap().unwrap();
        let optional = |value: fn(&Stored) -> Option<&str>| {
            let levels: Vec<i16> = rows.iter().map(|row| value(row).is_some().into()).collect();
            let values: Vec<_> = rows.iter().filter_map(value).map(text).collect();
            (values, levels)
        };
        let required =
            |value: fn(&Stored) -> &str| -> Vec<_> { rows.iter().map(value).map(text).collect() };
        let (values, levels) = match index {
            0 => (required(|row| &row.id), None),
            1 => (required(|row| &row.deal_type), None),
            2 => (
                required(|row| {
                    if row.error.is_some() {
                        "error"
                    } else {
                        "success"
                    }
                }),
                None,
            ),
            3 => {
                let (values, levels) = optional(|row| row.error.as_deref());
                (values, Some(levels))
            }
            4 => {
                let levels: Vec<i16> = rows.iter().map(|row| row.figure.is_some().into()).collect();
                let values: Vec<i64> = rows.iter().filter_map(|row| row.figure).collect();
                let figures = column.typed::<Int64Type>();
                figures.write_batch(&values, Some(&levels), None).unwrap();
                column.close().unwrap();
                continue;
            }
            5 => {
                let (values, levels) = optional(|row| row.text.as_deref());
                (values, Some(levels))
            }
            _ => {
                let values: Vec<_> = rows
                    .iter()
                    .map(|row| ByteArray::from(row.digest.to_vec()).into())
                    .collect();
                let digests = column.typed::<FixedLenByteArrayType>();
                digests.write_batch(&values, None, None).unwrap();
                column.close().unwrap();
                continue;
            }
        };
        let texts = column.typed::<ByteArrayType>();
        texts.write_batch(&values, levels.as_deref(), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn metadata(file: &[u8]) -> ParquetMetaData {
    let file = Bytes::copy_from_slice(file);
    ParquetMetaDataReader::new()
        .parse_and_finish(&file)
        .unwrap()
}

/// Reads a column as a part's reader does.
fn fast(chunk: &Chunk<'_>, column: usize) -> Result<Values, ParquetError> {
    let whole = |rows: usize| match rows == chunk.rows {
        true => Ok(()),
        false => Err(ParquetError::EOF("a column ends early".to_owned())),
    };
    match column {
        0 => {
            let mut texts = Texts::default();
            chunk.texts(&mut texts)?;
            whole(texts.len())?;
            let rows = 0..texts.len();
            let text = |row| Some(texts.get(row).to_vec());
            Ok(Values::Bytes(rows.map(text).collect()))
        }
        1 | 2 => {
            let (mut names, mut places) = (Vec::new(), Vec::new());
            chunk.names(&mut names, &mut places)?;
            whole(places.len())?;
            let name = |place: &u32| Some(names[*place as usize].clone().into_bytes());
            Ok(Values::Bytes(places.iter().map(name).collect()))
        }
        3 | 5 => {
            let mut texts = NullableTexts::default();
            chunk.nullable_texts(&mut texts)?;
            whole(texts.len())?;
            let rows = 0..texts.len();
            let text = |row| texts.get(row).map(<[u8]>::to_vec);
            Ok(Values::Bytes(rows.map(text).collect()))
        }
        4 => {
            let (mut values, mut present) = (Vec::new(), Vec::new());
            chunk.integers(&mut values, Some(&mut present))?;
            whole(present.len())?;
            let count = present.iter().filter(|level| **level == 1).count();
            if count != values.len() {
                return Err(ParquetError::General("a figure is missing".to_owned()));
            }
            let mut values = values.into_iter();
            let figure = |level: &u32| if *level == 1 { values.next() } else { None };
            Ok(Values::Integers(present.iter().map(figure).collect()))
        }
        _ => {
            let mut digests = Vec::new();
            chunk.digests(&mut digests)?;
            let (digests, rest) = digests.as_chunks::<DIGEST_BYTES>();
            whole(digests.len() + rest.len())?;
            let digest = |digest: &[u8; DIGEST_BYTES]| Some(digest.to_vec());
            Ok(Values::Bytes(digests.iter().map(digest).collect()))
        }
    }
}

/// The outcomes of both readers for a column of these bytes; a panic of the crate is an error.
fn both(
    file: &[u8],
    metadata: &ParquetMetaData,
    column: usize,
) -> (Result<Values, String>, Result<Values, String>) {
    let inflate = RefCell::default();
    let group = metadata.row_group(0);
    let chunk = Chunk {
        window: &Arc::new(Window {
            start: 0,
            bytes: Bytes::copy_from_slice(file),
        }),
        stored: group.column(column),
        rows: usize::try_from(group.num_rows()).unwrap(),
        inflate: &inflate,
    };
    let plain = catch_unwind(AssertUnwindSafe(|| plain::read(&chunk)));
    (
        fast(&chunk, column).map_err(|error| error.to_string()),
        plain
            .unwrap_or_else(|_| Err(ParquetError::General("it panics".to_owned())))
            .map_err(|error| error.to_string()),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn every_column_reads_as_the_crate_reads_it(
        rows in prop::collection::vec(stored(), 1..120),
        properties in properties(any_compression()),
    ) {
        let file = write(&rows, properties);
        let metadata = metadata(&file);
        for column in 0..COLUMNS {
            let (fast, plain) = both(&file, &metadata, column);
            prop_assert!(plain.is_ok(), "{column}: {plain:?}");
            prop_assert_eq!(fast, plain, "column {}", column);
        }
    }

    #[test]
    fn what_is_read_of_a_damaged_column_is_what_the_crate_reads(
        rows in prop::collection::vec(stored(), 1..60),
        // Uncompressed, because the readers do not check the same sizes of what is compressed.
        properties in properties(Just(Compression::UNCOMPRESSED)),
        column in 0..COLUMNS,
        damage in prop::collection::vec((0.0_f64..1.0, any::<u8>()), 1..4),
    ) {
        let mut file = write(&rows, properties);
        let metadata = metadata(&file);
        let (start, length) = metadata.row_group(0).column(column).byte_range();
        for (place, byte) in damage {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let place = start as usize + (length as f64 * place) as usize;
            file[place] = byte;
        }
        let (fast, plain) = both(&file, &metadata, column);
        if fast.is_ok() {
            prop_assert_eq!(fast, plain, "column {}", column);
        }
    }

    #[test]
    fn a_truncated_column_is_refused_by_both(
        rows in prop::collection::vec(stored(), 1..60),
        properties in properties(any_compression()),
        column in 0..COLUMNS,
        kept in 0.0_f64..1.0,
    ) {
        let file = write(&rows, properties);
        let metadata = metadata(&file);
        let (start, length) = metadata.row_group(0).column(column).byte_range();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let end = start as usize + (length as f64 * kept) as usize;
        let (fast, plain) = both(&file[..end], &metadata, column);
        prop_assert!(fast.is_err() && plain.is_err(), "{column}: {fast:?} {plain:?}");
    }
}
