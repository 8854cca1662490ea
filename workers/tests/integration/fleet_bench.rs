//! Workers that do shards, on a real queue and a real PostgreSQL: what the tests of the fleet
//! have in common.

use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::nats::{NatsOptions, connect};
use rollbook_ledger::rollout::{Task, TaskAction, WorkerCommand};
use rollbook_workers::executor::shards::do_all;
use rollbook_workers::executor::{ShardJob, ShardsError};
use rollbook_workers::fleet::shards::{ShardLane, work};
use rollbook_workers::fleet::{JetStreamQueue, RolloutPort, WorkerConfig};
use rollbook_workers::snapshot::{Snapshot, SnapshotRequest, finish, plan as plan_shards, take};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::executor_fixture::{Fixture, plan};
use crate::fleet_ledger::FileLedger;
use crate::fleet_queue::OPTIONS;
use crate::nats::{Server, ServerConfig};
use crate::snapshot_cluster::Cluster;
use crate::snapshot_deals::{calculator, request};

/// A run that takes longer does not end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Deals of a shard.
pub(crate) const ROWS: u64 = 250;

pub(crate) fn config(name: &str, threads: usize) -> WorkerConfig {
    WorkerConfig {
        progress_every: OPTIONS.ack_wait / 4,
        look_every: Duration::from_millis(50),
        threads: Some(threads),
        ..WorkerConfig::new(name)
    }
}

pub(crate) fn step() -> Value {
    json!({"snapshot": {"of": "deals", "label": "before"}})
}

pub(crate) fn sections() -> Value {
    json!({
        "sources": {"deals": {"kind": "database", "url": {"staging": {"env": "DEALS_URL"}}}},
        "snapshots": {"deals": {"source": "deals"}},
    })
}

/// One queue, one database, one step that runs.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) cluster: Cluster,
    pub(crate) fixture: Arc<Fixture>,
    pub(crate) ledger: Arc<FileLedger>,
    pub(crate) dir: tempfile::TempDir,
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

pub(crate) fn fixture(url: &str) -> Fixture {
    Fixture::with(step(), sections(), &[("DEALS_URL", url)])
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster.deals("jsonb").await;
        let url = cluster.source().database;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ledger");
        let ledger = FileLedger::open(&file, plan(step(), sections()));
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
            fixture: Arc::new(fixture(&url)),
            ledger: Arc::new(ledger),
            dir,
        }
    }

    pub(crate) fn request(&self) -> SnapshotRequest {
        let mut request = request(self.cluster.source(), calculator(true));
        request.rows_per_part = ROWS;
        request
    }

    /// A source so slow that a shard is in work when somebody looks.
    pub(crate) fn slow(&self) -> SnapshotRequest {
        let mut request = self.request();
        request.source.filter = Some("pg_sleep(0.001)::text = ''".to_owned());
        request
    }

    pub(crate) async fn worker(&self, name: &str) -> Worker {
        let stop = CancellationToken::new();
        let worker = work(
            config(name, 1),
            lane(self.server.port).await,
            self.ledger.clone(),
            self.fixture.context.tools.clone(),
            stop.clone(),
        );
        let task = tokio::spawn(worker);
        Worker { stop, task }
    }

    /// What one process makes of it.
    pub(crate) async fn alone(&self) -> Snapshot {
        let store = &self.fixture.context.tools.evidence;
        take(&self.request(), store, &|_| {}).await.unwrap()
    }

    /// What the fleet makes of it.
    pub(crate) async fn with_fleet(&self) -> Result<Snapshot, ShardsError> {
        let lane = lane(self.server.port).await;
        let running = run(&lane, self.request(), &self.fixture);
        tokio::time::timeout(PATIENCE, running)
            .await
            .expect("the workers are free")
    }
}

pub(crate) fn job() -> ShardJob {
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

pub(crate) async fn run(
    lane: &ShardLane,
    request: SnapshotRequest,
    fixture: &Fixture,
) -> Result<Snapshot, ShardsError> {
    let mut planned = plan_shards(&request).await.unwrap();
    assert!(planned.shards.len() > 4);
    let reports = do_all(lane, &job(), &mut planned, &|_| {}).await?;
    let store = &fixture.context.tools.evidence;
    Ok(finish(&planned.summary, reports, store).await.unwrap())
}
