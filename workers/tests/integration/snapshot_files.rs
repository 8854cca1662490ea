//! Snapshots of Parquet and JSON lines have the same parts as those of a database.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rollbook_ledger::evidence::EvidenceError;
use rollbook_workers::snapshot::source::Consistency;
use rollbook_workers::snapshot::{
    KeyOrder, ShardContext, SnapshotError, SnapshotSource, plan, run_shard, take,
};

use crate::snapshot_database::database;
use crate::snapshot_deals::{Deal, calculator, deals, request, snapshot, store};

fn sorted() -> Vec<Deal> {
    let mut deals = deals();
    deals.sort_by(|left, right| left.id.as_bytes().cmp(right.id.as_bytes()));
    deals
}

fn line(deal: &Deal) -> String {
    let deleted = if deal.deleted {
        "\"2026-01-01\""
    } else {
        "null"
    };
    format!(
        r#"{{"name":"{{\"id\":1}}","id":{},"deal_type":{},"deleted_at":{deleted},"inventory":{}}}"#,
        serde_json::to_string(&deal.id).unwrap(),
        serde_json::to_string(&deal.deal_type).unwrap(),
        deal.inventory(),
    )
}

fn json_lines(path: &Path, lines: &[String]) -> SnapshotSource {
    std::fs::write(path, lines.join("\n")).unwrap();
    SnapshotSource::new(format!("jsonl:{}", path.display()))
}

fn parquet_file(path: &Path, deals: &[Deal]) -> SnapshotSource {
    let schema = "message deal { REQUIRED BYTE_ARRAY id (UTF8); OPTIONAL BYTE_ARRAY deal_type (UTF8); \
                  OPTIONAL INT64 deleted_at; OPTIONAL BYTE_ARRAY inventory (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build())).unwrap();
    // Neither a multiple nor a divisor of the rows per shard.
    for group_of in deals.chunks(700) {
        let mut group = writer.next_row_group().unwrap();
        let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        let ids: Vec<_> = group_of.iter().map(|deal| text(&deal.id)).collect();
        let types: Vec<_> = group_of
            .iter()
            .filter_map(|deal| deal.deal_type)
            .map(text)
            .collect();
        let typed: Vec<i16> = group_of
            .iter()
            .map(|deal| i16::from(deal.deal_type.is_some()))
            .collect();
        let deleted: Vec<i16> = group_of
            .iter()
            .map(|deal| i16::from(deal.deleted))
            .collect();
        let times: Vec<i64> = group_of
            .iter()
            .filter(|deal| deal.deleted)
            .map(|_| 1)
            .collect();
        let inventories: Vec<_> = group_of
            .iter()
            .map(|deal| text(&deal.inventory()))
            .collect();
        let all = vec![1i16; group_of.len()];
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&ids, None, None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&types, Some(&typed), None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&times, Some(&deleted), None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&inventories, Some(&all), None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    SnapshotSource::new(format!("parquet:{}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_give_the_same_parts_as_a_database() {
    let (directory, store) = store();
    let sqlite = database(&directory.path().join("deals.db")).await;
    let sqlite = snapshot(sqlite, true, &store).await.unwrap().manifest;
    let lines: Vec<String> = sorted().iter().map(line).collect();
    let sources = [
        json_lines(&directory.path().join("deals.jsonl"), &lines),
        parquet_file(&directory.path().join("deals.parquet"), &sorted()),
    ];
    for source in sources {
        let taken = snapshot(source.clone(), true, &store)
            .await
            .unwrap()
            .manifest;
        assert_eq!(taken.parts, sqlite.parts, "{source:?}");
        assert_eq!(taken.deleted_excluded, 1);
        assert_eq!(taken.consistency, Consistency::FileDigest);
        assert_eq!(taken.source.file_sha256.unwrap().len(), 64);

        let mut filtered = source;
        filtered.filter = Some("1=1".to_owned());
        let error = snapshot(filtered, true, &store).await.unwrap_err();
        assert!(
            matches!(error, SnapshotError::Request { field: "where", .. }),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_out_of_order_and_invalid_deals_are_named() {
    let (directory, store) = store();
    let deal = |id: &str| format!(r#"{{"id":{id},"deal_type":null,"inventory":[]}}"#);
    const ORDER: &str = "RB-SNAPSHOT-12: ";
    for (lines, place, reason) in [
        (vec![deal("\"b\""), deal("\"a\"")], "line 2", "after"),
        (
            vec![deal("\"a\""), String::new(), deal("\"a\"")],
            "line 3",
            "twice",
        ),
        (vec![deal("1"), deal("\"a\"")], "line 2", "numbers"),
    ] {
        let source = json_lines(&directory.path().join("bad.jsonl"), &lines);
        let text = snapshot(source, true, &store)
            .await
            .unwrap_err()
            .to_string();
        assert!(text.starts_with(ORDER), "{text}");
        assert!(
            text.contains("bad.jsonl, ") && text.contains(place),
            "{text}"
        );
        assert!(
            text.contains(reason) && text.contains("sorted by id"),
            "{text}"
        );
    }
    let twice = |more: &str| format!(r#"{{"id":2,{more},"inventory":[]}}"#);
    for (lines, place, reason) in [
        (vec![deal("null")], "line 1", "no `id`"),
        (vec![deal("[1]")], "line 1", "neither"),
        (vec![deal("1.5")], "line 1", "integer"),
        (
            vec![deal("1"), "{\"id\":2".to_owned()],
            "line 2",
            "no JSON object",
        ),
        (vec![deal("1"), "2".to_owned()], "line 2", "no JSON object"),
        (vec![twice("\"id\":2")], "line 1", "`id` occurs twice"),
        (
            vec![String::new(), twice("\"\\u0069d\":3")],
            "line 2",
            "`id` occurs twice",
        ),
        (
            vec![twice("\"inventory\":null")],
            "line 1",
            "`inventory` occurs twice",
        ),
        (
            vec![deal("1"), twice("\"deal_type\":\"x\",\"deal_type\":\"x\"")],
            "line 2",
            "`deal_type` occurs twice",
        ),
        (
            vec![twice("\"deleted_at\":null,\"deleted_at\":1")],
            "line 1",
            "`deleted_at` occurs twice",
        ),
        (
            vec![twice("\"note\":1,\"other\":2,\"note\":1")],
            "line 1",
            "`note` occurs twice",
        ),
    ] {
        let source = json_lines(&directory.path().join("bad.jsonl"), &lines);
        let error = snapshot(source, true, &store).await.unwrap_err();
        assert!(matches!(error, SnapshotError::FileRow { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("RB-SNAPSHOT-18: "), "{text}");
        assert!(
            text.contains("bad.jsonl, ") && text.contains(place),
            "{text}"
        );
        assert!(text.contains(reason) && !text.contains("sorted"), "{text}");
    }
    let absent = SnapshotSource::new(format!("parquet:{}/absent", directory.path().display()));
    let error = snapshot(absent, true, &store).await.unwrap_err();
    assert!(matches!(error, SnapshotError::File { .. }), "{error:?}");
    let mut unsorted = sorted();
    unsorted.swap(1_500, 1_501);
    let source = parquet_file(&directory.path().join("unsorted.parquet"), &unsorted);
    let error = snapshot(source, true, &store).await.unwrap_err();
    assert!(error.to_string().contains("row 1502"), "{error}");
    assert!(error.to_string().starts_with(ORDER), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn integer_ids_of_a_file_are_ordered_by_value_and_a_changed_file_is_refused() {
    let (directory, store) = store();
    let path = directory.path().join("deals.jsonl");
    let mut lines: Vec<String> = [-3, 9, 10, 200]
        .iter()
        .map(|id| {
            format!(
                r#"{{"id":{id},"tenant_id":"t{}","inventory":"[]"}}"#,
                id % 2
            )
        })
        .collect();
    // Belongs to no tenant, like a NULL in a table.
    lines.push(r#"{"id":300,"tenant_id":null,"inventory":"[]"}"#.to_owned());
    lines.push(r#"{"id":18446744073709551615,"inventory":"[]"}"#.to_owned());
    let mut source = json_lines(&path, &lines);
    let mut request = request(source.clone(), calculator(true));
    request.rows_per_part = 3;
    let taken = take(&request, &store, &|_| {}).await.unwrap();
    assert_eq!(taken.manifest.key_order, KeyOrder::Integer);
    let first: Vec<&str> = taken
        .manifest
        .parts
        .iter()
        .map(|part| part.first_id.as_str())
        .collect();
    assert_eq!(first, ["-3", "200"]);
    assert!(taken.find(&store, "10").await.unwrap().is_some());
    source.tenant = Some("t0".to_owned());
    let tenant = snapshot(source.clone(), true, &store).await.unwrap();
    assert_eq!(tenant.manifest.total, 2);

    let planned = plan(&request).await.unwrap();
    std::fs::write(&path, lines[..3].join("\n")).unwrap();
    let context = ShardContext::new(calculator(true), store, None).unwrap();
    let error = run_shard(&planned.shards[0], &source.database, &context)
        .await
        .unwrap_err();
    assert!(
        matches!(error, SnapshotError::FileChanged { .. }),
        "{error:?}"
    );
    assert!(error.needs_new_plan());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_store_leaves_no_snapshot() {
    let (directory, store) = store();
    // Files take the place of the store's directories: not even root can write below them.
    for prefix in 0..=255u8 {
        std::fs::write(directory.path().join(format!("evidence/{prefix:02x}")), "").unwrap();
    }
    let path = directory.path().join("deals.jsonl");
    std::fs::write(&path, r#"{"id":"a","inventory":[]}"#).unwrap();
    let source = SnapshotSource::new(format!("jsonl:{}", path.display()));
    let error = snapshot(source, true, &store).await.unwrap_err();
    assert!(
        matches!(error, SnapshotError::Evidence(EvidenceError::Denied { .. })),
        "{error:?}"
    );
    assert!(error.to_string().starts_with("RB-EVIDENCE-5: "), "{error}");
}
