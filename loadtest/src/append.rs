//! Appending through the ledger against bare async-nats publishes with the same headers and
//! payload to the same stream.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::Publish;
use futures::stream::{FuturesUnordered, StreamExt};
use prost::Message;
use rollbook_ledger::ids::{Aggregate, LedgerId};
use rollbook_ledger::journal::jetstream::SyncKnown;
use rollbook_ledger::journal::{Journal, JetStreamJournal, JetStreamOptions, event_type};
use rollbook_proto::v1::Commit;

use crate::bar::{Bar, BenchError, Limit, failed, median};
use crate::commits::{LEDGER, aggregate, sample};
use crate::server::Server;

/// Appends of one block; ledger and peer take turns block by block.
const BLOCK: usize = 250;
/// Blocks of each side per run.
const BLOCKS: usize = 6;
/// Runs; the median is judged.
const RUNS: usize = 3;
/// Writers in flight.
const IN_FLIGHT: usize = 256;
/// Different aggregates of the pipelined bars.
const AGGREGATES: usize = 1_000;
/// How long each side of a throughput run appends.
const SIDE: Duration = Duration::from_secs(4);

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
        let sync = if sync_always { SyncKnown::Always } else { SyncKnown::NotAlways };
        let options = JetStreamOptions { sync, ..JetStreamOptions::default() };
        let journal = JetStreamJournal::open(server.connect().await?, ledger.clone(), options)
            .await
            .map_err(failed("open the journal"))?;
        let bare = async_nats::jetstream::new(server.connect().await?);
        Ok(Self { journal, bare, ledger, _server: server })
    }

    async fn append(&self, aggregate: &Aggregate, previous: u64) -> Result<u64, BenchError> {
        let commit = sample(aggregate, previous);
        let appended = self.journal.append(aggregate, commit).await.map_err(failed("append"))?;
        Ok(appended.sequence)
    }

    /// The same message as the ledger's, published and acknowledged without it.
    async fn publish(&self, aggregate: &Aggregate, previous: u64) -> Result<u64, BenchError> {
        let commit = sample(aggregate, previous);
        let publish = Publish::build()
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

/// The headers that the ledger writes beside id and expectation.
fn headers(commit: &Commit) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let types: Vec<&str> = commit.events.iter().map(event_type).collect();
    let first = types.first().copied().unwrap_or("none");
    headers.insert("Rollbook-Events", types.join(","));
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-type", format!("dev.rollbook.{}.{first}", commit.aggregate));
    headers.insert("ce-source", format!("/ledgers/{}/{}/{}", commit.ledger, commit.aggregate, commit.aggregate_id));
    headers.insert("ce-id", commit.id.as_str());
    headers.insert("ce-time", jiff::Timestamp::now().to_string());
    headers.insert("traceparent", commit.traceparent.as_str());
    headers
}

/// One writer, one aggregate each, one append at a time: median latency, ledger ÷ bare; the
/// worse of with and without `sync_interval: always`.
pub(crate) async fn p50_ratio() -> Result<Bar, BenchError> {
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let mut worst: f64 = 0.0;
        for sync_always in [true, false] {
            let sides = Sides::start(sync_always).await?;
            let (ours, theirs) = (aggregate(2 * run), aggregate(2 * run + 1));
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
                    // The first block of each warms up.
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
    Ok(Bar::judge("append_p50_ratio", Limit::AtMost(1.5), "ratio", "async-nats publish and acknowledge", runs))
}

/// 256 in flight over 1,000 aggregates: throughput, ledger ÷ bare; the worse of with and
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
    Ok(Bar::judge("append_pipelined_ratio", Limit::AtLeast(0.6), "ratio", "async-nats publish, 256 in flight", runs))
}

/// The same with `sync_interval: always` only: what group commit gains.
pub(crate) async fn sync_group_ratio() -> Result<Bar, BenchError> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(throughput_ratio(true).await?);
    }
    Ok(Bar::judge("append_sync_group_ratio", Limit::AtLeast(3.0), "ratio", "async-nats publish, 256 in flight, sync_interval always", runs))
}

async fn throughput_ratio(sync_always: bool) -> Result<f64, BenchError> {
    let sides = Sides::start(sync_always).await?;
    let ours = throughput(|slot, previous| {
        let sides = &sides;
        async move { sides.append(&aggregate(slot), previous).await }
    })
    .await?;
    let theirs = throughput(|slot, previous| {
        let sides = &sides;
        async move { sides.publish(&aggregate(AGGREGATES + slot), previous).await }
    })
    .await?;
    eprintln!("throughput, sync_always={sync_always}: ledger {ours:.0}/s, bare {theirs:.0}/s");
    Ok(ours / theirs)
}

/// Appends for [`SIDE`], [`IN_FLIGHT`] at a time, each aggregate by one writer at a time.
async fn throughput<F, W>(write: F) -> Result<f64, BenchError>
where
    F: Fn(usize, u64) -> W,
    W: Future<Output = Result<u64, BenchError>>,
{
    let mut last = vec![0_u64; AGGREGATES];
    let mut free: std::collections::VecDeque<usize> = (0..AGGREGATES).collect();
    let mut flying = FuturesUnordered::new();
    let start = Instant::now();
    let mut done: u64 = 0;
    loop {
        let time_left = start.elapsed() < SIDE;
        while time_left && flying.len() < IN_FLIGHT {
            let Some(slot) = free.pop_front() else { break };
            let previous = last.get(slot).copied().unwrap_or(0);
            let writing = write(slot, previous);
            flying.push(async move { (slot, writing.await) });
        }
        let Some((slot, written)) = flying.next().await else { break };
        let sequence = written?;
        if let Some(at) = last.get_mut(slot) {
            *at = sequence;
        }
        free.push_back(slot);
        done += 1;
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = done as f64 / start.elapsed().as_secs_f64();
    Ok(rate)
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
