//! The cost per deal at ten million deals against that at one million.

use super::copy::{CONNECTIONS, bare, snapshot};
use super::data::{DEALS, fill};
use super::postgres::Postgres;
use crate::bar::{Bar, BenchError, Limit};

const TIMES: u64 = 10;
/// Small runs beside the large one; their median is compared.
const SMALL_RUNS: usize = 3;

/// Seconds per deal at 10 M ÷ seconds per deal at 1 M, `json` column.
pub(crate) async fn ratio() -> Result<Bar, BenchError> {
    let postgres = Postgres::start()?;
    fill(&postgres, "json", DEALS).await?;
    let mut small = Vec::new();
    for _ in 0..=SMALL_RUNS {
        small.push(snapshot(&postgres, CONNECTIONS)?);
    }
    let copied = bare(&postgres, CONNECTIONS)?;
    fill(&postgres, "json", DEALS * TIMES).await?;
    let large = snapshot(&postgres, CONNECTIONS)?;
    let all_copied = bare(&postgres, CONNECTIONS)?;
    #[allow(clippy::cast_precision_loss)]
    let per_deal = |taken: &super::take::Taken| taken.seconds / taken.deals as f64;
    let runs: Vec<f64> = small
        .iter()
        .skip(1)
        .map(|small| per_deal(&large) / per_deal(small))
        .collect();
    eprintln!(
        "growth: {} deals in {:.1} s ({:.1} s of processor, {:.0} MB), {} in {:.2} s ({:.2} s of processor); \
         a bare COPY of the same takes {all_copied:.1} s and {copied:.2} s",
        large.deals,
        large.seconds,
        large.cpu_seconds,
        large.peak_mb,
        small.last().map_or(0, |small| small.deals),
        small.last().map_or(0.0, |small| small.seconds),
        small.last().map_or(0.0, |small| small.cpu_seconds),
    );
    Ok(Bar::judge(
        "growth_10m",
        Limit::AtMost(1.1),
        "ratio",
        "the same per deal at 1,000,000",
        runs,
    ))
}
