//! Live progress of long-running work on deals: a bar on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rollbook_workers::executor::StepProgress;
use rollbook_workers::snapshot::Progress;

/// Interval between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress on standard error until it is dropped.
pub(crate) struct Live {
    what: &'static str,
    bar: ProgressBar,
    /// When the work started and when the last line was printed; `None` if no lines are printed.
    lines: Option<Mutex<(Instant, Instant)>>,
}

impl Live {
    /// Shows nothing in JSON mode, whose readers wait for the end.
    pub(crate) fn new(what: &'static str, json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(0);
        if json || !terminal {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_style(style(
            "{msg} {bar:32} {human_pos}/{human_len} {per_sec} {eta}",
        ));
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        let now = Instant::now();
        Self {
            what,
            bar,
            lines: (!json && !terminal).then(|| Mutex::new((now, now))),
        }
    }

    /// Updates how far the work is.
    pub(crate) fn update(&self, progress: Progress) {
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
        let Some(lines) = &self.lines else {
            return;
        };
        let Ok(mut times) = lines.lock() else {
            return;
        };
        if times.1.elapsed() >= LINE_INTERVAL {
            times.1 = Instant::now();
            eprintln!("{}: {}", self.what, described(progress, times.0.elapsed()));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Done, total, rate and the time left at that rate.
fn described(progress: Progress, elapsed: Duration) -> String {
    let Progress {
        done,
        total,
        errors,
    } = progress;
    let milliseconds = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let rate = done.saturating_mul(1_000) / milliseconds;
    let left = match total.saturating_sub(done).checked_div(rate) {
        Some(seconds) => format!("{seconds} s left"),
        None => "time left unknown".to_owned(),
    };
    format!("{done} of {total} deals, {rate}/s, {left}, {errors} errors")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Progress of a step of a rollout: one line for the step, then one per worker.
fn lines(progress: &StepProgress) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {} of {} deals, {}",
        progress.step,
        progress.done,
        progress.total,
        pace(progress)
    )];
    lines.extend(progress.workers.iter().map(|worker| {
        let shards = progress
            .shards
            .map_or_else(String::new, |_| format!("{} shards, ", worker.shards));
        format!(
            "  {}: {shards}{} deals, {}/s",
            worker.name, worker.deals, worker.deals_per_second
        )
    }));
    lines
}

/// Shards, rate, the time left and errors.
fn pace(progress: &StepProgress) -> String {
    let shards = progress.shards.map_or_else(String::new, |shards| {
        format!("{} of {} shards, ", shards.done, shards.total)
    });
    let left = match progress.seconds_left {
        Some(seconds) => format!("{seconds} s left"),
        None => "time left unknown".to_owned(),
    };
    format!(
        "{shards}{}/s, {left}, {} errors",
        progress.deals_per_second, progress.errors
    )
}

/// The running steps of a rollout, as lines every few seconds.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// When the last lines were printed.
    printed: Option<Instant>,
}

impl Steps {
    /// The lines to print now, on standard error; none if the last ones are recent.
    pub(crate) fn due(&mut self, states: &[StepProgress]) -> Vec<String> {
        let due = self.printed.is_none_or(|at| at.elapsed() >= LINE_INTERVAL);
        let known = states.iter().filter(|state| state.total > 0);
        let lines: Vec<String> = known.flat_map(lines).collect();
        if !due || lines.is_empty() {
            return Vec::new();
        }
        self.printed = Some(Instant::now());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_progress_rate_and_time_left() {
        let progress = Progress {
            done: 3_000,
            total: 10_000,
            errors: 2,
        };
        assert_eq!(
            described(progress, Duration::from_secs(2)),
            "3000 of 10000 deals, 1500/s, 4 s left, 2 errors"
        );
        let begun = Progress {
            done: 0,
            total: 10,
            errors: 0,
        };
        assert!(described(begun, Duration::ZERO).contains("unknown"));
    }

    #[test]
    fn a_step_and_each_of_its_workers_have_a_line() {
        let text = r#"{"rollout": "r", "step": "1.6", "attempt": 1, "done": 20, "total": 50,
            "errors": 1, "deals_per_second": 10, "seconds_left": 3,
            "shards": {"done": 2, "total": 5}, "since": "2026-01-01T00:00:00Z",
            "at": "2026-01-01T00:00:02Z", "ended": false,
            "workers": [{"name": "a", "shards": 2, "deals": 20, "deals_per_second": 10}]}"#;
        let Ok(mut state) = serde_json::from_str::<StepProgress>(text) else {
            unreachable!("a state is JSON");
        };
        let wanted = "1.6 20 of 50 deals, 2 of 5 shards, 10/s, 3 s left, 1 errors";
        assert_eq!(lines(&state), [wanted, "  a: 2 shards, 20 deals, 10/s"]);
        (state.shards, state.seconds_left) = (None, None);
        let wanted = "1.6 20 of 50 deals, 10/s, time left unknown, 1 errors";
        assert_eq!(lines(&state), [wanted, "  a: 20 deals, 10/s"]);
    }
}
