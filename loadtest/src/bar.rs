//! A measured bar, that is a benchmark with a limit, and how it is printed.

use rollbook_ledger::error_code::Coded;
use serde::Serialize;

/// Whether the limit is a floor or a ceiling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    /// The value must not exceed this.
    AtMost(f64),
    /// The value must not be below this.
    AtLeast(f64),
}

/// A result: the median of `runs`, judged by a limit.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    bar: &'static str,
    value: f64,
    limit: String,
    #[serde(skip)]
    bound: Limit,
    unit: &'static str,
    peer: &'static str,
    /// Whether the limit is kept.
    pub(crate) ok: bool,
    runs: Vec<f64>,
}

impl Bar {
    /// Judges runs by their median.
    pub(crate) fn judge(
        bar: &'static str,
        limit: Limit,
        unit: &'static str,
        peer: &'static str,
        runs: Vec<f64>,
    ) -> Self {
        let value = round(median(&runs));
        let (ok, text) = match limit {
            Limit::AtMost(limit) => (value <= limit, format!("<= {limit}")),
            Limit::AtLeast(limit) => (value >= limit, format!(">= {limit}")),
        };
        let runs = runs.into_iter().map(round).collect();
        Self {
            bar,
            value,
            limit: text,
            bound: limit,
            unit,
            peer,
            ok: ok && value.is_finite(),
            runs,
        }
    }

    /// Judges again, allowing `percent` beyond the limit. A bar whose value is NaN fails.
    pub(crate) fn allow(mut self, percent: f64) -> Self {
        let room = 1.0 + percent / 100.0;
        self.ok = match self.bound {
            Limit::AtMost(limit) => self.value <= limit * room,
            Limit::AtLeast(limit) => self.value >= limit / room,
        };
        self
    }

    /// The bar as a JSON line.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}

/// The median; NaN for an empty list.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Why a bar could not be measured.
#[derive(Debug, thiserror::Error, Coded)]
pub(crate) enum BenchError {
    /// Something that was to be measured failed.
    #[error("RB-BENCH-3: {what}: {reason}")]
    Failed {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        reason: String,
    },
}

/// Adds what was being done to an error.
pub(crate) fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> BenchError {
    move |error| BenchError::Failed {
        what,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_judged() {
        let bar = Bar::judge(
            "x",
            Limit::AtMost(1.5),
            "ratio",
            "peer",
            vec![9.0, 1.0, 1.2],
        );
        assert!(bar.ok);
        assert!(bar.line().contains("\"value\":1.2"));
        assert!(!Bar::judge("x", Limit::AtLeast(2.0), "ratio", "peer", vec![1.0]).ok);
        assert!(!Bar::judge("x", Limit::AtLeast(2.0), "ratio", "peer", vec![]).ok);
    }

    #[test]
    fn the_allowance_is_a_percentage_of_the_limit() {
        let judged =
            |limit, value| Bar::judge("x", limit, "ratio", "peer", vec![value]).allow(20.0);
        assert!(judged(Limit::AtMost(1.0), 1.2).ok);
        assert!(!judged(Limit::AtMost(1.0), 1.21).ok);
        assert!(judged(Limit::AtLeast(1.2), 1.0).ok);
        assert!(!judged(Limit::AtLeast(1.2), 0.99).ok);
        assert!(!judged(Limit::AtMost(1.0), f64::NAN).ok);
    }
}
