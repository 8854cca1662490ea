//! Compares a snapshot with two scripts that a team might write in Python (`loadtest/peers`): same
//! rules, same database, rates per deal over a sample of the same rows.

use std::process::Stdio;

use serde::Deserialize;

use super::copy::{CONNECTIONS, snapshot};
use super::data::{DEALS, fill};
use super::postgres::Postgres;
use super::snapshot_process::in_child;
use crate::bar::{Bar, BenchError, Limit, failed};
use crate::peer::python_peer;

/// Deals that the careful script processes.
const CAREFUL_DEALS: u64 = 60_000;
/// Deals that the deal-by-deal script processes.
const PER_DEAL_DEALS: u64 = 10_000;
/// How many times faster than the deal-by-deal script a snapshot must be.
const PER_DEAL_TIMES: f64 = 20.0;
const RUNS: usize = 3;

/// What a script prints.
#[derive(Debug, Deserialize)]
struct Done {
    deals: u64,
    seconds: f64,
    cost_total: String,
}

/// The measured advantage ÷ the required one, for a `jsonb` column: the smaller value of the two
/// scripts. Printing `jsonb` takes the server so long that even its own COPY is only 8 to 11 times
/// as fast as the careful script, so 6 times are required.
pub(crate) async fn jsonb() -> Result<Bar, BenchError> {
    ratio("snapshot_vs_python", "jsonb", 6.0, "of 6 and 20 times").await
}

/// The same for a `json` column, which the server only copies.
pub(crate) async fn json() -> Result<Bar, BenchError> {
    ratio(
        "snapshot_vs_python_json",
        "json",
        12.0,
        "of 12 and 20 times",
    )
    .await
}

/// `careful_times` is how many times faster than the careful script a snapshot must be.
async fn ratio(
    name: &'static str,
    column: &str,
    careful_times: f64,
    unit: &'static str,
) -> Result<Bar, BenchError> {
    let postgres = Postgres::start()?;
    fill(&postgres, column, DEALS).await?;
    check_rules(&postgres)?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let ours = snapshot(&postgres, CONNECTIONS)?;
        let ours = rate(ours.deals, ours.seconds);
        let script = |name: &str, deals: u64| {
            let done = run(&postgres, name, deals)?;
            Ok(rate(done.deals, done.seconds))
        };
        let careful = script("careful.py", CAREFUL_DEALS)?;
        let per_deal = script("per_deal.py", PER_DEAL_DEALS)?;
        eprintln!(
            "python, {column}: snapshot {ours:.0} deals/s, careful {careful:.0} ({:.1} times), deal by deal {per_deal:.0} ({:.1} times)",
            ours / careful,
            ours / per_deal,
        );
        runs.push((ours / careful / careful_times).min(ours / per_deal / PER_DEAL_TIMES));
    }
    Ok(Bar::judge(
        name,
        Limit::AtLeast(1.0),
        unit,
        "psycopg in batches of 1,000 and SQLAlchemy deal by deal, per deal",
        runs,
    ))
}

#[allow(clippy::cast_precision_loss)]
fn rate(deals: u64, seconds: f64) -> f64 {
    deals as f64 / seconds
}

/// The scripts' figures must equal ours, or they do different work.
fn check_rules(postgres: &Postgres) -> Result<(), BenchError> {
    let theirs = run(postgres, "careful.py", CAREFUL_DEALS)?;
    let last = postgres
        .psql(&format!(
            "COPY (SELECT id FROM deals WHERE deleted_at IS NULL ORDER BY id OFFSET {} LIMIT 1) TO STDOUT",
            theirs.deals.saturating_sub(1)
        ))
        .output()
        .map_err(failed("run psql"))?;
    let last = String::from_utf8_lossy(&last.stdout).trim().to_owned();
    let store = tempfile::tempdir().map_err(failed("make a directory"))?;
    let filter = format!("id <= '{last}'");
    let ours = in_child(postgres.url(), store.path(), Some(&filter), CONNECTIONS)?;
    if (ours.deals, &ours.cost_total) == (theirs.deals, &theirs.cost_total) {
        return Ok(());
    }
    Err(failed("compare the rules")(format!(
        "{} deals cost {} here and {} cost {} in Python",
        ours.deals, ours.cost_total, theirs.deals, theirs.cost_total
    )))
}

fn run(postgres: &Postgres, script: &str, deals: u64) -> Result<Done, BenchError> {
    let output = python_peer(script)?
        .arg(postgres.url())
        .arg(deals.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed("run Python"))?;
    if !output.status.success() {
        return Err(failed("run Python")(format!("{script}: {}", output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(failed("read Python's figures"))
}
