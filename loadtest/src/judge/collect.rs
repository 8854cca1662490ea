//! Collects what a storm left: processes first, then the ledger, views and effects, by servers of
//! its own.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::case::{COLLECTED, LOG, PROCESSES, ROWS, STATUSES, VIEWS};
use super::{JudgeError, database};
use crate::natsd;
use crate::process::{self, Process};
use crate::record::{self, EFFECTS, Recorder, Row, SYSTEM, SystemRecord};

/// How long commands of steps, and guards of dead workers, may take to end by themselves.
const ORPHAN_LIMIT: Duration = Duration::from_secs(45);
/// How long servers may take until their views have reached the end of the ledger.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(300);
/// How long a server may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Maximum number of rounds: a server may record something while another stops, and then all are
/// started again.
const ROUNDS: u32 = 5;
/// The interval between two checks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A server that the judge starts.
struct Server {
    process: Process,
    address: String,
    what: (usize, String, u16),
}

/// Collects everything into the directory.
pub(super) async fn collect(directory: &Path) -> Result<(), JudgeError> {
    let into = directory.join(COLLECTED);
    if into.exists() {
        std::fs::remove_dir_all(&into).map_err(missing("an earlier collection"))?;
    }
    std::fs::create_dir_all(&into).map_err(missing("a directory to collect into"))?;
    let recorder = Recorder::new(&into);
    for found in left_over(directory).await {
        recorder.append(PROCESSES, &found)?;
    }
    let system: SystemRecord = record::read(&directory.join(SYSTEM))?;
    let servers = natsd::configure(&into, &system.stores).map_err(missing("a nats-server"))?;
    let mut nats = Vec::new();
    let mut urls = Vec::new();
    for server in &servers {
        let log = server.config.with_extension("log");
        nats.push(Process::start(&mut server.command()?, &log)?);
        urls.push(format!("nats://127.0.0.1:{}", server.port));
    }
    for server in &servers {
        if !server.answers().await {
            return Err(missing("a nats-server")(server.config.display()));
        }
    }
    let rebuilt = database::empty(&into, system.views.first()).await?;
    let databases: Vec<String> = system.views.iter().cloned().chain([rebuilt]).collect();
    let mut round = 1;
    loop {
        let all = serve(directory, &system, &urls, &databases).await?;
        if round == 1 {
            ledger(&system, &into, &recorder, &all).await?;
        }
        for mut server in all {
            server.process.signal(Signal::SIGTERM);
            if server.process.wait(STOP_LIMIT).await.is_none() {
                server.process.kill().await;
            }
        }
        let mut views = Vec::new();
        for database in &databases {
            views.push(database::dump(database, Some(database) == databases.last()).await?);
        }
        let first = views.first().map(|views| views.sequence);
        if round == ROUNDS || views.iter().all(|views| Some(views.sequence) == first) {
            for views in &views {
                recorder.append(VIEWS, views)?;
            }
            break;
        }
        round += 1;
    }
    for mut process in nats {
        process.signal(Signal::SIGTERM);
        process.wait(STOP_LIMIT).await;
    }
    for row in rows(&directory.join(EFFECTS)).await? {
        recorder.append(ROWS, &row)?;
    }
    Ok(())
}

pub(super) fn missing<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> JudgeError {
    move |reason| JudgeError::Missing {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

/// Processes of the directory that do not end by themselves in time.
async fn left_over(directory: &Path) -> Vec<process::Found> {
    let deadline = Instant::now() + ORPHAN_LIMIT;
    loop {
        let found = process::of_directory(directory);
        if found.is_empty() || Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Starts a server for each database of views and waits until all have reached the end of the
/// ledger.
async fn serve(
    directory: &Path,
    system: &SystemRecord,
    urls: &[String],
    databases: &[String],
) -> Result<Vec<Server>, JudgeError> {
    let mut servers = Vec::new();
    for (number, database) in databases.iter().enumerate() {
        let port = natsd::free_port().map_err(missing("a free port"))?;
        servers.push(start(directory, system, urls, (number, database, port))?);
    }
    let deadline = Instant::now() + CATCH_UP_LIMIT;
    loop {
        let mut positions = Vec::new();
        for server in &mut servers {
            match server.process.ended() {
                None => {}
                // A cluster that has just started has no leader yet.
                Some(Some(7)) if Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    let (number, database, port) = &server.what;
                    *server = start(directory, system, urls, (*number, database, *port))?;
                }
                Some(code) => {
                    let words = server.process.last_words();
                    return Err(missing("a server on the ledger that was left")(format!(
                        "it ended with {code:?}: {words}"
                    )));
                }
            }
            positions.push(position(&system.rollbook, &server.address).await);
        }
        if positions
            .iter()
            .all(|position| position.is_some() && *position == positions[0])
        {
            return Ok(servers);
        }
        if Instant::now() >= deadline {
            return Err(missing("views at the end of the ledger")(format!(
                "they stand at {positions:?}"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Starts a server, with its number and port, on the views of one database.
fn start(
    directory: &Path,
    system: &SystemRecord,
    urls: &[String],
    (number, database, port): (usize, &str, u16),
) -> Result<Server, JudgeError> {
    let mut command = process::clean(&system.rollbook);
    command
        .args(["serve", "--nats", &urls.join(",")])
        .args(["--replicas", &urls.len().to_string()])
        .args(["--database", database])
        .arg("--objects")
        .arg(&system.objects)
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .current_dir(directory);
    let log = directory
        .join(COLLECTED)
        .join(format!("serve-{number}.log"));
    Ok(Server {
        process: Process::start(&mut command, &log)?,
        address: format!("http://127.0.0.1:{port}"),
        what: (number, database.to_owned(), port),
    })
}

/// The sequence of a server's views, if it is the end of the ledger.
async fn position(rollbook: &Path, address: &str) -> Option<u64> {
    let out = ask(
        rollbook,
        &["list", "--limit", "1", "--json", "--server", address],
    )
    .await?;
    let answer: Value = serde_json::from_slice(&out).ok()?;
    (answer["lag"] == 0).then(|| answer["as_of"]["sequence"].as_u64())?
}

async fn ask(rollbook: &Path, words: &[&str]) -> Option<Vec<u8>> {
    let ran = process::clean(rollbook)
        .args(words)
        .kill_on_drop(true)
        .output()
        .await
        .ok()?;
    ran.status.success().then_some(ran.stdout)
}

/// Collects the ledger and the status of every rollout.
async fn ledger(
    system: &SystemRecord,
    into: &Path,
    recorder: &Recorder,
    servers: &[Server],
) -> Result<(), JudgeError> {
    let Some(server) = servers.first() else {
        return Ok(());
    };
    let address = server.address.as_str();
    let log = ask(&system.rollbook, &["log", "--json", "--server", address]).await;
    let log = log.ok_or_else(|| missing("the ledger")("`rollbook log` fails"))?;
    std::fs::write(into.join(LOG), &log).map_err(missing("the ledger"))?;
    let commits: Vec<Value> = record::lines(&into.join(LOG))?;
    for commit in &commits {
        let commit = &commit["commit"];
        let events = commit["events"].as_array().into_iter().flatten();
        let opens = events
            .into_iter()
            .any(|event| event.get("rolloutOpened").is_some());
        let Some(id) = commit["aggregateId"].as_str().filter(|_| opens) else {
            continue;
        };
        let status = ask(
            &system.rollbook,
            &["status", id, "--json", "--server", address],
        )
        .await;
        let status = status.and_then(|out| serde_json::from_slice::<Value>(&out).ok());
        if let Some(status) = status {
            recorder.append(STATUSES, &status)?;
        }
    }
    Ok(())
}

async fn rows(path: &Path) -> Result<Vec<impl Serialize>, JudgeError> {
    let failed = missing("the database that steps changed");
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path))
        .await
        .map_err(&failed)?;
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT rollout, step FROM effects")
        .fetch_all(&pool)
        .await
        .map_err(&failed)?;
    pool.close().await;
    Ok(rows
        .into_iter()
        .map(|(rollout, step)| Row { rollout, step })
        .collect())
}
