//! The shared journal: it keeps the journal's contract, no follower misses or repeats a commit at
//! the transition from history to the newest commits, and damage reaches all followers.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use rollbook_ledger::journal::shared::Bounds;
use rollbook_ledger::journal::{Journal, JournalError, MemoryJournal, ReadFrom, SharedJournal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::journal_contract::{append, contract, ledger, note, rollout};
use crate::journal_faults::open;
use crate::nats::{Server, ServerConfig};

const PATIENCE: Duration = Duration::from_secs(60);

/// Buffers few commits, so that followers constantly fall behind and catch up.
const FEW: Bounds = Bounds {
    commits: 16,
    bytes: 8 * 1024,
};

fn read(journal: &SharedJournal) -> AbortOnDropHandle<()> {
    let reader = journal.clone().run(CancellationToken::new());
    AbortOnDropHandle::new(tokio::spawn(reader))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_journal_keeps_the_contract() {
    for bounds in [Bounds::default(), FEW] {
        let memory = Arc::new(MemoryJournal::new(ledger()));
        let shared = SharedJournal::with_bounds(memory, bounds);
        let _reader = read(&shared);
        contract(Arc::new(shared)).await;
    }
    let unread = SharedJournal::new(Arc::new(MemoryJournal::new(ledger())));
    contract(Arc::new(unread)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_journal_on_jetstream_keeps_the_contract() {
    let server = Server::single(ServerConfig::default()).await;
    let shared = SharedJournal::with_bounds(Arc::new(open(&server).await), FEW);
    let _reader = read(&shared);
    contract(Arc::new(shared)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_from_anywhere_get_each_commit_once_and_in_order() {
    const BEFORE: u64 = 100;
    const ALL: u64 = 2_000;
    let memory = Arc::new(MemoryJournal::new(ledger()));
    let shared = SharedJournal::with_bounds(memory.clone(), FEW);
    let r = rollout("followed");
    let mut last = 0;
    for number in 1..=BEFORE {
        last = append(&*memory, &r, last, &number.to_string()).await;
    }
    let follow = |after: u64| {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut commits = shared.follow(ReadFrom { after }).await.unwrap();
            for sequence in after + 1..=ALL {
                let next = tokio::time::timeout(PATIENCE, commits.next()).await;
                let stored = next.unwrap().unwrap().unwrap();
                assert_eq!(
                    (stored.sequence, note(&stored)),
                    (sequence, &*sequence.to_string()),
                    "after {after}"
                );
                if (sequence + after).is_multiple_of(97) {
                    // Falls behind the buffered commits.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        })
    };
    // Some followers start before the reader, some while commits arrive.
    let mut followers: Vec<_> = [0, 1, 50, BEFORE].map(follow).into();
    tokio::task::yield_now().await;
    let _reader = read(&shared);
    for number in BEFORE + 1..=ALL {
        last = append(&shared, &r, last, &number.to_string()).await;
        if number.is_multiple_of(100) {
            followers.push(follow(number / 2));
            followers.push(follow(number));
            tokio::task::yield_now().await;
        }
    }
    for done in join_all(followers).await {
        done.unwrap();
    }
    assert_eq!(shared.known(), Some(ALL));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_found_by_the_reader_ends_every_follower() {
    let server = Server::single(ServerConfig::default()).await;
    let shared = SharedJournal::new(Arc::new(open(&server).await));
    let _reader = read(&shared);
    let r = rollout("damaged");
    shared.begun().await;
    append(&shared, &r, 0, "1").await;
    shared.beyond(0).await.unwrap();
    let mut followers = Vec::new();
    for _ in 0..3 {
        let mut commits = shared.follow(ReadFrom::default()).await.unwrap();
        assert_eq!(commits.next().await.unwrap().unwrap().sequence, 1);
        followers.push(commits);
    }
    let context = async_nats::jetstream::new(server.client().await);
    let garbage = context.publish(r.subject(&ledger()), "\u{1}not a commit".into());
    garbage.await.unwrap().await.unwrap();
    for commits in &mut followers {
        let next = tokio::time::timeout(PATIENCE, commits.next()).await;
        let next = next.unwrap();
        assert!(
            matches!(next, Some(Err(JournalError::Corrupt { sequence: 2, .. }))),
            "{next:?}"
        );
        assert!(commits.next().await.is_none());
    }
    assert!(shared.beyond(1).await.is_err());
}
