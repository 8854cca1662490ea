//! The inventory lines behind each figure of a deal.

use rollbook_deals::Model;
use rollbook_deals::breakdown::{BreakdownSide, break_down_figures};
use rollbook_workers::snapshot::{RowOutcome, Snapshot, SnapshotSource};

use crate::snapshot_database::{database, execute};
use crate::snapshot_deals::{snapshot, store};

const DEAL: &str = "Z-upper";

/// Asserts that the lines sum to the snapshot's figures, for every figure that is not zero.
async fn adds_up(
    side: &BreakdownSide,
    snapshot: &Snapshot,
    store: &rollbook_ledger::evidence::EvidenceStore,
) {
    assert!(side.explains, "{:?}", side.note);
    let row = snapshot.find(store, DEAL).await.unwrap().unwrap();
    let RowOutcome::Success(figures) = row.outcome else {
        panic!("{row:?}");
    };
    for (metric, figure) in snapshot.manifest.metrics.iter().zip(figures.numbers) {
        let lines = side.figures.get(&metric.name).into_iter().flatten();
        let sum: i64 = lines.map(|line| line.amount).sum();
        assert_eq!(sum, figure, "{}", metric.name);
    }
    assert!(side.drivers.iter().any(|driver| !driver.items.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_add_up_and_a_deal_changed_since_is_reported() {
    let (directory, store) = store();
    let path = directory.path().join("deals.db");
    let whole = database(&path).await;
    let items = SnapshotSource {
        inventory_query: Some("SELECT deal_id, item FROM items".to_owned()),
        ..whole.clone()
    };
    let model = Model::built_in();
    for source in [whole.clone(), items] {
        let before = snapshot(source.clone(), false, &store).await.unwrap();
        let after = snapshot(source, true, &store).await.unwrap();
        let found = break_down_figures(&before, &after, &store, None, &model, DEAL)
            .await
            .unwrap();
        adds_up(&found.before, &before, &store).await;
        adds_up(&found.after, &after, &store).await;
        assert_ne!(
            found.before.figures, found.after.figures,
            "a carveout costs more"
        );
    }

    let before = snapshot(whole.clone(), false, &store).await.unwrap();
    let after = snapshot(whole, true, &store).await.unwrap();
    let copy = directory.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    let copy = format!("sqlite:{}", copy.display());
    let found = break_down_figures(&before, &after, &store, Some(&copy), &model, DEAL).await;
    assert_eq!(found.unwrap().source, copy, "the source that was read");
    let look = || async {
        break_down_figures(&before, &after, &store, None, &model, DEAL)
            .await
            .unwrap()
    };
    execute(
        &path,
        "UPDATE deals SET inventory = '[]' WHERE id = 'Z-upper'",
    )
    .await;
    let found = look().await;
    assert!(!found.after.explains);
    let note = found.after.note.unwrap();
    assert!(note.contains("changed since the snapshot"), "{note}");
    let total = found
        .after
        .moved
        .iter()
        .find(|moved| moved.metric == "cost_total");
    assert!(total.is_some_and(|total| total.snapshot > total.now));

    execute(
        &path,
        "UPDATE deals SET inventory = '{' WHERE id = 'Z-upper'",
    )
    .await;
    let note = look().await.before.note.unwrap();
    assert!(note.contains("can no longer be computed"), "{note}");
    execute(&path, "DELETE FROM deals WHERE id = 'Z-upper'").await;
    let note = look().await.before.note.unwrap();
    assert!(note.contains("no longer has the deal"), "{note}");
}
