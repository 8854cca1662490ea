//! How far a running `snapshot` or `compare` step is: for the eye, not for the record.
//!
//! ```text
//!  counts, as often as they change ─▶ Meter: at most one a second ─▶ ProgressSink ─▶ dashboards
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rollbook_ledger::ids::{RolloutId, StepId};
use serde::{Deserialize, Serialize};

use super::context::StepContext;

/// Between two reports of an attempt; its last one may follow sooner.
pub const REPORT_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// A rate is that of so many reports.
const RATE_REPORTS: usize = 10;

/// So many workers are reported each for itself, those with the most deals.
pub const MAX_WORKERS: usize = 100;

/// How far an attempt of a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepProgress {
    /// Which rollout.
    pub rollout: RolloutId,
    /// Which step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: u32,
    /// Deals done. Falls only when the work begins anew: on another worker after a crash, or
    /// because the source's consistent read broke off.
    pub done: u64,
    /// Deals to do; 0 while it is not known.
    pub total: u64,
    /// Of the done ones: without figures.
    pub errors: u64,
    /// Deals per second of late.
    pub deals_per_second: u64,
    /// Seconds left at that rate; absent while there is none.
    pub seconds_left: Option<u64>,
    /// Shards, where the fleet does it.
    pub shards: Option<ShardsDone>,
    /// Who did how much, by name; at most [`MAX_WORKERS`].
    pub workers: Vec<WorkerProgress>,
    /// When the work began.
    pub since: Timestamp,
    /// When this was so.
    pub at: Timestamp,
    /// Whether it was the last report: the work is done, failed, or was ended.
    pub ended: bool,
}

/// Shards done and to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardsDone {
    /// Answered.
    pub done: u64,
    /// All.
    pub total: u64,
}

/// What one worker did of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// Its name on the record.
    pub name: String,
    /// Shards it has done; 0 where the step is not cut into shards.
    pub shards: u64,
    /// Deals it has done.
    pub deals: u64,
    /// Deals per second of late.
    pub deals_per_second: u64,
}

/// Where progress goes.
pub trait ProgressSink: Send + Sync + std::fmt::Debug {
    /// Takes a report. Never blocks; a slow reader loses all but the newest.
    fn report(&self, progress: StepProgress);
}

/// Drops progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl ProgressSink for NoProgress {
    fn report(&self, _: StepProgress) {}
}

/// Counts as they stand at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deals done.
    pub done: u64,
    /// Deals to do.
    pub total: u64,
    /// Of the done ones: without figures.
    pub errors: u64,
    /// Shards, where there are any.
    pub shards: Option<ShardsDone>,
    /// Shards and deals done by each worker.
    pub workers: BTreeMap<String, (u64, u64)>,
}

/// Decides when counts are reported, and knows the rates. Pure: time comes with the counts.
#[derive(Debug)]
pub struct Meter {
    rollout: RolloutId,
    step: StepId,
    attempt: u32,
    since: Timestamp,
    /// What was reported of late, oldest first.
    reported: VecDeque<(Timestamp, Counts)>,
}

impl Meter {
    /// Nothing done yet.
    pub fn new(rollout: RolloutId, step: StepId, attempt: u32, since: Timestamp) -> Self {
        Self {
            rollout,
            step,
            attempt,
            since,
            reported: VecDeque::new(),
        }
    }

    /// The report of counts, unless the one before was given less than [`REPORT_INTERVAL`] ago.
    /// The last one, `ended`, is always given.
    pub fn take(&mut self, counts: &Counts, now: Timestamp, ended: bool) -> Option<StepProgress> {
        let before = self.reported.back().map(|(at, _)| *at);
        // A clock that was set back must not silence the work.
        let soon = before.is_some_and(|at| now >= at && now.duration_since(at) < REPORT_INTERVAL);
        if soon && !ended {
            return None;
        }
        if self
            .reported
            .back()
            .is_some_and(|(at, last)| now < *at || counts.done < last.done)
        {
            self.reported.clear();
        }
        self.reported.push_back((now, counts.clone()));
        if self.reported.len() > RATE_REPORTS {
            self.reported.pop_front();
        }
        let rate = self.rate(|counts| counts.done);
        let left = counts.total.saturating_sub(counts.done);
        Some(StepProgress {
            rollout: self.rollout.clone(),
            step: self.step.clone(),
            attempt: self.attempt,
            done: counts.done,
            total: counts.total,
            errors: counts.errors,
            deals_per_second: rate,
            seconds_left: left.checked_div(rate),
            shards: counts.shards,
            workers: self.workers(counts),
            since: self.since,
            at: now,
            ended,
        })
    }

    fn workers(&self, counts: &Counts) -> Vec<WorkerProgress> {
        let mut workers: Vec<WorkerProgress> = counts
            .workers
            .iter()
            .map(|(name, (shards, deals))| WorkerProgress {
                name: name.clone(),
                shards: *shards,
                deals: *deals,
                deals_per_second: self
                    .rate(|counts| counts.workers.get(name).map_or(0, |(_, deals)| *deals)),
            })
            .collect();
        if workers.len() > MAX_WORKERS {
            workers.sort_by_key(|worker| std::cmp::Reverse(worker.deals));
            workers.truncate(MAX_WORKERS);
            workers.sort_by(|left, right| left.name.cmp(&right.name));
        }
        workers
    }

    /// Per second, from the oldest report kept, or the beginning, to the newest.
    fn rate(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        let (Some((first, before)), Some((now, after))) =
            (self.reported.front(), self.reported.back())
        else {
            return 0;
        };
        let alone = self.reported.len() == 1;
        let (from, done) = if alone {
            (self.since, of(after))
        } else {
            (*first, of(after).saturating_sub(of(before)))
        };
        let millis = u128::try_from(now.duration_since(from).as_millis()).unwrap_or(0);
        u64::try_from(u128::from(done) * 1_000 / millis.max(1)).unwrap_or(u64::MAX)
    }
}

/// Reports the counts of one attempt. Dropped, it gives the last report, however the work ends.
#[derive(Debug)]
pub struct Reporter<'a> {
    context: &'a StepContext,
    state: Mutex<(Meter, Counts)>,
}

impl<'a> Reporter<'a> {
    /// Begins now, with nothing done, and says so.
    pub fn new(context: &'a StepContext) -> Self {
        let now = context.tools.clock.now();
        let (rollout, step) = (context.rollout.clone(), context.step.clone());
        let mut state = (
            Meter::new(rollout, step, context.attempt, now),
            Counts::default(),
        );
        give(context, &mut state, false);
        Self {
            context,
            state: Mutex::new(state),
        }
    }

    /// Takes note of counts; any number of times a second.
    pub fn counts(&self, counts: Counts) {
        let mut state = self.lock();
        state.1 = counts;
        give(self.context, &mut state, false);
    }

    /// The same of work that this worker does alone.
    pub fn alone(&self, done: u64, total: u64, errors: u64) {
        self.counts(Counts {
            done,
            total,
            errors,
            shards: None,
            workers: BTreeMap::from([(self.context.worker.clone(), (0, done))]),
        });
    }

    fn lock(&self) -> MutexGuard<'_, (Meter, Counts)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn give(context: &StepContext, (meter, counts): &mut (Meter, Counts), ended: bool) {
    if let Some(progress) = meter.take(counts, context.tools.clock.now(), ended) {
        context.tools.progress.report(progress);
    }
}

impl Drop for Reporter<'_> {
    fn drop(&mut self) {
        give(self.context, &mut self.lock(), true);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        let (rollout, step) = ("r".parse().unwrap(), "1.1".parse().unwrap());
        Meter::new(rollout, step, 1, Timestamp::UNIX_EPOCH)
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn counts(done: u64) -> Counts {
        Counts {
            done,
            total: 100_000,
            workers: BTreeMap::from([("a".to_owned(), (done / 100, done))]),
            ..Counts::default()
        }
    }

    #[test]
    fn there_is_at_most_one_report_a_second_and_one_at_the_end() {
        let mut meter = meter();
        let mut given: Vec<StepProgress> = Vec::new();
        for tick in 0..500u32 {
            let now = at(i64::from(tick) * 10);
            given.extend(meter.take(&counts(u64::from(tick)), now, false));
        }
        let times: Vec<i64> = given.iter().map(|p| p.at.as_millisecond()).collect();
        assert_eq!(times, [0, 1_000, 2_000, 3_000, 4_000]);
        let last = meter.take(&counts(500), at(4_995), true).unwrap();
        assert!(last.ended && given.iter().all(|progress| !progress.ended));
        assert_eq!(last.done, 500);
    }

    #[test]
    fn rates_are_of_late_and_say_how_long_it_takes() {
        let mut meter = meter();
        let first = meter.take(&counts(500), at(250), false).unwrap();
        assert_eq!(first.deals_per_second, 2_000, "since the beginning");
        for second in 1..=20u32 {
            let done = 500 + 100 * u64::from(second);
            let now = at(250 + i64::from(second) * 1_000);
            let report = meter.take(&counts(done), now, false).unwrap();
            assert_eq!(report.deals_per_second, 100);
            assert_eq!(report.seconds_left, Some((100_000 - done) / 100));
            assert_eq!(report.workers[0].deals_per_second, 100);
        }
        for second in 21..=30 {
            meter.take(&counts(2_500), at(250 + second * 1_000), false);
        }
        let still = meter.take(&counts(2_500), at(60_000), false).unwrap();
        assert_eq!((still.deals_per_second, still.seconds_left), (0, None));
    }

    #[test]
    fn a_new_plan_and_a_clock_set_back_begin_the_rates_anew() {
        let mut meter = meter();
        meter.take(&counts(5_000), at(10_000), false);
        let anew = meter.take(&counts(100), at(11_000), false).unwrap();
        assert_eq!((anew.done, anew.deals_per_second), (100, 9));
        assert!(meter.take(&counts(200), at(5_000), false).is_some());
        assert!(meter.take(&counts(300), at(5_500), false).is_none());
    }

    #[test]
    fn a_report_names_so_many_workers() {
        let workers = (0..MAX_WORKERS as u64 + 20).map(|n| (format!("w{n:04}"), (1, n)));
        let counts = Counts {
            workers: workers.collect(),
            ..Counts::default()
        };
        let report = meter().take(&counts, at(0), false).unwrap();
        assert_eq!(report.workers.len(), MAX_WORKERS);
        assert_eq!(report.workers[0].name, "w0020");
    }
}
