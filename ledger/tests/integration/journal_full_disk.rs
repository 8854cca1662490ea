//! A nats-server whose disk is full: nothing is acknowledged that is not stored, and after making
//! room and restarting the server the journal works again.

use std::time::Duration;

use futures::future::join_all;
use rollbook_ledger::ids::Aggregate;
use rollbook_ledger::journal::{
    Appended, JetStreamJournal, JetStreamOptions, Journal, JournalError,
};

use crate::journal_contract::{commit, ledger, rollout, take};
use crate::journal_faults::synced;
use crate::nats::Server;
use crate::small_disk::SmallDisk;

/// The size of the disk, how much of it other files use, and the maximum number of `LARGE` commits
/// that fit.
const DISK_MEGABYTES: u32 = 48;
const BALLAST_MEGABYTES: u32 = 44;
const AT_MOST: usize = 200;
const LARGE: usize = 30_000;

/// Expects a retryable `Unavailable` that mentions the disk.
fn assert_full(outcome: &Result<Appended, JournalError>) {
    match outcome {
        Err(error @ JournalError::Unavailable { .. }) => {
            assert!(error.is_retryable());
            let words = error.to_string();
            assert!(words.contains("disk may be full"), "{words}");
        }
        other => panic!("{other:?}"),
    }
}

/// Returns the ids of all stored commits, in order.
async fn stored(journal: &dyn Journal) -> Vec<String> {
    let last = journal.last_sequence().await.unwrap();
    let commits = take(journal, 0, usize::try_from(last).unwrap()).await;
    commits.into_iter().map(|stored| stored.commit.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let place = temp.path().join("within/data");
    std::fs::create_dir_all(&place).unwrap();
    let Some(mut disk) = SmallDisk::mount(&place, DISK_MEGABYTES) else {
        return;
    };
    let mut server = Server::within(temp.path(), disk.enter()).await;
    let options = JetStreamOptions {
        ack_timeout: Duration::from_secs(1),
        give_up_after: Duration::from_secs(3),
        ..synced()
    };
    let journal = JetStreamJournal::open(server.client().await, ledger(), options)
        .await
        .unwrap();
    let ballast = place.join("ballast");
    let ballast = ballast.display();
    disk.run(&format!(
        "head -c {BALLAST_MEGABYTES}M /dev/zero > '{ballast}'"
    ));

    let (r, large) = (rollout("r"), "x".repeat(LARGE));
    let mut acknowledged = Vec::new();
    let refused = loop {
        assert!(acknowledged.len() < AT_MOST, "the disk never fills");
        let next = commit(&r, acknowledged.len() as u64, &large);
        match journal.append(&r, next.clone()).await {
            Ok(appended) => {
                acknowledged.push(next.id);
                assert_eq!(appended.sequence, acknowledged.len() as u64);
            }
            outcome => {
                assert_full(&outcome);
                break next;
            }
        }
    };
    assert!(!acknowledged.is_empty());
    assert_full(&journal.append(&r, refused.clone()).await);
    let others: Vec<(Aggregate, _)> = (0..40)
        .map(|n| rollout(&format!("other-{n}")))
        .map(|other| (other.clone(), commit(&other, 0, &large)))
        .collect();
    let append_others = || join_all(others.iter().map(|(a, c)| journal.append(a, c.clone())));
    append_others().await.iter().for_each(assert_full);
    assert_eq!(stored(&journal).await, acknowledged);

    // A crash with the disk still full.
    server.kill();
    server.start();
    server.ready().await;
    assert_eq!(stored(&journal).await, acknowledged);
    // On a full disk the server may discover the lack of space at start or at a write.
    match journal.append(&r, refused.clone()).await {
        Err(JournalError::Refused { .. } | JournalError::Unavailable { .. }) => {}
        other => panic!("{other:?}"),
    }

    // Making room is not enough: after a failed write nats-server does not write again.
    disk.run(&format!("rm '{ballast}'"));
    server.kill();
    server.start();
    server.ready().await;
    assert_eq!(stored(&journal).await, acknowledged);
    // Append the same commits again; each is stored once.
    journal.append(&r, refused.clone()).await.unwrap();
    journal.append(&r, refused.clone()).await.unwrap();
    acknowledged.push(refused.id);
    for outcome in append_others().await {
        outcome.unwrap();
    }
    server.kill();
    server.start();
    server.ready().await;
    let mut all = stored(&journal).await;
    let mut rest = all.split_off(acknowledged.len());
    assert_eq!(all, acknowledged);
    let mut expected: Vec<_> = others.into_iter().map(|(_, commit)| commit.id).collect();
    rest.sort();
    expected.sort();
    assert_eq!(rest, expected);
}
