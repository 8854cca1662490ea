//! For every prefix of any history the views are the same, whether applied commit by commit, with
//! restarts, in batches of any size with redelivery, or rebuilt from scratch.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rollbook_ledger::journal::StoredCommit;
use rollbook_ledger::projection::sqlite;
use rollbook_ledger::projection::store::ViewStore;

use crate::projection_history::{Choice, choices, random};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn applied(store: &Arc<dyn ViewStore>, batch: &[StoredCommit]) {
    let last = batch.last().unwrap().sequence;
    assert_eq!(store.apply(batch).await.unwrap().sequence, last);
}

/// Compares the ways to build each prefix.
async fn assert_rebuilds_agree(choices: &[Choice]) {
    let history = random(choices);
    let dir = tempfile::tempdir().unwrap();
    let restarted_file = dir.path().join("restarted.db");
    let incremental = sqlite::in_memory().await.unwrap();
    let rebuilt = sqlite::in_memory().await.unwrap();
    for (place, commit) in history.commits.iter().enumerate() {
        let prefix = &history.commits[..=place];
        applied(&incremental, std::slice::from_ref(commit)).await;
        let expected = incremental.dump().await.unwrap();

        // A newly opened store has nothing cached.
        let restarted = sqlite::open(&restarted_file).await.unwrap();
        applied(&restarted, std::slice::from_ref(commit)).await;
        assert_eq!(
            restarted.dump().await.unwrap(),
            expected,
            "restarted, {prefix:#?}"
        );
        drop(restarted);

        rebuilt.reset().await.unwrap();
        applied(&rebuilt, prefix).await;
        assert_eq!(
            rebuilt.dump().await.unwrap(),
            expected,
            "rebuilt, {prefix:#?}"
        );
    }
}

/// Applies batches of the given sizes, delivering each again together with the next.
async fn batches_do_not_matter(choices: &[Choice], sizes: &[usize]) {
    let history = random(choices);
    let whole = sqlite::in_memory().await.unwrap();
    applied(&whole, &history.commits).await;
    let cut = sqlite::in_memory().await.unwrap();
    let mut start = 0;
    let mut before = 0;
    for size in sizes.iter().cycle() {
        let end = (start + size).min(history.commits.len());
        applied(&cut, &history.commits[before..end]).await;
        applied(&cut, &history.commits[before..end]).await;
        (before, start) = (start, end);
        if end == history.commits.len() {
            break;
        }
    }
    assert_eq!(cut.dump().await.unwrap(), whole.dump().await.unwrap());
}

#[test]
fn every_prefix_gives_the_same_views_incrementally_restarted_and_rebuilt() {
    let runtime = runtime();
    let mut runner = TestRunner::new(Config::with_cases(12));
    runner
        .run(&choices(28), |choices| {
            runtime.block_on(assert_rebuilds_agree(&choices));
            Ok(())
        })
        .unwrap();
}

#[test]
fn batch_boundaries_and_redelivery_do_not_matter() {
    let runtime = runtime();
    let mut runner = TestRunner::new(Config::with_cases(24));
    let sizes = prop::collection::vec(1_usize..9, 1..6);
    runner
        .run(&(choices(120), sizes), |(choices, sizes)| {
            runtime.block_on(batches_do_not_matter(&choices, &sizes));
            Ok(())
        })
        .unwrap();
}
