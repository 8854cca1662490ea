//! What readers and followers report when stored history has changed.

use std::time::Duration;

use futures::StreamExt;
use rollbook_ledger::journal::{Journal, JournalError, ReadFrom};

use crate::journal_contract::{append, commit, ledger, note, rollout, take};
use crate::journal_faults::open;
use crate::nats::{Server, ServerConfig};

#[tokio::test]
async fn damage_is_reported_with_its_sequence() {
    let server = Server::single(ServerConfig::default()).await;
    let journal = open(&server).await;
    let r = rollout("damaged");
    append(&journal, &r, 0, "1").await;
    let context = async_nats::jetstream::new(server.client().await);
    let garbage = context.publish(r.subject(&ledger()), "\u{1}not a commit".into());
    garbage.await.unwrap().await.unwrap();
    match journal.read(&r, 0).await {
        Err(JournalError::Corrupt { sequence: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    let mut commits = journal.follow(ReadFrom::default()).await.unwrap();
    assert_eq!(commits.next().await.unwrap().unwrap().sequence, 1);
    let second = commits.next().await.unwrap();
    assert!(
        matches!(second, Err(JournalError::Corrupt { sequence: 2, .. })),
        "{second:?}"
    );
    assert!(commits.next().await.is_none());
}

#[tokio::test]
async fn the_stored_bytes_are_returned_with_their_unknown_fields() {
    let server = Server::single(ServerConfig::default()).await;
    let journal = open(&server).await;
    let r = rollout("newer");
    let mut newer = prost::Message::encode_to_vec(&commit(&r, 0, "1"));
    // Field 1000, a varint, as a later version might add.
    newer.extend([0xc0, 0x3e, 0x07]);
    let context = async_nats::jetstream::new(server.client().await);
    let published = context.publish(r.subject(&ledger()), newer.clone().into());
    published.await.unwrap().await.unwrap();
    let followed = take(&journal, 0, 1).await;
    let read = journal.read(&r, 0).await.unwrap();
    let at = journal.at(1).await.unwrap().unwrap();
    for stored in [&followed[0], &read[0], &at] {
        assert_eq!(stored.payload, newer);
        assert_eq!(note(stored), "1");
    }
    // It was read, and another commit can follow it.
    assert_eq!(append(&journal, &r, 1, "2").await, 2);
}

#[tokio::test]
async fn a_broken_chain_is_damage() {
    let server = Server::single(ServerConfig::default()).await;
    let journal = open(&server).await;
    let r = rollout("chain");
    append(&journal, &r, 0, "1").await;
    // Another program that ignores the chain of previous sequences.
    let alien = commit(&r, 0, "alien");
    let context = async_nats::jetstream::new(server.client().await);
    let payload = prost::Message::encode_to_vec(&alien);
    let published = context.publish(r.subject(&ledger()), payload.into());
    published.await.unwrap().await.unwrap();
    append(&journal, &r, 2, "3").await;
    match journal.read(&r, 0).await {
        Err(JournalError::Corrupt {
            sequence: 2,
            reason,
        }) => assert!(reason.contains("follows")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_lost_its_tail_is_noticed_by_a_follower() {
    let mut server = Server::single(ServerConfig::default()).await;
    let journal = open(&server).await;
    let r = rollout("tail");
    let first = append(&journal, &r, 0, "1").await;
    server.kill();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&server.data(), copy.path());
    server.start();
    server.ready().await;
    let mut last = first;
    for text in ["2", "3", "4"] {
        last = append(&journal, &r, last, text).await;
    }
    let mut commits = journal.follow(ReadFrom::default()).await.unwrap();
    for sequence in 1..=last {
        assert_eq!(commits.next().await.unwrap().unwrap().sequence, sequence);
    }
    server.kill();
    std::fs::remove_dir_all(server.data()).unwrap();
    copy_dir(copy.path(), &server.data());
    server.start();
    server.ready().await;
    let again = loop {
        match journal.append(&r, commit(&r, first, "other 2")).await {
            Ok(appended) => break appended.sequence,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    };
    assert_eq!(again, 2);
    let noticed = tokio::time::timeout(Duration::from_secs(60), commits.next());
    match noticed.await.unwrap() {
        Some(Err(JournalError::Corrupt { reason, .. })) => {
            assert!(reason.contains("lost its tail"))
        }
        other => panic!("{other:?}"),
    }
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
