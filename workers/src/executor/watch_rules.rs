//! Decides when a watch samples and how it judges its samples. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_ledger::counter::{Trail, share};
use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::runbook::expr::{Expr, ExprError, ExprOutcome, FigureTerm, Term, VALUE};
use rollbook_ledger::runbook::kind::{Threshold, Watch};
use rollbook_ledger::runbook::model::NoData;
use rollbook_ledger::sampled::Sampled;
use rollbook_proto::v1::Verdict;

/// The sampling times of a watch: at its start, then every `every`, and at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    start: Timestamp,
    for_ms: i64,
    every_ms: i64,
}

impl Schedule {
    /// The schedule of a watch started at `start`. A cadence below a millisecond counts as one
    /// millisecond, so that every watch ends.
    pub fn new(watch: &Watch, start: Timestamp) -> Self {
        Self {
            start,
            for_ms: watch.r#for.as_millis().max(0),
            every_ms: watch.every.as_millis().max(1),
        }
    }

    /// The number of sampling times, including the end.
    pub fn count(&self) -> u64 {
        let inside = (self.for_ms - 1).max(0) / self.every_ms + 1;
        // A watch without a length is one sample.
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

    /// The index of the sample to take next, given the time of the last one and the current time.
    /// `None` when all were taken.
    ///
    /// Sampling times that passed meanwhile are not made up: the latest is taken now, and the
    /// others are missed.
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

    /// The number of sampling times that passed without a sample between those at `before` and at
    /// `at`, because no worker was sampling. A sample that takes longer than the cadence misses
    /// none.
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

/// The rule shown for a sample that only starts the counting of growth.
const NO_GROWTH: &str = "first value, or nothing counted yet: growth is counted from here";

/// What a threshold may refer to besides its own metric.
#[derive(Debug, Clone, Default)]
pub struct RuleContext {
    /// What other steps measured before.
    pub baselines: BTreeMap<String, Decimal>,
    /// The growth of each metric of the watch so far, where known.
    pub growth: BTreeMap<String, Decimal>,
}

impl RuleContext {
    /// Collects this once all judges have taken their sample of a round.
    pub fn of(judges: &[WatchJudge], baselines: &BTreeMap<String, Decimal>) -> Self {
        let growth = |judge: &WatchJudge| Some((judge.metric.clone(), judge.trail.delta()?));
        Self {
            baselines: baselines.clone(),
            growth: judges.iter().filter_map(growth).collect(),
        }
    }

    /// Whether neither of the two counters has counted anything yet.
    fn is_quiet(&self, part: &str, total: &str) -> bool {
        let quiet = |name| self.growth.get(name).is_none_or(|grown| grown.is_zero());
        quiet(part) && quiet(total)
    }

    fn share(&self, part: &str, total: &str) -> Option<Decimal> {
        let grown = |name| self.growth.get(name).copied();
        share(grown(part), grown(total))
    }
}

/// A sample later than its cadence by at most this many milliseconds is attributed to slow sources.
const LONGEST_SAMPLE_MS: i64 = 5_000;

/// A watch is inconclusive if it misses more than one in this many sampling times because its
/// worker paused.
const MISSED_ONE_IN: u64 = 10;

/// One metric of a watch, its rules and the state of judging it.
#[derive(Debug, Clone)]
pub struct WatchJudge {
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
    /// Sampling times that passed without a sample.
    unsampled: u64,
    last_at: Option<Timestamp>,
    /// Samples from which growth is counted, so that they say nothing about it.
    bases: u64,
    undefined: u64,
    lowest: Option<Decimal>,
    highest: Option<Decimal>,
    last: Option<Decimal>,
    trail: Trail,
    sampled: Sampled,
}

impl WatchJudge {
    /// Makes the judge of a threshold; fails if a rule is not an expression.
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
            sampled: Sampled::default(),
        })
    }

    /// Counts the sampling times that passed between the previous sample and the one due at `at`.
    pub fn pause(&mut self, at: Timestamp, schedule: &Schedule) {
        let missed = schedule.missed(self.last_at, at);
        self.unsampled = self.unsampled.saturating_add(missed);
        self.last_at = Some(at);
    }

    /// Takes the sample of a round. [`Judge::judge`] must follow once all metrics have taken
    /// theirs.
    pub fn take(&mut self, value: Option<Decimal>, at: Timestamp) {
        self.last = value;
        if value.is_some() || self.no_data != NoData::Pass {
            self.sampled.push(value);
        }
        if let Some(number) = value {
            self.trail.push(number, at);
            self.lowest = Some(self.lowest.map_or(number, |lowest| lowest.min(number)));
            self.highest = Some(self.highest.map_or(number, |highest| highest.max(number)));
        }
    }

    fn read(&self, term: &Term, around: &RuleContext) -> Option<Decimal> {
        let is_own = term.name == VALUE;
        let about = term.about(&self.metric);
        match &about.figure {
            Some(FigureTerm::Baseline) => around.baselines.get(&about.name).copied(),
            Some(FigureTerm::Share { total }) => around.share(&about.name, total),
            _ if !is_own => None,
            None => self.last,
            Some(FigureTerm::Delta) => self.trail.delta(),
            Some(FigureTerm::Rate(unit)) => self.trail.rate(unit.span()),
            Some(FigureTerm::Over(statistic)) => self.sampled.figure(*statistic),
        }
    }

    /// Whether the sample says nothing: growth is counted from it, or nothing has been counted yet
    /// of which a share could be taken.
    fn is_base(&self, around: &RuleContext) -> bool {
        let is_quiet = |term: &Term| match &term.about(&self.metric) {
            Term {
                name,
                figure: Some(FigureTerm::Share { total }),
            } => around.is_quiet(name, total),
            _ => false,
        };
        let mut terms = self.warn.iter().chain(&self.fail).flat_map(Expr::terms);
        self.sampled.count() == 1 || terms.any(is_quiet)
    }

    /// Judges the last sample taken and counts it.
    pub fn judge(&mut self, around: &RuleContext) -> Judged {
        self.samples += 1;
        if self.last.is_none() {
            return self.without_data();
        }
        let is_base = self.is_base(around);
        let this = &*self;
        let read = |term: &Term| this.read(term, around);
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
            // One value says nothing about growth; later ones are measured from it.
            (Err(ExprOutcome::NoData(_)), _) | (_, Err(ExprOutcome::NoData(_))) if is_base => {
                self.bases += 1;
                (Verdict::Pass, NO_GROWTH.to_owned())
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

    /// Whether more samples have failed than allowed, so that the watch can stop.
    pub fn has_failed(&self) -> bool {
        let unsampled = match self.no_data {
            NoData::Fail => self.unsampled,
            NoData::Inconclusive | NoData::Pass => 0,
        };
        self.failing.saturating_add(unsampled) > u64::from(self.tolerate)
    }

    /// Whether too many sampling times were missed for the others to represent the whole watch.
    fn has_gaps(&self) -> bool {
        let times = self.samples.saturating_add(self.unsampled);
        self.no_data == NoData::Inconclusive && self.unsampled.saturating_mul(MISSED_ONE_IN) > times
    }

    /// The verdict over all samples so far. A metric that was never judged is inconclusive, even if
    /// a missing sample passes.
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

    /// The value of the last sample; `None` if it had no data. An earlier value does not replace
    /// it.
    pub fn last(&self) -> Option<Decimal> {
        self.last
    }

    /// The rule behind the verdict.
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
            text.push_str(&format!(" ({} are tolerated)", self.tolerate));
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
mod tests;
