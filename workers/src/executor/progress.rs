//! Reports how far a running `snapshot` or `compare` step is; for display, not recorded.
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

/// The minimum time between two reports of an attempt; the last report may follow sooner.
pub const REPORT_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// The number of reports over which a rate is computed.
const RATE_REPORTS: usize = 10;

/// Maximum number of workers reported individually, those with the most deals first.
pub const MAX_WORKERS: usize = 100;

/// The progress of an attempt of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepProgress {
    /// The rollout.
    pub rollout: RolloutId,
    /// The step.
    pub step: StepId,
    /// The attempt.
    pub attempt: u32,
    /// Deals done. Decreases only when the work starts over: on another worker after a crash, or
    /// because the source's consistent read was lost.
    pub done: u64,
    /// Deals to do; 0 while unknown.
    pub total: u64,
    /// Deals done that have no figures.
    pub errors: u64,
    /// Recent deals per second.
    pub deals_per_second: u64,
    /// Seconds left at that rate; `None` while there is no rate.
    pub seconds_left: Option<u64>,
    /// Shards done, if the fleet does the step.
    pub shards: Option<ShardsDone>,
    /// What each worker did, by name; at most [`MAX_WORKERS`] entries.
    pub workers: Vec<WorkerProgress>,
    /// When the work began.
    pub since: Timestamp,
    /// When the counts were taken.
    pub at: Timestamp,
    /// Whether this is the last report: the work is finished, failed, or was ended.
    pub ended: bool,
}

/// Shards done and their total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardsDone {
    /// Shards done.
    pub done: u64,
    /// Shards in total.
    pub total: u64,
}

/// What one worker did for a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// Its recorded name.
    pub name: String,
    /// Shards it has done; 0 if the step is not cut into shards.
    pub shards: u64,
    /// Deals it has done.
    pub deals: u64,
    /// Its recent deals per second.
    pub deals_per_second: u64,
}

/// The port that receives progress.
pub trait ProgressSink: Send + Sync + std::fmt::Debug {
    /// Accepts a report. Never blocks; a slow reader gets only the newest.
    fn report(&self, progress: StepProgress);
}

/// Discards progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl ProgressSink for NoProgress {
    fn report(&self, _: StepProgress) {}
}

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deals done.
    pub done: u64,
    /// Deals to do.
    pub total: u64,
    /// Deals done that have no figures.
    pub errors: u64,
    /// Shards, if there are any.
    pub shards: Option<ShardsDone>,
    /// Shards and deals done by each worker.
    pub workers: BTreeMap<String, (u64, u64)>,
}

/// Decides when counts are reported and computes rates. Pure: the time is passed with the counts.
#[derive(Debug)]
pub struct Meter {
    rollout: RolloutId,
    step: StepId,
    attempt: u32,
    since: Timestamp,
    /// Recent reports, oldest first.
    reported: VecDeque<(Timestamp, Counts)>,
}

impl Meter {
    /// Starts with nothing done.
    pub fn new(rollout: RolloutId, step: StepId, attempt: u32, since: Timestamp) -> Self {
        Self {
            rollout,
            step,
            attempt,
            since,
            reported: VecDeque::new(),
        }
    }

    /// Makes a report of counts, unless the previous one is less than [`REPORT_INTERVAL`] old. The
    /// last one (`ended`) is always made.
    pub fn take(&mut self, counts: &Counts, now: Timestamp, ended: bool) -> Option<StepProgress> {
        let before = self.reported.back().map(|(at, _)| *at);
        // A clock that was set back must not suppress reports.
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

    /// The rate per second from the oldest report kept, or the beginning, to the newest.
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

/// Reports the counts of one attempt. On drop it sends the last report, however the work ends.
#[derive(Debug)]
pub struct Reporter<'a> {
    context: &'a StepContext,
    state: Mutex<(Meter, Counts)>,
}

impl<'a> Reporter<'a> {
    /// Starts with nothing done and reports that.
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

    /// Updates the counts; may be called any number of times a second.
    pub fn counts(&self, counts: Counts) {
        let mut state = self.lock();
        state.1 = counts;
        give(self.context, &mut state, false);
    }

    /// Updates the counts of work that this worker does alone.
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
