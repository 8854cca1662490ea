//! Measures `rollbook status` as a whole process, against a running `rollbook up`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bar::{Bar, BenchError, Limit, failed};

/// Number of timed calls, after warm-up.
const CALLS: usize = 30;
const WARM_UP: usize = 3;

struct Up {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Up {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        // SIGTERM lets it stop its nats-server; if this fails, only temporary files remain.
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.child.wait();
    }
}

/// The median duration of a call, in milliseconds.
pub(crate) async fn milliseconds() -> Result<Bar, BenchError> {
    let binary = find()?;
    let dir = tempfile::tempdir().map_err(failed("make a directory"))?;
    let data = dir.path().join("ledger");
    let child = rollbook(&binary, &data)
        .args(["up", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed("start rollbook up"))?;
    let up = Up { child, _dir: dir };
    wait_for(&data.join("endpoint")).await?;
    let runbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks/hello.yaml");
    call(
        rollbook(&binary, &data)
            .arg("open")
            .arg(runbook)
            .args(["--env", "local", "--as", "alice", "--start"]),
    )?;
    let mut runs = Vec::new();
    for number in 0..CALLS + WARM_UP {
        let start = Instant::now();
        call(rollbook(&binary, &data).arg("status"))?;
        if number >= WARM_UP {
            runs.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    drop(up);
    Ok(Bar::judge(
        "status_ms",
        Limit::AtMost(50.0),
        "ms",
        "wall clock",
        runs,
    ))
}

/// Finds the command, built beside this program.
fn find() -> Result<PathBuf, BenchError> {
    let here = std::env::current_exe().map_err(failed("find this program"))?;
    let binary = here.with_file_name("rollbook");
    if binary.is_file() {
        return Ok(binary);
    }
    Err(failed("find rollbook")(format!(
        "{} is not there; build both with `make bench`",
        binary.display()
    )))
}

fn rollbook(binary: &Path, data: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("--data-dir")
        .arg(data)
        .env_remove("ROLLBOOK_SERVER");
    command
}

fn call(command: &mut Command) -> Result<(), BenchError> {
    let output = command.output().map_err(failed("call rollbook"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed("call rollbook")(String::from_utf8_lossy(
        &output.stderr,
    )))
}

async fn wait_for(file: &Path) -> Result<(), BenchError> {
    for _ in 0..400 {
        if file.exists() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(failed("start rollbook up")("it does not answer"))
}
