//! A snapshot by two worker processes of a ledger, killed or aborted midway.

use std::process::Command;

use nix::sys::signal::Signal;
use rollbook_workers::executor::StepProgress;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::distributed::{DistributedSetup, start};
use crate::harness::{Place, Process, wait_for};
use crate::postgres::Postgres;

const DEALS: u64 = 100_000;

/// Makes each shard slow, but not the planning.
const SLOWLY: &str =
    "(current_query() NOT LIKE 'COPY%' OR id NOT LIKE '%07' OR pg_sleep(0.02)::text = '')";

const RUNBOOK: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: shards, version: "1.0", owner: tests}
environments: {local: {}}
sources: {deals: {kind: database, url: {local: {env: DEALS_URL}}}}
snapshots: {deals: {source: deals, where: "SLOWLY"}}
phases:
  - id: "1"
    title: Capture
    steps: [{id: "1.1", title: Take it, snapshot: {of: deals, label: before}}]
"#;

struct Fleet {
    place: Place,
    url: String,
    setup: DistributedSetup,
    workers: Vec<(String, Process)>,
    _cluster: Postgres,
}

impl Fleet {
    /// Deals in PostgreSQL, a server, two workers, and the running step.
    fn start(runtime: &Runtime) -> Self {
        let cluster = Postgres::start();
        let url = runtime.block_on(cluster.database("deals"));
        runtime.block_on(fill(&url));
        let place = Place::new();
        place.write("shards.yaml", &RUNBOOK.replace("SLOWLY", SLOWLY));
        let setup = start(&place);
        let worker = |name: &str| {
            let line = format!(
                "worker --nats {} --objects objects --name {name}",
                setup.nats
            );
            let process = Process::start(place.command(&line).env("DEALS_URL", &url));
            (name.to_owned(), process)
        };
        let workers = ["one", "two"].map(worker).into();
        let fleet = Self {
            place,
            url,
            setup,
            workers,
            _cluster: cluster,
        };
        wait_for("both workers to be there", || {
            let listed = fleet.run("fleet --json").json();
            listed["workers"].as_array().unwrap().len() == 2
        });
        fleet.run("open shards.yaml --env local --id s --as alice --start");
        fleet
    }

    fn command(&self, line: &str) -> Command {
        let line = format!("{line} --server {}", self.setup.address);
        self.place.command(&line)
    }

    fn run(&self, line: &str) -> crate::harness::Ran {
        Process::start(&mut self.command(line)).finish().exits(0)
    }

    /// The progress of the step, once it reports any.
    fn progress(&self) -> Option<StepProgress> {
        let status = self.run("status s --json").json();
        serde_json::from_value(status["progress"][0].clone()).ok()
    }

    /// Waits until some shards are done and others are not, on both workers.
    fn until_in_the_middle(&self) -> StepProgress {
        let mut middle = None;
        wait_for("shards of both workers", || {
            middle = self.progress();
            middle.as_ref().is_some_and(|now| now.workers.len() == 2)
        });
        middle.unwrap()
    }

    /// The result of one process for the same deals, except for the time.
    fn alone(&self) -> Value {
        let line = format!(
            "snapshot take --database {} --label before --objects alone --json",
            self.url
        );
        let mut command = self.place.command(&line);
        command.args(["--where", SLOWLY]);
        let ran = Process::start(&mut command).finish().exits(0);
        untimed(ran.json()["manifest"].clone())
    }

    /// The result of the step.
    fn together(&self) -> Value {
        let step = self.run("show 1.1 s --json").json();
        assert_eq!(step["verdict"], "pass", "{step}");
        let sha256 = step["evidence"][0]["sha256"].as_str().unwrap();
        let line = format!("snapshot show {sha256} --objects objects --json");
        untimed(self.place.run(&line).exits(0).json()["manifest"].clone())
    }
}

/// PostgreSQL sessions on the deals, except this one, whose last query matches.
async fn sessions(url: &str, query: &str) -> i64 {
    use sqlx::{Connection, PgConnection};
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE $1";
    sqlx::query_scalar(sql)
        .bind(query)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

fn untimed(mut manifest: Value) -> Value {
    assert!(manifest["parts"].as_array().unwrap().len() > 4);
    manifest
        .as_object_mut()
        .unwrap()
        .remove("taken_at")
        .unwrap();
    manifest
}

async fn fill(url: &str) {
    use sqlx::{AssertSqlSafe, Connection, PgConnection};
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = format!(
        "CREATE TABLE deals (id text COLLATE \"C\" PRIMARY KEY, deal_type text, inventory jsonb,
                             deleted_at timestamptz);
         INSERT INTO deals SELECT 'd' || n, 'carveout', '[]', NULL FROM generate_series(1, {DEALS}) n"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
}

/// Every state that the API delivers until the rollout is over.
async fn followed(address: String) -> Vec<StepProgress> {
    // Fails only if it is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{address}/v1/rollouts/s/progress?follow=true");
    let text = client.get(url).send().await.unwrap().text().await.unwrap();
    let read = |line| serde_json::from_str(line).unwrap();
    text.lines().map(read).collect()
}

#[test]
fn a_killed_worker_process_costs_only_time_and_progress_continues() {
    let runtime = Runtime::new().unwrap();
    let mut fleet = Fleet::start(&runtime);
    let states = runtime.spawn(followed(fleet.setup.address.clone()));
    let watch = Process::start(&mut fleet.command("status s --watch"));
    let watched = Process::start(&mut fleet.command("status s --watch --json"));
    let middle = fleet.until_in_the_middle();
    assert_eq!(middle.total, DEALS);
    let shards = middle.shards.unwrap();
    assert!(shards.done < shards.total, "{middle:?}");
    // The worker that does not hold the consistent read.
    let coordinator = fleet.run("show 1.1 s --json").json()["worker"].clone();
    let place = fleet
        .workers
        .iter()
        .position(|(name, _)| coordinator != **name);
    let (_, killed) = fleet.workers.swap_remove(place.unwrap());
    killed.signal(Signal::SIGKILL);
    killed.finish();
    fleet.run("status s --wait 110");
    assert_eq!(fleet.together(), fleet.alone());

    let states = runtime.block_on(states).unwrap();
    let last = states.last().unwrap();
    assert!(last.ended, "{last:?}");
    assert_eq!((last.done, last.total), (DEALS, DEALS));
    assert!(states.windows(2).all(|pair| pair[0].done <= pair[1].done));
    watch
        .finish()
        .exits(0)
        .says("closed as succeeded")
        .complains(" of 100000 deals, ");
    let out = watched.finish().exits(0).out;
    let done: Vec<u64> = serde_json::Deserializer::from_str(&out)
        .into_iter::<Value>()
        .filter_map(|status| status.unwrap()["progress"][0]["done"].as_u64())
        .collect();
    assert!(done.len() > 2 && done.is_sorted(), "{done:?}");
}

#[test]
fn another_process_replaces_a_killed_coordinator() {
    let runtime = Runtime::new().unwrap();
    let mut fleet = Fleet::start(&runtime);
    fleet.until_in_the_middle();
    let coordinator = fleet.run("show 1.1 s --json").json()["worker"].clone();
    let place = fleet
        .workers
        .iter()
        .position(|(name, _)| coordinator == **name);
    let (_, killed) = fleet.workers.swap_remove(place.unwrap());
    killed.signal(Signal::SIGKILL);
    killed.finish();
    fleet.run("status s --wait 110");
    assert_eq!(fleet.together(), fleet.alone());
}

#[test]
fn an_abort_stops_workers_in_the_middle_of_their_shards() {
    let runtime = Runtime::new().unwrap();
    let fleet = Fleet::start(&runtime);
    let sessions = |query| runtime.block_on(sessions(&fleet.url, query));
    // All shards sleep for seconds.
    wait_for("both workers to read", || sessions("COPY%") > 1);
    fleet.run("abort s --as alice --reason 'wrong table'");
    wait_for("the reads to end", || sessions("%") == 0);
    let step = fleet.run("show 1.1 s --json").json();
    assert_eq!(step["verdict"], "error", "{step}");
    assert!(
        step["message"].as_str().unwrap().contains("cancelled"),
        "{step}"
    );
    // The workers are available for the next rollout.
    fleet.run("open shards.yaml --env local --id t --as alice --start");
    fleet.run("status t --wait 110");
}
