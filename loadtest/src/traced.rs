//! What traces cost: the same commands to a server that exports spans and to one that does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::bar::{Bar, BenchError, Limit, failed, median};
use crate::up::Up;

/// Runs; each is a ratio of medians.
const RUNS: usize = 5;
/// Commands of each side in a run, in turns of [`TURN`].
const COMMANDS: usize = 400;
const TURN: usize = 20;
/// The longest request to the collector, in bytes.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// A rollout that stays open.
const RUNBOOK: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: waits, version: "1.0", owner: bench}
environments: {local: {}}
phases: [{id: "1", title: Waits, steps: [{id: "1.1", title: Wait, wait: {for: 24h}}]}]
"#;

/// A collector that takes every request and forgets it. Ends on drop.
struct Collector {
    url: String,
    requests: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

impl Collector {
    async fn start() -> Result<Self, BenchError> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(failed("start a collector"))?;
        let address = listener.local_addr().map_err(failed("start a collector"))?;
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                // A client that goes away ends only its own connection.
                tokio::spawn(async move { drop(answer(connection, &counted).await) });
            }
        });
        Ok(Self {
            url: format!("http://{address}"),
            requests,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }
}

/// Answers every request on a connection with an empty success.
async fn answer(connection: TcpStream, requests: &AtomicUsize) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = (&mut connection).take(u64::min(length, MAX_BODY));
        tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
        requests.fetch_add(1, Ordering::Relaxed);
        connection
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await?;
    }
}

/// A server with a rollout that is paused and resumed.
struct Side {
    up: Up,
    http: reqwest::Client,
    paused: bool,
    times: Vec<f64>,
}

impl Side {
    async fn start(env: &[(&str, &str)]) -> Result<Self, BenchError> {
        let up = Up::start_with(&[], env).await?;
        let runbook = up.directory().join("waits.yaml");
        std::fs::write(&runbook, RUNBOOK).map_err(failed("write a runbook"))?;
        let runbook = runbook.display().to_string();
        up.call(&[
            "open", &runbook, "--env", "local", "--as", "alice", "--start", "--id", "bench",
        ])?;
        let http = reqwest::Client::new();
        let (paused, times) = (false, Vec::new());
        let mut side = Self {
            up,
            http,
            paused,
            times,
        };
        side.turn().await?;
        side.times.clear();
        Ok(side)
    }

    async fn turn(&mut self) -> Result<(), BenchError> {
        for _ in 0..TURN {
            let command = if self.paused { "resume" } else { "pause" };
            let begun = Instant::now();
            self.http
                .post(format!("{}/v1/rollouts/bench/commands", self.up.base()))
                .header("rollbook-actor", "alice")
                .json(&json!({"command": command, "reason": "bench"}))
                .send()
                .await
                .and_then(reqwest::Response::error_for_status)
                .map_err(failed("send a command"))?;
            self.times.push(begun.elapsed().as_secs_f64());
            self.paused = !self.paused;
        }
        Ok(())
    }
}

/// Time of a command with traces ÷ without.
pub(crate) async fn ratio() -> Result<Bar, BenchError> {
    let collector = Collector::start().await?;
    let mut plain = Side::start(&[]).await?;
    let mut traced = Side::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ])
    .await?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        for _ in 0..COMMANDS / TURN {
            plain.turn().await?;
            traced.turn().await?;
        }
        runs.push(median(&traced.times) / median(&plain.times));
        plain.times.clear();
        traced.times.clear();
    }
    if collector.requests.load(Ordering::Relaxed) == 0 {
        return Err(failed("export spans")("the collector got none"));
    }
    Ok(Bar::judge(
        "traced_ratio",
        Limit::AtMost(1.1),
        "ratio",
        "a command without traces",
        runs,
    ))
}
