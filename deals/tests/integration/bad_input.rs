//! Inventories broken in every way, and types that nobody knows.

use rollbook_workers::snapshot::{RowOutcome, SnapshotSource};

use crate::snapshot_database::broken_deals_are_error_rows;
use crate::snapshot_deals::{snapshot, store};

fn application(data: &str) -> String {
    format!(r#"[{{"item_id":"i1","inventory_type":"application","name":"a","data":{{{data}}}}}]"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_inventory_is_one_error_row_that_says_why() {
    let (directory, store) = store();
    let item = |id: &str| format!(r#"{{"item_id":"{id}","inventory_type":"vendor"}}"#);
    let filler = item("f").replace('f', &"f".repeat(1_000));
    let huge: Vec<String> = (0..50_000)
        .map(|n| filler.replacen("ff", &format!("{n:06}"), 1))
        .collect();
    let huge = format!("[{}]", huge.join(","));
    assert!(huge.len() > 50_000_000);
    let cases = [
        ("a huge one", huge, None),
        ("b object", "{}".to_owned(), Some("array")),
        ("c text", "\"none\"".to_owned(), Some("array")),
        ("d cut", "[{\"item_id\":".to_owned(), Some("RB-DEAL")),
        ("e NaN", application("\"cost\":NaN"), Some("RB-DEAL")),
        (
            "f NaN text",
            application("\"cost\":\"NaN\""),
            Some("data.cost"),
        ),
        ("g negative", application("\"cost\":-1"), Some("negative")),
        ("h absurd", application("\"cost\":1e13"), Some("10^12")),
        ("i twice", format!("[{0},{0}]", item("x")), Some("\"x\"")),
        (
            "j category",
            application("\"category\":\"telepathy\""),
            None,
        ),
        ("k 'quoted' \"id\"\\", "[]".to_owned(), None),
        ("l new\nline\ttab", "[]".to_owned(), None),
        ("m \u{1f4a3} \u{0130}\u{202e}", "[]".to_owned(), None),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|(id, inventory, _)| {
            // Written as a text, since not every inventory is JSON.
            serde_json::json!({"id": id, "deal_type": null, "inventory": inventory}).to_string()
        })
        .collect();
    let path = directory.path().join("deals.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let source = SnapshotSource::new(format!("jsonl:{}", path.display()));
    let taken = snapshot(source, true, &store).await.unwrap();
    assert_eq!(taken.manifest.total, cases.len() as u64);
    let bad = cases
        .iter()
        .filter(|(_, _, reason)| reason.is_some())
        .count();
    assert_eq!(taken.manifest.errors, bad as u64);
    for (id, _, reason) in cases {
        let row = taken.find(&store, id).await.unwrap().unwrap();
        match (row.outcome, reason) {
            (RowOutcome::Success(_), None) => {}
            (RowOutcome::Error(text), Some(reason)) => {
                assert!(
                    text.starts_with("RB-DEAL-") && text.contains(reason),
                    "{id}: {text}"
                );
            }
            (outcome, _) => panic!("{id}: {outcome:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_deal_is_an_error_row_and_the_others_are_computed() {
    broken_deals_are_error_rows("RB-DEAL-").await;
}
