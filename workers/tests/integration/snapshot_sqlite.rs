//! Snapshots of a SQLite database.

use std::sync::Mutex;

use rollbook_ledger::evidence::EvidenceError;
use rollbook_workers::snapshot::{
    DealTable, Progress, RowOutcome, Snapshot, SnapshotError, SnapshotSource, take,
};

use crate::snapshot_database::{broken_deals_are_error_rows, database};
use crate::snapshot_deals::{calculator, request, snapshot, store};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_every_deal_in_byte_order_for_any_number_of_threads() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let mut request = request(source, calculator(true));
    let seen = Mutex::new(Vec::<Progress>::new());
    let first = take(&request, &store, &|p| seen.lock().unwrap().push(p))
        .await
        .unwrap();
    let manifest = &first.manifest;
    assert_eq!((manifest.total, manifest.errors), (2_499, 0));
    assert_eq!(manifest.deleted_excluded, 1);
    assert_eq!(manifest.parts.len(), 3);
    assert_eq!(manifest.deal_types["NULL"], 834);
    assert_eq!(manifest.flags_sequence, 7);
    let last = *seen.lock().unwrap().last().unwrap();
    assert_eq!((last.done, last.total, last.errors), (2_499, 2_499, 0));

    let mut ids = Vec::new();
    let mut total = 0i128;
    for part in 0..manifest.parts.len() {
        for row in first.read_rows(&store, part).await.unwrap() {
            let RowOutcome::Success(values) = &row.outcome else {
                panic!("{row:?}");
            };
            total += i128::from(values.numbers[0]);
            ids.push(row.deal_id);
        }
    }
    assert!(ids.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()));
    assert_eq!(ids.len(), 2_499);
    assert_eq!(manifest.totals["weight"].0, total);
    assert!(total > 0);

    for threads in [1, 3] {
        request.threads = Some(threads);
        let again = take(&request, &store, &|_| {}).await.unwrap();
        assert_eq!(again, first, "{threads} threads");
    }
    let opened = Snapshot::open(&store, &first.evidence.sha256)
        .await
        .unwrap();
    assert_eq!(opened, first);
    let found = opened.find(&store, "O'Brien \"x\"").await.unwrap().unwrap();
    assert_eq!(found.deal_type, "acquisition");
    assert!(opened.find(&store, "no such deal").await.unwrap().is_none());
    let event = opened.to_event("0.3");
    assert_eq!((event.deals, event.errors), (2_499, 0));
    assert_eq!(event.manifest.unwrap().sha256, first.evidence.sha256);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_table_gives_the_same_snapshot_as_a_column() {
    let (directory, store) = store();
    let mut source = database(&directory.path().join("deals.db")).await;
    let column = snapshot(source.clone(), true, &store).await.unwrap();
    source.inventory_query = Some("SELECT deal_id, item FROM items -- all;".to_owned());
    let child = snapshot(source.clone(), true, &store).await.unwrap();
    assert_eq!(child.manifest.parts, column.manifest.parts);
    source.filter = Some("deal_type = 'carveout' -- only these".to_owned());
    let filtered = snapshot(source, true, &store).await.unwrap();
    assert_eq!(filtered.manifest.deal_types.len(), 1);
    assert!(filtered.manifest.total > 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_deal_is_an_error_row_and_the_others_are_computed() {
    broken_deals_are_error_rows("counter: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_and_columns_are_named() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let mut absent = source.clone();
    absent.table.table = "deels".to_owned();
    let error = snapshot(absent, true, &store).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Query { .. }), "{error}");
    assert!(error.to_string().contains("deels"), "{error}");
    let mut absent = source.clone();
    absent.table.inventory = "inventry".to_owned();
    let error = snapshot(absent, true, &store)
        .await
        .map(|s| s.manifest.errors);
    // SQLite would read an unknown quoted name as a string if it stood alone.
    assert!(
        matches!(error, Err(SnapshotError::Query { .. })),
        "{error:?}"
    );
    let file = format!("sqlite:{}/absent.db", directory.path().display());
    let error = snapshot(SnapshotSource::new(file), true, &store)
        .await
        .unwrap_err();
    assert!(matches!(error, SnapshotError::Url { .. }), "{error}");
    assert!(!directory.path().join("absent.db").exists());

    let mut twice = source;
    twice.table = DealTable {
        id: "deal_type".to_owned(),
        ..DealTable::default()
    };
    let error = snapshot(twice, true, &store).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Order { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_part_is_found() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let taken = snapshot(source, true, &store).await.unwrap();
    let sha256 = &taken.manifest.parts[1].sha256;
    let path = directory
        .path()
        .join("evidence")
        .join(&sha256[..2])
        .join(sha256);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    taken.read_rows(&store, 0).await.unwrap();
    let error = taken.read_rows(&store, 1).await.unwrap_err();
    assert!(
        matches!(
            error,
            SnapshotError::Evidence(EvidenceError::Corrupt { .. })
        ),
        "{error}"
    );
    assert!(error.to_string().starts_with("RB-EVIDENCE-3: "), "{error}");
}
