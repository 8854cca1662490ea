//! Counters of the service, and their Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency histogram in microseconds; the last bucket has none.
const BOUNDS_US: [u64; 8] = [
    1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000,
];

/// Counts since the start of the process. Each count is independent, so relaxed ordering serves.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: AtomicU64,
    request_errors: AtomicU64,
    latency_sum_us: AtomicU64,
    buckets: [AtomicU64; BOUNDS_US.len()],
    cost_errors: AtomicU64,
    deal_creations: AtomicU64,
    deal_creation_failures: AtomicU64,
    deal_creation_refusals: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Metrics {
    /// One request was answered; `failed` means a 5xx answer.
    pub(crate) fn request(&self, took: Duration, failed: bool) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.requests);
        if failed {
            add(&self.request_errors);
        }
        self.latency_sum_us.fetch_add(took_us, Ordering::Relaxed);
        for (bound_us, bucket) in BOUNDS_US.iter().zip(&self.buckets) {
            if took_us <= *bound_us {
                add(bucket);
            }
        }
    }

    /// The costs of a stored deal could not be computed.
    pub(crate) fn cost_error(&self) {
        add(&self.cost_errors);
    }

    /// A deal was created.
    pub(crate) fn deal_created(&self) {
        add(&self.deal_creations);
    }

    /// A valid deal could not be stored.
    pub(crate) fn deal_creation_failed(&self) {
        add(&self.deal_creation_failures);
    }

    /// An invalid deal was refused: the client's fault, not a failure of the service.
    pub(crate) fn deal_creation_refused(&self) {
        add(&self.deal_creation_refusals);
    }

    /// Costs that could not be computed.
    pub(crate) fn cost_errors(&self) -> u64 {
        get(&self.cost_errors)
    }

    /// Valid deals that could not be stored.
    pub(crate) fn deal_creation_failures(&self) -> u64 {
        get(&self.deal_creation_failures)
    }

    /// Failed share of all valid creations in percent; 0 when there were none.
    pub(crate) fn deal_creation_failure_percent(&self) -> f64 {
        let failures = get(&self.deal_creation_failures);
        let attempts = failures + get(&self.deal_creations);
        if attempts == 0 {
            0.0
        } else {
            failures as f64 * 100.0 / attempts as f64
        }
    }

    /// Prometheus text format 0.0.4.
    pub(crate) fn render(&self, flag_on: bool) -> String {
        let mut text = String::new();
        let counters = [
            ("requests_total", "Requests answered", &self.requests),
            (
                "request_errors_total",
                "Requests answered with a 5xx status",
                &self.request_errors,
            ),
            (
                "cost_calculation_errors_total",
                "Deals whose costs could not be computed",
                &self.cost_errors,
            ),
            (
                "deal_creations_total",
                "Deals created",
                &self.deal_creations,
            ),
            (
                "deal_creation_failures_total",
                "Valid deals that could not be stored",
                &self.deal_creation_failures,
            ),
            (
                "deal_creation_refusals_total",
                "Invalid deals refused",
                &self.deal_creation_refusals,
            ),
        ];
        for (name, help, counter) in counters {
            // Writing into a String cannot fail.
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {}\n",
                get(counter)
            );
        }
        let name = "request_duration_seconds";
        let _ = write!(
            text,
            "# HELP {name} Time to answer\n# TYPE {name} histogram\n"
        );
        for (bound_us, bucket) in BOUNDS_US.iter().zip(&self.buckets) {
            let _ = writeln!(
                text,
                "{name}_bucket{{le=\"{}\"}} {}",
                *bound_us as f64 / 1e6,
                get(bucket)
            );
        }
        let count = get(&self.requests);
        let sum_s = get(&self.latency_sum_us) as f64 / 1e6;
        let _ = write!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum_s}\n{name}_count {count}\n"
        );
        let name = "deal_type_awareness";
        let _ = write!(
            text,
            "# HELP {name} 1 while the flag is on\n# TYPE {name} gauge\n{name} {}\n",
            u8::from(flag_on)
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        metrics.request(Duration::from_millis(3), false);
        metrics.request(Duration::from_secs(9), true);
        let text = metrics.render(true);
        for line in [
            "requests_total 2",
            "request_errors_total 1",
            "request_duration_seconds_bucket{le=\"0.001\"} 0",
            "request_duration_seconds_bucket{le=\"0.005\"} 1",
            "request_duration_seconds_bucket{le=\"5\"} 1",
            "request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "deal_type_awareness 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn refusals_do_not_count_as_failures() {
        let metrics = Metrics::default();
        assert_eq!(metrics.deal_creation_failure_percent(), 0.0);
        metrics.deal_creation_refused();
        metrics.deal_created();
        metrics.deal_created();
        metrics.deal_created();
        metrics.deal_creation_failed();
        assert_eq!(metrics.deal_creation_failure_percent(), 25.0);
    }
}
