//! Measures parsing and rules in memory, on one core and on two.

use std::time::Instant;

use rollbook_workers::snapshot::{Calculator, RawDeal};

use super::data::{calculator, in_memory};
use crate::bar::{Bar, BenchError, Limit, failed};

/// Distinct deals in memory.
const DEALS: usize = 20_000;
/// How often one run computes these deals.
const ROUNDS: usize = 5;
const RUNS: usize = 5;

/// Thousands of deals per second on one core.
pub(crate) fn per_core() -> Result<Bar, BenchError> {
    let (deals, calculator) = (in_memory(DEALS), calculator()?);
    rate(&deals, calculator.as_ref(), 1)?;
    let runs = (0..RUNS)
        .map(|_| rate(&deals, calculator.as_ref(), 1).map(|rate| rate / 1_000.0))
        .collect::<Result<_, _>>()?;
    Ok(Bar::judge(
        "compute_per_core",
        Limit::AtLeast(150.0),
        "thousand deals/s",
        "parse and rules from memory, 3 KB of JSON each",
        runs,
    ))
}

/// The rate of two threads ÷ the rate of one.
pub(crate) fn scaling() -> Result<Bar, BenchError> {
    let (deals, calculator) = (in_memory(DEALS), calculator()?);
    rate(&deals, calculator.as_ref(), 2)?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let one = rate(&deals, calculator.as_ref(), 1)?;
        let two = rate(&deals, calculator.as_ref(), 2)?;
        eprintln!("compute: {one:.0} deals/s on one thread, {two:.0} on two");
        runs.push(two / one);
    }
    Ok(Bar::judge(
        "compute_scaling",
        Limit::AtLeast(1.8),
        "ratio",
        "the same on one thread",
        runs,
    ))
}

fn rate(deals: &[RawDeal], calculator: &dyn Calculator, threads: usize) -> Result<f64, BenchError> {
    let start = Instant::now();
    let computed: usize = std::thread::scope(|scope| {
        let shares: Vec<_> = deals
            .chunks(deals.len().div_ceil(threads))
            .map(|share| {
                scope.spawn(move || {
                    let rounds = std::iter::repeat_n(share, ROUNDS).flatten();
                    rounds
                        .filter(|deal| calculator.compute(deal).is_ok())
                        .count()
                })
            })
            .collect();
        shares
            .into_iter()
            .map(|share| share.join().unwrap_or_default())
            .sum()
    });
    let seconds = start.elapsed().as_secs_f64();
    if computed < deals.len() * ROUNDS {
        return Err(failed("compute")("some deals have no figures"));
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(computed as f64 / seconds)
}
