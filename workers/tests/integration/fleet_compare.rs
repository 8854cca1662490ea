//! Comparisons whose ranges are merged by a fleet, on a real queue.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_workers::compare::{Comparison, RangeTask, compare, task};
use rollbook_workers::executor::progress::{ProgressSink, StepProgress};
use rollbook_workers::executor::shards::{self, MIN_FLEET_DEALS, merge_all};
use rollbook_workers::executor::{ShardsError, Tools};
use rollbook_workers::fleet::shards::{ShardQueue, work};
use rollbook_workers::snapshot::Snapshot;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::calculators::declared;
use crate::compare_snapshots::{rules, synthetic, synthetic_rows};
use crate::executor_fixture::{Fixture, plan};
use crate::fleet_fixture::{PATIENCE, Process, config, job, shard_queue};
use crate::fleet_ledger::FileLedger;
use crate::nats::{Server, ServerConfig};
use crate::snapshot_database::database;
use crate::snapshot_deals::snapshot;

/// Rows per part; the two sides are cut at different keys.
const PARTS: [usize; 2] = [1_000, 1_700];

fn step() -> Value {
    json!({"compare": {"of": "deals", "before": "before", "after": "after"}})
}

fn sections() -> Value {
    json!({
        "sources": {"deals": {"kind": "database", "url": {"staging": {"env": "DEALS_URL"}}}},
        "snapshots": {"deals": {"source": "deals"}},
    })
}

/// One queue, two snapshots and one running step.
struct FleetFixture {
    server: Server,
    fixture: Fixture,
    ledger: Arc<FileLedger>,
    dir: tempfile::TempDir,
    before: Snapshot,
    after: Snapshot,
}

/// A worker that stops on drop.
struct Worker {
    _task: AbortOnDropHandle<()>,
}

fn start_worker(
    shard_queue: ShardQueue,
    ledger: Arc<FileLedger>,
    tools: Tools,
    name: &str,
) -> Worker {
    let never = CancellationToken::new();
    let running = work(config(name, 1), shard_queue, ledger, tools, never);
    Worker {
        _task: AbortOnDropHandle::new(tokio::spawn(running)),
    }
}

impl FleetFixture {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Fixture::with(step(), sections(), &[("DEALS_URL", "postgres://nowhere")]);
        let store = &fixture.context.tools.evidence;
        let source = database(&dir.path().join("deals.db")).await;
        let like = snapshot(source, true, store).await.unwrap();
        let metrics = like.manifest.metrics.len();
        let mut sides = Vec::new();
        for (side, part_rows) in [(0, PARTS[0]), (1, PARTS[1])] {
            let rows = synthetic_rows(metrics, side);
            sides.push(synthetic(store, &like, &rows, part_rows).await);
        }
        let [before, after] = sides.try_into().unwrap();
        let ledger =
            FileLedger::running(&dir.path().join("ledger"), plan(step(), sections())).await;
        Self {
            server: Server::single(ServerConfig::default()).await,
            fixture,
            ledger: Arc::new(ledger),
            dir,
            before,
            after,
        }
    }

    fn store(&self) -> &EvidenceStore {
        &self.fixture.context.tools.evidence
    }

    async fn worker(&self, name: &str) -> Worker {
        let shard_queue = shard_queue(self.server.port).await;
        let tools = self.fixture.context.tools.clone();
        start_worker(shard_queue, self.ledger.clone(), tools, name)
    }

    /// Compares in one process.
    async fn alone(&self) -> Comparison {
        compare(
            &self.before,
            &self.after,
            &rules(),
            &declared(),
            self.store(),
        )
        .await
        .unwrap()
    }

    /// Compares with the fleet.
    async fn with_fleet(&self) -> Result<Comparison, ShardsError> {
        let shard_queue = shard_queue(self.server.port).await;
        let running = run(&shard_queue, &self.before, &self.after, self.store());
        tokio::time::timeout(PATIENCE, running)
            .await
            .expect("the workers are free")
    }

    /// The file of a part of the first snapshot.
    fn part(&self, place: usize) -> PathBuf {
        let sha256 = &self.before.manifest.parts[place].sha256;
        self.fixture.evidence_dir().join(&sha256[..2]).join(sha256)
    }

    async fn messages(&self, stream: &str) -> u64 {
        let context = async_nats::jetstream::new(self.server.client().await);
        match context.get_stream(stream).await {
            Ok(mut stream) => stream.info().await.unwrap().state.messages,
            Err(_) => 0,
        }
    }

    async fn wait_for(&self, stream: &str, wanted: impl Fn(u64) -> bool) {
        for _ in 0..1500 {
            if wanted(self.messages(stream).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{stream}: {} messages", self.messages(stream).await);
    }
}

impl FleetFixture {
    async fn wait_until_in_work(&self) {
        let context = async_nats::jetstream::new(self.server.client().await);
        for _ in 0..1500 {
            if let Ok(stream) = context.get_stream("ROLLBOOK_WORK").await {
                let mut consumers = stream.consumers();
                while let Some(Ok(consumer)) = consumers.next().await {
                    if consumer.num_ack_pending > 0 {
                        return;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no shard is in work");
    }
}

async fn run(
    shard_queue: &ShardQueue,
    before: &Snapshot,
    after: &Snapshot,
    store: &EvidenceStore,
) -> Result<Comparison, ShardsError> {
    let tasks: Vec<RangeTask> = task::plan(before, after, &rules(), store).await?;
    assert!(tasks.len() > 20, "{}", tasks.len());
    let reports = merge_all(shard_queue, &job(), &tasks, &|_| {}).await?;
    let (rules, declared) = (rules(), declared());
    let declared = declared.as_ref();
    let made = task::finish(before, after, &rules, declared, &tasks, reports, store);
    Ok(made.await?)
}

/// A part whose readers block until it is put back.
struct Held {
    path: PathBuf,
    aside: PathBuf,
}

impl Held {
    fn new(path: PathBuf) -> Self {
        let aside = path.with_extension("aside");
        std::fs::rename(&path, &aside).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        Self { path, aside }
    }

    fn put_back(self) {
        std::fs::rename(&self.aside, &self.path).unwrap();
    }

    /// Puts it back and releases a reader thread of this process, which then reads an empty file.
    fn let_go(self) {
        // Opened for reading too, so that the call does not block itself.
        let mut both = std::fs::OpenOptions::new();
        let opened = both.read(true).write(true).open(&self.path).unwrap();
        self.put_back();
        drop(opened);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_workers_gives_the_bytes_of_one_process() {
    let fleet_fixture = FleetFixture::start().await;
    let alone = fleet_fixture.alone().await;
    assert!(alone.result.differences.len() > 20 && alone.result.regressions > 0);
    assert!(alone.result.figures.worst_change_percent.is_some());
    let _one = fleet_fixture.worker("a").await;
    assert_eq!(fleet_fixture.with_fleet().await.unwrap(), alone);
    let mut more = Vec::new();
    for name in ["b", "c", "d"] {
        more.push(fleet_fixture.worker(name).await);
    }
    assert_eq!(fleet_fixture.with_fleet().await.unwrap(), alone);
}

/// Environment variable by which a test process becomes a worker process.
const CHILD: &str = "ROLLBOOK_TEST_RANGES";

#[derive(serde::Serialize, serde::Deserialize)]
struct ChildConfig {
    port: u16,
    ledger: PathBuf,
    evidence: PathBuf,
    before: String,
    after: String,
    coordinates: bool,
}

/// Not a test: the worker process that the tests below start and kill.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests below as a process of its own"]
async fn worker_process() {
    let text = std::env::var(CHILD).expect("started by another test");
    let child: ChildConfig = serde_json::from_str(&text).unwrap();
    let store = EvidenceStore::open(child.evidence.to_str().unwrap()).unwrap();
    let shard_queue = shard_queue(child.port).await;
    if child.coordinates {
        let before = Snapshot::open(&store, &child.before).await.unwrap();
        let after = Snapshot::open(&store, &child.after).await.unwrap();
        run(&shard_queue, &before, &after, &store).await.unwrap();
        return;
    }
    let fixture = Fixture::with(step(), sections(), &[("DEALS_URL", "postgres://nowhere")]);
    let mut tools = fixture.context.tools.clone();
    tools.evidence = store;
    let ledger = Arc::new(FileLedger::open(&child.ledger, plan(step(), sections())));
    let never = CancellationToken::new();
    work(config("killed", 2), shard_queue, ledger, tools, never).await;
}

impl FleetFixture {
    /// Starts a process that merges ranges, or one that coordinates them.
    fn process(&self, coordinates: bool) -> Process {
        let child = ChildConfig {
            port: self.server.port,
            ledger: self.dir.path().join("ledger"),
            evidence: Path::new(self.store().location()).to_owned(),
            before: self.before.evidence.sha256.clone(),
            after: self.after.evidence.sha256.clone(),
            coordinates,
        };
        Process::start("fleet_compare::worker_process", CHILD, &child)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_costs_only_time() {
    let fleet_fixture = FleetFixture::start().await;
    let alone = fleet_fixture.alone().await;
    let held = Held::new(fleet_fixture.part(15));
    let process = fleet_fixture.process(false);
    let running = async {
        // Some ranges are answered, and one is in progress while the part is held.
        fleet_fixture
            .wait_for("ROLLBOOK_SHARDS", |answers| answers > 3)
            .await;
        // Dropping kills it with SIGKILL.
        drop(process);
        held.put_back();
        [
            fleet_fixture.worker("b").await,
            fleet_fixture.worker("c").await,
        ]
    };
    let (found, _workers) = tokio::join!(fleet_fixture.with_fleet(), running);
    assert_eq!(found.unwrap(), alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_run_replaces_a_killed_coordinator() {
    let fleet_fixture = FleetFixture::start().await;
    let process = fleet_fixture.process(true);
    fleet_fixture
        .wait_for("ROLLBOOK_WORK", |shards| shards > 0)
        .await;
    drop(process);
    let _worker = fleet_fixture.worker("a").await;
    assert_eq!(
        fleet_fixture.with_fleet().await.unwrap(),
        fleet_fixture.alone().await
    );
    // Nothing of the first run is left.
    fleet_fixture
        .wait_for("ROLLBOOK_WORK", |shards| shards == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_part_fails_the_run_by_its_address() {
    let fleet_fixture = FleetFixture::start().await;
    let path = fleet_fixture.part(7);
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let _worker = fleet_fixture.worker("a").await;
    let error = fleet_fixture.with_fleet().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ShardsError::Failed { .. }), "{text}");
    assert!(text.contains("RB-EVIDENCE-3"), "{text}");
    assert!(
        text.contains(&fleet_fixture.before.manifest.parts[7].sha256),
        "{text}"
    );
    assert!(text.contains("from \"00"), "{text}");
    // The range is not tried again, and the queue is free for other work.
    fleet_fixture
        .wait_for("ROLLBOOK_WORK", |shards| shards == 0)
        .await;
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(
        fleet_fixture.with_fleet().await.unwrap(),
        fleet_fixture.alone().await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_its_workers() {
    let fleet_fixture = FleetFixture::start().await;
    let held = Held::new(fleet_fixture.part(0));
    let _worker = fleet_fixture.worker("a").await;
    let (port, store) = (fleet_fixture.server.port, fleet_fixture.store().clone());
    let (before, after) = (fleet_fixture.before.clone(), fleet_fixture.after.clone());
    let running =
        tokio::spawn(async move { run(&shard_queue(port).await, &before, &after, &store).await });
    fleet_fixture.wait_until_in_work().await;
    running.abort();
    fleet_fixture
        .wait_for("ROLLBOOK_WORK", |shards| shards == 0)
        .await;
    held.let_go();
    // The worker is free: another run succeeds.
    assert_eq!(
        fleet_fixture.with_fleet().await.unwrap(),
        fleet_fixture.alone().await
    );
}

/// Collects the reports.
#[derive(Debug, Default)]
struct Reports(Mutex<Vec<StepProgress>>);

impl ProgressSink for Reports {
    fn report(&self, progress: StepProgress) {
        self.0.lock().unwrap().push(progress);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_comparison_stays_in_the_step_and_a_large_one_goes_to_the_fleet() {
    let mut fleet_fixture = FleetFixture::start().await;
    let alone = fleet_fixture.alone().await;
    let reports = Arc::new(Reports::default());
    let tools = &mut fleet_fixture.fixture.context.tools;
    tools.progress = reports.clone();
    tools.shards = Some(Arc::new(shard_queue(fleet_fixture.server.port).await));
    let context = &fleet_fixture.fixture.context;
    let (rules, sides) = (rules(), (&fleet_fixture.before, &fleet_fixture.after));
    let last = || reports.0.lock().unwrap().last().unwrap().clone();
    // No worker exists yet that could merge a range.
    let here = shards::compare(context, sides, &rules, MIN_FLEET_DEALS);
    let here = tokio::time::timeout(PATIENCE, here).await.unwrap().unwrap();
    assert_eq!(here, alone);
    let total = fleet_fixture.before.manifest.total;
    assert_eq!(
        (last().done, last().total, last().shards),
        (total, total, None)
    );
    assert_eq!(last().workers[0].name, "host/1");
    assert_eq!(fleet_fixture.messages("ROLLBOOK_WORK").await, 0);

    let _worker = fleet_fixture.worker("a").await;
    let there = shards::compare(context, sides, &rules, total);
    let there = tokio::time::timeout(PATIENCE, there)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(there, alone);
    let shards = last().shards.unwrap();
    assert!(
        shards.done > 20 && shards.done == shards.total,
        "{shards:?}"
    );
    assert_eq!(
        (last().done, last().total, last().ended),
        (total, total, true)
    );
    assert_eq!(
        (&*last().workers[0].name, last().workers[0].deals),
        ("a", total)
    );
}
