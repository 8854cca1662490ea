//! How the JetStream journal behaves when the server, the network or the configuration fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use rollbook_ledger::ids::Aggregate;
use rollbook_ledger::journal::{
    JetStreamJournal, JetStreamOptions, Journal, JournalError, ReadFrom, ReportSource, SyncKnown,
};
use rollbook_ledger::nats::{NatsOptions, connect};

use crate::journal_contract::{append, commit, ledger, note, rollout, take};
use crate::nats::{Cluster, Server, ServerConfig};
use crate::proxy::{Cut, Proxy};

pub fn synced() -> JetStreamOptions {
    JetStreamOptions {
        sync: SyncKnown::Always,
        ..JetStreamOptions::default()
    }
}

pub async fn open(server: &Server) -> JetStreamJournal {
    JetStreamJournal::open(server.client().await, ledger(), synced())
        .await
        .unwrap()
}

/// Opens a journal that reaches the server on `port` through a proxy.
async fn through_proxy(port: u16, options: JetStreamOptions) -> (JetStreamJournal, Proxy) {
    let proxy = Proxy::start(port).await;
    let url = format!("nats://127.0.0.1:{}", proxy.port);
    let options_url = NatsOptions {
        url,
        name: "through proxy".to_owned(),
        ..NatsOptions::default()
    };
    let client = connect(&options_url).await.unwrap();
    let journal = JetStreamJournal::open(client, ledger(), options)
        .await
        .unwrap();
    (journal, proxy)
}

async fn exactly_once_when_cut(port: u16, options: JetStreamOptions) {
    for (round, cut) in [Cut::BeforeAck, Cut::BeforePublish].into_iter().enumerate() {
        // One connection per round: after a cut, a client of a cluster may choose a server that
        // bypasses the proxy.
        let (journal, proxy) = through_proxy(port, options.clone()).await;
        let r = rollout(&format!("cut-{round}"));
        let before = journal.last_sequence().await.unwrap();
        proxy.arm(cut);
        let first = append(&journal, &r, 0, "1").await;
        assert_eq!(proxy.cuts(), 1, "{cut:?}");
        assert_eq!(first, before + 1, "{cut:?}");
        assert_eq!(
            journal.last_sequence().await.unwrap(),
            before + 1,
            "{cut:?}"
        );
        append(&journal, &r, first, "2").await;
        let read = journal.read(&r, 0).await.unwrap();
        assert_eq!(read.iter().map(note).collect::<Vec<_>>(), ["1", "2"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_acknowledgement_on_one_server() {
    let server = Server::single(ServerConfig::default()).await;
    exactly_once_when_cut(server.port, synced()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_acknowledgement_on_three_servers() {
    let cluster = Cluster::start().await;
    let options = JetStreamOptions {
        replicas: 3,
        ..synced()
    };
    exactly_once_when_cut(cluster.servers[0].port, options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_acknowledgement_of_a_batch() {
    let server = Server::single(ServerConfig::default()).await;
    for cut in [Cut::BeforeAck, Cut::BeforePublish] {
        let (journal, proxy) = through_proxy(server.port, synced()).await;
        let before = journal.last_sequence().await.unwrap();
        proxy.arm(cut);
        let rollouts: Vec<_> = (0..100).map(|i| rollout(&format!("{cut:?}-{i}"))).collect();
        let sequences = join_all(rollouts.iter().map(|r| append(&journal, r, 0, "1"))).await;
        assert_eq!(proxy.cuts(), 1);
        assert_eq!(
            journal.last_sequence().await.unwrap(),
            before + 100,
            "{cut:?}"
        );
        for (r, sequence) in rollouts.iter().zip(sequences) {
            let read = journal.read(r, 0).await.unwrap();
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].sequence, sequence);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_a_kill_under_load() {
    let mut server = Server::single(ServerConfig::default()).await;
    let journal = Arc::new(open(&server).await);
    let stop = Arc::new(AtomicBool::new(false));
    let total = Arc::new(AtomicUsize::new(0));
    let follower = {
        let journal = journal.clone();
        tokio::spawn(async move {
            let commits = journal.follow(ReadFrom::default()).await.unwrap();
            let wanted = commits.map(Result::unwrap);
            let all = wanted.take_while(|c| std::future::ready(c.commit.aggregate_id != "end"));
            all.collect::<Vec<_>>().await
        })
    };
    let writers: Vec<_> = (0..64)
        .map(|index| {
            let (journal, stop, total) = (journal.clone(), stop.clone(), total.clone());
            tokio::spawn(async move {
                let r = rollout(&format!("load-{index}"));
                let (mut last, mut acknowledged) = (0, Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    let next = commit(&r, last, "x");
                    let id = next.id.clone();
                    last = journal.append(&r, next).await.unwrap().sequence;
                    acknowledged.push((last, id));
                    total.fetch_add(1, Ordering::SeqCst);
                }
                acknowledged
            })
        })
        .collect();
    for round in 1..=3 {
        let mark = total.load(Ordering::SeqCst);
        while total.load(Ordering::SeqCst) < mark + 300 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        server.start();
        server.ready().await;
        tracing::debug!(round, "restarted");
    }
    let mark = total.load(Ordering::SeqCst);
    while total.load(Ordering::SeqCst) < mark + 300 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged: Vec<(u64, String)> = join_all(writers)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    append(&*journal, &rollout("end"), 0, "end").await;
    let last = journal.last_sequence().await.unwrap();
    let stored = take(&*journal, 0, usize::try_from(last).unwrap()).await;
    for (sequence, id) in &acknowledged {
        assert_eq!(
            &stored[usize::try_from(*sequence).unwrap() - 1].commit.id,
            id
        );
    }
    // No append gave up, so nothing except the acknowledged commits is stored.
    assert_eq!(acknowledged.len() + 1, stored.len());
    // The follower survived all of it.
    let followed = tokio::time::timeout(Duration::from_secs(60), follower);
    assert_eq!(followed.await.unwrap().unwrap(), stored[..stored.len() - 1]);
}

#[tokio::test]
async fn a_full_store_refuses_and_keeps_what_it_has() {
    let mut server = Server::single(ServerConfig {
        max_file_store: Some(2 << 20),
        ..ServerConfig::default()
    })
    .await;
    let journal = open(&server).await;
    let r = rollout("full");
    let large = "x".repeat(60_000);
    let mut last = 0;
    let mut stored = 0;
    let refused = loop {
        match journal.append(&r, commit(&r, last, &large)).await {
            Ok(appended) => last = appended.sequence,
            Err(error) => break error,
        }
        stored += 1;
        assert!(stored < 100, "the store never fills");
    };
    assert!(matches!(refused, JournalError::Refused { .. }), "{refused}");
    assert!(!refused.is_retryable());
    // A batch is refused too, commit by commit.
    let batch: Vec<_> = (0..40).map(|i| rollout(&format!("b-{i}"))).collect();
    let refused = join_all(
        batch
            .iter()
            .map(|r| journal.append(r, commit(r, 0, &large))),
    )
    .await;
    for outcome in refused {
        assert!(
            matches!(outcome, Err(JournalError::Refused { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(journal.read(&r, 0).await.unwrap().len(), stored);
    server.kill();
    server.start();
    server.ready().await;
    assert_eq!(open(&server).await.read(&r, 0).await.unwrap().len(), stored);
}

#[tokio::test]
async fn an_unreachable_server_is_retryable_and_the_wait_is_bounded() {
    let mut server = Server::single(ServerConfig::default()).await;
    let options = JetStreamOptions {
        ack_timeout: Duration::from_millis(200),
        give_up_after: Duration::from_millis(500),
        ..synced()
    };
    let journal = JetStreamJournal::open(server.client().await, ledger(), options)
        .await
        .unwrap();
    let r = rollout("down");
    let first = append(&journal, &r, 0, "1").await;
    server.kill();
    let second = commit(&r, first, "2");
    match journal.append(&r, second.clone()).await {
        Err(error @ JournalError::Unavailable { .. }) => assert!(error.is_retryable()),
        other => panic!("{other:?}"),
    }
    server.start();
    server.ready().await;
    // Appending the same commit again is safe, whatever happened to the first attempt.
    let again = loop {
        match journal.append(&r, second.clone()).await {
            Ok(appended) => break appended.sequence,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    };
    assert_eq!(again, first + 1);
    assert_eq!(journal.read(&r, 0).await.unwrap().len(), 2);
}

/// Appends one commit, retrying while that may help: on a busy machine electing a leader may take
/// longer than one append waits.
async fn append_through(journal: &dyn Journal, of: &Aggregate, after: u64, text: &str) -> u64 {
    let commit = commit(of, after, text);
    let stored = async {
        loop {
            match journal.append(of, commit.clone()).await {
                Ok(appended) => break appended.sequence,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), stored)
        .await
        .expect("a leader is elected")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_survive_the_loss_of_one() {
    let mut cluster = Cluster::start().await;
    let options = JetStreamOptions {
        replicas: 3,
        ..synced()
    };
    let client = cluster.client().await;
    let journal = JetStreamJournal::open(client, ledger(), options)
        .await
        .unwrap();
    let r = rollout("cluster");
    let mut last = 0;
    for round in 0..3 {
        for text in ["a", "b", "c"] {
            last = append_through(&journal, &r, last, &format!("{round}{text}")).await;
        }
        cluster.servers[round].kill();
        for text in ["d", "e"] {
            last = append_through(&journal, &r, last, &format!("{round}{text}")).await;
        }
        cluster.servers[round].start();
        cluster.servers[round].ready().await;
        // Wait until the restarted server has caught up; otherwise the next loss would be the
        // second one.
        loop {
            match journal.report().await {
                Ok(report) if report.replicas_behind == 0 => break,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
    let read = journal.read(&r, 0).await.unwrap();
    assert_eq!(read.len(), 15);
    assert_eq!(journal.last_sequence().await.unwrap(), 15);
}
