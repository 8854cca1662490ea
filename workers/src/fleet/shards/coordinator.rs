//! The coordinator of a run, in the worker that executes the step: sends out shards and collects
//! answers.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::time::Instant;

use super::super::queue::QueueError;
use super::{QueuedShard, ShardAnswer, ShardQueue, ShardRun, describe_range};
use crate::executor::progress::{Counts, ShardsDone};
use crate::executor::{ShardFleet, ShardJob, ShardResult, ShardWork, ShardsError};
use crate::snapshot::SnapshotPlan;

/// Maximum number of shards of one run on the queue at a time.
pub const MAX_QUEUED_SHARDS: usize = 1_024;

/// Maximum number of publications in flight at a time.
const PUBLISHING: usize = 32;

/// How often to check that the consistent read is still held.
const CHECK_HELD: Duration = Duration::from_secs(5);

/// The interval between two progress reports.
const TELL: Duration = Duration::from_secs(1);

/// Without an answer for this long, shards are published again: an answer may have been lost with
/// the disk of a server that does not sync. Shards still on the queue are not added twice.
const PUBLISH_AGAIN: Duration = Duration::from_secs(60);

/// The wait after a failed publication.
const RETRY: Duration = Duration::from_secs(1);

/// The longest outage of the queue that a run survives.
const MAX_OUTAGE: Duration = Duration::from_secs(10 * 60);

/// Ends the run on drop, whatever happens to the coordinator short of being killed.
struct Ending {
    queue: ShardQueue,
    run: ShardRun,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let (queue, run) = (self.queue.clone(), self.run.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            // If this fails, workers still find the read over and the step not running.
            if let Err(error) = queue.end(&run).await {
                tracing::warn!(run = %run.run, %error, "the end of a run of shards was not announced");
            }
        });
    }
}

fn queue_error(error: QueueError) -> ShardsError {
    ShardsError::Queue {
        reason: error.to_string(),
    }
}

#[async_trait]
impl ShardFleet for ShardQueue {
    async fn run(
        &self,
        job: &ShardJob,
        shards: Vec<ShardWork>,
        held: Option<&mut SnapshotPlan>,
        progress: &(dyn Fn(Counts) + Send + Sync),
    ) -> Result<Vec<ShardResult>, ShardsError> {
        let run = ShardRun {
            rollout: job.rollout.clone(),
            task: job.task.clone(),
            run: uuid::Uuid::now_v7().simple().to_string(),
        };
        let _ending = Ending {
            queue: self.clone(),
            run: run.clone(),
        };
        self.forget_earlier(&run).await.map_err(queue_error)?;
        Collect {
            queue: self,
            run: &run,
            shards: &shards,
            done: BTreeMap::new(),
            next: 0,
            counts: Counts {
                total: shards.iter().map(ShardWork::deals).sum(),
                shards: Some(ShardsDone {
                    done: 0,
                    total: shards.len() as u64,
                }),
                ..Counts::default()
            },
        }
        .all(held, progress)
        .await
    }
}

struct Collect<'a> {
    queue: &'a ShardQueue,
    run: &'a ShardRun,
    shards: &'a [ShardWork],
    done: BTreeMap<u32, ShardResult>,
    /// The first shard that has not been published.
    next: usize,
    counts: Counts,
}

impl Collect<'_> {
    async fn all(
        mut self,
        mut held: Option<&mut SnapshotPlan>,
        progress: &(dyn Fn(Counts) + Send + Sync),
    ) -> Result<Vec<ShardResult>, ShardsError> {
        let (mut answers, _reader) = self.queue.answers(self.run);
        let mut check = tokio::time::interval(CHECK_HELD);
        let mut tell = tokio::time::interval(TELL);
        let mut heard = Instant::now();
        let mut published = Instant::now();
        let mut wait = Duration::ZERO;
        while self.done.len() < self.shards.len() {
            let room = MAX_QUEUED_SHARDS.saturating_sub(self.next.saturating_sub(self.done.len()));
            let publishing = self.next < self.shards.len() && room > 0;
            tokio::select! {
                answer = answers.recv() => {
                    heard = Instant::now();
                    let Some((shard, answer)) = answer else {
                        return Err(ShardsError::Queue {
                            reason: "the reader of answers ended".to_owned(),
                        });
                    };
                    self.take(shard, answer)?;
                }
                _ = check.tick() => if let Some(plan) = held.as_mut() {
                    plan.check_held().await?;
                },
                _ = tell.tick() => progress(self.counts.clone()),
                () = tokio::time::sleep(wait), if publishing => {
                    let until = self.shards.len().min(self.next.saturating_add(room));
                    match self.publish(self.next, until).await {
                        Ok(()) => {
                            (self.next, wait) = (until, Duration::ZERO);
                            published = Instant::now();
                        }
                        Err(error) if error.is_retryable() && published.elapsed() < MAX_OUTAGE => {
                            tracing::warn!(%error, "shards were not published; trying again");
                            wait = RETRY;
                        }
                        Err(error) => return Err(queue_error(error)),
                    }
                }
                () = tokio::time::sleep_until(heard + PUBLISH_AGAIN), if !publishing => {
                    let first = self.first_open();
                    if let Err(error) = self.publish(first, self.next).await {
                        tracing::warn!(%error, "shards were not published again");
                    }
                    heard = Instant::now();
                }
            }
        }
        progress(self.counts);
        Ok(self.done.into_values().collect())
    }

    /// The first shard without an answer.
    fn first_open(&self) -> usize {
        let is_open = |work: &ShardWork| !self.done.contains_key(&work.shard());
        self.shards.iter().position(is_open).unwrap_or_default()
    }

    /// Publishes the shards of a range that are not done.
    async fn publish(&self, from: usize, until: usize) -> Result<(), QueueError> {
        let stretch = self.shards.get(from..until).unwrap_or_default();
        let wanted: Vec<QueuedShard> = stretch
            .iter()
            .filter(|work| !self.done.contains_key(&work.shard()))
            .map(|work| QueuedShard {
                run: self.run.clone(),
                work: work.clone(),
            })
            .collect();
        let mut sent = futures::stream::iter(wanted)
            .map(|queued| {
                let queue = self.queue.clone();
                async move { queue.publish(&queued).await }
            })
            .buffer_unordered(PUBLISHING);
        while let Some(sent) = sent.next().await {
            sent?;
        }
        Ok(())
    }

    fn count(&mut self, worker: String, result: &ShardResult) {
        let counts = &mut self.counts;
        let deals = result.deals();
        counts.done += deals;
        counts.errors += result.errors();
        if let Some(shards) = &mut counts.shards {
            shards.done += 1;
        }
        let by = counts.workers.entry(worker).or_default();
        *by = (by.0 + 1, by.1 + deals);
    }

    fn take(&mut self, shard: u32, answer: ShardAnswer) -> Result<(), ShardsError> {
        match answer {
            ShardAnswer::Done { worker, result } => {
                if !self.done.contains_key(&shard) {
                    self.count(worker, &result);
                    self.done.insert(shard, result);
                }
                Ok(())
            }
            ShardAnswer::Failed {
                reason,
                new_plan: true,
            } => Err(ShardsError::Over { reason }),
            ShardAnswer::Failed { reason, .. } => {
                let task = self.shards.iter().find(|work| work.shard() == shard);
                Err(ShardsError::Failed {
                    shard,
                    range: task.map_or_else(String::new, |work| describe_range(work.keys())),
                    reason,
                })
            }
        }
    }
}
