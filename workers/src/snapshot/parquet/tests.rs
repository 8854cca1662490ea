#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rollbook_ledger::evidence::EvidenceStore;

use super::*;

fn metrics() -> Vec<MetricInfo> {
    ["cost_total", "synergy_count"]
        .map(|name| MetricInfo {
            name: name.to_owned(),
            unit: "count".to_owned(),
        })
        .to_vec()
}

fn encode(rows: &[Row]) -> (Vec<u8>, Part) {
    let mut writer = PartWriter::new(&metrics()).unwrap();
    for row in rows {
        writer.push(row.clone()).unwrap();
    }
    writer.finish().unwrap()
}

/// Reads a part back from a store, by the runtime of the caller.
fn decode(bytes: &[u8], part: &Part) -> Result<Vec<Row>, SnapshotError> {
    let directory = tempfile::tempdir().unwrap();
    let store = EvidenceStore::open(directory.path().to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stored = runtime
        .block_on(store.put(bytes.to_vec().into(), "part", "part"))
        .unwrap();
    let file = runtime
        .block_on(store.open_checked(&stored.sha256))
        .unwrap();
    let mut reader = PartReader::open(file, part, &metrics())?;
    let (mut rows, mut group) = (Vec::new(), RowGroup::default());
    while reader.next_group(&mut group)? {
        for row in 0..group.len() {
            rows.push(group.row(row)?);
        }
    }
    Ok(rows)
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
}

#[test]
fn parts_of_many_row_groups_keep_every_row() {
    let count = ROW_GROUP_ROWS * 2 + 7;
    let rows: Vec<Row> = (0..count)
        .map(|n| Row::new(format!("{n:08}"), Some("carveout"), Ok(vec![n as i64, 1])))
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
        writer.push(short),
        Err(SnapshotError::Encode { .. })
    ));
}
