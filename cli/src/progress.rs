//! Live progress of long work on deals: a bar on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rollbook_workers::snapshot::Progress;

/// The time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress on standard error until it is dropped.
pub(crate) struct Live {
    what: &'static str,
    bar: ProgressBar,
    /// When the work and the last line began; `None` where nothing is to be printed.
    lines: Option<Mutex<(Instant, Instant)>>,
}

impl Live {
    /// Nothing is shown in JSON mode, whose readers wait for the end.
    pub(crate) fn new(what: &'static str, json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(0);
        if json || !terminal {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = "{msg} {bar:32} {human_pos}/{human_len} {per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        let now = Instant::now();
        Self {
            what,
            bar,
            lines: (!json && !terminal).then(|| Mutex::new((now, now))),
        }
    }

    /// Takes note of how far the work is.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
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
}
