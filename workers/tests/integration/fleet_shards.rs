//! Snapshots whose shards are done by a fleet, on a real queue and a real PostgreSQL.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rollbook_ledger::clock::SystemClock;
use rollbook_ledger::handler::Handler;
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::jetstream::JetStreamJournal;
use rollbook_workers::executor::ShardsError;
use rollbook_workers::executor::shards::{do_all, take as take_with_fleet};
use rollbook_workers::fleet::DeadLetters;
use rollbook_workers::fleet::presence::{FleetPresence, NatsPresence, announce};
use rollbook_workers::fleet::shards::work;
use rollbook_workers::snapshot::{plan as plan_shards, take};
use tokio_util::sync::CancellationToken;

use crate::fleet_fixture::{
    FleetFixture, PATIENCE, Process, ROWS, Setup, config, job, run, shard_queue,
};
use crate::fleet_ledger::FileLedger;
use crate::nats::{Server, ServerConfig};
use crate::snapshot_deals::{calculator, request};

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_workers_gives_the_same_manifest() {
    let fleet_fixture = FleetFixture::start().await;
    let alone = fleet_fixture.alone().await;
    let one = fleet_fixture.worker("a").await;
    assert_eq!(fleet_fixture.with_fleet().await.unwrap(), alone);
    let more = [
        fleet_fixture.worker("b").await,
        fleet_fixture.worker("c").await,
        fleet_fixture.worker("d").await,
    ];
    assert_eq!(fleet_fixture.with_fleet().await.unwrap(), alone);
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

/// Not a test: the worker process that the test below starts and kills.
#[tokio::test]
#[ignore = "started by the test below as a process of its own"]
async fn worker_process() {
    let text = std::env::var(CHILD).expect("started by another test");
    let child: ChildConfig = serde_json::from_str(&text).unwrap();
    let fixture = child.setup.fixture(&child.url);
    let mut tools = fixture.context.tools.clone();
    tools.evidence = rollbook_ledger::evidence::EvidenceStore::open(&child.evidence).unwrap();
    let ledger = FileLedger::open(Path::new(&child.ledger), child.setup.plan());
    let shard_queue = shard_queue(child.port).await;
    if child.coordinates {
        let source = rollbook_workers::snapshot::SnapshotSource::new(child.url);
        let mut request = request(source, calculator(true));
        request.rows_per_part = ROWS;
        run(&shard_queue, request, &fixture).await.unwrap();
        return;
    }
    let never = CancellationToken::new();
    work(
        config("killed", 2),
        shard_queue,
        Arc::new(ledger),
        tools,
        never,
    )
    .await;
}

impl FleetFixture {
    /// Starts a process that does shards, or one that coordinates them.
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
        Process::start("fleet_shards::worker_process", CHILD, &child)
    }

    /// The number of sessions that are reading shards.
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
    let mut fleet_fixture = FleetFixture::start().await;
    let store = fleet_fixture.fixture.context.tools.evidence.clone();
    let slow = fleet_fixture.slow();
    let alone = take(&slow, &store, &|_| {}).await.unwrap();
    let process = fleet_fixture.process(false);
    let (port, fixture) = (fleet_fixture.server.port, fleet_fixture.fixture.clone());
    let running = tokio::spawn(async move { run(&shard_queue(port).await, slow, &fixture).await });
    fleet_fixture.wait_for_readers(|readers| readers > 0).await;
    // Dropping kills it with SIGKILL in the middle of shards.
    drop(process);
    fleet_fixture.server.kill();
    fleet_fixture.server.start();
    fleet_fixture.server.ready().await;
    let workers = [
        fleet_fixture.worker("b").await,
        fleet_fixture.worker("c").await,
    ];
    assert_eq!(running.await.unwrap().unwrap(), alone);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_run_replaces_a_killed_coordinator() {
    let fleet_fixture = FleetFixture::start().await;
    let process = fleet_fixture.process(true);
    fleet_fixture.wait_for_shards().await;
    drop(process);
    let worker = fleet_fixture.worker("a").await;
    let whole = fleet_fixture.with_fleet().await.unwrap();
    assert_eq!(whole, fleet_fixture.alone().await);
    // Nothing of the first run is left.
    fleet_fixture.wait_for_idle_queue().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_database_is_planned_again() {
    let fleet_fixture = FleetFixture::start().await;
    let worker = fleet_fixture.worker("a").await;
    let shard_queue = shard_queue(fleet_fixture.server.port).await;
    let (fixture, slow) = (fleet_fixture.fixture.clone(), fleet_fixture.slow());
    let alone = {
        let store = &fleet_fixture.fixture.context.tools.evidence;
        take(&slow, store, &|_| {}).await.unwrap()
    };
    let running =
        tokio::spawn(async move { take_with_fleet(&fixture.context, &shard_queue, &slow).await });
    fleet_fixture.wait_for_readers(|readers| readers > 0).await;
    fleet_fixture.cluster.restart().await;
    assert_eq!(running.await.unwrap().unwrap(), alone);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_shard_fails_the_run_with_its_keys_and_reason() {
    let fleet_fixture = FleetFixture::start().await;
    let mut request = fleet_fixture.request();
    // Makes every read of one deal fail, but not the plan.
    fleet_fixture
        .cluster
        .execute(
            "CREATE FUNCTION poisoned(id text) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN IF id = 'z-lower' AND current_query() ILIKE '%COPY%'
                   THEN RAISE 'this deal is poison'; END IF; RETURN true; END $$",
        )
        .await;
    request.source.filter = Some("poisoned(id)".to_owned());
    let worker = fleet_fixture.worker("a").await;
    let mut planned = plan_shards(&request).await.unwrap();
    let shard_queue = shard_queue(fleet_fixture.server.port).await;
    let error = do_all(&shard_queue, &job(), &mut planned, &|_| {})
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ShardsError::Failed { .. }), "{text}");
    assert!(text.contains("this deal is poison"), "{text}");
    assert!(text.contains("from \""), "{text}");
    assert!(!text.contains("correct-horse"), "{text}");
    // The queue is free for other work, and the sessions are closed.
    fleet_fixture.wait_for_readers(|readers| readers == 0).await;
    let whole = fleet_fixture.with_fleet().await.unwrap();
    assert_eq!(whole.manifest.total, 2_499);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_its_workers() {
    let fleet_fixture = FleetFixture::start().await;
    let mut slow = fleet_fixture.slow();
    // One shard takes longer than the test may.
    slow.source.filter =
        Some("(current_query() NOT ILIKE '%COPY%' OR pg_sleep(10)::text = '')".to_owned());
    let worker = fleet_fixture.worker("a").await;
    let (port, fixture) = (fleet_fixture.server.port, fleet_fixture.fixture.clone());
    let running = tokio::spawn(async move { run(&shard_queue(port).await, slow, &fixture).await });
    fleet_fixture.wait_for_readers(|readers| readers > 0).await;
    running.abort();
    fleet_fixture.wait_for_idle_queue().await;
    // The worker is free at once: another run succeeds.
    assert_eq!(
        fleet_fixture.with_fleet().await.unwrap(),
        fleet_fixture.alone().await
    );
    worker.stop().await;
}

impl FleetFixture {
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
async fn a_step_distributes_its_shards_over_the_fleet() {
    let fleet_fixture = FleetFixture::start().await;
    fleet_fixture
        .cluster
        .execute(
            "INSERT INTO deals SELECT 'm' || n, 'carveout', '[]', NULL
             FROM generate_series(1, 40000) n",
        )
        .await;
    let worker = fleet_fixture.worker("a").await;
    let mut fixture = fleet_fixture
        .setup
        .fixture(&fleet_fixture.cluster.source().database);
    fixture.context.tools.evidence = fleet_fixture.fixture.context.tools.evidence.clone();
    fixture.context.tools.shards = Some(Arc::new(shard_queue(fleet_fixture.server.port).await));
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
    fleet_fixture.wait_for_shards().await;
    cancel.cancel("aborted");
    let outcome = running.await.unwrap();
    assert!(outcome.message.contains("aborted"), "{}", outcome.message);
    fleet_fixture.wait_for_idle_queue().await;
}

impl FleetFixture {
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
async fn a_shard_that_kills_every_worker_is_reported() {
    let fleet_fixture = FleetFixture::start().await;
    let client = fleet_fixture.server.client().await;
    let shard_queue = shard_queue(fleet_fixture.server.port).await;
    let journal =
        JetStreamJournal::open(client.clone(), "main".parse().unwrap(), Default::default())
            .await
            .unwrap();
    let tools = &fleet_fixture.fixture.context.tools;
    let ledger: LedgerId = "main".parse().unwrap();
    let handler = Handler::new(
        Arc::new(journal),
        tools.evidence.clone(),
        tools.clock.clone(),
        ledger.clone(),
    );
    let shutdown = CancellationToken::new();
    let letters = DeadLetters::new(client.clone(), ledger, handler, shard_queue.clone());
    let reading = tokio::spawn(letters.run(shutdown.clone()));
    let mut planned = plan_shards(&fleet_fixture.request()).await.unwrap();
    let (running, job) = (shard_queue.clone(), job());
    let mut running =
        tokio::spawn(async move { do_all(&running, &job, &mut planned, &|_| {}).await });
    // Workers that take shards and never respond.
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
    let fleet = NatsPresence::new(client.clone(), ledger.clone());
    assert_eq!(fleet.workers().await.unwrap(), []);
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
        let listed = fleet.workers().await.unwrap();
        if !listed.is_empty() {
            break listed;
        }
    };
    assert_eq!((listed[0].name.as_str(), listed[0].threads), ("host/1", 3));
    assert_eq!(listed[0].labels, ["db"]);
    let other = NatsPresence::new(client, "other".parse().unwrap());
    assert_eq!(other.workers().await.unwrap(), []);
    gone.cancel();
    announced.await.unwrap();
    assert_eq!(fleet.workers().await.unwrap(), []);
}
