//! The `watch` step: samples metrics over a time and judges them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::{Code, Path};
use crate::runbook::expr::{Expr, FigureTerm, Term, VALUE};
use crate::runbook::lint::{Linter, StepPart, effects, figures};
use crate::runbook::model::NoData;
use crate::runbook::span::Span;
use crate::suggestion::suggest;

/// Minimum sampling interval of a watch, in ms, because each sample is an event.
const MIN_CADENCE_MS: i64 = 1_000;

/// Maximum number of samples of one watch.
const MAX_SAMPLES: i64 = 20_000;

/// Measure over a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// How long.
    pub r#for: Span,
    /// Between samples.
    pub every: Span,
    /// What is measured and judged at each sample.
    pub thresholds: Vec<Threshold>,
}

/// A metric and the rules that judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// A metric of `metrics`.
    pub metric: String,
    /// Expression over `value` and figures of it, as `avg(value)`, that raises a warning alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<String>,
    /// Expression over `value` and figures of it, as `rate(value, hour)`, that counts as a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<String>,
    /// Failing samples that are tolerated before the watch fails; default 0.
    #[serde(default)]
    pub tolerate: u32,
    /// What a sample without data means. Sampling times that went by while no worker was there count
    /// with `fail` as such samples; with `inconclusive` the watch is inconclusive when they are more
    /// than one in ten.
    #[serde(default)]
    pub no_data: NoData,
}

impl StepKind for Watch {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        format!(
            "watch {} for {}, every {}",
            self.metrics().join(", "),
            self.r#for,
            self.every
        )
    }

    fn details(&self) -> Vec<String> {
        let threshold = |threshold: &Threshold| {
            let mut parts = Vec::new();
            if let Some(warn) = &threshold.warn {
                parts.push(format!("warns if {warn}"));
            }
            if let Some(fail) = &threshold.fail {
                parts.push(format!("fails if {fail}"));
            }
            if threshold.tolerate > 0 {
                parts.push(format!("tolerates {} failing samples", threshold.tolerate));
            }
            let no_data = match threshold.no_data {
                NoData::Inconclusive => "no data is inconclusive",
                NoData::Fail => "no data is a failure",
                NoData::Pass => "no data passes",
            };
            parts.push(no_data.to_owned());
            format!("{}: {}", threshold.metric, parts.join(", "))
        };
        self.thresholds.iter().map(threshold).collect()
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        let path = path.key("thresholds");
        let metrics = self.metrics().into_iter().enumerate();
        metrics
            .map(|(i, metric)| (path.index(i).key("metric"), Referent::Metric(metric)))
            .collect()
    }

    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        self.check_times(linter, &part.path);
        let path = part.path.key("thresholds");
        if self.thresholds.is_empty() {
            linter.error(
                Code::EmptyThreshold,
                &path,
                "the watch judges nothing",
                None,
            );
        }
        for (i, threshold) in self.thresholds.iter().enumerate() {
            self.check_threshold(linter, part, i, threshold, &path.index(i));
        }
    }

    /// A watch never holds a slot of a step: only its samples share a few permits.
    fn holds_slot(&self) -> bool {
        false
    }

    fn lasts(&self) -> Option<Span> {
        Some(self.r#for)
    }

    fn only_reads(&self) -> bool {
        true
    }

    fn records(&self) -> Vec<&str> {
        self.metrics()
    }

    fn sampling(&self) -> Option<&Watch> {
        Some(self)
    }

    fn tolerates_gaps(&self, metric: &str) -> bool {
        self.thresholds
            .iter()
            .any(|threshold| threshold.metric == metric && threshold.no_data == NoData::Pass)
    }
}

impl Watch {
    fn metrics(&self) -> Vec<&str> {
        let thresholds = self.thresholds.iter();
        thresholds.map(|it| it.metric.as_str()).collect()
    }

    fn check_times(&self, linter: &mut Linter<'_>, path: &Path) {
        effects::positive(linter, self.r#for, &path.key("for"), "the watch");
        let (length, every) = (self.r#for.as_millis(), self.every.as_millis());
        if every < MIN_CADENCE_MS || every > length.max(0) {
            linter.error(
                Code::Bounds,
                &path.key("every"),
                format!(
                    "{} between samples is not within the {} of the watch",
                    self.every, self.r#for
                ),
                Some("`every` is at least 1s and at most `for`".to_owned()),
            );
        } else if length / every > MAX_SAMPLES {
            linter.error(
                Code::Bounds,
                &path.key("every"),
                format!(
                    "the watch would take {} samples, more than {MAX_SAMPLES}",
                    length / every
                ),
                None,
            );
        }
    }

    fn check_threshold(
        &self,
        linter: &mut Linter<'_>,
        part: &StepPart<'_>,
        at: usize,
        threshold: &Threshold,
        path: &Path,
    ) {
        let known: Vec<&str> = linter.runbook.metrics.keys().map(String::as_str).collect();
        if !known.contains(&threshold.metric.as_str()) {
            linter.error(
                Code::ThresholdWithoutMetric,
                &path.key("metric"),
                format!("there is no metric `{}`", threshold.metric),
                suggest(&threshold.metric, &known),
            );
        }
        let unjudged = threshold.warn.is_none() && threshold.fail.is_none();
        if unjudged && !self.is_read_by_another(at, &threshold.metric) {
            linter.error(
                Code::EmptyThreshold,
                path,
                format!(
                    "the threshold of `{}` can neither warn nor fail",
                    threshold.metric
                ),
                Some("give it `warn`, `fail` or both, such as `value > 5`".to_owned()),
            );
        }
        for (key, rule) in [("warn", &threshold.warn), ("fail", &threshold.fail)] {
            if let Some(rule) = rule {
                self.check_rule(linter, part, threshold, rule, &path.key(key));
            }
        }
    }

    /// True if another threshold than the one at `threshold` reads this metric.
    fn is_read_by_another(&self, threshold: usize, metric: &str) -> bool {
        let others = self.thresholds.iter().enumerate();
        others
            .filter(|(at, _)| *at != threshold)
            .flat_map(|(_, other)| other.warn.iter().chain(&other.fail))
            .filter_map(|text| Expr::parse(text).ok())
            .any(|expr| {
                let mut names = expr.terms().iter().flat_map(Term::names);
                names.any(|name| name == metric)
            })
    }

    /// Checks a threshold's rule: it may read `value`, and shares of what the same watch samples.
    fn check_rule(
        &self,
        linter: &mut Linter<'_>,
        part: &StepPart<'_>,
        threshold: &Threshold,
        rule: &str,
        path: &Path,
    ) {
        let sampled = self.metrics();
        for term in figures::terms(linter, rule, path) {
            let about = term.about(&threshold.metric);
            match &about.figure {
                Some(FigureTerm::Baseline) => {
                    figures::measured_before(linter, part.placed, &about.name, path);
                }
                Some(FigureTerm::Share { .. }) => {
                    for name in about.names().filter(|name| !sampled.contains(name)) {
                        linter.error(
                            Code::UnknownName,
                            path,
                            format!("`{term}` needs `{name}`, which this watch does not sample"),
                            Some(format!("add it to the thresholds: `- {{metric: {name}}}`")),
                        );
                    }
                }
                _ if term.name == VALUE => {}
                _ => figures::only_value(linter, &term.name, path),
            }
        }
    }
}
