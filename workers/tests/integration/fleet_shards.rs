//! Snapshots whose shards are done by a fleet, on a real queue and a real PostgreSQL.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rollbook_ledger::clock::SystemClock;
use rollbook_ledger::handler::Handler;
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::jetstream::JetStreamJournal;
use rollbook_ledger::nats::{NatsOptions, connect};
use rollbook_ledger::rollout::{Task, TaskAction, WorkerCommand};
use rollbook_workers::executor::shards::take as take_with_fleet;
use rollbook_workers::executor::{ShardFleet, ShardJob, ShardsError};
use rollbook_workers::fleet::presence::{announce, workers};
use rollbook_workers::fleet::shards::{ShardLane, work};
use rollbook_workers::fleet::{
    DeadLetters, JetStreamQueue, QueueOptions, RolloutPort, WorkerConfig,
};
use rollbook_workers::snapshot::{Snapshot, SnapshotRequest, finish, plan as plan_shards, take};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::executor_fixture::{Fixture, plan};
use crate::fleet_ledger::FileLedger;
use crate::fleet_queue;
use crate::nats::{Server, ServerConfig};
use crate::snapshot_cluster::Cluster;
use crate::snapshot_deals::{calculator, request};

/// A run that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Deals of a shard.
const ROWS: u64 = 250;

/// A machine so busy that signs of life come late delivers a shard more often than it is lost.
const OPTIONS: QueueOptions = QueueOptions {
    max_deliver: 50,
    ..fleet_queue::OPTIONS
};

fn config(name: &str, threads: usize) -> WorkerConfig {
    WorkerConfig {
        progress_every: OPTIONS.ack_wait / 4,
        look_every: Duration::from_millis(50),
        threads: Some(threads),
        ..WorkerConfig::new(name)
    }
}

/// The step, and what the plan says besides.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Setup {
    step: Value,
    sections: Value,
}

impl Setup {
    /// A snapshot of deals by a calculator, or by the model where it is null.
    pub(crate) fn of(calculator: &Value) -> Self {
        let mut snapshot = json!({"source": "deals"});
        if !calculator.is_null() {
            snapshot["calculator"] = calculator.clone();
        }
        Self {
            step: json!({"snapshot": {"of": "deals", "label": "before", "max_errors": 100_000}}),
            sections: json!({
                "sources": {"deals": {"kind": "database", "url": {"staging": {"env": "DEALS_URL"}}}},
                "snapshots": {"deals": snapshot},
            }),
        }
    }

    pub(crate) fn runs_on(mut self, label: &str) -> Self {
        self.step["runs_on"] = label.into();
        self
    }

    fn plan(&self) -> Arc<rollbook_ledger::runbook::Plan> {
        plan(self.step.clone(), self.sections.clone())
    }

    pub(crate) fn fixture(&self, url: &str) -> Fixture {
        let secrets = [("DEALS_URL", url)];
        Fixture::with(self.step.clone(), self.sections.clone(), &secrets)
    }
}

/// One queue, one database, one step that runs.
pub(crate) struct Bench {
    setup: Setup,
    pub(crate) server: Server,
    pub(crate) cluster: Cluster,
    pub(crate) fixture: Arc<Fixture>,
    ledger: Arc<FileLedger>,
    dir: tempfile::TempDir,
}

pub(crate) struct Worker {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Worker {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

pub(crate) async fn lane(port: u16) -> ShardLane {
    let options = NatsOptions {
        url: format!("nats://127.0.0.1:{port}"),
        name: "test".to_owned(),
        ..Default::default()
    };
    let client = connect(&options).await.unwrap();
    let queue = JetStreamQueue::open(client, "main".parse().unwrap(), OPTIONS)
        .await
        .unwrap();
    ShardLane::open(Arc::new(queue)).await.unwrap()
}

impl Bench {
    async fn start() -> Self {
        Self::with(Setup::of(&Value::Null)).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let cluster = Cluster::start().await;
        cluster.deals("jsonb").await;
        let url = cluster.source().database;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ledger");
        let ledger = FileLedger::open(&file, setup.plan());
        let start = WorkerCommand::StartStep {
            step: "1.1".parse().unwrap(),
            attempt: 1,
            worker: "coordinator".to_owned(),
            intent: "take it".to_owned(),
        };
        let id = "test-1".parse().unwrap();
        ledger
            .record(&id, start, "start", "test", "")
            .await
            .unwrap();
        Self {
            server: Server::single(ServerConfig::default()).await,
            cluster,
            fixture: Arc::new(setup.fixture(&url)),
            ledger: Arc::new(ledger),
            dir,
            setup,
        }
    }

    fn request(&self) -> SnapshotRequest {
        let mut request = request(self.cluster.source(), calculator(true));
        request.rows_per_part = ROWS;
        request
    }

    pub(crate) async fn worker(&self, name: &str) -> Worker {
        self.labelled_worker(name, &[]).await
    }

    pub(crate) async fn labelled_worker(&self, name: &str, labels: &[&str]) -> Worker {
        let mut config = config(name, 1);
        config.labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let stop = CancellationToken::new();
        let worker = work(
            config,
            lane(self.server.port).await,
            self.ledger.clone(),
            self.fixture.context.tools.clone(),
            stop.clone(),
        );
        let task = tokio::spawn(worker);
        Worker { stop, task }
    }

    /// What one process makes of it.
    async fn alone(&self) -> Snapshot {
        let store = &self.fixture.context.tools.evidence;
        take(&self.request(), store, &|_| {}).await.unwrap()
    }

    /// What the fleet makes of it.
    async fn with_fleet(&self) -> Result<Snapshot, ShardsError> {
        let lane = lane(self.server.port).await;
        let running = run(&lane, self.request(), &self.fixture);
        tokio::time::timeout(PATIENCE, running)
            .await
            .expect("the workers are free")
    }
}

fn job() -> ShardJob {
    ShardJob {
        rollout: "test-1".parse().unwrap(),
        task: Task {
            step: "1.1".parse().unwrap(),
            action: TaskAction::Execute,
            attempt: 1,
            runs_on: None,
        },
    }
}

async fn run(
    lane: &ShardLane,
    request: SnapshotRequest,
    fixture: &Fixture,
) -> Result<Snapshot, ShardsError> {
    let mut planned = plan_shards(&request).await.unwrap();
    assert!(planned.shards.len() > 4);
    let reports = lane.run(&job(), &mut planned).await?;
    let store = &fixture.context.tools.evidence;
    Ok(finish(&planned.summary, reports, store).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_workers_makes_the_same_manifest() {
    let bench = Bench::start().await;
    let alone = bench.alone().await;
    let one = bench.worker("a").await;
    assert_eq!(bench.with_fleet().await.unwrap(), alone);
    let more = [
        bench.worker("b").await,
        bench.worker("c").await,
        bench.worker("d").await,
    ];
    assert_eq!(bench.with_fleet().await.unwrap(), alone);
    one.stop().await;
    for worker in more {
        worker.stop().await;
    }
}

/// Environment variable by which a test process becomes a worker process.
const CHILD: &str = "ROLLBOOK_TEST_SHARDS";

#[derive(serde::Serialize, serde::Deserialize)]
struct ChildConfig {
    port: u16,
    ledger: String,
    evidence: String,
    url: String,
    coordinates: bool,
    setup: Setup,
}

/// Not a test of its own: the worker process that the test below starts and kills.
#[tokio::test]
#[ignore = "started by the test below as a process of its own"]
async fn worker_process() {
    let text = std::env::var(CHILD).expect("started by another test");
    let child: ChildConfig = serde_json::from_str(&text).unwrap();
    let fixture = child.setup.fixture(&child.url);
    let mut tools = fixture.context.tools.clone();
    tools.evidence = rollbook_ledger::evidence::EvidenceStore::open(&child.evidence).unwrap();
    let ledger = FileLedger::open(Path::new(&child.ledger), child.setup.plan());
    let lane = lane(child.port).await;
    if child.coordinates {
        let source = rollbook_workers::snapshot::SnapshotSource::new(child.url);
        let mut request = request(source, calculator(true));
        request.rows_per_part = ROWS;
        run(&lane, request, &fixture).await.unwrap();
        return;
    }
    let never = CancellationToken::new();
    work(config("killed", 2), lane, Arc::new(ledger), tools, never).await;
}

pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    /// A source so slow that a shard is in work when somebody looks.
    fn slow(&self) -> SnapshotRequest {
        let mut request = self.request();
        request.source.filter = Some("pg_sleep(0.001)::text = ''".to_owned());
        request
    }

    /// A process that does shards, or one that has them done.
    pub(crate) fn process(&self, coordinates: bool) -> Process {
        let ledger = self.dir.path().join("ledger");
        let child = ChildConfig {
            port: self.server.port,
            ledger: ledger.to_str().unwrap().to_owned(),
            evidence: self.fixture.evidence_dir().to_str().unwrap().to_owned(),
            url: self.cluster.source().database,
            coordinates,
            setup: self.setup.clone(),
        };
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["fleet_shards::worker_process", "--exact", "--ignored"])
            .env(CHILD, serde_json::to_string(&child).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Process(process)
    }

    /// Sessions that read shards at this moment.
    async fn readers(&self) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity
                     WHERE state = 'active' AND query ILIKE '%COPY%' AND pid <> pg_backend_pid()";
        self.cluster.number(count).await
    }

    async fn wait_for_readers(&self, wanted: impl Fn(i64) -> bool) {
        for _ in 0..1500 {
            if wanted(self.readers().await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} readers", self.readers().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_and_a_killed_server_cost_only_time() {
    let mut bench = Bench::start().await;
    let store = bench.fixture.context.tools.evidence.clone();
    let slow = bench.slow();
    let alone = take(&slow, &store, &|_| {}).await.unwrap();
    let process = bench.process(false);
    let (port, fixture) = (bench.server.port, bench.fixture.clone());
    let running = tokio::spawn(async move { run(&lane(port).await, slow, &fixture).await });
    bench.wait_for_readers(|readers| readers > 0).await;
    // Dropped: killed with SIGKILL in the middle of shards.
    drop(process);
    bench.server.kill();
    bench.server.start();
    bench.server.ready().await;
    let workers = [bench.worker("b").await, bench.worker("c").await];
    assert_eq!(running.await.unwrap().unwrap(), alone);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_coordinator_is_followed_by_another_run() {
    let bench = Bench::start().await;
    let process = bench.process(true);
    bench.wait_for_shards().await;
    drop(process);
    let worker = bench.worker("a").await;
    let whole = bench.with_fleet().await.unwrap();
    assert_eq!(whole, bench.alone().await);
    // Nothing of the first run is left.
    bench.wait_for_idle_queue().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_database_is_planned_anew() {
    let bench = Bench::start().await;
    let worker = bench.worker("a").await;
    let lane = lane(bench.server.port).await;
    let (fixture, slow) = (bench.fixture.clone(), bench.slow());
    let alone = {
        let store = &bench.fixture.context.tools.evidence;
        take(&slow, store, &|_| {}).await.unwrap()
    };
    let running =
        tokio::spawn(async move { take_with_fleet(&fixture.context, &lane, &slow).await });
    bench.wait_for_readers(|readers| readers > 0).await;
    bench.cluster.restart().await;
    assert_eq!(running.await.unwrap().unwrap(), alone);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_shard_fails_the_run_with_its_keys_and_reason() {
    let bench = Bench::start().await;
    let mut request = bench.request();
    // Stops any read of one deal, but not the plan.
    bench
        .cluster
        .execute(
            "CREATE FUNCTION poisoned(id text) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN IF id = 'z-lower' AND current_query() ILIKE '%COPY%'
                   THEN RAISE 'this deal is poison'; END IF; RETURN true; END $$",
        )
        .await;
    request.source.filter = Some("poisoned(id)".to_owned());
    let worker = bench.worker("a").await;
    let mut planned = plan_shards(&request).await.unwrap();
    let lane = lane(bench.server.port).await;
    let error = lane.run(&job(), &mut planned).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ShardsError::Failed { .. }), "{text}");
    assert!(text.contains("this deal is poison"), "{text}");
    assert!(text.contains("from \""), "{text}");
    assert!(!text.contains("correct-horse"), "{text}");
    // The queue is free for others, and the sessions are closed.
    bench.wait_for_readers(|readers| readers == 0).await;
    let whole = bench.with_fleet().await.unwrap();
    assert_eq!(whole.manifest.total, 2_499);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_its_workers() {
    let bench = Bench::start().await;
    let mut slow = bench.slow();
    // One shard takes longer than the test may.
    slow.source.filter =
        Some("(current_query() NOT ILIKE '%COPY%' OR pg_sleep(10)::text = '')".to_owned());
    let worker = bench.worker("a").await;
    let (port, fixture) = (bench.server.port, bench.fixture.clone());
    let running = tokio::spawn(async move { run(&lane(port).await, slow, &fixture).await });
    bench.wait_for_readers(|readers| readers > 0).await;
    running.abort();
    bench.wait_for_idle_queue().await;
    // The worker is free at once: another run goes through.
    assert_eq!(bench.with_fleet().await.unwrap(), bench.alone().await);
    worker.stop().await;
}

impl Bench {
    pub(crate) async fn wait_for_idle_queue(&self) {
        let client = self.server.client().await;
        let context = async_nats::jetstream::new(client);
        for _ in 0..1500 {
            let mut stream = context.get_stream("ROLLBOOK_WORK").await.unwrap();
            if stream.info().await.unwrap().state.messages == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("shards stay on the queue");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_hands_its_shards_to_the_fleet() {
    let bench = Bench::start().await;
    bench
        .cluster
        .execute(
            "INSERT INTO deals SELECT 'm' || n, 'carveout', '[]', NULL
             FROM generate_series(1, 40000) n",
        )
        .await;
    let worker = bench.worker("a").await;
    let mut fixture = bench.setup.fixture(&bench.cluster.source().database);
    fixture.context.tools.evidence = bench.fixture.context.tools.evidence.clone();
    fixture.context.tools.shards = Some(Arc::new(lane(bench.server.port).await));
    let outcome = fixture.execute().await;
    assert!(
        outcome.message.starts_with("42499 deals"),
        "{}",
        outcome.message
    );
    // Without a worker for its shards, the step waits, and an abort ends it.
    worker.stop().await;
    let cancel = fixture.context.cancel.clone();
    let running = tokio::spawn(async move { fixture.execute().await });
    bench.wait_for_shards().await;
    cancel.cancel("aborted");
    let outcome = running.await.unwrap();
    assert!(outcome.message.contains("aborted"), "{}", outcome.message);
    bench.wait_for_idle_queue().await;
}

impl Bench {
    pub(crate) async fn wait_for_shards(&self) {
        let client = self.server.client().await;
        let context = async_nats::jetstream::new(client);
        for _ in 0..1500 {
            if let Ok(mut stream) = context.get_stream("ROLLBOOK_WORK").await
                && stream.info().await.unwrap().state.messages > 0
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no shard is on the queue");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_no_worker_survives_is_reported_not_tried_for_ever() {
    let bench = Bench::start().await;
    let client = bench.server.client().await;
    let lane = lane(bench.server.port).await;
    let journal =
        JetStreamJournal::open(client.clone(), "main".parse().unwrap(), Default::default())
            .await
            .unwrap();
    let tools = &bench.fixture.context.tools;
    let ledger: LedgerId = "main".parse().unwrap();
    let handler = Handler::new(
        Arc::new(journal),
        tools.evidence.clone(),
        tools.clock.clone(),
        ledger.clone(),
    );
    let shutdown = CancellationToken::new();
    let letters = DeadLetters::new(client.clone(), ledger, handler, lane.clone());
    let reading = tokio::spawn(letters.run(shutdown.clone()));
    let mut planned = plan_shards(&bench.request()).await.unwrap();
    let (running, job) = (lane.clone(), job());
    let mut running = tokio::spawn(async move { running.run(&job, &mut planned).await });
    // Workers that take shards and are never heard of again.
    let context = async_nats::jetstream::new(client);
    let work = context.get_stream("ROLLBOOK_WORK").await.unwrap();
    let consumer = work
        .create_consumer(async_nats::jetstream::consumer::pull::Config {
            filter_subject: "work.main.any=shards.>".to_owned(),
            ack_wait: Duration::from_millis(200),
            max_deliver: 2,
            ..Default::default()
        })
        .await
        .unwrap();
    let mut lost = consumer.messages().await.unwrap();
    let error = loop {
        tokio::select! {
            ended = &mut running => break ended.unwrap().unwrap_err(),
            _ = lost.next() => {}
            () = tokio::time::sleep(PATIENCE) => panic!("the run does not end"),
        }
    };
    let text = error.to_string();
    assert!(matches!(error, ShardsError::Failed { .. }), "{text}");
    assert!(text.contains("2 deliveries"), "{text}");
    shutdown.cancel();
    reading.await.unwrap();
}

#[tokio::test]
async fn a_worker_is_listed_while_it_is_there() {
    let server = Server::single(ServerConfig::default()).await;
    let client = server.client().await;
    let ledger: LedgerId = "main".parse().unwrap();
    assert_eq!(workers(&client, &ledger).await.unwrap(), []);
    let mut config = config("host/1", 3);
    config.labels = vec!["db".to_owned()];
    let gone = CancellationToken::new();
    let announced = tokio::spawn(announce(
        client.clone(),
        ledger.clone(),
        config,
        Arc::new(SystemClock),
        gone.clone(),
    ));
    let listed = loop {
        let listed = workers(&client, &ledger).await.unwrap();
        if !listed.is_empty() {
            break listed;
        }
    };
    assert_eq!((listed[0].name.as_str(), listed[0].threads), ("host/1", 3));
    assert_eq!(listed[0].labels, ["db"]);
    let other = "other".parse().unwrap();
    assert_eq!(workers(&client, &other).await.unwrap(), []);
    gone.cancel();
    announced.await.unwrap();
    assert_eq!(workers(&client, &ledger).await.unwrap(), []);
}
