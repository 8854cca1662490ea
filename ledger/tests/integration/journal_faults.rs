//! What the JetStream journal does when the server, the network or the set-up fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, Republish, RetentionPolicy, StorageType,
};
use futures::StreamExt;
use futures::future::join_all;
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::jetstream::SyncKnown;
use rollbook_ledger::journal::{
    GroupCommit, JetStreamJournal, JetStreamOptions, Journal, JournalError, ReadFrom,
};
use rollbook_ledger::nats::{NatsOptions, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::journal_contract::{append, commit, ledger, note, rollout, take};
use crate::nats::{Cluster, Server, ServerConfig};
use crate::proxy::{Cut, Proxy};

fn synced() -> JetStreamOptions {
    JetStreamOptions {
        sync: SyncKnown::Always,
        ..JetStreamOptions::default()
    }
}

async fn open(server: &Server) -> JetStreamJournal {
    JetStreamJournal::open(server.client().await, ledger(), synced())
        .await
        .unwrap()
}

/// A journal that reaches the server on `port` through a proxy.
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
        // One connection per round: after a cut a client of a cluster may choose a server
        // behind the proxy's back.
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
async fn killed_under_load_nothing_acknowledged_is_missing() {
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
    // Nobody gave up, so nothing but the acknowledged is there either.
    assert_eq!(acknowledged.len() + 1, stored.len());
    // The follower lived through all of it.
    let followed = tokio::time::timeout(Duration::from_secs(60), follower);
    assert_eq!(followed.await.unwrap().unwrap(), stored[..stored.len() - 1]);
}

/// The settings a ledger's stream is created with, for `name`.
fn stream(ledger: &str) -> Config {
    Config {
        name: format!("ROLLBOOK_{}", ledger.to_uppercase()),
        subjects: vec![format!("rollbook.{ledger}.>")],
        num_replicas: 1,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: 10_000_000,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        allow_atomic_publish: true,
        republish: Some(Republish {
            source: format!("rollbook.{ledger}.>"),
            destination: format!("live.rollbook.{ledger}.>"),
            headers_only: false,
        }),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_stream_that_could_lose_history_is_refused_by_the_setting() {
    let server = Server::single(ServerConfig::default()).await;
    let client = server.client().await;
    let context = async_nats::jetstream::new(client.clone());
    let cases: Vec<(&str, fn(&mut Config))> = vec![
        ("max_age", |c| c.max_age = Duration::from_secs(3600)),
        ("max_msgs", |c| c.max_messages = 1000),
        ("max_bytes", |c| c.max_bytes = 1_000_000),
        ("discard", |c| {
            c.discard = DiscardPolicy::Old;
            c.discard_new_per_subject = false;
        }),
        ("discard_new_per_subject", |c| {
            c.discard_new_per_subject = false
        }),
        ("storage", |c| c.storage = StorageType::Memory),
        ("retention", |c| c.retention = RetentionPolicy::Interest),
        ("deny_delete", |c| c.deny_delete = false),
        ("deny_purge", |c| c.deny_purge = false),
        ("allow_rollup_hdrs", |c| {
            c.allow_rollup = true;
            c.deny_purge = false;
        }),
        ("allow_msg_ttl", |c| c.allow_message_ttl = true),
        ("persist_mode", |c| {
            c.persist_mode = Some(PersistenceMode::Async);
            c.allow_atomic_publish = false;
        }),
        ("allow_direct", |c| c.allow_direct = false),
        ("allow_atomic", |c| c.allow_atomic_publish = false),
        ("republish", |c| c.republish = None),
    ];
    for (name, spoil) in cases {
        let id = name.replace('_', "-");
        let mut config = stream(&id);
        spoil(&mut config);
        let made = context.create_stream(config.clone()).await;
        made.unwrap_or_else(|error| panic!("{name}: {error}"));
        let opened = JetStreamJournal::open(client.clone(), LedgerId::new(&*id).unwrap(), synced());
        match opened.await {
            Err(JournalError::UnsafeSetting { setting, .. }) => {
                let named = setting.rsplit(' ').next().unwrap();
                // A rollup purges, so the server wants deny_purge off with it.
                let also = name == "allow_rollup_hdrs" && named == "deny_purge";
                assert!(named == name || also, "{name}: {setting}");
            }
            other => panic!("{name}: {other:?}"),
        }
        context.delete_stream(&config.name).await.unwrap();
    }
    // As it should be, it is taken; with too few copies it is not.
    context.create_stream(stream("fine")).await.unwrap();
    let fine = LedgerId::new("fine").unwrap();
    let opened = JetStreamJournal::open(client.clone(), fine.clone(), synced()).await;
    assert_eq!(opened.unwrap().stream(), "ROLLBOOK_FINE");
    let three = JetStreamOptions {
        replicas: 3,
        ..synced()
    };
    match JetStreamJournal::open(client, fine, three).await {
        Err(JournalError::UnsafeSetting { setting, .. }) => {
            assert!(setting.ends_with("num_replicas"))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let info = r#"INFO {"server_id":"old","server_name":"old","version":"2.11.9","go":"go1.24","host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"proto":1,"client_id":1}"#;
        socket
            .write_all(format!("{info}\r\n").as_bytes())
            .await
            .unwrap();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = socket.read(&mut buffer).await {
            if buffer[..count].windows(4).any(|w| w == b"PING") {
                socket.write_all(b"PONG\r\n").await.unwrap();
            }
        }
    });
    let options = NatsOptions {
        url: format!("nats://127.0.0.1:{port}"),
        ..NatsOptions::default()
    };
    let client = connect(&options).await.unwrap();
    match JetStreamJournal::open(client, ledger(), synced()).await {
        Err(JournalError::UnsafeSetting { setting, found, .. }) => {
            assert_eq!(
                (setting.as_str(), found.as_str()),
                ("nats-server version", "2.11.9")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn waiting_commits_share_a_batch_and_a_conflict_in_it_hurts_nobody_else() {
    let server = Server::single(ServerConfig::default()).await;
    let journal = open(&server).await;
    let rollouts: Vec<_> = (0..200).map(|i| rollout(&format!("g-{i}"))).collect();
    let first = join_all(rollouts.iter().map(|r| append(&journal, r, 0, "1"))).await;
    let counts = journal.group_counts();
    assert!(counts.batched >= 190 && counts.fallbacks == 0, "{counts:?}");
    // The server stored them as one batch.
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

    // Number 150 is stale, and number 160 waits twice.
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
async fn unreachable_is_retryable_and_bounded() {
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
    // The same commit again is safe, whatever became of the first try.
    let again = loop {
        match journal.append(&r, second.clone()).await {
            Ok(appended) => break appended.sequence,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    };
    assert_eq!(again, first + 1);
    assert_eq!(journal.read(&r, 0).await.unwrap().len(), 2);
}

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
async fn a_broken_chain_is_damage() {
    let server = Server::single(ServerConfig::default()).await;
    let journal = open(&server).await;
    let r = rollout("chain");
    append(&journal, &r, 0, "1").await;
    // A foreign writer that ignores the chain.
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
            last = append(&journal, &r, last, &format!("{round}{text}")).await;
        }
        cluster.servers[round].kill();
        for text in ["d", "e"] {
            last = append(&journal, &r, last, &format!("{round}{text}")).await;
        }
        cluster.servers[round].start();
        cluster.servers[round].ready().await;
        // Wait until the returned server has caught up, or the next loss would be the second.
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
