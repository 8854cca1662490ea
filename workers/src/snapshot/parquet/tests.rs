#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use rollbook_ledger::evidence::EvidenceStore;

use super::*;
use crate::snapshot::values::Values;
use crate::snapshot::{Part, Row};

fn metrics() -> Vec<MetricInfo> {
    infos(&[("price_total", "count"), ("link_count", "count")])
}

/// Metrics with texts before, between and after figures.
fn with_texts() -> Vec<MetricInfo> {
    infos(&[
        ("state", "text"),
        ("price_total", "cents"),
        ("owner", "text"),
        ("link_count", "count"),
        ("note", "text"),
    ])
}

fn infos(metrics: &[(&str, &str)]) -> Vec<MetricInfo> {
    let info = |(name, unit): &(&str, &str)| MetricInfo {
        name: (*name).to_owned(),
        unit: (*unit).to_owned(),
    };
    metrics.iter().map(info).collect()
}

fn encode(rows: &[Row]) -> (Vec<u8>, Part) {
    encode_with(rows, &metrics())
}

fn encode_with(rows: &[Row], metrics: &[MetricInfo]) -> (Vec<u8>, Part) {
    let mut writer = PartWriter::new(metrics).unwrap();
    for row in rows {
        writer.push(row).unwrap();
    }
    writer.finish().unwrap()
}

/// Reads a part back from a store on the caller's runtime.
fn decode(bytes: &[u8], part: &Part) -> Result<Vec<Row>, SnapshotError> {
    decode_with(bytes, part, &metrics())
}

fn decode_with(
    bytes: &[u8],
    part: &Part,
    metrics: &[MetricInfo],
) -> Result<Vec<Row>, SnapshotError> {
    let directory = tempfile::tempdir().unwrap();
    let store = EvidenceStore::open(directory.path().to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stored = runtime
        .block_on(store.put(bytes.to_vec().into(), "part", "part"))
        .unwrap();
    let file = runtime
        .block_on(store.open_checked(&stored.sha256))
        .unwrap();
    let mut reader = PartReader::open(file, part, metrics)?;
    let (mut rows, mut group) = (Vec::new(), RowGroup::default());
    while reader.next_group(&mut group)? {
        for row in 0..group.len() {
            rows.push(group.row(row)?);
        }
    }
    Ok(rows)
}

/// Rows with figures and texts: NULL, empty, in other alphabets and with control characters.
fn any_row_with_texts() -> impl Strategy<Value = Row> {
    let text = prop::option::of(prop_oneof![
        "\\PC{0,20}",
        Just("a\n\"b\"\0\u{1b}é😀".to_owned()),
        Just("x".repeat(1024)),
    ]);
    let texts = prop::collection::vec(text, 3..=3);
    let values = (any::<[i64; 2]>(), texts).prop_map(|(numbers, texts)| Values {
        numbers: numbers.to_vec(),
        texts,
    });
    let outcome = prop_oneof![4 => values.prop_map(Ok), 1 => ".{0,20}".prop_map(Err)];
    (".{1,12}", outcome).prop_map(|(id, outcome)| Row::new(id, None, outcome))
}

fn any_row() -> impl Strategy<Value = Row> {
    let outcome = prop_oneof![
        any::<[i64; 2]>().prop_map(|values| Ok(values.to_vec())),
        ".{0,20}".prop_map(Err),
    ];
    (".{1,12}", prop::option::of(".{0,6}"), outcome)
        .prop_map(|(id, deal_type, outcome)| Row::new(id, deal_type.as_deref(), outcome))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_rows_come_back_as_they_were_and_equal_rows_are_equal_bytes(
        rows in prop::collection::vec(any_row(), 1..60),
    ) {
        let (bytes, part) = encode(&rows);
        prop_assert_eq!(decode(&bytes, &part).unwrap(), rows.clone());
        prop_assert_eq!(encode(&rows).0, bytes);
    }

    #[test]
    fn any_texts_come_back_as_they_were_and_equal_rows_are_equal_bytes(
        rows in prop::collection::vec(any_row_with_texts(), 1..60),
    ) {
        let metrics = with_texts();
        let (bytes, part) = encode_with(&rows, &metrics);
        prop_assert_eq!(decode_with(&bytes, &part, &metrics).unwrap(), rows.clone());
        prop_assert_eq!(encode_with(&rows, &metrics).0, bytes);
    }
}

#[test]
fn texts_of_many_row_groups_keep_their_rows() {
    let row = |n: usize| {
        let id = format!("{n:08}");
        if n.is_multiple_of(7) {
            return Row::new(id, None, Err::<Values, _>("no".to_owned()));
        }
        let texts = vec![
            Some(format!("state {n}")),
            (!n.is_multiple_of(3)).then(|| "x".repeat(n % 50)),
            None,
        ];
        let numbers = vec![n as i64, 1];
        Row::new(id, None, Ok(Values { numbers, texts }))
    };
    let rows: Vec<Row> = (0..ROW_GROUP_ROWS * 2 + 7).map(row).collect();
    let metrics = with_texts();
    let (bytes, part) = encode_with(&rows, &metrics);
    assert_eq!(decode_with(&bytes, &part, &metrics).unwrap(), rows);
    // A manifest that declares a text as a figure does not match this part.
    let mut other = metrics.clone();
    other[0].unit = "count".to_owned();
    let error = decode_with(&bytes, &part, &other).unwrap_err().to_string();
    assert!(error.contains("its columns are not those"), "{error}");
}

#[test]
fn a_row_without_its_texts_is_refused() {
    let mut writer = PartWriter::new(&with_texts()).unwrap();
    let row = Row::new("a".into(), None, Ok(vec![1, 2]));
    assert!(matches!(
        writer.push(&row),
        Err(SnapshotError::Encode { .. })
    ));
}

#[test]
fn parts_of_many_row_groups_keep_every_row() {
    let count = ROW_GROUP_ROWS * 2 + 7;
    let rows: Vec<Row> = (0..count)
        .map(|n| Row::new(format!("{n:08}"), Some("square"), Ok(vec![n as i64, 1])))
        .collect();
    let (bytes, part) = encode(&rows);
    assert_eq!((part.rows, part.errors), (count as u64, 0));
    assert_eq!(decode(&bytes, &part).unwrap(), rows);
}

#[test]
fn a_part_that_is_not_what_its_manifest_says_is_refused() {
    let rows = [Row::new("a".into(), None, Ok(vec![1, 2]))];
    let (bytes, part) = encode(&rows);
    let more = Part {
        rows: 2,
        ..part.clone()
    };
    let error = decode(&bytes, &more).unwrap_err().to_string();
    assert!(error.starts_with("RB-SNAPSHOT-8: part"), "{error}");
    assert!(decode(b"PAR1 no parquet PAR1", &part).is_err());
    let mut writer = PartWriter::new(&metrics()).unwrap();
    let short = Row::new("a".into(), None, Ok(vec![1]));
    assert!(matches!(
        writer.push(&short),
        Err(SnapshotError::Encode { .. })
    ));
}

/// The documented columns: name, Parquet type, when NULL.
fn documented() -> Vec<[String; 3]> {
    let document = include_str!("../../../../docs/snapshots.md");
    let (_, section) = document.split_once("## What a part holds").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(|cell| cell.trim().to_owned());
        std::array::from_fn(|_| cells.next().unwrap())
    })
    .collect()
}

#[test]
fn the_columns_of_a_part_are_the_documented_ones() {
    let units = ["cents", "count", "text"];
    let metrics = infos(&units.map(|unit| (unit, unit)));
    let schema = schema(&metrics).unwrap();
    let columns: Vec<[String; 3]> = schema
        .get_fields()
        .iter()
        .map(|field| {
            let basic = field.get_basic_info();
            let name = match units.contains(&field.name()) {
                true => format!("a metric in `{}`", field.name()),
                false => format!("`{}`", field.name()),
            };
            let ::parquet::schema::types::Type::PrimitiveType {
                physical_type,
                type_length,
                ..
            } = field.as_ref()
            else {
                panic!("{} is a group", field.name());
            };
            let stored = match (physical_type, basic.logical_type_ref()) {
                (Physical::FIXED_LEN_BYTE_ARRAY, None) => {
                    format!("FIXED_LEN_BYTE_ARRAY({type_length})")
                }
                (physical, None) => physical.to_string(),
                (physical, Some(LogicalType::String)) => format!("{physical} (STRING)"),
                other => panic!("{other:?}"),
            };
            let null = match (basic.repetition(), field.name()) {
                (Repetition::REQUIRED, _) => "never",
                (Repetition::OPTIONAL, "error") => "on success",
                (Repetition::OPTIONAL, _) => "on error",
                other => panic!("{other:?}"),
            };
            [name, stored, null.to_owned()]
        })
        .collect();
    assert_eq!(documented(), columns);
}

#[test]
fn the_digest_of_a_row_is_over_the_documented_bytes() {
    let values = Values {
        numbers: vec![1250, 3],
        texts: vec![Some("open".to_owned())],
    };
    let row = Row::new("7".to_owned(), None, Ok(values));
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let number = |number: u64| number.to_le_bytes().to_vec();
    let bytes = [
        b"rollbook row 1\0".to_vec(),
        text("7"),
        text("NULL"),
        vec![1],
        number(2),
        number(1250),
        number(3),
        number(1),
        vec![1],
        text("open"),
    ]
    .concat();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    assert_eq!(row.digest, digest[..DIGEST_BYTES]);
    let document = include_str!("../../../../docs/snapshots.md");
    let shown = format!("the digest `{}`", hex::encode(row.digest));
    assert!(document.contains(&shown), "{shown}");
}
