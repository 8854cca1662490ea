//! The views in PostgreSQL, configured, read and rebuilt as an operator does.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use reqwest::Method;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::runtime::Runtime;

use crate::distributed::{nats, serve};
use crate::harness::{Place, Process, wait_for};
use crate::http::ask;
use crate::postgres::Postgres;

/// An operator's psql.
struct Database {
    runtime: Runtime,
    /// With a password, which a throw-away cluster ignores.
    url: String,
    _cluster: Postgres,
}

impl Database {
    fn start() -> Self {
        let cluster = Postgres::start();
        let runtime = Runtime::new().unwrap();
        let url = runtime.block_on(cluster.database("views"));
        Self {
            runtime,
            url: url.replace("rollbook@", "rollbook:s3cr3t@"),
            _cluster: cluster,
        }
    }

    /// The first column of every row, as text.
    fn query(&self, sql: &str) -> Vec<String> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
                .fetch_all(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        })
    }

    /// Every table of the views with all its rows.
    fn dump(&self) -> BTreeMap<String, Vec<String>> {
        let tables = self.query(
            "SELECT table_name::text FROM information_schema.tables
             WHERE table_schema = 'rollbook' AND table_name NOT LIKE '%sqlx%'",
        );
        let rows = |table: &str| {
            self.query(&format!(
                "SELECT to_jsonb(t)::text FROM rollbook.{table} t ORDER BY 1"
            ))
        };
        tables
            .into_iter()
            .map(|table| (table.clone(), rows(&table)))
            .collect()
    }
}

fn stop(process: Process) {
    process.signal(Signal::SIGTERM);
    process.finish().exits(0);
}

/// Runs a rollout from opening to end.
fn hello(place: &Place, server: &str) {
    let file = place.hello();
    let run = |line: &str| place.run(&format!("{line} {server}"));
    run(&format!(
        "run {file} --env local --id h --as alice --timeout 60"
    ))
    .exits(4);
    run("complete 1.2 h --all-pass --as alice").exits(0);
    run("status h --wait 60").exits(4);
    place.approve(&format!("1 h --as bob {server}")).exits(0);
    run("status h --wait 60").exits(0).says("succeeded");
}

#[test]
fn up_keeps_its_views_in_postgres_and_rebuilds_them() {
    let database = Database::start();
    let place = Place::new();
    place.write(
        "rollbook.toml",
        &format!("database = \"{}\"\n", database.url),
    );
    let config = place.run("config").exits(0).says("***@127.0.0.1");
    assert!(!config.out.contains("s3cr3t"), "{}", config.out);

    let up = place.up();
    hello(&place, "");
    assert!(!place.data_dir().join("views.db").exists());
    // The queries of the operator guide.
    let last = place.run("log h --json").exits(0).json_lines();
    let last = last.last().unwrap()["sequence"].to_string();
    assert_eq!(
        database.query("SELECT sequence::text FROM rollbook.view_position"),
        [last]
    );
    assert_eq!(
        database.query("SELECT concat_ws(' ', rollout, environment) FROM rollbook.rollouts"),
        ["h local"]
    );
    stop(up);

    let before = of_rollouts(database.dump());
    assert!(before["timeline"].len() > 5, "{before:?}");
    database.query("DROP SCHEMA rollbook CASCADE");
    let up = place.up_with(&format!("--database {}", database.url));
    place.run("status h --wait 60").exits(0).says("succeeded");
    stop(up);
    assert_eq!(of_rollouts(database.dump()), before);
}

/// Without what starting `up` adds: its worker joins, the previous one has left.
fn of_rollouts(mut dump: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    dump.remove("workers");
    dump.remove("view_position");
    dump.remove("acknowledged");
    if let Some(rows) = dump.get_mut("timeline") {
        rows.retain(|row| !row.contains("\"worker_"));
    }
    dump
}

#[test]
fn two_servers_create_the_schema_concurrently_and_report_a_lost_database() {
    let database = Database::start();
    let place = Place::new();
    let (_nats, url) = nats(&place, "always");
    let options = format!("--database {}", database.url);
    // The first creates the streams; both find the database empty.
    let (first, _) = serve(&place, &url, &options);
    stop(first);
    for _ in 0..3 {
        database.query("DROP SCHEMA rollbook CASCADE");
        let servers = [(); 2].map(|()| {
            let line =
                format!("serve --nats {url} --objects objects --listen 127.0.0.1:0 {options}");
            Process::start(&mut place.command(&line))
        });
        for server in &servers {
            server.until_says("serves ledger");
        }
        for server in servers {
            stop(server);
        }
    }
    let (server, address) = serve(&place, &url, &options);
    place
        .run(&format!("doctor --server {address}"))
        .exits(0)
        .says("as the ledger has it");
    let Database { _cluster, .. } = database;
    drop(_cluster);
    // A health result is reused for two seconds.
    wait_for("the doctor to miss it", || {
        let doctor = place.run(&format!("doctor --server {address} --json"));
        let checks = doctor.json();
        let mut checks = checks.as_array().unwrap().iter();
        let views = checks.find(|check| check["name"] == "views").unwrap();
        doctor.code == Some(7) && views["found"] == "fail"
    });
    let doctor = place.run(&format!("doctor --server {address}")).exits(7);
    doctor.says("the views' database is unavailable");
    let health = ask(Method::GET, &format!("{address}/health"), |request| request);
    assert_eq!(
        (health.0, &health.1["status"]),
        (503, &"unavailable".into())
    );
    let checks = health.1["checks"].as_array().unwrap().iter();
    let failing = checks.filter(|check| !check["failure"].is_null());
    let failing: Vec<_> = failing
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    assert!(
        failing.contains(&"views") && !failing.contains(&"ledger"),
        "{health:?}"
    );
    stop(server);
}

#[test]
fn two_servers_share_their_views() {
    let database = Database::start();
    let place = Place::new();
    let (_nats, url) = nats(&place, "always");
    let options = format!("--database {}", database.url);
    let (one, first) = serve(&place, &url, &options);
    let (two, second) = serve(&place, &url, &options);
    let _worker =
        Process::start(&mut place.command(&format!("worker --nats {url} --objects objects")));
    hello(&place, &format!("--server {first}"));
    let answers = [&first, &second].map(|server| {
        let list = place.run(&format!("list --json --server {server}"));
        list.exits(0).json()["data"].clone()
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0][0]["rollout"], "h");
    // Two projectors wrote them: no event is duplicated or missing.
    let log = place
        .run(&format!("log h --json --server {first}"))
        .exits(0)
        .json_lines();
    let events = log
        .iter()
        .map(|line| line["commit"]["events"].as_array().unwrap().len());
    assert_eq!(
        database.query("SELECT count(*)::text FROM rollbook.timeline WHERE rollout = 'h'"),
        [events.sum::<usize>().to_string()]
    );
    stop(one);
    stop(two);
}

#[test]
fn a_database_that_does_not_answer_exits_with_7() {
    let place = Place::new();
    let (_nats, url) = nats(&place, "always");
    let ran = place
        .run(&format!(
            "serve --nats {url} --objects objects --listen 127.0.0.1:0 --database postgres://u:s3cr3t@127.0.0.1:1/views"
        ))
        .exits(7)
        .complains("RB-VIEW-");
    assert!(!ran.err.contains("s3cr3t"), "{}", ran.err);
}
