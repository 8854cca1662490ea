//! Group commit on JetStream.

use futures::future::join_all;
use rollbook_ledger::journal::{
    GroupCommit, JetStreamJournal, JetStreamOptions, Journal, JournalError,
};

use crate::journal_contract::{append, commit, ledger, rollout};
use crate::journal_faults::{open, synced};
use crate::nats::{Server, ServerConfig};

#[tokio::test]
async fn waiting_commits_share_a_batch_and_a_conflict_fails_only_its_own() {
    let server = Server::single(ServerConfig::default()).await;
    let journal = open(&server).await;
    let rollouts: Vec<_> = (0..200).map(|i| rollout(&format!("g-{i}"))).collect();
    let first = join_all(rollouts.iter().map(|r| append(&journal, r, 0, "1"))).await;
    let counts = journal.group_counts();
    assert!(counts.batched >= 190 && counts.fallbacks == 0, "{counts:?}");
    // Check that the server stored them as one batch.
    let context = async_nats::jetstream::new(server.client().await);
    let stream = context.get_stream("ROLLBOOK").await.unwrap();
    let stored = stream
        .get_raw_message(*first.last().unwrap())
        .await
        .unwrap();
    assert!(
        stored.headers.get("Nats-Batch-Id").is_some(),
        "{:?}",
        stored.headers
    );
    assert_eq!(
        stored.headers.get("Rollbook-Events").unwrap().as_str(),
        "rollout_paused"
    );
    assert_eq!(
        stored.headers.get("ce-type").unwrap().as_str(),
        "dev.rollbook.rollout.rollout_paused"
    );

    // Number 150 is stale, and number 160 is queued twice.
    let second = join_all(rollouts.iter().enumerate().map(|(index, r)| {
        let expected = if index == 150 { 0 } else { first[index] };
        journal.append(r, commit(r, expected, "2"))
    }));
    let twin = journal.append(&rollouts[160], commit(&rollouts[160], first[160], "twin"));
    let (second, twin) = futures::join!(second, twin);
    for (index, outcome) in second.iter().enumerate() {
        match outcome {
            Err(JournalError::Conflict { .. }) => {
                assert!(index == 150 || index == 160 && twin.is_ok(), "{index}");
            }
            Ok(_) => assert!(index != 150),
            Err(error) => panic!("{index}: {error}"),
        }
    }
    assert_ne!(second[160].is_ok(), twin.is_ok());
    assert!(journal.group_counts().fallbacks >= 1);
    assert_eq!(journal.last_sequence().await.unwrap(), 399);
}

#[tokio::test]
async fn group_commit_can_be_switched_off() {
    let server = Server::single(ServerConfig::default()).await;
    let options = JetStreamOptions {
        group_commit: GroupCommit::Off,
        ..synced()
    };
    let journal = JetStreamJournal::open(server.client().await, ledger(), options)
        .await
        .unwrap();
    let rollouts: Vec<_> = (0..200).map(|i| rollout(&format!("s-{i}"))).collect();
    join_all(rollouts.iter().map(|r| append(&journal, r, 0, "1"))).await;
    let counts = journal.group_counts();
    assert_eq!((counts.singles, counts.batches), (200, 0));
}
