//! The cost per deal at ten million deals against that at one million.

use super::copy::{CONNECTIONS, bare, snapshot};
use super::data::{DEALS, fill};
use super::postgres::Postgres;
use super::take::Taken;
use crate::bar::{Bar, BenchError, Limit};

const TIMES: u64 = 10;
/// Small runs before the large one, and as many after it.
const SMALL_RUNS: usize = 3;

/// Seconds per deal at 10 M ÷ seconds per deal at 1 M, `json` column. To fill the large table takes
/// minutes, in which the machine may become busier or quieter, so small ones are taken on both sides.
pub(crate) async fn ratio() -> Result<Bar, BenchError> {
    let postgres = Postgres::start()?;
    let mut small = smaller(&postgres).await?;
    fill(&postgres, "json", DEALS * TIMES).await?;
    let large = snapshot(&postgres, CONNECTIONS)?;
    say(&large, bare(&postgres, CONNECTIONS)?);
    small.extend(smaller(&postgres).await?);
    #[allow(clippy::cast_precision_loss)]
    let per_deal = |taken: &Taken| taken.seconds / taken.deals as f64;
    let ratio = |small| per_deal(&large) / per_deal(small);
    Ok(Bar::judge(
        "growth_10m",
        Limit::AtMost(1.1),
        "ratio",
        "the same per deal at 1,000,000",
        small.iter().map(ratio).collect(),
    ))
}

/// Snapshots of a million deals, after one that is not measured.
async fn smaller(postgres: &Postgres) -> Result<Vec<Taken>, BenchError> {
    fill(postgres, "json", DEALS).await?;
    snapshot(postgres, CONNECTIONS)?;
    let mut taken = Vec::new();
    for _ in 0..SMALL_RUNS {
        let one = snapshot(postgres, CONNECTIONS)?;
        say(&one, bare(postgres, CONNECTIONS)?);
        taken.push(one);
    }
    Ok(taken)
}

fn say(taken: &Taken, copied: f64) {
    eprintln!(
        "growth: {} deals in {:.2} s ({:.2} s of processor, {:.0} MB), a bare COPY in {copied:.2} s",
        taken.deals, taken.seconds, taken.cpu_seconds, taken.peak_mb
    );
}
