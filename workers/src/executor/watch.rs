//! The `watch` step: samples metrics over a period and judges them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::clock;
use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::measurement;
use rollbook_ledger::runbook::kind::{StepKind, Watch};
use rollbook_proto::v1::{Measurement, Verdict};

use super::context::StepContext;
use super::error::ExecutorError;
use super::kind::Executor;
use super::metric;
use super::outcome::Outcome;
use super::watch_rules::{RuleContext, Schedule, WatchJudge};

/// Maximum time for one sample; also never longer than the watch's cadence, unless that is below
/// [`MIN_SAMPLE_LIMIT`].
const MAX_SAMPLE_LIMIT: Duration = Duration::from_secs(30);

/// The minimum time a sample is given.
const MIN_SAMPLE_LIMIT: Duration = Duration::from_secs(2);

#[async_trait]
impl Executor for Watch {
    fn intent(&self, _: &StepContext) -> String {
        self.describe()
    }

    /// Samples until the end of the watch, until more samples fail than it allows, or until it is
    /// cancelled.
    ///
    /// The schedule counts from the recorded start of the attempt and continues after the samples
    /// already recorded, so a redelivered watch resumes.
    async fn execute(&self, context: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        let mut judges: Vec<WatchJudge> = self
            .thresholds
            .iter()
            .map(WatchJudge::new)
            .collect::<Result<_, _>>()
            .map_err(|error| ExecutorError::Plan {
                reason: error.to_string(),
            })?;
        let schedule = Schedule::new(self, context.started_at);
        let mut last = go_on_after(context, &mut judges, &schedule);
        let limit = self
            .every
            .to_std()
            .clamp(MIN_SAMPLE_LIMIT, MAX_SAMPLE_LIMIT);
        while !judges.iter().any(WatchJudge::has_failed) {
            let Some(index) = schedule.next(last, context.tools.clock.now()) else {
                break;
            };
            if let Some(due) = schedule.at(index)
                && let Some(reason) = wait_until(context, due).await
            {
                return Err(ExecutorError::Cancelled { reason });
            }
            let at = context.tools.clock.now();
            let mut samples = Vec::with_capacity(judges.len());
            for judge in &mut judges {
                let sample = tokio::select! {
                    biased;
                    reason = context.cancel.cancelled() => {
                        return Err(ExecutorError::Cancelled { reason });
                    }
                    sample = sample(context, &judge.metric, limit) => sample?,
                };
                judge.pause(at, &schedule);
                judge.take(sample.value, at);
                samples.push(sample);
            }
            let around = RuleContext::of(&judges, &context.facts.baselines);
            for (judge, sample) in judges.iter_mut().zip(samples) {
                let judged = judge.judge(&around);
                record(context, judge, sample, judged.verdict, judged.rule, at).await?;
            }
            last = Some(at);
        }
        Ok(conclude(context, &judges))
    }

    fn ends_itself(&self) -> bool {
        true
    }
}

/// Takes one sample. A permit is held for it alone: however many watches wait, only so many of their
/// samples are taken at a time.
async fn sample(
    context: &StepContext,
    metric: &str,
    limit: Duration,
) -> Result<metric::MetricSample, ExecutorError> {
    let _permit = context.tools.sampling.acquire().await;
    metric::take(context, metric, limit).await
}

/// Replays, round by round, the samples this attempt has already recorded; returns the time of the
/// last round.
fn go_on_after(
    context: &StepContext,
    judges: &mut [WatchJudge],
    schedule: &Schedule,
) -> Option<Timestamp> {
    let mut rounds: BTreeMap<Timestamp, Vec<(&str, Option<Decimal>)>> = BTreeMap::new();
    for (metric, samples) in &context.facts.samples {
        for sample in samples {
            let at = sample.at.unwrap_or(context.started_at);
            let round = rounds.entry(at).or_default();
            round.push((metric, sample.value));
        }
    }
    for (at, round) in &rounds {
        for (metric, value) in round {
            let of = judges.iter_mut().filter(|judge| judge.metric == *metric);
            of.for_each(|judge| {
                judge.pause(*at, schedule);
                judge.take(*value, *at);
            });
        }
        let around = RuleContext::of(judges, &context.facts.baselines);
        for (metric, _) in round {
            let of = judges.iter_mut().filter(|judge| judge.metric == *metric);
            of.for_each(|judge| drop(judge.judge(&around)));
        }
    }
    let samples = context.facts.samples.values().flatten();
    samples.filter_map(|sample| sample.at).max()
}

async fn record(
    context: &StepContext,
    judge: &WatchJudge,
    sample: metric::MetricSample,
    verdict: Verdict,
    rule: String,
    at: Timestamp,
) -> Result<(), ExecutorError> {
    let measurement = Measurement {
        metric: judge.metric.clone(),
        text: sample.reason.chars().take(300).collect(),
        unit: unit(context, &judge.metric),
        rule,
        verdict: verdict.into(),
        measured_at: Some(clock::to_proto(at)),
        incomplete: sample.incomplete,
        ..Measurement::default()
    };
    let measurement = measurement::with_number(measurement, sample.value);
    context
        .samples
        .record(measurement)
        .await
        .map_err(|error| ExecutorError::Sample {
            metric: judge.metric.clone(),
            reason: error.to_string(),
        })
}

fn unit(context: &StepContext, metric: &str) -> String {
    let spec = context.plan.runbook().metrics.get(metric);
    spec.and_then(|spec| spec.unit.clone()).unwrap_or_default()
}

/// Waits until `due`; returns the reason if cancelled earlier.
async fn wait_until(context: &StepContext, due: Timestamp) -> Option<String> {
    tokio::select! {
        reason = context.cancel.cancelled() => Some(reason),
        () = context.tools.clock.sleep_until(due) => None,
    }
}

/// Combines the judges; the worst verdict decides: fail, then error, then inconclusive.
fn conclude(context: &StepContext, judges: &[WatchJudge]) -> Outcome {
    let rank = |verdict: Verdict| match verdict {
        Verdict::Fail => 3,
        Verdict::Error => 2,
        Verdict::Inconclusive => 1,
        _ => 0,
    };
    let worst = judges.iter().max_by_key(|judge| rank(judge.verdict()));
    let Some(worst) = worst else {
        return Outcome::new(
            Verdict::Inconclusive,
            "every threshold holds",
            "the watch has no thresholds: nothing was measured",
        );
    };
    let summaries: Vec<String> = judges.iter().map(WatchJudge::summary).collect();
    let message = summaries.join("; ");
    let mut outcome = Outcome::new(
        worst.verdict(),
        format!("{}: {}", worst.metric, worst.rule()),
        message,
    );
    for judge in judges {
        outcome.measurements.push(Measurement {
            unit: unit(context, &judge.metric),
            rule: judge.rule(),
            verdict: judge.verdict().into(),
            ..context.number(&judge.metric, judge.last(), "")
        });
    }
    outcome
}
