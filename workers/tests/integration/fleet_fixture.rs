//! The common setup of the fleet tests: workers that do shards, on a real queue and a real
//! PostgreSQL.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::nats::{NatsOptions, connect};
use rollbook_ledger::rollout::{Task, TaskAction, TaskClass};
use rollbook_workers::executor::shards::do_all;
use rollbook_workers::executor::{ShardJob, ShardsError};
use rollbook_workers::fleet::shards::{ShardQueue, work};
use rollbook_workers::fleet::{JetStreamQueue, QueueOptions, WorkerConfig};
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

/// A run that takes longer than this counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Deals per shard.
pub(crate) const ROWS: u64 = 250;

/// On a busy machine late heartbeats cause redeliveries of shards that were not lost.
const OPTIONS: QueueOptions = QueueOptions {
    max_deliver: 50,
    ..fleet_queue::OPTIONS
};

pub(crate) fn config(name: &str, threads: usize) -> WorkerConfig {
    WorkerConfig {
        progress_every: OPTIONS.ack_wait / 4,
        look_every: Duration::from_millis(50),
        threads: Some(threads),
        ..WorkerConfig::new(name)
    }
}

/// The step, and the other sections of the plan.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Setup {
    step: Value,
    sections: Value,
}

impl Setup {
    /// A snapshot by a calculator, or by the built-in model if it is null.
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

    pub(crate) fn plan(&self) -> Arc<rollbook_ledger::runbook::Plan> {
        plan(self.step.clone(), self.sections.clone())
    }

    pub(crate) fn fixture(&self, url: &str) -> Fixture {
        let secrets = [("DEALS_URL", url)];
        Fixture::with(self.step.clone(), self.sections.clone(), &secrets)
    }
}

/// A separate process, killed with SIGKILL on drop.
pub(crate) struct Process(Child);

impl Process {
    /// Starts this test program again with one ignored test, which reads its task from a variable.
    pub(crate) fn start(test: &str, variable: &str, task: &impl serde::Serialize) -> Self {
        let process = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored"])
            .env(variable, serde_json::to_string(task).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One queue, one database and one running step.
pub(crate) struct FleetFixture {
    pub(crate) setup: Setup,
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

pub(crate) async fn shard_queue(port: u16) -> ShardQueue {
    let options = NatsOptions {
        url: format!("nats://127.0.0.1:{port}"),
        name: "test".to_owned(),
        ..Default::default()
    };
    let client = connect(&options).await.unwrap();
    let queue = JetStreamQueue::open(client, "main".parse().unwrap(), OPTIONS)
        .await
        .unwrap();
    ShardQueue::open(Arc::new(queue)).await.unwrap()
}

impl FleetFixture {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::of(&Value::Null)).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let cluster = Cluster::start().await;
        cluster.deals("jsonb").await;
        let url = cluster.source().database;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ledger");
        let ledger = FileLedger::running(&file, setup.plan()).await;
        Self {
            server: Server::single(ServerConfig::default()).await,
            cluster,
            fixture: Arc::new(setup.fixture(&url)),
            ledger: Arc::new(ledger),
            dir,
            setup,
        }
    }

    pub(crate) fn request(&self) -> SnapshotRequest {
        let mut request = request(self.cluster.source(), calculator(true));
        request.rows_per_part = ROWS;
        request
    }

    /// A source so slow that a shard is still in progress when the test checks.
    pub(crate) fn slow(&self) -> SnapshotRequest {
        let mut request = self.request();
        request.source.filter = Some("pg_sleep(0.001)::text = ''".to_owned());
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
            shard_queue(self.server.port).await,
            self.ledger.clone(),
            self.fixture.context.tools.clone(),
            stop.clone(),
        );
        let task = tokio::spawn(worker);
        Worker { stop, task }
    }

    /// Takes the snapshot in one process.
    pub(crate) async fn alone(&self) -> Snapshot {
        let store = &self.fixture.context.tools.evidence;
        take(&self.request(), store, &|_| {}).await.unwrap()
    }

    /// Takes the snapshot with the fleet.
    pub(crate) async fn with_fleet(&self) -> Result<Snapshot, ShardsError> {
        let shard_queue = shard_queue(self.server.port).await;
        let running = run(&shard_queue, self.request(), &self.fixture);
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
            class: TaskClass::Step,
        },
    }
}

pub(crate) async fn run(
    shard_queue: &ShardQueue,
    request: SnapshotRequest,
    fixture: &Fixture,
) -> Result<Snapshot, ShardsError> {
    let mut planned = plan_shards(&request).await.unwrap();
    assert!(planned.shards.len() > 4);
    let reports = do_all(shard_queue, &job(), &mut planned, &|_| {}).await?;
    let store = &fixture.context.tools.evidence;
    Ok(finish(&planned.summary, reports, store).await.unwrap())
}
