//! How fast trivial steps run, and whether a step costs the same however many its plan has.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;

use crate::bar::{Bar, BenchError, Limit, failed};
use crate::deals::postgres::Postgres;
use crate::peer::python_peer;

/// Runs of each side, in turns.
const RUNS: usize = 3;
/// Steps of the plans that are compared with the peer.
const STEPS: usize = 400;
/// Steps at a time, of both sides.
const CONCURRENCY: usize = 16;
/// A run that takes longer is a failure.
const AT_MOST: Duration = Duration::from_secs(300);
const PEER: &str = "DBOS 3.4 on PostgreSQL, `sh -c true` as a step";

/// A plan of steps that each run `true`.
#[derive(Debug, Clone, Copy)]
struct Shape {
    phases: usize,
    steps: usize,
    parallel: bool,
}

impl Shape {
    const fn sequence(steps: usize) -> Self {
        Self {
            phases: 1,
            steps,
            parallel: false,
        }
    }

    fn total(self) -> usize {
        self.phases * self.steps
    }

    fn runbook(self) -> String {
        let mut text = "apiVersion: rollbook/v1\nkind: Runbook\nmetadata: {name: steps, version: \"1.0\", owner: bench}\nenvironments: {local: {}}\nphases:\n".to_owned();
        let needs = if self.parallel { ", needs: []" } else { "" };
        for phase in 1..=self.phases {
            // A string takes no error.
            let _ = writeln!(
                text,
                "  - id: \"{phase}\"\n    title: Phase {phase}\n    steps:"
            );
            for step in 1..=self.steps {
                let _ = writeln!(
                    text,
                    "      - {{id: \"{phase}.{step}\", title: Step {step}{needs}, run: {{command: \"true\"}}, changes: nothing}}"
                );
            }
        }
        text
    }
}

/// A running `rollbook up`, stopped when dropped.
struct Up {
    child: Child,
    program: PathBuf,
    http: reqwest::Client,
    base: String,
    dir: tempfile::TempDir,
}

impl Drop for Up {
    fn drop(&mut self) {
        // SIGTERM lets it stop its nats-server; a failure leaves only temporary files.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

impl Up {
    async fn start() -> Result<Self, BenchError> {
        let program = std::env::current_exe()
            .map_err(failed("find this program"))?
            .with_file_name("rollbook");
        let dir = tempfile::tempdir().map_err(failed("make a directory"))?;
        let data = dir.path().join("ledger");
        let child = Command::new(&program)
            .arg("--data-dir")
            .arg(&data)
            .args(["up", "--listen", "127.0.0.1:0", "--concurrency"])
            .arg(CONCURRENCY.to_string())
            .current_dir(dir.path())
            .env_remove("ROLLBOOK_SERVER")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start rollbook up"))?;
        let endpoint = data.join("endpoint");
        let begun = Instant::now();
        while !endpoint.exists() {
            if begun.elapsed() > AT_MOST {
                return Err(failed("start rollbook up")("it does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let base = std::fs::read_to_string(&endpoint).map_err(failed("read its address"))?;
        Ok(Self {
            child,
            program,
            http: reqwest::Client::new(),
            base: base.trim().to_owned(),
            dir,
        })
    }

    fn open(&self, shape: Shape, id: &str) -> Result<(), BenchError> {
        let file = self.dir.path().join(format!("{id}.yaml"));
        std::fs::write(&file, shape.runbook()).map_err(failed("write a runbook"))?;
        let opened = Command::new(&self.program)
            .args(["--server", &self.base, "open"])
            .arg(&file)
            .args(["--env", "local", "--as", "alice", "--id", id])
            .output()
            .map_err(failed("open a rollout"))?;
        if opened.status.success() {
            return Ok(());
        }
        Err(failed("open a rollout")(String::from_utf8_lossy(
            &opened.stderr,
        )))
    }

    async fn begin(&self, id: &str) -> Result<(), BenchError> {
        let sent = self
            .http
            .post(format!("{}/v1/rollouts/{id}/commands", self.base))
            .header("rollbook-actor", "alice")
            .json(&json!({"command": "start"}))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        sent.map(drop).map_err(failed("start a rollout"))
    }

    /// Starts these rollouts and waits until all have ended; seconds.
    async fn run(&self, ids: &[String]) -> Result<f64, BenchError> {
        let events = self
            .http
            .get(format!("{}/v1/events?type=rollout_closed", self.base))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed("follow events"))?;
        let mut events = events.bytes_stream();
        let begun = Instant::now();
        for id in ids {
            self.begin(id).await?;
        }
        let ended = async {
            let (mut text, mut closed) = (String::new(), 0);
            while closed < ids.len() {
                let Some(bytes) = events.next().await else {
                    return Err(failed("follow events")("they ended"));
                };
                let bytes = bytes.map_err(failed("follow events"))?;
                text.push_str(&String::from_utf8_lossy(&bytes));
                closed = text.matches("\nevent: rollout_closed\n").count();
            }
            Ok(())
        };
        match tokio::time::timeout(AT_MOST, ended).await {
            Ok(ended) => ended?,
            Err(_) => return Err(failed("run steps")(format!("not done in {AT_MOST:?}"))),
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Seconds of processor that the server, its worker, their commands and the nats-server have
    /// used.
    fn processor(&self) -> Result<f64, BenchError> {
        let mut ticks = ticks_of(self.child.id(), 4)?;
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
        {
            // A command that has ended meanwhile is counted by its parent.
            ticks += ticks_of(child, 2).unwrap_or_default();
        }
        Ok(ticks / 100.0)
    }
}

/// The first of user, system, children's user and children's system time (proc(5), fields 14 to 17),
/// summed, in hundredths of a second.
fn ticks_of(pid: u32, fields: usize) -> Result<f64, BenchError> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(failed("read processor times"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let times = after_name.split_whitespace().skip(11).take(fields);
    Ok(times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum())
}

#[derive(Debug, Deserialize)]
struct Peer {
    seconds: f64,
}

/// Seconds of the peer for [`STEPS`] steps.
fn peer(postgres: &Postgres, shape: Shape) -> Result<f64, BenchError> {
    let output = python_peer("dbos_steps.py")?
        .arg(postgres.url())
        .arg(shape.total().to_string())
        .arg(if shape.parallel {
            "parallel"
        } else {
            "sequence"
        })
        .arg(CONCURRENCY.to_string())
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed("run DBOS"))?;
    let peer: Peer = serde_json::from_slice(&output.stdout).map_err(failed("read DBOS"))?;
    Ok(peer.seconds)
}

/// Steps a second ÷ the peer's.
async fn rate(bar: &'static str, limit: f64, shape: Shape) -> Result<Bar, BenchError> {
    let (postgres, up) = (Postgres::start()?, Up::start().await?);
    // Both have warmed up before they are timed.
    up.open(Shape::sequence(20), "warm")?;
    up.run(&["warm".to_owned()]).await?;
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let id = format!("run-{run}");
        up.open(shape, &id)?;
        let (ours, theirs) = (up.run(&[id]).await?, peer(&postgres, shape)?);
        let rate = |seconds: f64| STEPS as f64 / seconds;
        eprintln!("{bar}: {:.0} steps/s, DBOS {:.0}", rate(ours), rate(theirs));
        runs.push(theirs / ours);
    }
    Ok(Bar::judge(bar, Limit::AtLeast(limit), "ratio", PEER, runs))
}

/// Steps one after another.
pub(crate) async fn rate_ratio() -> Result<Bar, BenchError> {
    rate("step_rate_ratio", 0.5, Shape::sequence(STEPS)).await
}

/// Steps that do not wait for each other.
pub(crate) async fn parallel_ratio() -> Result<Bar, BenchError> {
    let shape = Shape {
        parallel: true,
        ..Shape::sequence(STEPS)
    };
    rate("step_parallel_ratio", 1.0, shape).await
}

/// Processor time of a step at 2,000 steps ÷ at 100: the worse of one phase and of many.
pub(crate) async fn growth() -> Result<Bar, BenchError> {
    let up = Up::start().await?;
    up.open(Shape::sequence(20), "warm")?;
    up.run(&["warm".to_owned()]).await?;
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let mut measured = Vec::new();
        for (name, shape) in [
            ("few", Shape::sequence(100)),
            ("many", Shape::sequence(2_000)),
            (
                "phases",
                Shape {
                    phases: 100,
                    ..Shape::sequence(20)
                },
            ),
        ] {
            let id = format!("{name}-{run}");
            up.open(shape, &id)?;
            let before = up.processor()?;
            up.run(&[id]).await?;
            let each = (up.processor()? - before) * 1e3 / shape.total() as f64;
            eprintln!("step_growth: {name}: {each:.2} ms of processor a step");
            measured.push(each);
        }
        runs.push(measured[1].max(measured[2]) / measured[0]);
    }
    Ok(Bar::judge(
        "step_growth",
        Limit::AtMost(1.3),
        "ratio",
        "processor time of a step of 100",
        runs,
    ))
}

/// Steps a second of a hundred rollouts of twenty.
pub(crate) async fn rollouts_at_once() -> Result<Bar, BenchError> {
    const ROLLOUTS: usize = 100;
    let up = Up::start().await?;
    let shape = Shape::sequence(20);
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let ids: Vec<String> = (0..ROLLOUTS).map(|it| format!("r{run}-{it}")).collect();
        for id in &ids {
            up.open(shape, id)?;
        }
        let seconds = up.run(&ids).await?;
        runs.push((ROLLOUTS * shape.total()) as f64 / seconds);
    }
    Ok(Bar::judge(
        "rollouts_at_once",
        Limit::AtLeast(300.0),
        "steps/s",
        "wall clock",
        runs,
    ))
}
