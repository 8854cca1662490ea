//! `rollbook status` as a whole process, against a running `rollbook up`.

use std::path::Path;
use std::time::Instant;

use crate::bar::{Bar, BenchError, Limit};
use crate::up::Up;

/// Timed calls, after warming up.
const CALLS: usize = 30;
const WARM_UP: usize = 3;

/// Milliseconds of one call, the median.
pub(crate) async fn milliseconds() -> Result<Bar, BenchError> {
    let up = Up::start(&[]).await?;
    let runbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks/hello.yaml");
    let runbook = runbook.display().to_string();
    up.call(&[
        "open", &runbook, "--env", "local", "--as", "alice", "--start",
    ])?;
    let mut runs = Vec::new();
    for number in 0..CALLS + WARM_UP {
        let start = Instant::now();
        up.call(&["status"])?;
        if number >= WARM_UP {
            runs.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(Bar::judge(
        "status_ms",
        Limit::AtMost(50.0),
        "ms",
        "wall clock",
        runs,
    ))
}
