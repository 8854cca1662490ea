//! How soon a flag is off after a watch has measured a breach, while other work fills the worker.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bar::{Bar, BenchError, Limit, failed};
use crate::events::Events;
use crate::up::Up;

/// Breaches, each in a rollout of its own.
const BREACHES: usize = 100;
/// Steps that run all the time. One more slot lets the flags be turned on.
const STEPS: usize = 16;
/// Watches that sample all the time.
const WATCHES: usize = 50;
/// Anything that takes longer is a failure.
const AT_MOST: Duration = Duration::from_secs(60);

const HEAD: &str = "apiVersion: rollbook/v1\nkind: Runbook\nmetadata: {name: breach, version: \"1.0\", owner: bench}\nenvironments: {local: {}}\n";

/// Turns a flag on and watches a figure; a breach turns the flag off.
fn guarded(number: usize) -> String {
    format!(
        r#"{HEAD}flags:
  BENCH_{number}: {{description: Flag of the bench, owner: bench, safe: off, retire_by: "2099-01-01"}}
metrics:
  figure: {{run: {{command: "cat figure-{number}; date +%s%N > measured-{number}"}}}}
phases:
  - id: "1"
    title: Guarded
    steps:
      - {{id: "1.1", title: Turn the flag on, flag: {{key: BENCH_{number}, to: on}}}}
      - id: "1.2"
        title: Watch
        on_fail: rollback_flags
        watch: {{for: 1h, every: 1s, thresholds: [{{metric: figure, fail: value > 0}}]}}
"#
    )
}

/// Steps that sleep and watches that sample, side by side.
fn load() -> String {
    let mut text = format!(
        "{HEAD}metrics:\n  load: {{run: {{command: \"echo 0\"}}}}\nphases:\n  - id: \"1\"\n    title: Load\n    steps:\n"
    );
    for step in 1..=STEPS {
        // A string takes no error.
        let _ = writeln!(
            text,
            "      - {{id: \"s{step}\", title: Sleep, needs: [], run: {{command: sleep 3600}}, changes: nothing}}"
        );
    }
    for watch in 1..=WATCHES {
        let _ = writeln!(
            text,
            "      - {{id: \"w{watch}\", title: Watch, needs: [], watch: {{for: 1h, every: 10s, thresholds: [{{metric: load, fail: value > 0}}]}}}}"
        );
    }
    text
}

fn open(up: &Up, id: &str, runbook: &str) -> Result<(), BenchError> {
    let file = up.directory().join(format!("{id}.yaml"));
    std::fs::write(&file, runbook).map_err(failed("write a runbook"))?;
    let file = file.display().to_string();
    up.call(&["open", &file, "--env", "local", "--as", "alice", "--id", id])?;
    up.call(&["start", id, "--as", "alice"])
}

/// 99th percentile of the time from the measurement that breaches to the recorded change of the
/// flag, as a client of the event feed sees it; milliseconds.
pub(crate) async fn to_off() -> Result<Bar, BenchError> {
    let up = Up::start(&["--concurrency", &(STEPS + 1).to_string()]).await?;
    let mut started = Events::follow(up.base(), "step_started").await?;
    let mut changed = Events::follow(up.base(), "flag_changed").await?;
    let mut waits = Vec::new();
    open(&up, "load", &load())?;
    started
        .until("\nevent: step_started\n", STEPS + WATCHES, AT_MOST)
        .await?;
    for number in 1..=BREACHES {
        let figure = up.directory().join(format!("figure-{number}"));
        let measured = up.directory().join(format!("measured-{number}"));
        std::fs::write(&figure, "0").map_err(failed("write a figure"))?;
        open(&up, &format!("guarded-{number}"), &guarded(number))?;
        let sampled = async {
            while !measured.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(AT_MOST, sampled)
            .await
            .map_err(failed("wait for a sample"))?;
        std::fs::write(&figure, "1").map_err(failed("write a figure"))?;
        // Turned on, and off.
        changed
            .until("\nevent: flag_changed\n", 2 * number, AT_MOST)
            .await?;
        let off = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(failed("read the clock"))?;
        let measured = std::fs::read_to_string(&measured).map_err(failed("read a time"))?;
        let measured: u64 = measured.trim().parse().map_err(failed("read a time"))?;
        waits.push((off.as_secs_f64() - measured as f64 / 1e9) * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    eprintln!("breach_to_off_ms: p50 {:.0}, p99 {:.0}", at(0.5), at(0.99));
    Ok(Bar::judge(
        "breach_to_off_ms",
        Limit::AtMost(250.0),
        "ms",
        "p99, 16 steps and 50 watches beside it",
        vec![at(0.99)],
    ))
}
