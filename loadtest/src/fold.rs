//! Compares reading and folding a million events with a bare ordered consumer that only counts
//! them.

use std::collections::HashMap;
use std::time::Instant;

use async_nats::jetstream::consumer::push::OrderedConfig;
use futures::StreamExt;
use prost::Message;
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::jetstream::stream_name;
use rollbook_ledger::journal::{JetStreamJournal, JetStreamOptions, Journal, ReadFrom};
use rollbook_ledger::rollout::{self, RolloutState};
use rollbook_proto::v1::{self, event::Kind};

use crate::bar::{Bar, BenchError, Limit, failed};
use crate::commits::{LEDGER, aggregate, commit, headers, sample};
use crate::server::Server;

/// Number of events in the stream.
const EVENTS: u64 = 1_000_000;
/// Number of rollouts they belong to, interleaved.
const ROLLOUTS: usize = 1_000;
/// Number of runs; the median is judged.
const RUNS: usize = 5;

/// Events per second, fold ÷ count.
pub(crate) async fn ratio() -> Result<Bar, BenchError> {
    let server = Server::start(false).await?;
    let ledger = LedgerId::new(LEDGER).map_err(failed("name the ledger"))?;
    let options = JetStreamOptions {
        follow_client: Some(server.connect().await?),
        ..JetStreamOptions::default()
    };
    let journal = JetStreamJournal::open(server.connect().await?, ledger.clone(), options)
        .await
        .map_err(failed("open the journal"))?;
    fill(&server, &journal, &ledger).await?;
    let mut runs = Vec::new();
    // The first run of each side fills the caches and is not counted.
    count(&server, &ledger).await?;
    fold(&journal).await?;
    for run in 0..RUNS {
        let (bare, folded) = if run % 2 == 0 {
            let bare = count(&server, &ledger).await?;
            (bare, fold(&journal).await?)
        } else {
            let folded = fold(&journal).await?;
            (count(&server, &ledger).await?, folded)
        };
        eprintln!("fold: ledger {folded:.0}/s, bare consumer {bare:.0}/s");
        runs.push(folded / bare);
    }
    Ok(Bar::judge(
        "fold_ratio",
        Limit::AtLeast(0.7),
        "ratio",
        "ordered push consumer that counts",
        runs,
    ))
}

/// Fills the stream as fast as the server accepts it; only what is stored matters here.
async fn fill(
    server: &Server,
    journal: &JetStreamJournal,
    ledger: &LedgerId,
) -> Result<(), BenchError> {
    let client = server.connect().await?;
    let aggregates: Vec<_> = (0..ROLLOUTS).map(aggregate).collect::<Result<_, _>>()?;
    let mut last = vec![0_u64; ROLLOUTS];
    for sequence in 1..=EVENTS {
        let slot = usize::try_from(sequence - 1).unwrap_or(0) % ROLLOUTS;
        let (Some(aggregate), Some(previous)) = (aggregates.get(slot), last.get_mut(slot)) else {
            continue;
        };
        let commit = match sequence.div_ceil(ROLLOUTS as u64) {
            1 => commit(aggregate, 0, vec![Kind::RolloutOpened(opened())]),
            2 => commit(
                aggregate,
                *previous,
                vec![Kind::RolloutStarted(v1::RolloutStarted {})],
            ),
            3 => {
                let started = v1::StepStarted {
                    step_id: "1.8".to_owned(),
                    attempt: 1,
                    worker: "worker-1".to_owned(),
                    intent: "watch".to_owned(),
                };
                commit(aggregate, *previous, vec![Kind::StepStarted(started)])
            }
            _ => sample(aggregate, *previous),
        };
        *previous = sequence;
        client
            .publish_with_headers(
                aggregate.subject(ledger),
                headers(&commit),
                commit.encode_to_vec().into(),
            )
            .await
            .map_err(failed("fill the stream"))?;
        if sequence % 10_000 == 0 {
            // Bounded: at most this many messages may be in flight beyond what the server has
            // stored.
            while journal
                .last_sequence()
                .await
                .map_err(failed("read the end"))?
                + 20_000
                < sequence
            {
                tokio::task::yield_now().await;
            }
        }
    }
    client.flush().await.map_err(failed("flush"))?;
    while journal
        .last_sequence()
        .await
        .map_err(failed("read the end"))?
        < EVENTS
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

fn opened() -> v1::RolloutOpened {
    v1::RolloutOpened {
        name: "bench".to_owned(),
        runbook: "bench".to_owned(),
        runbook_version: "1".to_owned(),
        plan: Some(v1::Evidence {
            sha256: "0".repeat(64),
            ..v1::Evidence::default()
        }),
        outline: Some(v1::PlanOutline {
            phases: vec![v1::PhaseOutline {
                id: "1".to_owned(),
                title: "Phase".to_owned(),
                steps: vec![v1::StepOutline {
                    id: "1.8".to_owned(),
                    title: "Watch".to_owned(),
                    kind: "watch".to_owned(),
                    critical: true,
                }],
                gate: false,
            }],
            ..v1::PlanOutline::default()
        }),
        environment: "production".to_owned(),
        protected: false,
        ..v1::RolloutOpened::default()
    }
}

/// The peer: counts the messages of an ordered push consumer.
async fn count(server: &Server, ledger: &LedgerId) -> Result<f64, BenchError> {
    let client = server.connect().await?;
    let context = async_nats::jetstream::new(client.clone());
    let stream = context
        .get_stream(stream_name(ledger))
        .await
        .map_err(failed("find the stream"))?;
    let start = Instant::now();
    let consumer = stream
        .create_consumer(OrderedConfig {
            deliver_subject: client.new_inbox(),
            ..OrderedConfig::default()
        })
        .await
        .map_err(failed("create a consumer"))?;
    let mut messages = consumer.messages().await.map_err(failed("consume"))?;
    let mut seen = 0;
    while seen < EVENTS {
        let message = messages
            .next()
            .await
            .ok_or_else(|| failed("consume")("the stream ended"))?;
        message.map_err(failed("consume"))?;
        seen += 1;
    }
    Ok(rate(start))
}

/// Our side: follows, decodes, and folds every rollout.
async fn fold(journal: &JetStreamJournal) -> Result<f64, BenchError> {
    let start = Instant::now();
    let mut commits = journal
        .follow(ReadFrom { after: 0 })
        .await
        .map_err(failed("follow"))?;
    let mut states: HashMap<String, RolloutState> = HashMap::with_capacity(ROLLOUTS);
    let mut seen = 0;
    while seen < EVENTS {
        let stored = commits
            .next()
            .await
            .ok_or_else(|| failed("follow")("the journal ended"))?;
        let stored = stored.map_err(failed("follow"))?;
        seen = stored.sequence;
        match states.get_mut(&stored.commit.aggregate_id) {
            Some(state) => {
                rollout::advance(state, &stored.commit, seen).map_err(failed("fold"))?;
            }
            None => {
                let state = rollout::evolve(None, &stored.commit, seen).map_err(failed("fold"))?;
                states.insert(stored.commit.aggregate_id, state);
            }
        }
    }
    Ok(rate(start))
}

fn rate(start: Instant) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let events = EVENTS as f64;
    events / start.elapsed().as_secs_f64()
}
