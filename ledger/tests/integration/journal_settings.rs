//! Which servers and streams the JetStream journal refuses.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, Republish, RetentionPolicy, StorageType,
};
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::{
    JetStreamJournal, JetStreamOptions, JournalError, ReportSource, SyncKnown,
};
use rollbook_ledger::nats::{ConnectError, NatsOptions, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::journal_contract::ledger;
use crate::journal_faults::synced;
use crate::nats::{Server, ServerConfig};

/// A setting's name, and a function that breaks it.
type Spoiled = (&'static str, fn(&mut Config));

/// Returns the settings with which the stream of a ledger `name` is created.
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
    let cases: [Spoiled; 15] = [
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
                // A rollup purges, so the server requires deny_purge to be off with it.
                let also = name == "allow_rollup_hdrs" && named == "deny_purge";
                assert!(named == name || also, "{name}: {setting}");
            }
            other => panic!("{name}: {other:?}"),
        }
        context.delete_stream(&config.name).await.unwrap();
    }
    // Correct settings are accepted; too few replicas are not.
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
async fn credentials_in_the_url_are_used() {
    let server = Server::single(ServerConfig::default()).await;
    let url = |credentials: &str| NatsOptions {
        url: format!("nats://{credentials}@127.0.0.1:{}", server.port),
        ..NatsOptions::default()
    };
    // Only the system account can read the servers' settings; `%79` is `y`.
    let options = JetStreamOptions {
        system: Some(connect(&url("sys:s%79s")).await.unwrap()),
        ..JetStreamOptions::default()
    };
    let client = connect(&url("app:app")).await.unwrap();
    let journal = JetStreamJournal::open(client, ledger(), options)
        .await
        .unwrap();
    assert_eq!(journal.report().await.unwrap().sync, SyncKnown::Always);
    let refused = connect(&url("sys:wrong")).await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Unauthorized { .. }),
        "{refused}"
    );
}
