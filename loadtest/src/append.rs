//! Compares appends through the ledger with bare async-nats publishes of the same headers and
//! payload to the same stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use futures::stream::{FuturesUnordered, StreamExt};
use prost::Message;
use rollbook_ledger::ids::{Aggregate, LedgerId};
use rollbook_ledger::journal::{JetStreamJournal, JetStreamOptions, Journal, SyncKnown};

use crate::bar::{Bar, BenchError, Limit, failed, median};
use crate::commits::{LEDGER, aggregate, headers, sample};
use crate::server::Server;

/// Appends per block; ledger and peer alternate block by block.
const BLOCK: usize = 250;
/// Blocks per side and run.
const BLOCKS: usize = 6;
/// Number of runs; the median is judged.
const RUNS: usize = 3;
/// Maximum number of writers in flight.
const IN_FLIGHT: usize = 256;
/// Number of aggregates in the pipelined bars.
const AGGREGATES: usize = 1_000;
/// How long each side appends before a throughput run is timed.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long each side appends per turn, and the number of turns; the median counts.
const TURN: Duration = Duration::from_secs(1);
const TURNS: usize = 5;

struct Sides {
    journal: JetStreamJournal,
    bare: Context,
    ledger: LedgerId,
    _server: Server,
}

impl Sides {
    async fn start(sync_always: bool) -> Result<Self, BenchError> {
        let server = Server::start(sync_always).await?;
        let ledger = LedgerId::new(LEDGER).map_err(failed("name the ledger"))?;
        let sync = if sync_always {
            SyncKnown::Always
        } else {
            SyncKnown::NotAlways
        };
        let options = JetStreamOptions {
            sync,
            ..JetStreamOptions::default()
        };
        let journal = JetStreamJournal::open(server.connect().await?, ledger.clone(), options)
            .await
            .map_err(failed("open the journal"))?;
        let bare = async_nats::jetstream::new(server.connect().await?);
        Ok(Self {
            journal,
            bare,
            ledger,
            _server: server,
        })
    }

    async fn append(&self, aggregate: &Aggregate, previous: u64) -> Result<u64, BenchError> {
        let commit = sample(aggregate, previous);
        let appended = self
            .journal
            .append(aggregate, commit)
            .await
            .map_err(failed("append"))?;
        Ok(appended.sequence)
    }

    /// Publishes the same message that the ledger would, without the ledger.
    async fn publish(&self, aggregate: &Aggregate, previous: u64) -> Result<u64, BenchError> {
        let commit = sample(aggregate, previous);
        let publish = PublishMessage::build()
            .payload(commit.encode_to_vec().into())
            .headers(headers(&commit))
            .message_id(&commit.id)
            .expected_last_subject_sequence(previous);
        let ack = self
            .bare
            .send_publish(aggregate.subject(&self.ledger), publish)
            .await
            .map_err(failed("publish"))?
            .await
            .map_err(failed("acknowledge"))?;
        Ok(ack.sequence)
    }
}

/// One append at a time, with one writer and one aggregate per side: median latency, ledger ÷ bare,
/// the worse of with and without `sync_interval: always`.
pub(crate) async fn p50_ratio() -> Result<Bar, BenchError> {
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let mut worst: f64 = 0.0;
        for sync_always in [true, false] {
            let sides = Sides::start(sync_always).await?;
            let (ours, theirs) = (aggregate(2 * run)?, aggregate(2 * run + 1)?);
            let (mut ours_at, mut theirs_at) = (0, 0);
            let (mut ours_us, mut theirs_us) = (Vec::new(), Vec::new());
            for block in 0..=BLOCKS {
                for _ in 0..BLOCK {
                    let start = Instant::now();
                    ours_at = sides.append(&ours, ours_at).await?;
                    ours_us.push(micros(start));
                }
                for _ in 0..BLOCK {
                    let start = Instant::now();
                    theirs_at = sides.publish(&theirs, theirs_at).await?;
                    theirs_us.push(micros(start));
                }
                if block == 0 {
                    // The first block of each side is warm-up.
                    ours_us.clear();
                    theirs_us.clear();
                }
            }
            eprintln!(
                "append p50, sync_always={sync_always}: ledger {:.0} us, bare {:.0} us",
                median(&ours_us),
                median(&theirs_us)
            );
            worst = worst.max(median(&ours_us) / median(&theirs_us));
        }
        runs.push(worst);
    }
    Ok(Bar::judge(
        "append_p50_ratio",
        Limit::AtMost(1.5),
        "ratio",
        "async-nats publish and acknowledge",
        runs,
    ))
}

/// 256 appends in flight over 1,000 aggregates: throughput, ledger ÷ bare, the worse of with and
/// without `sync_interval: always`.
pub(crate) async fn pipelined_ratio() -> Result<Bar, BenchError> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let mut worst = f64::INFINITY;
        for sync_always in [true, false] {
            worst = worst.min(throughput_ratio(sync_always).await?);
        }
        runs.push(worst);
    }
    Ok(Bar::judge(
        "append_pipelined_ratio",
        Limit::AtLeast(0.6),
        "ratio",
        "async-nats publish, 256 in flight",
        runs,
    ))
}

/// Like [`pipelined_ratio`], only with `sync_interval: always`: the gain of group commit.
pub(crate) async fn sync_group_ratio() -> Result<Bar, BenchError> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(throughput_ratio(true).await?);
    }
    Ok(Bar::judge(
        "append_sync_group_ratio",
        Limit::AtLeast(3.0),
        "ratio",
        "async-nats publish, 256 in flight, sync_interval always",
        runs,
    ))
}

/// Which side writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ledger,
    Bare,
}

async fn throughput_ratio(sync_always: bool) -> Result<f64, BenchError> {
    let sides = Sides::start(sync_always).await?;
    let mut ours = Load::new(Side::Ledger)?;
    let mut theirs = Load::new(Side::Bare)?;
    ours.run(&sides, WARM_UP).await?;
    theirs.run(&sides, WARM_UP).await?;
    let (mut ours_rates, mut theirs_rates) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // The side that goes second finds a larger stream, so the order alternates too.
        if turn % 2 == 0 {
            ours_rates.push(ours.run(&sides, TURN).await?);
            theirs_rates.push(theirs.run(&sides, TURN).await?);
        } else {
            theirs_rates.push(theirs.run(&sides, TURN).await?);
            ours_rates.push(ours.run(&sides, TURN).await?);
        }
    }
    let (ours, theirs) = (median(&ours_rates), median(&theirs_rates));
    eprintln!("throughput, sync_always={sync_always}: ledger {ours:.0}/s, bare {theirs:.0}/s");
    Ok(ours / theirs)
}

/// One side's aggregates and the last sequence of each.
struct Load {
    side: Side,
    aggregates: Vec<Aggregate>,
    last: Vec<u64>,
    free: VecDeque<usize>,
}

impl Load {
    fn new(side: Side) -> Result<Self, BenchError> {
        let first = match side {
            Side::Ledger => 0,
            Side::Bare => AGGREGATES,
        };
        Ok(Self {
            side,
            aggregates: (first..first + AGGREGATES)
                .map(aggregate)
                .collect::<Result<_, _>>()?,
            last: vec![0; AGGREGATES],
            free: (0..AGGREGATES).collect(),
        })
    }

    /// Appends for `time`, [`IN_FLIGHT`] at a time, with at most one writer per aggregate; returns
    /// appends per second.
    async fn run(&mut self, sides: &Sides, time: Duration) -> Result<f64, BenchError> {
        let mut flying = FuturesUnordered::new();
        let start = Instant::now();
        let mut done: u32 = 0;
        loop {
            while start.elapsed() < time && flying.len() < IN_FLIGHT {
                let Some(slot) = self.free.pop_front() else {
                    break;
                };
                let Some(aggregate) = self.aggregates.get(slot) else {
                    break;
                };
                let previous = self.last.get(slot).copied().unwrap_or(0);
                let side = self.side;
                flying.push(async move {
                    let written = match side {
                        Side::Ledger => sides.append(aggregate, previous).await,
                        Side::Bare => sides.publish(aggregate, previous).await,
                    };
                    (slot, written)
                });
            }
            let Some((slot, written)) = flying.next().await else {
                break;
            };
            if let Some(last) = self.last.get_mut(slot) {
                *last = written?;
            }
            self.free.push_back(slot);
            done += 1;
        }
        Ok(f64::from(done) / start.elapsed().as_secs_f64())
    }
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
