//! The projector on a journal: follows it, lets callers wait, rebuilds, replays to a point.

use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::ids::{Aggregate, LedgerId};
use rollbook_ledger::journal::{Journal, MemoryJournal};
use rollbook_ledger::projection::projector::{Projector, ProjectorError};
use rollbook_ledger::projection::replay::{Until, replay_at};
use rollbook_ledger::projection::sqlite;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::views::AsOf;
use tokio_util::sync::CancellationToken;

use crate::projection_history::{History, mixed, recorded_at};

const PATIENCE: Duration = Duration::from_secs(30);

/// Returns a history with some of every kind of event.
fn history() -> History {
    mixed(400)
}

async fn append(journal: &dyn Journal, history: &History, range: std::ops::Range<usize>) {
    for stored in &history.commits[range] {
        let commit = stored.commit.clone();
        let aggregate = Aggregate::of(&commit.aggregate, &commit.aggregate_id).unwrap();
        let appended = journal.append(&aggregate, commit).await.unwrap();
        assert_eq!(appended.sequence, stored.sequence);
    }
}

fn journal() -> Arc<MemoryJournal> {
    Arc::new(MemoryJournal::new(LedgerId::new("main").unwrap()))
}

async fn direct(history: &History, commits: usize) -> Arc<dyn ViewStore> {
    let store = sqlite::in_memory().await.unwrap();
    store.apply(&history.commits[..commits]).await.unwrap();
    store
}

#[tokio::test]
async fn a_caller_reads_its_own_write_and_a_restart_continues() {
    let history = history();
    let journal = journal();
    let store = sqlite::in_memory().await.unwrap();
    for (from, to) in [(0, 150), (150, 400)] {
        let projector = Arc::new(Projector::new(journal.clone(), store.clone()));
        let waiter = projector.waiter();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let (projector, shutdown) = (projector.clone(), shutdown.clone());
            async move { projector.run(shutdown).await }
        });
        append(&*journal, &history, from..to).await;
        let last = u64::try_from(to).unwrap();
        let reached = waiter.wait_for(last, PATIENCE).await.unwrap();
        assert_eq!(reached.sequence, last);
        assert_eq!(store.position().await.unwrap().sequence, last);
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }
    let expected = direct(&history, 400).await;
    assert_eq!(store.dump().await.unwrap(), expected.dump().await.unwrap());
}

#[tokio::test]
async fn a_large_batch_is_the_same_as_many_small_ones() {
    let history = mixed(3_000);
    let whole = direct(&history, history.commits.len()).await;
    let parts = sqlite::in_memory().await.unwrap();
    for part in history.commits.chunks(70) {
        parts.apply(part).await.unwrap();
    }
    assert_eq!(whole.dump().await.unwrap(), parts.dump().await.unwrap());
}

#[tokio::test]
async fn views_are_indexed_once_they_have_caught_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("views.db");
    let history = history();
    let journal = journal();
    append(&*journal, &history, 0..300).await;
    let store = sqlite::open(&file).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display()))
        .await
        .unwrap();
    let indexes = async || -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        )
        .fetch_one(&pool)
        .await
        .unwrap()
    };
    assert_eq!(indexes().await, 0);
    let projector = Projector::new(journal.clone(), store.clone());
    projector.catch_up().await.unwrap();
    assert_eq!(indexes().await, 17);
    // The same if there is nothing to catch up with, and after a rebuild.
    projector.catch_up().await.unwrap();
    store.reset().await.unwrap();
    assert_eq!(indexes().await, 0);
    projector.rebuild().await.unwrap();
    assert_eq!(indexes().await, 17);
}

#[tokio::test]
async fn a_wait_that_times_out_says_what_is_applied() {
    let projector = Projector::new(journal(), sqlite::in_memory().await.unwrap());
    let error = projector.wait_for(7, Duration::ZERO).await.unwrap_err();
    assert_eq!((error.sequence, error.applied), (7, 0));
    assert!(error.to_string().starts_with("RB-PROJECTOR-3:"));
}

#[tokio::test]
async fn a_rebuild_during_projection_gives_the_same_views() {
    let history = history();
    let journal = journal();
    append(&*journal, &history, 0..300).await;
    let store = sqlite::in_memory().await.unwrap();
    let following = Arc::new(Projector::new(journal.clone(), store.clone()));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (projector, shutdown) = (following.clone(), shutdown.clone());
        async move { projector.run(shutdown).await }
    });
    following.wait_for(300, PATIENCE).await.unwrap();

    let other = Projector::new(journal.clone(), store.clone());
    assert_eq!(other.rebuild().await.unwrap().sequence, 300);
    append(&*journal, &history, 300..400).await;
    following.wait_for(400, PATIENCE).await.unwrap();
    shutdown.cancel();
    running.await.unwrap().unwrap();

    let expected = direct(&history, 400).await;
    assert_eq!(store.dump().await.unwrap(), expected.dump().await.unwrap());
}

#[tokio::test]
async fn views_of_another_journal_are_refused() {
    let history = history();
    let store = direct(&history, 5).await;
    let projector = Projector::new(journal(), store);
    let error = projector.run(CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ProjectorError::Ahead {
                position: 5,
                last: 0
            }
        ),
        "{error}"
    );
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_replay_answers_as_the_views_did_then() {
    let history = history();
    let journal = journal();
    append(&*journal, &history, 0..400).await;
    let journal: Arc<dyn Journal> = journal;
    for sequence in [0, 1, 137, 399, 400, 9_999] {
        let past = replay_at(&journal, Until::Sequence(sequence))
            .await
            .unwrap();
        let commits = usize::try_from(sequence).unwrap().min(400);
        let expected = direct(&history, commits).await;
        assert_eq!(past.dump().await.unwrap(), expected.dump().await.unwrap());
        assert_eq!(
            past.position().await.unwrap(),
            expected.position().await.unwrap()
        );
    }

    let before_all = replay_at(&journal, Until::Time(recorded_at(0)))
        .await
        .unwrap();
    assert_eq!(before_all.position().await.unwrap(), AsOf::default());
    let between = recorded_at(137) + jiff::SignedDuration::from_millis(500);
    let past = replay_at(&journal, Until::Time(between)).await.unwrap();
    assert_eq!(past.position().await.unwrap().sequence, 137);
}
