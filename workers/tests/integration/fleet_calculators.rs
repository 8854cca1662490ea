//! Snapshots by the user's own calculators, with shards done by a fleet.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rollbook_workers::executor::Outcome;
use rollbook_workers::snapshot::{Row, RowOutcome, Snapshot};
use serde_json::{Value, json};

use crate::fleet_fixture::{FleetFixture, Setup, Worker, shard_queue};

/// Records the process that called it and treats some deals specially, by their id. At one deal it
/// waits for a file.
const PROGRAM: &str = r#"
import json, os, sys, time
place = os.environ["PLACE"]
def note(name):
    with open(os.path.join(place, name), "a") as file:
        file.write(f"{os.getppid()}\n")
note("asked-by")
with open(os.path.join(place, "programs"), "a") as file:
    file.write(f"{os.getpid()}\n")
for line in sys.stdin:
    deal = json.loads(line)
    id = deal["deal_id"]
    if id == "m77":
        os._exit(3)
    if id == "m78":
        print("{what?", flush=True)
        continue
    if id == "m79":
        print(json.dumps({"error": "refused"}), flush=True)
        continue
    if id == "m80" and os.path.exists(os.path.join(place, "gated")):
        note("waits")
        while not os.path.exists(os.path.join(place, "go")):
            time.sleep(0.01)
    if id == "m81" and os.path.exists(os.path.join(place, "hangs")):
        time.sleep(3600)
    metrics = {
        "items": len(deal["inventory"]),
        "kind": deal["deal_type"],
        "where": f"{os.environ['ROLLBOOK_STEP']} \"{id}\" {os.environ['DB']}",
    }
    print(json.dumps({"metrics": metrics}), flush=True)
"#;

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("model.py"), PROGRAM).unwrap();
    place
}

fn exec(place: &Path, timeout: &str) -> Value {
    json!({"exec": {
        "command": ["python3", "model.py"],
        "directory": place,
        "file": "model.py",
        "env": {"PLACE": place},
        "env_sources": {"DB": "deals"},
        "timeout": timeout,
        "metrics": [
            {"name": "items", "unit": "count"},
            {"name": "kind", "unit": "text"},
            {"name": "where", "unit": "text"},
        ],
    }})
}

/// Columns of figures and texts; some deals have no row, some a NULL.
fn sql() -> Value {
    json!({"sql": {
        "query": "SELECT id, length(id) * 0.5 AS cost, deal_type AS kind FROM deals
                  WHERE id NOT LIKE '%7' -- those",
        "metrics": [{"name": "cost", "unit": "cents"}, {"name": "kind", "unit": "text"}],
    }})
}

impl FleetFixture {
    async fn more_deals(&self, count: u32) {
        let sql = format!(
            "INSERT INTO deals SELECT 'm' || n, 'carveout', '[{{}}]', NULL
             FROM generate_series(1, {count}) n; ANALYZE deals"
        );
        self.cluster.execute(&sql).await;
    }

    /// Executes the step in this process, without a fleet.
    async fn step_alone(&self, setup: &Setup) -> Snapshot {
        let mut fixture = setup.fixture(&self.cluster.source().database);
        fixture.context.tools.evidence = self.fixture.context.tools.evidence.clone();
        self.taken(&fixture.execute().await).await
    }

    /// Executes the step with its shards on the queue; the outcome is available once workers have
    /// done them.
    async fn step(&self, setup: &Setup) -> tokio::task::JoinHandle<Outcome> {
        let mut fixture = setup.fixture(&self.cluster.source().database);
        fixture.context.tools.evidence = self.fixture.context.tools.evidence.clone();
        fixture.context.tools.shards = Some(Arc::new(shard_queue(self.server.port).await));
        tokio::spawn(async move { fixture.execute().await })
    }

    async fn taken(&self, outcome: &Outcome) -> Snapshot {
        let store = &self.fixture.context.tools.evidence;
        let evidence = outcome.evidence.first();
        let evidence = evidence.unwrap_or_else(|| panic!("{}", outcome.message));
        Snapshot::open(store, &evidence.sha256).await.unwrap()
    }

    async fn row(&self, snapshot: &Snapshot, deal: &str) -> Row {
        let store = &self.fixture.context.tools.evidence;
        snapshot.find(store, deal).await.unwrap().unwrap()
    }
}

/// Asserts that two snapshots are the same except for when they were taken.
#[track_caller]
fn assert_same(fleet: &Snapshot, alone: &Snapshot) {
    let mut manifest = fleet.manifest.clone();
    manifest.taken_at = alone.manifest.taken_at;
    assert_eq!(manifest, alone.manifest);
}

async fn wait_for(file: &Path) {
    for _ in 0..3000 {
        if file.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} does not come", file.display());
}

async fn wait_until_gone(file: &Path) {
    for _ in 0..3000 {
        if !file.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} does not go", file.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gives_the_same_on_any_number_of_workers() {
    let place = place();
    std::fs::write(place.path().join("hangs"), "").unwrap();
    let setup = Setup::of(&exec(place.path(), "10s"));
    let fleet_fixture = FleetFixture::with(setup.clone()).await;
    fleet_fixture.more_deals(6_000).await;
    let alone = fleet_fixture.step_alone(&setup).await;
    assert_eq!((alone.manifest.total, alone.manifest.errors), (8_499, 4));
    assert!(alone.manifest.parts.len() > 3);
    for (deal, said) in [
        ("m77", "exit code 3"),
        ("m78", "{what?"),
        ("m79", "refused"),
        ("m81", "no result within 10000 ms"),
    ] {
        let RowOutcome::Error(error) = fleet_fixture.row(&alone, deal).await.outcome else {
            panic!("{deal} has figures");
        };
        assert!(error.contains(said), "{deal}: {error}");
    }

    let running = fleet_fixture.step(&setup).await;
    // Only workers do them, and the waiting messages hold no secret.
    fleet_fixture.wait_for_shards().await;
    let queued = fleet_fixture.queued().await;
    assert!(queued.contains("\"exec\""), "{queued}");
    assert!(!queued.contains("correct-horse"), "{queued}");
    let one = fleet_fixture.worker("a").await;
    let fleet = fleet_fixture.taken(&running.await.unwrap()).await;
    assert_same(&fleet, &alone);
    let values = fleet_fixture.row(&fleet, "m5").await;
    let values = values.values().unwrap();
    assert_eq!(values.numbers, [1]);
    assert_eq!(values.texts[0].as_deref(), Some("carveout"));
    let text = values.texts[1].as_deref().unwrap();
    assert!(text.starts_with("1.1 \"m5\" [redacted]"), "{text}");

    fleet_fixture
        .assert_same_with_four(&setup, one, &alone)
        .await;
}

impl FleetFixture {
    /// Adds three workers to the one present and expects the same snapshot.
    async fn assert_same_with_four(&self, setup: &Setup, one: Worker, alone: &Snapshot) {
        let workers = [
            one,
            self.worker("b").await,
            self.worker("c").await,
            self.worker("d").await,
        ];
        let running = self.step(setup).await;
        assert_same(&self.taken(&running.await.unwrap()).await, alone);
        for worker in workers {
            worker.stop().await;
        }
    }

    /// A message on the work queue.
    async fn queued(&self) -> String {
        let context = async_nats::jetstream::new(self.server.client().await);
        let mut stream = context.get_stream("ROLLBOOK_WORK").await.unwrap();
        let first = stream.info().await.unwrap().state.first_sequence;
        let message = stream.get_raw_message(first).await.unwrap();
        String::from_utf8_lossy(&message.payload).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_its_program_computes_changes_nothing() {
    let place = place();
    let setup = Setup::of(&exec(place.path(), "5m"));
    let fleet_fixture = FleetFixture::with(setup.clone()).await;
    fleet_fixture.more_deals(6_000).await;
    let alone = fleet_fixture.step_alone(&setup).await;
    std::fs::write(place.path().join("gated"), "").unwrap();
    let process = fleet_fixture.process(false);
    let running = fleet_fixture.step(&setup).await;
    wait_for(&place.path().join("waits")).await;
    // Dropping kills it with SIGKILL while its program has not answered.
    drop(process);
    std::fs::write(place.path().join("go"), "").unwrap();
    let workers = [
        fleet_fixture.worker("b").await,
        fleet_fixture.worker("c").await,
    ];
    assert_same(&fleet_fixture.taken(&running.await.unwrap()).await, &alone);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_workers_with_the_label_of_the_step_start_its_program() {
    let place = place();
    let setup = Setup::of(&exec(place.path(), "5m")).runs_on("models");
    let fleet_fixture = FleetFixture::with(setup.clone()).await;
    fleet_fixture.more_deals(3_000).await;
    // Another process, without the label.
    let process = fleet_fixture.process(false);
    let running = fleet_fixture.step(&setup).await;
    let worker = fleet_fixture.labelled_worker("a", &["models"]).await;
    let taken = fleet_fixture.taken(&running.await.unwrap()).await;
    assert_eq!(taken.manifest.total, 5_499);
    let asked = std::fs::read_to_string(place.path().join("asked-by")).unwrap();
    let asked: BTreeSet<&str> = asked.lines().collect();
    assert_eq!(
        asked,
        BTreeSet::from([std::process::id().to_string().as_str()])
    );
    // The programs end with the run, not with the worker.
    let programs = std::fs::read_to_string(place.path().join("programs")).unwrap();
    for program in programs.lines() {
        wait_until_gone(&Path::new("/proc").join(program)).await;
    }
    worker.stop().await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_always_fails_fails_the_step_with_its_output() {
    let place = place();
    let words = "import sys; print('no licence for', 'this', file=sys.stderr); sys.exit(7)";
    std::fs::write(place.path().join("model.py"), words).unwrap();
    let setup = Setup::of(&exec(place.path(), "5m"));
    let fleet_fixture = FleetFixture::with(setup.clone()).await;
    fleet_fixture.more_deals(3_000).await;
    let worker = fleet_fixture.worker("a").await;
    let outcome = fleet_fixture.step(&setup).await.await.unwrap();
    assert!(outcome.evidence.is_empty(), "{}", outcome.message);
    for said in ["RB-SHARDS-1", "RB-SNAPSHOT-16", "no licence for this"] {
        assert!(outcome.message.contains(said), "{}", outcome.message);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_program_computes_nothing() {
    let place = place();
    let setup = Setup::of(&exec(place.path(), "5m"));
    let fleet_fixture = FleetFixture::with(setup.clone()).await;
    fleet_fixture.more_deals(3_000).await;
    let running = fleet_fixture.step(&setup).await;
    fleet_fixture.wait_for_shards().await;
    std::fs::write(place.path().join("model.py"), format!("{PROGRAM}# new\n")).unwrap();
    let worker = fleet_fixture.worker("a").await;
    let outcome = running.await.unwrap();
    assert!(
        outcome.message.contains("it needs the calculator exec"),
        "{}",
        outcome.message
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_gives_the_same_on_any_number_of_workers() {
    let setup = Setup::of(&sql());
    let fleet_fixture = FleetFixture::with(setup.clone()).await;
    fleet_fixture.more_deals(60_000).await;
    let alone = fleet_fixture.step_alone(&setup).await;
    assert_eq!(alone.manifest.total, 62_499);
    assert!(alone.manifest.errors > 6_000 && alone.manifest.parts.len() > 3);
    let values = fleet_fixture.row(&alone, "m21").await;
    let values = values.values().unwrap();
    assert_eq!(values.numbers, [150]);
    assert_eq!(values.texts, [Some("carveout".to_owned())]);
    let untyped = fleet_fixture.row(&alone, "é-accent").await;
    assert_eq!(untyped.values().unwrap().texts, [None]);

    let running = fleet_fixture.step(&setup).await;
    fleet_fixture.wait_for_shards().await;
    let one = fleet_fixture.worker("a").await;
    assert_same(&fleet_fixture.taken(&running.await.unwrap()).await, &alone);
    fleet_fixture
        .assert_same_with_four(&setup, one, &alone)
        .await;
}
