//! Takes one snapshot in its own process, so that its memory is measured apart from the bench's.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rollbook_ledger::evidence::EvidenceStore;
use rollbook_workers::snapshot::plan::ROWS_PER_PART;
use rollbook_workers::snapshot::{SnapshotRequest, SnapshotSource, take};
use serde::{Deserialize, Serialize};

use super::data::calculator;
use crate::bar::{BenchError, failed};

/// The resources that a snapshot used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Time from connecting to the stored manifest.
    pub(crate) seconds: f64,
    /// The peak resident size of the process.
    pub(crate) peak_mb: f64,
    /// Deals computed, with or without figures.
    pub(crate) deals: u64,
    /// The processor time of the process.
    pub(crate) cpu_seconds: f64,
    /// The sum of the total cost, in cents.
    pub(crate) cost_total: String,
}

/// Runs `rollbook-loadtest take` with this many connections and two threads.
pub(crate) fn in_child(
    url: &str,
    store: &Path,
    filter: Option<&str>,
    connections: usize,
) -> Result<Taken, BenchError> {
    let program = std::env::current_exe().map_err(failed("find the bench"))?;
    let output = Command::new(program)
        .args(["take", "--database", url, "--objects"])
        .arg(store)
        .args(filter.iter().flat_map(|filter| ["--where", filter]))
        .args(["--connections", &connections.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed("start the snapshot"))?;
    if !output.status.success() {
        return Err(failed("take the snapshot")(output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(failed("read the snapshot's figures"))
}

/// The arguments of `rollbook-loadtest take`.
#[derive(Debug, clap::Args)]
pub(crate) struct TakeArgs {
    /// Where the deals are
    #[arg(long)]
    database: String,
    /// Evidence store
    #[arg(long)]
    objects: String,
    /// SQL condition
    #[arg(long = "where")]
    filter: Option<String>,
    /// Connections
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Takes a snapshot in this process and reports what it used.
pub(crate) async fn here(args: &TakeArgs) -> Result<Taken, BenchError> {
    let store = EvidenceStore::open(&args.objects).map_err(failed("open the evidence store"))?;
    let request = SnapshotRequest {
        name: "deals".to_owned(),
        label: "bench".to_owned(),
        source: SnapshotSource {
            filter: args.filter.clone(),
            ..SnapshotSource::new(&args.database)
        },
        calculator: calculator()?,
        flags: std::collections::BTreeMap::new(),
        flags_sequence: 0,
        taken_at: jiff::Timestamp::now(),
        rows_per_part: ROWS_PER_PART,
        threads: Some(args.threads),
        connections: Some(args.connections),
    };
    let start = Instant::now();
    let taken = take(&request, &store, &|_| {})
        .await
        .map_err(failed("take the snapshot"))?;
    let seconds = start.elapsed().as_secs_f64();
    let total = taken.manifest.totals.get("cost_total");
    Ok(Taken {
        seconds,
        peak_mb: peak_mb()?,
        deals: taken.manifest.total,
        cpu_seconds: cpu_seconds()?,
        cost_total: total.map(|total| total.0.to_string()).unwrap_or_default(),
    })
}

/// The peak resident size as the kernel reports it, `VmHWM`.
fn peak_mb() -> Result<f64, BenchError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(failed("read the memory"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes / 1024.0)
        .ok_or_else(|| failed("read the memory")("no VmHWM"))
}

/// User and system time in hundredths of a second, fields 14 and 15 of `/proc/self/stat`.
fn cpu_seconds() -> Result<f64, BenchError> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(failed("read the time"))?;
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().skip(11).take(2);
    Ok(ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0)
}
