//! How a watch judges its samples, and when it takes them. Pure.

use jiff::Timestamp;
use rollbook_ledger::counter::Trail;
use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::runbook::expr::{Expr, ExprError, ExprOutcome, Figure, Term};
use rollbook_ledger::runbook::model::NoData;
use rollbook_ledger::runbook::step::{Threshold, Watch};
use rollbook_proto::v1::Verdict;

/// The sampling times of a watch: at its start, then every `every`, and at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    start: Timestamp,
    for_ms: i64,
    every_ms: i64,
}

impl Schedule {
    /// The schedule of a watch that was started at `start`. A cadence below a millisecond is
    /// one of a millisecond, so that every watch ends.
    pub fn new(watch: &Watch, start: Timestamp) -> Self {
        Self {
            start,
            for_ms: watch.r#for.as_millis().max(0),
            every_ms: watch.every.as_millis().max(1),
        }
    }

    /// How many sampling times there are, the end included.
    pub fn count(&self) -> u64 {
        let inside = (self.for_ms - 1).max(0) / self.every_ms + 1;
        // A watch of no length is one sample.
        u64::try_from(inside + i64::from(self.for_ms > 0)).unwrap_or(1)
    }

    /// The time of a sample, counted from 0; `None` after the last.
    pub fn at(&self, index: u64) -> Option<Timestamp> {
        if index >= self.count() {
            return None;
        }
        let offset = i64::try_from(index)
            .unwrap_or(i64::MAX)
            .saturating_mul(self.every_ms)
            .min(self.for_ms);
        self.start
            .checked_add(jiff::SignedDuration::from_millis(offset))
            .ok()
    }

    /// The sample to take next, when the last one was recorded at `last` and it is `now`. Times
    /// that have gone by meanwhile are not made up: the latest of them is taken now, and the
    /// others were missed. `None`: all were taken.
    pub fn next(&self, last: Option<Timestamp>, now: Timestamp) -> Option<u64> {
        let first = match last {
            None => 0,
            Some(last) => self.index_at(last) + 1,
        };
        if first >= self.count() {
            return None;
        }
        Some(first.max(self.index_at(now)))
    }

    /// How many sampling times went by without a sample between those at `before` and at `at`,
    /// because nobody was there. A sample that takes longer than the cadence misses none.
    fn missed(&self, before: Option<Timestamp>, at: Timestamp) -> u64 {
        let since = before.unwrap_or(self.start);
        let pause = at.duration_since(since).as_millis();
        if pause <= i128::from(self.every_ms.saturating_add(LONGEST_SAMPLE_MS)) {
            return 0;
        }
        let first = before.map_or(0, |before| self.index_at(before) + 1);
        self.index_at(at).saturating_sub(first)
    }

    /// The latest sampling time at or before `time`; 0 before the start.
    fn index_at(&self, time: Timestamp) -> u64 {
        let passed = time.duration_since(self.start).as_millis();
        let last = self.count() - 1;
        if passed >= i128::from(self.for_ms) {
            return last;
        }
        let index = u64::try_from((passed / i128::from(self.every_ms)).max(0)).unwrap_or(last);
        index.min(last)
    }
}

/// How one sample was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// `pass`, `warning`, `fail` or `inconclusive`.
    pub verdict: Verdict,
    /// The rule that decided, as written in the plan.
    pub rule: String,
}

/// What a sample is judged by that growth is counted from.
const FIRST_VALUE: &str = "first value: growth is counted from it";

/// A pause between two samples of this much beyond the cadence is put down to slow sources.
const LONGEST_SAMPLE_MS: i64 = 5_000;

/// A watch may miss one in so many sampling times, a pause of its worker, before it is inconclusive.
const MISSED_ONE_IN: u64 = 10;

/// One metric of a watch, its rules and what they have said so far.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The metric.
    pub metric: String,
    warn: Option<Expr>,
    fail: Option<Expr>,
    tolerate: u32,
    no_data: NoData,
    samples: u64,
    failing: u64,
    warned: u64,
    missing: u64,
    /// Sampling times that went by while nobody sampled.
    unsampled: u64,
    last_at: Option<Timestamp>,
    /// Samples from which growth is counted and that say nothing of it.
    bases: u64,
    undefined: u64,
    lowest: Option<Decimal>,
    highest: Option<Decimal>,
    last: Option<Decimal>,
    trail: Trail,
}

impl Judge {
    /// The judge of a threshold; fails when a rule is no expression.
    pub fn new(threshold: &Threshold) -> Result<Self, ExprError> {
        let parse = |text: &Option<String>| text.as_deref().map(Expr::parse).transpose();
        Ok(Self {
            metric: threshold.metric.clone(),
            warn: parse(&threshold.warn)?,
            fail: parse(&threshold.fail)?,
            tolerate: threshold.tolerate,
            no_data: threshold.no_data,
            samples: 0,
            failing: 0,
            warned: 0,
            missing: 0,
            unsampled: 0,
            last_at: None,
            bases: 0,
            undefined: 0,
            lowest: None,
            highest: None,
            last: None,
            trail: Trail::default(),
        })
    }

    /// Judges a sample taken at a time and counts it, and the sampling times that went by between
    /// the one before it and this one.
    pub fn take(&mut self, value: Option<Decimal>, at: Timestamp, schedule: &Schedule) -> Judged {
        let missed = schedule.missed(self.last_at, at);
        self.unsampled = self.unsampled.saturating_add(missed);
        self.last_at = Some(at);
        self.sample(value, at)
    }

    /// Judges a sample taken at a time and counts it.
    fn sample(&mut self, value: Option<Decimal>, at: Timestamp) -> Judged {
        self.samples += 1;
        let Some(number) = value else {
            return self.without_data();
        };
        let is_first = self.lowest.is_none();
        self.last = value;
        self.trail.push(number, at);
        self.lowest = Some(self.lowest.map_or(number, |lowest| lowest.min(number)));
        self.highest = Some(self.highest.map_or(number, |highest| highest.max(number)));
        let trail = &self.trail;
        let read = |term: &Term| match term.figure {
            _ if term.name != "value" => None,
            None => Some(number),
            Some(Figure::Delta) => trail.delta(),
            Some(Figure::Rate(unit)) => trail.rate(unit.span()),
        };
        let holds = |rule: &Option<Expr>| match rule {
            None => Ok(false),
            Some(rule) => rule.evaluate(&read),
        };
        let fails = holds(&self.fail);
        let warns = holds(&self.warn);
        let text = |rule: &Option<Expr>| rule.as_ref().map_or("", Expr::text).to_owned();
        self.warned += u64::from(warns == Ok(true));
        let (verdict, rule) = match (fails, warns) {
            (Ok(true), _) => {
                self.failing += 1;
                (Verdict::Fail, text(&self.fail))
            }
            (Ok(false), Ok(true)) => (Verdict::Warning, text(&self.warn)),
            (Ok(false), Ok(false)) => (Verdict::Pass, text(&self.fail)),
            // One value says nothing of growth; the next ones are counted from it.
            (Err(ExprOutcome::NoData(_)), _) | (_, Err(ExprOutcome::NoData(_))) if is_first => {
                self.bases += 1;
                (Verdict::Pass, FIRST_VALUE.to_owned())
            }
            (Err(outcome), _) | (_, Err(outcome)) => {
                self.undefined += 1;
                (
                    Verdict::Inconclusive,
                    format!("{}: {outcome}", text(&self.fail)),
                )
            }
        };
        Judged { verdict, rule }
    }

    fn without_data(&mut self) -> Judged {
        self.last = None;
        let verdict = match self.no_data {
            NoData::Inconclusive => Verdict::Inconclusive,
            NoData::Fail => Verdict::Fail,
            NoData::Pass => Verdict::Pass,
        };
        self.missing += 1;
        self.failing += u64::from(verdict == Verdict::Fail);
        Judged {
            verdict,
            rule: match self.no_data {
                NoData::Inconclusive => "no data: inconclusive",
                NoData::Fail => "no data: fail",
                NoData::Pass => "no data: pass",
            }
            .to_owned(),
        }
    }

    /// More samples have failed than are borne: the watch need not go on.
    pub fn has_failed(&self) -> bool {
        let unsampled = match self.no_data {
            NoData::Fail => self.unsampled,
            NoData::Inconclusive | NoData::Pass => 0,
        };
        self.failing.saturating_add(unsampled) > u64::from(self.tolerate)
    }

    /// Too many sampling times went by for the others to stand for the whole watch.
    fn has_gaps(&self) -> bool {
        let times = self.samples.saturating_add(self.unsampled);
        self.no_data == NoData::Inconclusive && self.unsampled.saturating_mul(MISSED_ONE_IN) > times
    }

    /// The verdict over all samples so far. A metric that was never judged is inconclusive even
    /// where a missing sample passes.
    pub fn verdict(&self) -> Verdict {
        let judged = self.samples > self.missing + self.bases;
        if self.has_failed() {
            Verdict::Fail
        } else if self.undefined > 0
            || !judged
            || self.has_gaps()
            || (self.missing > 0 && self.no_data == NoData::Inconclusive)
        {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }

    /// The number of the last sample; `None` when it had no data. An earlier number does not
    /// stand for it.
    pub fn last(&self) -> Option<Decimal> {
        self.last
    }

    /// The rule the verdict goes by.
    pub fn rule(&self) -> String {
        match &self.fail {
            Some(fail) => format!("at most {} samples with {}", self.tolerate, fail.text()),
            None => "measured".to_owned(),
        }
    }

    /// The numbers behind the verdict.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{}: {} of {} samples failed",
            self.metric, self.failing, self.samples
        );
        if self.tolerate > 0 {
            text.push_str(&format!(" ({} are borne)", self.tolerate));
        }
        for (count, what) in [
            (self.warned, "warned"),
            (self.missing, "without data"),
            (self.undefined, "could not be judged"),
            (self.unsampled, "sampling times missed"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if let (Some(lowest), Some(highest)) = (self.lowest, self.highest) {
            text.push_str(&format!(", from {lowest} to {highest}"));
            match self.last {
                Some(last) => text.push_str(&format!(", last {last}")),
                None => text.push_str(", the last without data"),
            }
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use rollbook_ledger::runbook::span::Span;

    use super::*;

    fn schedule(for_ms: i64, every_ms: i64) -> Schedule {
        let watch = Watch {
            r#for: Span::from_millis(for_ms),
            every: Span::from_millis(every_ms),
            thresholds: Vec::new(),
        };
        Schedule::new(&watch, Timestamp::UNIX_EPOCH)
    }

    fn ms(millis: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis)
    }

    fn times(schedule: &Schedule) -> Vec<i64> {
        (0..schedule.count())
            .map(|i| schedule.at(i).unwrap().as_millisecond())
            .collect()
    }

    fn judge(warn: Option<&str>, fail: Option<&str>, tolerate: u32, no_data: NoData) -> Judge {
        Judge::new(&Threshold {
            metric: "m".to_owned(),
            warn: warn.map(str::to_owned),
            fail: fail.map(str::to_owned),
            tolerate,
            no_data,
        })
        .unwrap()
    }

    #[test]
    fn samples_are_due_at_start_every_cadence_and_end() {
        assert_eq!(times(&schedule(60, 20)), [0, 20, 40, 60]);
        assert_eq!(times(&schedule(50, 20)), [0, 20, 40, 50]);
        assert_eq!(times(&schedule(10, 20)), [0, 10]);
        assert_eq!(times(&schedule(0, 20)), [0]);
        assert_eq!(schedule(10, 5).at(3), None);
    }

    #[test]
    fn a_redelivered_watch_goes_on_and_makes_nothing_up() {
        let watch = schedule(60, 20);
        assert_eq!(watch.next(None, ms(0)), Some(0));
        assert_eq!(
            watch.next(Some(ms(1)), ms(2)),
            Some(1),
            "waits for the next time"
        );
        assert_eq!(
            watch.next(Some(ms(1)), ms(45)),
            Some(2),
            "missed one, takes the latest"
        );
        assert_eq!(
            watch.next(Some(ms(1)), ms(500)),
            Some(3),
            "the end is always sampled"
        );
        assert_eq!(watch.next(Some(ms(61)), ms(500)), None);
        assert_eq!(watch.next(None, ms(-5)), Some(0));
    }

    #[test]
    fn a_watch_that_nobody_looked_at_for_long_is_no_proof() {
        let times = schedule(60_000, 2_000);
        let looked = |policy: NoData, at: &[i64]| {
            let mut watch = judge(None, Some("value > 5"), 0, policy);
            for at in at {
                watch.take(Some(Decimal::ONE), ms(*at), &times);
            }
            (watch.verdict(), watch.unsampled)
        };
        let all: Vec<i64> = (0..=30).map(|index| index * 2_000).collect();
        let slow: Vec<i64> = (0..=10).map(|index| index * 6_000).collect();
        let away = [
            0, 2_000, 4_000, 50_000, 52_000, 54_000, 56_000, 58_000, 60_000,
        ];
        let short: Vec<i64> = all
            .iter()
            .copied()
            .filter(|at| !(8_000..14_001).contains(at))
            .collect();
        for (policy, at, expected) in [
            (NoData::Inconclusive, &all[..], (Verdict::Pass, 0)),
            (NoData::Inconclusive, &slow[..], (Verdict::Pass, 0)),
            (NoData::Inconclusive, &short[..], (Verdict::Inconclusive, 4)),
            (NoData::Inconclusive, &away[..], (Verdict::Inconclusive, 22)),
            (NoData::Fail, &away[..], (Verdict::Fail, 22)),
            (NoData::Pass, &away[..], (Verdict::Pass, 22)),
        ] {
            assert_eq!(looked(policy, at), expected, "{policy:?} {at:?}");
        }
    }

    #[test]
    fn more_failures_than_tolerated_fail() {
        let mut watch = judge(
            Some("value > 3"),
            Some("value > 5"),
            1,
            NoData::Inconclusive,
        );
        let mut sample = |value: i64| watch.sample(Some(value.into()), ms(value));
        assert_eq!(sample(1).verdict, Verdict::Pass);
        let warned = sample(4);
        assert_eq!(
            (warned.verdict, warned.rule.as_str()),
            (Verdict::Warning, "value > 3")
        );
        assert_eq!(sample(6).verdict, Verdict::Fail);
        assert_eq!(watch.verdict(), Verdict::Pass);
        watch.sample(Some(7.into()), ms(7));
        assert!(watch.has_failed());
        assert_eq!(watch.verdict(), Verdict::Fail);
        assert_eq!(
            watch.summary(),
            "m: 2 of 4 samples failed (1 are borne), 3 warned, from 1 to 7, last 7"
        );
    }

    #[test]
    fn missing_data_follows_the_policy_and_never_passes_alone() {
        for (policy, one_missing, only_missing) in [
            (
                NoData::Inconclusive,
                Verdict::Inconclusive,
                Verdict::Inconclusive,
            ),
            (NoData::Fail, Verdict::Fail, Verdict::Fail),
            (NoData::Pass, Verdict::Pass, Verdict::Inconclusive),
        ] {
            let mut watch = judge(None, Some("value > 5"), 0, policy);
            watch.sample(Some(Decimal::ONE), ms(0));
            watch.sample(None, ms(1));
            assert_eq!(watch.verdict(), one_missing, "{policy:?}");
            let mut watch = judge(None, Some("value > 5"), 0, policy);
            watch.sample(None, ms(0));
            assert_eq!(watch.verdict(), only_missing, "{policy:?}");
        }
        assert_eq!(
            judge(None, None, 0, NoData::Pass).verdict(),
            Verdict::Inconclusive
        );
    }

    #[test]
    fn a_rule_without_an_exact_answer_is_inconclusive_whatever_missing_data_would_be() {
        for policy in [NoData::Inconclusive, NoData::Pass] {
            let mut watch = judge(None, Some("1 / value > 5"), 0, policy);
            let judged = watch.sample(Some(Decimal::ZERO), ms(0));
            assert_eq!(judged.verdict, Verdict::Inconclusive);
            assert!(judged.rule.contains("division by zero"), "{}", judged.rule);
            watch.sample(Some(Decimal::ONE), ms(1));
            assert_eq!(
                watch.verdict(),
                Verdict::Inconclusive,
                "{}",
                watch.summary()
            );
        }
    }

    #[test]
    fn what_a_counter_held_before_the_watch_does_not_fail_it() {
        let rule = "delta(value) > 1";
        let mut watch = judge(
            Some("delta(value) > 0"),
            Some(rule),
            0,
            NoData::Inconclusive,
        );
        let verdicts: Vec<Verdict> = (0..)
            .zip([7, 7, 8, 9])
            .map(|(at, value): (i64, i64)| watch.sample(Some(value.into()), ms(at)).verdict)
            .collect();
        let expected = [
            Verdict::Pass,
            Verdict::Pass,
            Verdict::Warning,
            Verdict::Fail,
        ];
        assert_eq!(verdicts, expected);
        let mut watch = judge(None, Some(rule), 0, NoData::Pass);
        watch.sample(Some(7.into()), ms(0));
        let alone = watch.verdict();
        assert_eq!(
            alone,
            Verdict::Inconclusive,
            "one value says nothing of growth"
        );
    }

    #[test]
    fn errors_an_hour_are_those_of_the_last_hour() {
        let mut watch = judge(None, Some("rate(value, hour) > 5"), 0, NoData::Inconclusive);
        let minute = |minute: i64| ms(minute * 60_000);
        // 6 in three hours, never more than 4 in one.
        for (at, value) in [(0, 100), (50, 104), (120, 105), (180, 106)] {
            let judged = watch.sample(Some(value.into()), minute(at));
            assert_eq!(judged.verdict, Verdict::Pass, "{at}");
        }
        let burst = watch.sample(Some(112.into()), minute(200));
        assert_eq!(burst.verdict, Verdict::Fail);
    }

    proptest! {
        #[test]
        fn every_sampling_time_is_taken_once_when_none_is_missed(for_ms in 0i64..200, every_ms in 1i64..50) {
            let watch = schedule(for_ms, every_ms);
            let mut last = None;
            let mut taken = Vec::new();
            while let Some(index) = watch.next(last, last.unwrap_or(ms(0))) {
                prop_assert!(taken.len() < 300);
                taken.push(index);
                last = watch.at(index);
            }
            prop_assert_eq!(taken, (0..watch.count()).collect::<Vec<_>>());
        }
    }
}
