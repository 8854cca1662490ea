//! Compares whole snapshots with a bare COPY of the same rows on the same number of connections.

use std::process::Stdio;
use std::time::Instant;

use super::data::{DEALS, fill};
use super::postgres::Postgres;
use super::snapshot_process::{Taken, in_child};
use crate::bar::{Bar, BenchError, Limit, failed};

/// Default number of connections of both sides: one per core.
pub(crate) const CONNECTIONS: usize = 2;
const RUNS: usize = 3;

/// Seconds of a snapshot ÷ seconds of the COPY, for a `jsonb` column.
pub(crate) async fn jsonb() -> Result<Bar, BenchError> {
    let peer = "COPY BINARY of a jsonb column to /dev/null, 2 connections";
    let runs = ratios(&Postgres::start()?, "jsonb", CONNECTIONS).await?;
    Ok(judged("snapshot_vs_copy", 1.3, peer, runs))
}

/// The same for a `json` column.
pub(crate) async fn json() -> Result<Bar, BenchError> {
    let peer = "COPY BINARY of a json column to /dev/null, 2 connections";
    let runs = ratios(&Postgres::start()?, "json", CONNECTIONS).await?;
    Ok(judged("snapshot_vs_copy_json", 2.0, peer, runs))
}

/// The same over a Unix socket, which `psql` uses when no host is given.
pub(crate) async fn json_socket() -> Result<Bar, BenchError> {
    let peer = "COPY BINARY of a json column to /dev/null, 2 connections by a Unix socket";
    let runs = ratios(&Postgres::start_with_socket()?, "json", CONNECTIONS).await?;
    Ok(judged("snapshot_vs_copy_json_socket", 2.0, peer, runs))
}

/// The same on one connection, over TCP.
pub(crate) async fn json_alone() -> Result<Bar, BenchError> {
    let peer = "COPY BINARY of a json column to /dev/null, 1 connection";
    let runs = ratios(&Postgres::start()?, "json", 1).await?;
    Ok(judged("snapshot_vs_copy_json_1", 2.0, peer, runs))
}

fn judged(name: &'static str, limit: f64, peer: &'static str, runs: Vec<f64>) -> Bar {
    Bar::judge(name, Limit::AtMost(limit), "ratio", peer, runs)
}

/// The peak resident size of a process that takes a snapshot of a million deals.
pub(crate) async fn peak() -> Result<Bar, BenchError> {
    let postgres = Postgres::start()?;
    fill(&postgres, "json", DEALS).await?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(snapshot(&postgres, CONNECTIONS)?.peak_mb);
    }
    Ok(Bar::judge(
        "worker_peak_mb",
        Limit::AtMost(512.0),
        "MB",
        "the kernel's VmHWM, 1,000,000 deals of 3 KB",
        runs,
    ))
}

async fn ratios(
    postgres: &Postgres,
    column: &str,
    connections: usize,
) -> Result<Vec<f64>, BenchError> {
    fill(postgres, column, DEALS).await?;
    // One unmeasured read, so that both sides find the pages in memory.
    bare(postgres, connections)?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let theirs = bare(postgres, connections)?;
        let ours = snapshot(postgres, connections)?;
        eprintln!(
            "{column}: snapshot {:.2} s ({:.2} s of processor, {:.0} MB), COPY {theirs:.2} s",
            ours.seconds, ours.cpu_seconds, ours.peak_mb
        );
        runs.push(ours.seconds / theirs);
    }
    Ok(runs)
}

/// Takes one snapshot into an empty evidence store.
pub(crate) fn snapshot(postgres: &Postgres, connections: usize) -> Result<Taken, BenchError> {
    let store = tempfile::tempdir().map_err(failed("make a directory"))?;
    in_child(postgres.url(), store.path(), None, connections)
}

/// The fastest bare read: each connection copies its share of the table in storage order.
pub(crate) fn bare(postgres: &Postgres, connections: usize) -> Result<f64, BenchError> {
    let pages = "(SELECT CAST(pg_relation_size('deals') / 8192 AS bigint))";
    let start = Instant::now();
    let mut running = Vec::new();
    for share in 0..connections {
        let bound = |part: usize| {
            format!("CAST(format('(%s,0)', {pages} * {part} / {connections} + {part}) AS tid)")
        };
        let below = format!("ctid < {}", bound(share + 1));
        let copy = format!(
            "COPY (SELECT id, deal_type, inventory FROM deals WHERE deleted_at IS NULL \
             AND ctid >= {} AND {below}) TO STDOUT (FORMAT binary)",
            bound(share),
        );
        let child = postgres.psql(&copy).stdout(Stdio::null()).spawn();
        running.push(child.map_err(failed("run psql"))?);
    }
    for mut child in running {
        let status = child.wait().map_err(failed("run psql"))?;
        if !status.success() {
            return Err(failed("copy")(status));
        }
    }
    Ok(start.elapsed().as_secs_f64())
}
