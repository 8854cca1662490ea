//! Clients of the live feed on an in-memory journal and views in SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use rollbook_ledger::ids::{Aggregate, LedgerId, RolloutId, StepId, WorkerName};
use rollbook_ledger::journal::shared::Bounds;
use rollbook_ledger::journal::{Journal, MemoryJournal, SharedJournal};
use rollbook_ledger::projection::projector::Projector;
use rollbook_ledger::projection::sqlite;
use rollbook_proto::v1::{
    Commit, Event, RolloutOpened, RolloutPaused, RolloutResumed, WorkerLeft, event::Kind,
};
use rollbook_workers::executor::StepProgress;
use rollbook_workers::fleet::{QueueError, Signals};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(100);

/// No step is running.
#[derive(Debug)]
struct Silence;

#[async_trait]
impl Signals for Silence {
    async fn progress(&self) -> Result<BoxStream<'static, StepProgress>, QueueError> {
        Ok(futures::stream::pending().boxed())
    }

    async fn progress_of(
        &self,
        _: &RolloutId,
    ) -> Result<BoxStream<'static, StepProgress>, QueueError> {
        self.progress().await
    }

    async fn latest(&self, _: &RolloutId, _: &[StepId]) -> Result<Vec<StepProgress>, QueueError> {
        Ok(Vec::new())
    }

    async fn probe(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn output(
        &self,
        _: &RolloutId,
        _: &StepId,
    ) -> Result<BoxStream<'static, axum::body::Bytes>, QueueError> {
        Ok(futures::stream::pending().boxed())
    }
}

struct Ledger {
    journal: MemoryJournal,
    last: BTreeMap<String, u64>,
    projector: Arc<Projector>,
    live: Live,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Ledger {
    /// An empty ledger that is being read; `bounds` limit what is kept in memory.
    async fn new(bounds: Bounds) -> Self {
        let journal = MemoryJournal::new(LedgerId::new("main").unwrap());
        let shared = SharedJournal::with_bounds(Arc::new(journal.clone()), bounds);
        let views = sqlite::in_memory().await.unwrap();
        let projector = Arc::new(Projector::new(Arc::new(shared.clone()), views.clone()));
        let signals = SignalHub::new(Arc::new(Silence));
        let feed = Feed::new(shared.clone());
        let live = Live::new(feed, projector.waiter(), views, signals);
        let reader = tokio::spawn(shared.clone().run(CancellationToken::new()));
        shared.begun().await;
        Self {
            journal,
            last: BTreeMap::new(),
            projector,
            live,
            tasks: vec![AbortOnDropHandle::new(reader)],
        }
    }

    /// The same with views that follow it.
    async fn viewed(bounds: Bounds) -> Self {
        let mut ledger = Self::new(bounds).await;
        ledger.project();
        ledger
    }

    fn project(&mut self) {
        let projector = Arc::clone(&self.projector);
        let followed = async move { projector.run(CancellationToken::new()).await.unwrap() };
        self.tasks
            .push(AbortOnDropHandle::new(tokio::spawn(followed)));
    }

    async fn append(&mut self, aggregate: &Aggregate, events: Vec<Kind>) -> u64 {
        let last = self.last.entry(aggregate.to_string()).or_default();
        let commit = Commit {
            id: uuid::Uuid::now_v7().to_string(),
            ledger: "main".to_owned(),
            aggregate: aggregate.kind().to_owned(),
            aggregate_id: aggregate.id(),
            schema_version: 1,
            previous_sequence: *last,
            events: events
                .into_iter()
                .map(|kind| Event { kind: Some(kind) })
                .collect(),
            ..Commit::default()
        };
        *last = self
            .journal
            .append(aggregate, commit)
            .await
            .unwrap()
            .sequence;
        *last
    }

    async fn open(&mut self, id: &str, environment: &str) -> u64 {
        let opened = RolloutOpened {
            environment: environment.to_owned(),
            ..RolloutOpened::default()
        };
        self.append(&rollout(id), vec![Kind::RolloutOpened(opened)])
            .await
    }

    /// Two events in one commit.
    async fn pause_and_resume(&mut self, id: &str) -> u64 {
        let events = vec![
            Kind::RolloutPaused(RolloutPaused {
                reason: "x".repeat(100),
            }),
            Kind::RolloutResumed(RolloutResumed::default()),
        ];
        self.append(&rollout(id), events).await
    }

    fn client(&self, at: &str, query: &[(&str, &str)]) -> Client {
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let filter = Filter::of(&query).unwrap();
        Client::new(self.live.clone(), filter, at.parse().unwrap())
    }
}

fn rollout(id: &str) -> Aggregate {
    Aggregate::Rollout(RolloutId::new(id).unwrap())
}

/// The next text sent to a client.
async fn text(
    blocks: &mut (impl Stream<Item = Result<axum::body::Bytes, Dropped>> + Unpin),
) -> String {
    let next = tokio::time::timeout(PATIENCE, blocks.next()).await;
    let bytes = next.unwrap().unwrap().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The ids of the next events, at least this many.
async fn ids(
    blocks: &mut (impl Stream<Item = Result<axum::body::Bytes, Dropped>> + Unpin),
    count: usize,
) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let text = text(blocks).await;
        for block in text
            .split("\n\n")
            .filter(|block| block.contains("\ndata: "))
        {
            let id = block.lines().find_map(|line| line.strip_prefix("id: "));
            ids.push(id.unwrap().to_owned());
        }
    }
    ids
}

#[tokio::test]
async fn an_event_names_its_rollout_and_resumes_within_a_commit() {
    let mut ledger = Ledger::viewed(Bounds::default()).await;
    ledger.open("a", "local").await;
    ledger.pause_and_resume("a").await;
    let mut blocks = Box::pin(ledger.client("0", &[]).stream());
    assert_eq!(text(&mut blocks).await, "retry: 2000\nid: 0\n\n");
    let opened = text(&mut blocks).await;
    assert!(opened.starts_with("id: 1.0\nevent: rollout_opened\ndata: {"));
    assert!(opened.ends_with("}\n\n"), "{opened}");
    let data = opened.lines().nth(2).unwrap().strip_prefix("data: ");
    let data: serde_json::Value = serde_json::from_str(data.unwrap()).unwrap();
    assert_eq!(
        (&data["rollout"], &data["environment"], &data["type"]),
        (&"a".into(), &"local".into(), &"rollout_opened".into())
    );
    assert_eq!(data["event"]["rolloutOpened"]["environment"], "local");
    assert_eq!(ids(&mut blocks, 2).await, ["2.0", "2.1"]);
    let mut rest = Box::pin(ledger.client("2.0", &[]).stream());
    assert_eq!(ids(&mut rest, 1).await, ["2.1"]);
}

#[tokio::test]
async fn no_event_is_sent_before_the_views_contain_it() {
    let mut ledger = Ledger::new(Bounds::default()).await;
    ledger.live.heartbeat = SOON;
    let last = ledger.open("a", "local").await;
    let mut blocks = Box::pin(ledger.client("0", &[]).stream());
    text(&mut blocks).await;
    assert_eq!(text(&mut blocks).await, ": heartbeat\n\n");
    assert_eq!(text(&mut blocks).await, ": heartbeat\n\n");
    ledger.project();
    loop {
        let told = text(&mut blocks).await;
        if told != ": heartbeat\n\n" {
            assert!(told.contains("event: rollout_opened"), "{told}");
            break;
        }
    }
    assert!(ledger.live.applied.applied().sequence >= last);
}

#[tokio::test]
async fn a_filter_omits_events_and_a_heartbeat_advances_past_them() {
    let mut ledger = Ledger::viewed(Bounds::default()).await;
    ledger.live.heartbeat = SOON;
    ledger.open("a", "local").await;
    ledger.open("b", "production").await;
    ledger.pause_and_resume("a").await;
    ledger.pause_and_resume("b").await;
    let worker = Aggregate::Worker(WorkerName::new("w").unwrap());
    let left = vec![Kind::WorkerLeft(WorkerLeft::default())];
    let last = ledger.append(&worker, left).await;
    for (query, wanted) in [
        (&[("rollout", "a")][..], &["1.0", "3.0", "3.1"][..]),
        (&[("environment", "production")], &["2.0", "4.0", "4.1"]),
        (&[("type", "rollout_resumed")], &["3.1", "4.1"]),
        (
            &[
                ("type", "rollout_paused"),
                ("rollout", "a"),
                ("rollout", "b"),
            ],
            &["3.0", "4.0"],
        ),
        (&[("type", "worker_left")], &["5.0"]),
    ] {
        let mut blocks = Box::pin(ledger.client("0", query).stream());
        assert_eq!(ids(&mut blocks, wanted.len()).await, wanted, "{query:?}");
        let heartbeat = text(&mut blocks).await;
        let moves = wanted.last() != Some(&"5.0");
        let id = if moves {
            format!("id: {last}\n")
        } else {
            String::new()
        };
        assert_eq!(heartbeat, format!(": heartbeat\n{id}\n"), "{query:?}");
        assert_eq!(text(&mut blocks).await, ": heartbeat\n\n");
    }
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_dropped_and_resumes_without_loss() {
    let few = Bounds {
        commits: 8,
        bytes: 1024 * 1024,
    };
    let mut ledger = Ledger::viewed(few).await;
    let mut last = ledger.open("a", "local").await;
    let mut slow = Box::pin(ledger.client("1", &[]).stream());
    text(&mut slow).await;
    ledger.pause_and_resume("a").await;
    let mut seen = ids(&mut slow, 2).await;
    for _ in 0..50 {
        last = ledger.pause_and_resume("a").await;
    }
    ledger.live.applied.wait_for(last, PATIENCE).await.unwrap();
    let dropped = loop {
        let next = tokio::time::timeout(PATIENCE, slow.next()).await.unwrap();
        match next.unwrap() {
            Ok(bytes) => {
                let told = String::from_utf8(bytes.to_vec()).unwrap();
                let new = told.lines().filter_map(|line| line.strip_prefix("id: "));
                seen.extend(new.map(str::to_owned));
            }
            Err(dropped) => break dropped,
        }
    };
    assert!(
        matches!(dropped.error, FeedError::Slow { .. }),
        "{dropped:?}"
    );
    assert!(slow.next().await.is_none());
    // It reconnects far behind, and reads history.
    let mut again = Box::pin(ledger.client(&dropped.at.to_string(), &[]).stream());
    text(&mut again).await;
    let left = 2 * usize::try_from(last - 1).unwrap() - seen.len();
    seen.extend(ids(&mut again, left).await);
    let all: Vec<_> = (2..=last)
        .flat_map(|sequence| [0, 1].map(|index| format!("{sequence}.{index}")))
        .collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_client_that_waited_for_late_views_does_not_count_as_slow() {
    let few = Bounds {
        commits: 8,
        bytes: 1024 * 1024,
    };
    let mut ledger = Ledger::new(few).await;
    ledger.open("a", "local").await;
    ledger.projector.catch_up().await.unwrap();
    let mut blocks = Box::pin(ledger.client("0", &[]).stream());
    assert_eq!(ids(&mut blocks, 1).await, ["1.0"]);
    let waits = tokio::spawn(async move { ids(&mut blocks, 60).await });
    // It asks for the next events, and then many are recorded at once.
    tokio::time::sleep(SOON).await;
    for _ in 0..30 {
        ledger.pause_and_resume("a").await;
    }
    ledger.project();
    let told = tokio::time::timeout(PATIENCE, waits).await.unwrap();
    assert_eq!(told.unwrap().last().unwrap(), "31.1");
}
