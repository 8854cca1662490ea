//! Compares stored snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};
use rollbook_proto::v1::Verdict;
use rollbook_workers::compare::differences::{read_page, regressions};
use rollbook_workers::compare::rules::Class;
use rollbook_workers::compare::{CompareError, ComparisonResult, Rules, compare, compare_on};
use rollbook_workers::snapshot::parquet::PartWriter;
use rollbook_workers::snapshot::reader::key_order;
use rollbook_workers::snapshot::row::KeyOrder;
use rollbook_workers::snapshot::{
    Calculator, CalculatorDescription, Part, RawDeal, Row, Snapshot, SnapshotError, Values, take,
};

use crate::calculators::declared;
use crate::snapshot_database::{database, execute};
use crate::snapshot_deals::{calculator, request, snapshot, store};

pub(crate) fn rules() -> Rules {
    declared().default_rules(Rules::tolerance("5").unwrap())
}

/// A calculator without its last metric.
#[derive(Debug)]
struct Fewer(Arc<dyn Calculator>, CalculatorDescription);

impl Calculator for Fewer {
    fn description(&self) -> &CalculatorDescription {
        &self.1
    }
    fn compute(&self, deal: &RawDeal) -> Result<Values, String> {
        let mut values = self.0.compute(deal)?;
        values.numbers.pop();
        Ok(values)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_added_and_broken_deals_are_told_apart() {
    let (directory, store) = store();
    let path = directory.path().join("deals.db");
    let source = database(&path).await;
    let before = snapshot(source.clone(), true, &store).await.unwrap();
    execute(
        &path,
        "DELETE FROM deals WHERE id = 'é-accent';
         INSERT INTO deals VALUES ('new', 'acquisition', '[]', NULL);
         UPDATE deals SET inventory = '{' WHERE id = 'Z-upper'",
    )
    .await;
    let after = snapshot(source.clone(), true, &store).await.unwrap();
    let result = compare(&before, &after, &rules(), &declared(), &store)
        .await
        .unwrap()
        .result;
    assert_eq!(
        (result.missing, result.added, result.regressions),
        (1, 1, 2)
    );
    assert_eq!(result.verdict(), Verdict::Fail);
    // Sums before and after are over the same deals; those of one side stand beside them.
    assert_eq!(result.computed, Some(result.compared - 1 - result.errors));
    assert_eq!(
        (result.computed_before_only, result.computed_after_only),
        (2, 1)
    );
    let (old, new) = (
        figures(&before, &store).await,
        figures(&after, &store).await,
    );
    for (place, totals) in result.metrics.iter().enumerate() {
        let sum =
            |of: &BTreeMap<String, Vec<i64>>, among: &BTreeMap<String, Vec<i64>>, is: bool| {
                let deals = of.iter().filter(|(id, _)| among.contains_key(*id) == is);
                deals
                    .map(|(_, figures)| i128::from(figures[place]))
                    .sum::<i128>()
            };
        let expected = [
            sum(&old, &new, true),
            sum(&new, &old, true),
            sum(&old, &new, false),
            sum(&new, &old, false),
        ];
        let found = [
            totals.before,
            totals.after,
            totals.before_only,
            totals.after_only,
        ];
        assert_eq!(found.map(|it| it.0), expected, "{}", totals.metric);
    }
    let rules_hit: Vec<_> = result.worst.iter().map(|w| w.rule.as_str()).collect();
    assert_eq!(rules_hit, ["error-on-one-side", "missing-after"]);
    // A share of the deals before, which include the missing ones.
    let share: f64 = affected(&result).unwrap().parse().unwrap();
    let exact = 200.0 / result.before.deals as f64;
    assert!((share - exact).abs() < 1e-9, "{share} {exact}");

    let again = snapshot(source, true, &store).await.unwrap();
    let result = compare(&after, &again, &rules(), &declared(), &store)
        .await
        .unwrap()
        .result;
    assert_eq!((result.errors, result.regressions), (1, 0));
    assert_eq!(result.verdict(), Verdict::Error);
}

/// The figures of the deals that have any.
async fn figures(snapshot: &Snapshot, store: &EvidenceStore) -> BTreeMap<String, Vec<i64>> {
    let mut figures = BTreeMap::new();
    for part in 0..snapshot.manifest.parts.len() {
        for row in snapshot.read_rows(store, part).await.unwrap() {
            if let Some(values) = row.values() {
                figures.insert(row.deal_id.clone(), values.numbers.clone());
            }
        }
    }
    figures
}

fn affected(result: &ComparisonResult) -> Option<String> {
    result.affected_percent().map(|share| share.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_all_deals_are_affected() {
    let (directory, store) = store();
    let path = directory.path().join("deals.db");
    let source = database(&path).await;
    let before = snapshot(source.clone(), true, &store).await.unwrap();
    let left = async |statement: &'static str| {
        execute(&path, statement).await;
        snapshot(source.clone(), true, &store).await.unwrap()
    };
    let one =
        left("DELETE FROM deals WHERE id <> (SELECT min(id) FROM deals WHERE deleted_at IS NULL)")
            .await;
    let none = left("DELETE FROM deals").await;
    for (sides, counts, share) in [
        ((&before, &one), (1, before.manifest.total - 1), None),
        ((&before, &none), (0, before.manifest.total), Some("100")),
        ((&none, &one), (0, 0), None),
    ] {
        let result = compare(sides.0, sides.1, &rules(), &declared(), &store)
            .await
            .unwrap()
            .result;
        assert_eq!((result.compared, result.missing), counts);
        match counts {
            (1, _) => {
                let share: f64 = affected(&result).unwrap().parse().unwrap();
                assert!(share > 0.0 && share < 100.0, "{share}");
            }
            _ => assert_eq!(affected(&result).as_deref(), share),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_different_metrics_are_refused_with_the_difference() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let before = snapshot(source.clone(), true, &store).await.unwrap();
    let all = calculator(true);
    let mut description = all.description().clone();
    let dropped = description.metrics.pop().unwrap().name;
    let fewer = request(source, Arc::new(Fewer(all, description)));
    let after = take(&fewer, &store, &|_| {}).await.unwrap();
    let error = compare(&before, &after, &rules(), &declared(), &store)
        .await
        .unwrap_err();
    assert!(matches!(error, CompareError::Metrics { .. }), "{error}");
    assert!(error.to_string().contains(&dropped), "{error}");
}

/// Stores a snapshot of synthetic rows in parts of `part_rows` rows.
pub(crate) async fn synthetic(
    store: &EvidenceStore,
    like: &Snapshot,
    rows: &[Row],
    part_rows: usize,
) -> Snapshot {
    let mut manifest = like.manifest.clone();
    manifest.parts.clear();
    for chunk in rows.chunks(part_rows) {
        let mut writer = PartWriter::new(&manifest.metrics).unwrap();
        chunk.iter().for_each(|row| writer.push(row).unwrap());
        let (bytes, part) = writer.finish().unwrap();
        let sha256 = store
            .put(bytes.into(), "part", "part")
            .await
            .unwrap()
            .sha256;
        manifest.parts.push(Part { sha256, ..part });
    }
    manifest.total = rows.len() as u64;
    manifest.errors = manifest.parts.iter().map(|part| part.errors).sum();
    manifest.success = manifest.total - manifest.errors;
    manifest.deal_types = [("acquisition".to_owned(), manifest.total)].into();
    let bytes = manifest.to_bytes().unwrap();
    let stored = store
        .put(bytes.into(), "manifest", "manifest")
        .await
        .unwrap();
    Snapshot::open(store, &stored.sha256).await.unwrap()
}

pub(crate) fn synthetic_rows(metrics: usize, side: i64) -> Vec<Row> {
    (0..30_000i64)
        .filter(|n| n % 977 != side)
        .map(|n| {
            let id = format!("{n:06}");
            let kind = ["acquisition", "carveout", "divestiture", "other"][(n % 4) as usize];
            if n % 501 == 7 + side {
                return Row::new(id, Some(kind), Err::<Values, _>(format!("broken {n}")));
            }
            let moved = if n % 13 == 0 { side * (n % 29) } else { 0 };
            let figures = (0..metrics as i64).map(|m| 100 + n % 50 + m + moved);
            Row::new(id, Some(kind), Ok(figures.collect::<Vec<i64>>()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_is_byte_identical_for_any_number_of_threads_and_parts() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let like = snapshot(source, true, &store).await.unwrap();
    let metrics = like.manifest.metrics.len();
    let (old, new) = (synthetic_rows(metrics, 0), synthetic_rows(metrics, 1));
    let before = synthetic(&store, &like, &old, 1_000).await;
    let after = synthetic(&store, &like, &new, 1_700).await;
    let one = compare_on(Some(1), &before, &after, &rules(), &declared(), &store)
        .await
        .unwrap();
    assert!(one.result.differences.len() > 1, "one range tests nothing");
    for threads in [2, 8] {
        let many = compare_on(
            Some(threads),
            &before,
            &after,
            &rules(),
            &declared(),
            &store,
        )
        .await
        .unwrap();
        assert_eq!(
            many.evidence.sha256, one.evidence.sha256,
            "{threads} threads"
        );
    }
    // The result does not depend on how the rows are cut into parts.
    let whole_before = synthetic(&store, &like, &old, 100_000).await;
    let whole_after = synthetic(&store, &like, &new, 100_000).await;
    let whole = compare(&whole_before, &whole_after, &rules(), &declared(), &store)
        .await
        .unwrap()
        .result;
    let (mut cut, mut pages) = (one.result.clone(), Vec::new());
    for result in [&cut, &whole] {
        let mut rows = Vec::new();
        for page in &result.differences {
            rows.extend(read_page(&store, page).await.unwrap());
        }
        pages.push(rows);
    }
    assert_eq!(pages[0], pages[1]);
    (cut.before, cut.after) = (whole.before.clone(), whole.after.clone());
    cut.differences.clone_from(&whole.differences);
    assert_eq!(cut, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn regressions_are_paged_by_deal_and_none_is_lost() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let like = snapshot(source, true, &store).await.unwrap();
    let metrics = like.manifest.metrics.len();
    let before = synthetic(&store, &like, &synthetic_rows(metrics, 0), 1_000).await;
    let after = synthetic(&store, &like, &synthetic_rows(metrics, 1), 1_000).await;
    let result = compare(&before, &after, &rules(), &declared(), &store)
        .await
        .unwrap()
        .result;
    let order = key_order(&before.manifest);
    let pages = &result.differences;
    let all = regressions(&store, pages, order, None, usize::MAX)
        .await
        .unwrap();
    assert_eq!(all.next_after, None);
    let deals: std::collections::BTreeSet<_> = all
        .regressions
        .iter()
        .map(|row| row.deal_id.clone())
        .collect();
    assert_eq!(deals.len() as u64, result.regressions);
    let by_rule: u64 = result
        .by_rule
        .values()
        .filter_map(|c| c.get(&Class::Regression))
        .sum();
    assert_eq!(all.regressions.len() as u64, by_rule);
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let page = regressions(&store, pages, order, cursor.as_deref(), 100)
            .await
            .unwrap();
        paged.extend(page.regressions);
        match page.next_after {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(paged, all.regressions);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_anywhere_in_a_part_is_found_and_named() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let like = snapshot(source, true, &store).await.unwrap();
    let metrics = like.manifest.metrics.len();
    let before = synthetic(&store, &like, &synthetic_rows(metrics, 0)[..9_000], 3_000).await;
    let after = synthetic(&store, &like, &synthetic_rows(metrics, 1)[..9_000], 3_000).await;
    let damaged = &after.manifest.parts[1].sha256;
    let path = std::path::Path::new(store.location())
        .join(&damaged[..2])
        .join(damaged);
    let whole = std::fs::read(&path).unwrap();
    for place in 0..60 {
        let mut bytes = whole.clone();
        let at = place * (bytes.len() - 1) / 59;
        bytes[at] ^= 1 << (place % 8);
        std::fs::write(&path, &bytes).unwrap();
        let error = compare(&before, &after, &rules(), &declared(), &store)
            .await
            .unwrap_err();
        match error {
            CompareError::Snapshot(SnapshotError::Evidence(EvidenceError::Corrupt {
                sha256,
                ..
            })) => assert_eq!(&sha256, damaged, "byte {at}"),
            other => panic!("byte {at}: {other}"),
        }
    }
    std::fs::write(&path, &whole).unwrap();
    compare(&before, &after, &rules(), &declared(), &store)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn integer_keys_are_merged_by_value_and_never_with_keys_in_byte_order() {
    let (directory, store) = store();
    let source = database(&directory.path().join("deals.db")).await;
    let mut like = snapshot(source, true, &store).await.unwrap();
    let metrics = like.manifest.metrics.len();
    like.manifest.key_order = KeyOrder::Integer;
    let rows = |missing: i64| -> Vec<Row> {
        let ids = (5..2_005i64).filter(|n| *n != missing);
        ids.map(|n| Row::new(n.to_string(), None, Ok(vec![n; metrics])))
            .collect()
    };
    let before = synthetic(&store, &like, &rows(0), 300).await;
    let after = synthetic(&store, &like, &rows(99), 450).await;
    let result = compare(&before, &after, &rules(), &declared(), &store)
        .await
        .unwrap()
        .result;
    assert_eq!((result.compared, result.equal), (1_999, 1_999));
    assert_eq!((result.missing, result.added), (1, 0));

    let mut bytes = after.clone();
    bytes.manifest.key_order = KeyOrder::Bytes;
    let error = compare(&before, &bytes, &rules(), &declared(), &store)
        .await
        .unwrap_err();
    assert!(matches!(error, CompareError::Keys { .. }), "{error}");
}
