//! The contract suite for every adapter of the journal.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use rollbook_ledger::ids::{Aggregate, EnvironmentId, FlagKey, LedgerId, RolloutId};
use rollbook_ledger::journal::integrity::{compare, inspect, spot_check};
use rollbook_ledger::journal::{
    Cache, CommandDecision, ExecuteError, Executed, JetStreamJournal, JetStreamOptions, Journal,
    JournalError, MAX_COMMIT_BYTES, MemoryJournal, ReadFrom, ReportSource, StoredCommit, SyncKnown,
    execute,
};
use rollbook_ledger::journal::{Damage, Extent, Position};
use rollbook_ledger::proto::v1::{Commit, Event, RolloutPaused, RolloutStarted, event::Kind};

use crate::nats::{Cluster, Server, ServerConfig};

pub fn ledger() -> LedgerId {
    LedgerId::new("main").unwrap()
}

pub fn rollout(name: &str) -> Aggregate {
    Aggregate::Rollout(RolloutId::new(name).unwrap())
}

/// Returns a valid commit with one event that carries `note`.
pub fn commit(aggregate: &Aggregate, previous_sequence: u64, note: &str) -> Commit {
    Commit {
        id: uuid::Uuid::now_v7().to_string(),
        ledger: ledger().to_string(),
        aggregate: aggregate.kind().to_owned(),
        aggregate_id: aggregate.id(),
        schema_version: 1,
        command_id: uuid::Uuid::now_v7().to_string(),
        recorded_at: Some(rollbook_ledger::clock::to_proto(jiff::Timestamp::now())),
        previous_sequence,
        events: vec![Event {
            kind: Some(Kind::RolloutPaused(RolloutPaused {
                reason: note.to_owned(),
            })),
        }],
        ..Commit::default()
    }
}

pub fn note(stored: &StoredCommit) -> &str {
    match stored.commit.events.first().and_then(|e| e.kind.as_ref()) {
        Some(Kind::RolloutPaused(paused)) => &paused.reason,
        other => panic!("{other:?}"),
    }
}

pub async fn append(journal: &dyn Journal, aggregate: &Aggregate, after: u64, text: &str) -> u64 {
    let appended = journal.append(aggregate, commit(aggregate, after, text));
    appended.await.unwrap().sequence
}

/// Returns the next `count` commits of a follower.
pub async fn take(journal: &dyn Journal, after: u64, count: usize) -> Vec<StoredCommit> {
    let commits = journal.follow(ReadFrom { after }).await.unwrap();
    let taken = commits.take(count).map(Result::unwrap).collect();
    tokio::time::timeout(Duration::from_secs(60), taken)
        .await
        .expect("the follower delivers")
}

/// Runs every case of the contract on an empty journal.
pub async fn contract(journal: Arc<dyn Journal>) {
    let journal = &journal;
    empty(journal).await;
    order_and_conflict(journal).await;
    repeated_appends(journal).await;
    refused_before_sending(journal).await;
    followers(journal).await;
    racing_writers(journal).await;
    long_aggregates(journal).await;
    many_aggregates(journal).await;
    commands(journal).await;
    cached_commands(journal).await;
    by_sequence(journal).await;
    // In any case there is one total order without gaps, the same for every reader.
    let last = journal.last_sequence().await.unwrap();
    let all = take(&**journal, 0, usize::try_from(last).unwrap()).await;
    let sequences: Vec<u64> = all.iter().map(|stored| stored.sequence).collect();
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
}

/// What an adapter reports about its store agrees with the journal.
async fn reported(journal: &dyn Journal, source: &dyn ReportSource) {
    let report = source.report().await.unwrap();
    assert!(report.is_complete() && report.quorum, "{report:?}");
    assert!(report.bytes > 0 && report.replicas > 0, "{report:?}");
    assert!(!report.version.is_empty() && !report.stream.is_empty());
    assert_eq!(
        (report.sync, report.last_sequence),
        (journal.sync(), journal.last_sequence().await.unwrap())
    );
}

async fn empty(journal: &Arc<dyn Journal>) {
    assert_eq!(journal.last_sequence().await.unwrap(), 0);
    assert_eq!(journal.read(&rollout("none"), 0).await.unwrap(), vec![]);
}

async fn by_sequence(journal: &Arc<dyn Journal>) {
    let last = journal.last_sequence().await.unwrap();
    for sequence in [1, last / 2, last] {
        let stored = journal.at(sequence).await.unwrap().unwrap();
        assert_eq!(
            vec![stored],
            take(&**journal, sequence - 1, 1).await,
            "{sequence}"
        );
    }
    for sequence in [0, last + 1] {
        assert_eq!(journal.at(sequence).await.unwrap(), None);
    }
    assert_eq!(journal.extent().await.unwrap(), Extent::complete(last));
    assert_eq!(inspect(&**journal).await.unwrap(), Extent::complete(last));
    spot_check(&**journal, 16).await.unwrap();

    let stored = journal.at(last).await.unwrap().unwrap();
    let position = Position::of(&stored);
    compare(&**journal, &ledger(), &position, "it stands")
        .await
        .unwrap();
    let compared = |position: Position| async move {
        compare(&**journal, &ledger(), &position, "it stands")
            .await
            .unwrap_err()
    };
    let other = Position {
        commit_id: "other".to_owned(),
        ..position.clone()
    };
    assert!(matches!(compared(other).await, Damage::Replaced { sequence, .. } if sequence == last));
    let beyond = Position {
        sequence: last + 3,
        ..position.clone()
    };
    let short = compared(beyond).await;
    let missing = format!("{} to {}", last + 1, last + 3);
    assert!(short.to_string().contains(&missing), "{short}");
    let foreign = Position {
        ledger: "foreign".to_owned(),
        ..position
    };
    assert!(matches!(compared(foreign).await, Damage::Foreign { .. }));
}

async fn order_and_conflict(journal: &Arc<dyn Journal>) {
    let (a, b) = (rollout("a"), rollout("b"));
    let flag = Aggregate::Flag(
        EnvironmentId::new("production").unwrap(),
        FlagKey::new("a.b").unwrap(),
    );
    assert_eq!(append(&**journal, &a, 0, "a1").await, 1);
    assert_eq!(append(&**journal, &b, 0, "b1").await, 2);
    assert_eq!(append(&**journal, &a, 1, "a2").await, 3);
    assert_eq!(append(&**journal, &flag, 0, "f1").await, 4);
    for (expected, actual) in [(0, 3), (1, 3), (2, 3), (99, 3)] {
        match journal.append(&a, commit(&a, expected, "late")).await {
            Err(JournalError::Conflict {
                expected: e,
                actual: f,
                ..
            }) => assert_eq!((e, f), (expected, actual)),
            other => panic!("{other:?}"),
        }
    }
    match journal
        .append(&rollout("new"), commit(&rollout("new"), 3, "x"))
        .await
    {
        Err(JournalError::Conflict {
            expected: 3,
            actual: 0,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(journal.last_sequence().await.unwrap(), 4);
    let read = journal.read(&a, 0).await.unwrap();
    assert_eq!(read.iter().map(note).collect::<Vec<_>>(), ["a1", "a2"]);
    assert_eq!(read.iter().map(|s| s.sequence).collect::<Vec<_>>(), [1, 3]);
    let read = journal.read(&a, 1).await.unwrap();
    assert_eq!(read.iter().map(note).collect::<Vec<_>>(), ["a2"]);
    // `after` may be a sequence of another aggregate.
    assert_eq!(journal.read(&a, 2).await.unwrap().len(), 1);
    assert_eq!(journal.read(&a, 3).await.unwrap(), vec![]);
    assert_eq!(journal.read(&flag, 0).await.unwrap().len(), 1);
    let age = jiff::Timestamp::now().duration_since(read[0].stored_at);
    assert!(age.abs() < jiff::SignedDuration::from_mins(5), "{age}");
}

async fn repeated_appends(journal: &Arc<dyn Journal>) {
    let r = rollout("repeat");
    let first = commit(&r, 0, "1");
    let at = journal.append(&r, first.clone()).await.unwrap();
    assert_eq!(journal.append(&r, first.clone()).await.unwrap(), at);
    let stored = journal.at(at.sequence).await.unwrap().unwrap();
    assert_eq!(stored.payload, prost::Message::encode_to_vec(&first));
    let second = append(&**journal, &r, at.sequence, "2").await;
    // It is no longer the last commit but is still recognised.
    assert_eq!(journal.append(&r, first.clone()).await.unwrap(), at);
    append(&**journal, &r, second, "3").await;
    assert_eq!(journal.append(&r, first).await.unwrap(), at);
    assert_eq!(journal.read(&r, 0).await.unwrap().len(), 3);
}

async fn refused_before_sending(journal: &Arc<dyn Journal>) {
    let r = rollout("refused");
    let before = journal.last_sequence().await.unwrap();
    type Spoiled = (&'static str, fn(&mut Commit));
    let spoil: [Spoiled; 9] = [
        ("no event", |c| c.events.clear()),
        ("has no kind", |c| c.events.push(Event { kind: None })),
        ("is not a UUID", |c| c.id = "1\r\nX: y".to_owned()),
        ("is not a UUID", |c| c.id.clear()),
        ("ledger is", |c| c.ledger = "other".to_owned()),
        ("it names", |c| c.aggregate_id = "other".to_owned()),
        ("it names", |c| c.aggregate = "flag".to_owned()),
        ("schema_version", |c| c.schema_version = 0),
        ("schema_version", |c| c.schema_version = u32::MAX),
    ];
    for (words, spoil) in spoil {
        let mut bad = commit(&r, 0, "bad");
        spoil(&mut bad);
        match journal.append(&r, bad).await {
            Err(JournalError::Malformed { reason, .. }) => {
                assert!(reason.contains(words), "{reason}")
            }
            other => panic!("{words}: {other:?}"),
        }
    }
    // The largest commit fits, one byte more does not.
    let overhead = prost::Message::encoded_len(&commit(&r, 0, &"x".repeat(60_000))) - 60_000;
    let largest = "x".repeat(MAX_COMMIT_BYTES - overhead);
    match journal
        .append(&r, commit(&r, 0, &format!("{largest}x")))
        .await
    {
        Err(JournalError::TooLarge { bytes, .. }) => assert_eq!(bytes, MAX_COMMIT_BYTES + 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(journal.last_sequence().await.unwrap(), before);
    append(&**journal, &r, 0, &largest).await;
    assert_eq!(note(&journal.read(&r, 0).await.unwrap()[0]), largest);
    // An invalid trace context must not break the header.
    let mut odd = commit(&r, before + 1, "odd");
    odd.traceparent = "00-\r\nX: y".to_owned();
    journal.append(&r, odd).await.unwrap();
}

async fn followers(journal: &Arc<dyn Journal>) {
    let r = rollout("followed");
    let last = journal.last_sequence().await.unwrap();
    assert_eq!(note(&take(&**journal, 0, 1).await[0]), "a1");
    let live = {
        let journal = journal.clone();
        tokio::spawn(async move { take(&*journal, last, 3).await })
    };
    let mut at = 0;
    for text in ["1", "2", "3"] {
        at = append(&**journal, &r, at, text).await;
    }
    let live = live.await.unwrap();
    assert_eq!(live.iter().map(note).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(live[0].sequence, last + 1);
    assert_eq!(live, journal.read(&r, 0).await.unwrap());
    // A reader beyond the end belongs to another journal.
    let beyond = journal.follow(ReadFrom { after: at + 1 }).await;
    assert!(matches!(beyond, Err(JournalError::Corrupt { .. })));
}

async fn racing_writers(journal: &Arc<dyn Journal>) {
    let r = rollout("raced");
    let mut last = 0;
    for round in 0..20 {
        let writers = (0..4).map(|w| {
            let (journal, r) = (journal.clone(), r.clone());
            let commit = commit(&r, last, &format!("{round}-{w}"));
            tokio::spawn(async move { journal.append(&r, commit).await })
        });
        let outcomes: Vec<_> = join_all(writers)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let winners: Vec<u64> = outcomes.iter().flatten().map(|a| a.sequence).collect();
        assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
        for loser in outcomes.iter().filter_map(|o| o.as_ref().err()) {
            assert!(matches!(loser, JournalError::Conflict { .. }), "{loser:?}");
        }
        last = winners[0];
    }
    assert_eq!(journal.read(&r, 0).await.unwrap().len(), 20);
}

async fn long_aggregates(journal: &Arc<dyn Journal>) {
    // More commits than one direct get returns, with other aggregates in between.
    let (long, other) = (rollout("long"), rollout("between"));
    let (mut at, mut between) = (0, 0);
    for index in 0..700 {
        at = append(&**journal, &long, at, &index.to_string()).await;
        if index % 10 == 0 {
            between = append(&**journal, &other, between, "x").await;
        }
    }
    let read = journal.read(&long, 0).await.unwrap();
    let notes: Vec<_> = read.iter().map(|s| note(s).to_owned()).collect();
    assert_eq!(notes, (0..700).map(|i| i.to_string()).collect::<Vec<_>>());
    let tail = journal.read(&long, read[680].sequence).await.unwrap();
    assert_eq!(tail, read[681..]);
}

async fn many_aggregates(journal: &Arc<dyn Journal>) {
    let before = journal.last_sequence().await.unwrap();
    let writers = (0..1000).map(|index| {
        let journal = journal.clone();
        tokio::spawn(async move {
            let r = rollout(&format!("many-{index}"));
            let first = append(&*journal, &r, 0, "1").await;
            append(&*journal, &r, first, "2").await;
            r
        })
    });
    for writer in join_all(writers).await {
        let read = journal.read(&writer.unwrap(), 0).await.unwrap();
        assert_eq!(read.iter().map(note).collect::<Vec<_>>(), ["1", "2"]);
    }
    assert_eq!(journal.last_sequence().await.unwrap(), before + 2000);
}

/// Decides to append a number unless it is already there, and refuses 13.
fn decide(r: &Aggregate, seen: &[String], number: u32) -> Result<CommandDecision, String> {
    if number == 13 {
        return Err(format!("13 after {}", seen.len()));
    }
    let text = number.to_string();
    Ok(if seen.contains(&text) {
        CommandDecision::Nothing
    } else {
        CommandDecision::Record(commit(r, 0, &text))
    })
}

fn notes(history: &[StoredCommit]) -> Vec<String> {
    history
        .iter()
        .map(|stored| note(stored).to_owned())
        .collect()
}

/// Executes [`decide`] on states that hold the notes of an aggregate.
async fn run(
    journal: &dyn Journal,
    r: &Aggregate,
    cache: &Cache<Aggregate, Vec<String>>,
    number: u32,
) -> Result<Executed, ExecuteError<String>> {
    let evolve = |mut state: Vec<String>, tail: &[StoredCommit]| {
        state.extend(notes(tail));
        Ok(state)
    };
    let decide = |seen: Vec<String>| async move { decide(r, &seen, number) };
    execute(journal, r, cache, evolve, decide).await
}

async fn commands(journal: &Arc<dyn Journal>) {
    let r = rollout("commanded");
    // Without a cache, with one cache each, and with a shared one.
    let shared = Cache::new(8);
    let run = |number: u32| {
        let (journal, r) = (journal.clone(), r.clone());
        let cache = match number % 3 {
            0 => shared.clone(),
            limit => Cache::new(limit as usize - 1),
        };
        tokio::spawn(async move { run(&*journal, &r, &cache, number).await })
    };
    // Ten different commands and ten repetitions concurrently: each is applied exactly once.
    let done = join_all((0..20).map(|n| run(n % 10))).await;
    for one in done {
        one.unwrap().unwrap();
    }
    let mut applied = notes(&journal.read(&r, 0).await.unwrap());
    applied.sort();
    assert_eq!(applied, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    let refused = run(13).await.unwrap();
    assert!(matches!(refused, Err(ExecuteError::Rejected(text)) if text == "13 after 10"));
}

async fn cached_commands(journal: &Arc<dyn Journal>) {
    let r = rollout("cached");
    let cache = Cache::new(8);
    let run = async |number| run(&**journal, &r, &cache, number).await;
    let first = run(1).await.unwrap();
    assert_eq!(cache.get(&r), Some((vec!["1".to_owned()], first.sequence)));
    let second = run(2).await.unwrap();
    assert_eq!(second.attempts, 1);
    // Another writer appends: the cached state is stale.
    let third = append(&**journal, &r, second.sequence, "3").await;
    let repeated = run(3).await.unwrap();
    assert_eq!((repeated.sequence, repeated.commit), (third, None));
    append(&**journal, &r, third, "4").await;
    // A refusal takes the commit into account that the cache does not have.
    assert!(matches!(run(13).await, Err(ExecuteError::Rejected(text)) if text == "13 after 4"));
    append(&**journal, &r, journal.last_sequence().await.unwrap(), "5").await;
    let sixth = run(6).await.unwrap();
    assert_eq!(sixth.attempts, 2);
    let all = notes(&journal.read(&r, 0).await.unwrap());
    assert_eq!(all, ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    let journal = MemoryJournal::new(ledger());
    contract(Arc::new(journal.clone())).await;
    reported(&journal, &journal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_alone_and_synced() {
    let server = Server::single(ServerConfig::default()).await;
    let options = JetStreamOptions {
        system: Some(server.system_client().await),
        ..JetStreamOptions::default()
    };
    let journal = JetStreamJournal::open(server.client().await, ledger(), options)
        .await
        .unwrap();
    contract(Arc::new(journal.clone())).await;
    reported(&journal, &journal).await;
    let report = journal.report().await.unwrap();
    assert_eq!(report.sync, SyncKnown::Always);
    assert!(report.cluster.is_none(), "{report:?}");
    let counts = journal.group_counts();
    assert!(counts.batches > 0 && counts.batched > 500, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_alone_without_sync() {
    let server = Server::single(ServerConfig {
        sync_always: false,
        ..ServerConfig::default()
    })
    .await;
    let options = JetStreamOptions {
        system: Some(server.system_client().await),
        ..JetStreamOptions::default()
    };
    let journal = JetStreamJournal::open(server.client().await, ledger(), options)
        .await
        .unwrap();
    contract(Arc::new(journal.clone())).await;
    reported(&journal, &journal).await;
    assert_eq!(journal.report().await.unwrap().sync, SyncKnown::NotAlways);
    assert_eq!(journal.group_counts().batches, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_on_three_servers() {
    let cluster = Cluster::start().await;
    let options = JetStreamOptions {
        replicas: 3,
        sync: SyncKnown::Always,
        ..JetStreamOptions::default()
    };
    let journal = JetStreamJournal::open(cluster.client().await, ledger(), options)
        .await
        .unwrap();
    contract(Arc::new(journal.clone())).await;
    reported(&journal, &journal).await;
    let report = journal.report().await.unwrap();
    assert_eq!(
        (report.replicas, report.cluster.as_deref()),
        (3, Some("test"))
    );
}

#[test]
fn an_event_is_named_as_in_the_wire_format() {
    let event = Event {
        kind: Some(Kind::RolloutStarted(RolloutStarted {})),
    };
    assert_eq!(
        rollbook_ledger::journal::event_type(&event),
        "rollout_started"
    );
}
