//! How fast trivial steps run, and whether a step costs the same however many its plan has.

use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::bar::{Bar, BenchError, Limit, failed};
use crate::deals::postgres::Postgres;
use crate::events::Events;
use crate::peer::python_peer;
use crate::up::Up;

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
                    "      - {{id: \"{phase}.{step}\", title: Step{needs}, run: {{command: \"true\"}}, changes: nothing}}"
                );
            }
        }
        text
    }
}

/// A running `rollbook up` whose rollouts are timed.
struct Runner {
    up: Up,
    http: reqwest::Client,
}

impl Runner {
    async fn start() -> Result<Self, BenchError> {
        let up = Up::start(&["--concurrency", &CONCURRENCY.to_string()]).await?;
        let http = reqwest::Client::new();
        let runner = Self { up, http };
        // The first steps fill caches and are not timed.
        runner.open(Shape::sequence(20), "warm")?;
        runner.run(&["warm".to_owned()]).await?;
        Ok(runner)
    }

    fn open(&self, shape: Shape, id: &str) -> Result<(), BenchError> {
        let file = self.up.directory().join(format!("{id}.yaml"));
        std::fs::write(&file, shape.runbook()).map_err(failed("write a runbook"))?;
        let file = file.display().to_string();
        self.up
            .call(&["open", &file, "--env", "local", "--as", "alice", "--id", id])
    }

    async fn begin(&self, id: &str) -> Result<(), BenchError> {
        let sent = self
            .http
            .post(format!("{}/v1/rollouts/{id}/commands", self.up.base()))
            .header("rollbook-actor", "alice")
            .json(&json!({"command": "start"}))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        sent.map(drop).map_err(failed("start a rollout"))
    }

    /// Starts these rollouts and waits until all have ended; seconds.
    async fn run(&self, ids: &[String]) -> Result<f64, BenchError> {
        let mut events = Events::follow(self.up.base(), "rollout_closed").await?;
        let begun = Instant::now();
        for id in ids {
            self.begin(id).await?;
        }
        let closed = "\nevent: rollout_closed\n";
        events.until(closed, ids.len(), AT_MOST).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Seconds of processor that the server, its worker, their commands and the nats-server have
    /// used.
    fn processor(&self) -> Result<f64, BenchError> {
        let mut ticks = ticks_of(self.up.pid(), 4)?;
        // A child belongs to the thread that started it.
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.up.pid()))
            .map_err(failed("list threads"))?;
        for thread in threads.flatten() {
            let children = thread.path().join("children");
            let children = std::fs::read_to_string(children).unwrap_or_default();
            let children = children.split_whitespace();
            for child in children.filter_map(|pid| pid.parse().ok()) {
                // A command that has ended meanwhile is counted by its parent.
                ticks += ticks_of(child, 2).unwrap_or_default();
            }
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
    let (postgres, runner) = (Postgres::start()?, Runner::start().await?);
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let id = format!("run-{run}");
        runner.open(shape, &id)?;
        let (ours, theirs) = (runner.run(&[id]).await?, peer(&postgres, shape)?);
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

/// Processor time of a step at 2,000 steps ÷ at 100: the worse of phases as large as they may be and
/// of many.
pub(crate) async fn growth() -> Result<Bar, BenchError> {
    let runner = Runner::start().await?;
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let mut measured = Vec::new();
        for (name, shape) in [
            ("few", Shape::sequence(100)),
            (
                "many",
                Shape {
                    phases: 2,
                    ..Shape::sequence(1_000)
                },
            ),
            (
                "phases",
                Shape {
                    phases: 100,
                    ..Shape::sequence(20)
                },
            ),
        ] {
            let id = format!("{name}-{run}");
            runner.open(shape, &id)?;
            let before = runner.processor()?;
            runner.run(&[id]).await?;
            let each = (runner.processor()? - before) * 1e3 / shape.total() as f64;
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
    let runner = Runner::start().await?;
    let shape = Shape::sequence(20);
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let ids: Vec<String> = (0..ROLLOUTS).map(|it| format!("r{run}-{it}")).collect();
        for id in &ids {
            runner.open(shape, id)?;
        }
        let seconds = runner.run(&ids).await?;
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
