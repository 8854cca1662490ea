//! Compares the cost per deal at ten million deals with that at one million.

use super::copy::{CONNECTIONS, bare, snapshot};
use super::data::{DEALS, fill};
use super::postgres::Postgres;
use crate::bar::{Bar, BenchError, Limit};

const TIMES: u64 = 10;
const RUNS: usize = 3;

/// Seconds per deal at 10 M ÷ seconds per deal at 1 M, for a `json` column. The load of the machine
/// changes within minutes, so each large snapshot is compared with the small ones right before and
/// after it.
pub(crate) async fn ratio() -> Result<Bar, BenchError> {
    let (few, many) = (Postgres::start()?, Postgres::start()?);
    fill(&few, "json", DEALS).await?;
    fill(&many, "json", DEALS * TIMES).await?;
    // One unmeasured read, so that all runs find the pages in memory.
    bare(&many, CONNECTIONS)?;
    per_deal(&few)?;
    let mut runs = Vec::new();
    let mut before = per_deal(&few)?;
    for _ in 0..RUNS {
        let large = per_deal(&many)?;
        let after = per_deal(&few)?;
        runs.push(large / f64::midpoint(before, after));
        before = after;
    }
    Ok(Bar::judge(
        "growth_10m",
        Limit::AtMost(1.1),
        "ratio",
        "the same per deal at 1,000,000",
        runs,
    ))
}

/// Seconds of a snapshot per deal.
#[allow(clippy::cast_precision_loss)]
fn per_deal(postgres: &Postgres) -> Result<f64, BenchError> {
    let taken = snapshot(postgres, CONNECTIONS)?;
    let copied = bare(postgres, CONNECTIONS)?;
    eprintln!(
        "growth: {} deals in {:.2} s ({:.2} s of processor, {:.0} MB), a bare COPY in {copied:.2} s",
        taken.deals, taken.seconds, taken.cpu_seconds, taken.peak_mb
    );
    Ok(taken.seconds / taken.deals as f64)
}
