//! Windows: when steps may run. The rules are those of Argo CD's sync windows: without windows
//! there is no limit; if any allow window applies, a step must be inside one; a deny window
//! overrides all. A step that names a window must be inside that one.
//!
//! Cron times are wall-clock times of the window's time zone, from the time-zone database compiled
//! into the program, so that the result does not depend on the machine. A start that is skipped
//! when clocks go forward moves behind the gap; one that is repeated when they go back counts once.
//! A duration is elapsed time.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::model::{Window, WindowKind};
use crate::clock::shown;
use crate::error_code::Coded;

/// How many days ahead to search for the next opening.
pub const SEARCH_DAYS: i64 = 400;

/// Maximum number of boundaries that the search examines.
const SEARCH_STEPS: usize = 256;

/// Why a window is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum WindowError {
    /// It has neither or both of `cron` + `duration` and `from` + `until`.
    #[error("RB-WINDOW-1: window `{0}` needs either `cron` with `duration` or `from` with `until`")]
    Shape(String),
    /// The cron expression does not have five fields, or never matches.
    #[error(
        "RB-WINDOW-2: window `{name}`: `{cron}` is not a usable cron expression ({reason}); write minute hour day month weekday, as in `0 2 * * TUE`"
    )]
    Cron {
        /// The window.
        name: String,
        /// The expression.
        cron: String,
        /// The problem.
        reason: String,
    },
    /// The time zone is not in the time-zone database.
    #[error(
        "RB-WINDOW-3: window `{name}`: `{zone}` is not an IANA time zone; write one such as UTC or Europe/Berlin"
    )]
    TimeZone {
        /// The window.
        name: String,
        /// The time zone.
        zone: String,
    },
    /// It ends before it begins, or has no duration.
    #[error(
        "RB-WINDOW-4: window `{0}` lasts no time; give it a positive duration, or an `until` after its `from`"
    )]
    Empty(String),
}

/// Whether a step may run now, and the rule that decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowVerdict {
    /// True if it may.
    pub open: bool,
    /// The window that decides; `None` if no window applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// If open, when it closes; `None` if no end was found within the search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// If closed, when it opens next; `None` if not within [`SEARCH_DAYS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// The rule in words, with names and times.
    pub reason: String,
}

/// A window with its texts parsed.
#[derive(Debug, Clone)]
struct Times {
    name: String,
    kind: WindowKind,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Once {
        from: Timestamp,
        until: Timestamp,
    },
    Recurring {
        cron: Box<croner::Cron>,
        zone: TimeZone,
        duration: SignedDuration,
    },
}

/// Checks a window as lint does: shape, cron expression, time zone, length.
pub fn check(window: &Window) -> Result<(), WindowError> {
    Times::of(window).map(|_| ())
}

impl Times {
    fn of(window: &Window) -> Result<Self, WindowError> {
        let name = window.name.clone();
        let shape = match (&window.cron, window.duration, window.from, window.until) {
            (Some(cron), Some(duration), None, None) => {
                if duration.as_millis() <= 0 {
                    return Err(WindowError::Empty(name));
                }
                Shape::Recurring {
                    cron: Box::new(parse_cron(&name, cron)?),
                    zone: parse_zone(&name, window.time_zone.as_deref())?,
                    duration: duration.to_signed(),
                }
            }
            (None, None, Some(from), Some(until)) => {
                if until <= from {
                    return Err(WindowError::Empty(name));
                }
                parse_zone(&name, window.time_zone.as_deref())?;
                Shape::Once { from, until }
            }
            _ => return Err(WindowError::Shape(name)),
        };
        Ok(Self {
            name,
            kind: window.kind,
            shape,
        })
    }

    /// Returns the end of the occurrence that covers `at`.
    fn covering_end(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.shape {
            Shape::Once { from, until } => (*from <= at && at < *until).then_some(*until),
            Shape::Recurring {
                cron,
                zone,
                duration,
            } => {
                let start = cron
                    .find_previous_occurrence(&at.to_zoned(zone.clone()), true)
                    .ok()?
                    .timestamp();
                let end = start.checked_add(*duration).ok()?;
                (at < end).then_some(end)
            }
        }
    }

    /// Returns the first start after `at`.
    fn next_start(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.shape {
            Shape::Once { from, .. } => (*from > at).then_some(*from),
            Shape::Recurring { cron, zone, .. } => cron
                .find_next_occurrence(&at.to_zoned(zone.clone()), false)
                .ok()
                .map(|start| start.timestamp()),
        }
    }
}

fn parse_cron(name: &str, text: &str) -> Result<croner::Cron, WindowError> {
    let error = |reason: String| WindowError::Cron {
        name: name.to_owned(),
        cron: text.to_owned(),
        reason,
    };
    let fields = text.split_whitespace().count();
    if fields != 5 {
        return Err(error(format!("it has {fields} fields, not five")));
    }
    let cron = croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Disallowed)
        .year(croner::parser::Year::Disallowed)
        .build()
        .parse(text)
        .map_err(|e| error(e.to_string()))?;
    // Detect a date that never occurs, once and from a fixed time.
    cron.find_next_occurrence(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC), true)
        .map_err(|_| error("it names a time that never comes".to_owned()))?;
    Ok(cron)
}

fn parse_zone(name: &str, text: Option<&str>) -> Result<TimeZone, WindowError> {
    let Some(text) = text else {
        return Ok(TimeZone::UTC);
    };
    TimeZoneDatabase::bundled()
        .get(text)
        .map_err(|_| WindowError::TimeZone {
            name: name.to_owned(),
            zone: text.to_owned(),
        })
}

/// Evaluates the windows at one time; `named` is the step's `window`. A window that cannot be
/// parsed (lint refuses it) counts as closed, so that a broken window never opens.
pub fn evaluate(
    windows: &[Window],
    now: Timestamp,
    environment: &str,
    named: Option<&str>,
) -> WindowVerdict {
    let mut allows = Vec::new();
    let mut denies = Vec::new();
    for window in windows {
        let is_named = named == Some(window.name.as_str());
        let applies =
            window.environments.is_empty() || window.environments.iter().any(|e| e == environment);
        // A step's own window replaces the other allow windows.
        let relevant = match window.kind {
            WindowKind::Deny => applies,
            WindowKind::Allow if named.is_some() => is_named,
            WindowKind::Allow => applies && !window.named_only,
        };
        if !relevant {
            continue;
        }
        match Times::of(window) {
            Ok(times) if times.kind == WindowKind::Allow => allows.push(times),
            Ok(times) => denies.push(times),
            Err(error) => return closed(Some(window.name.clone()), None, error.to_string()),
        }
    }
    if let Some(name) = named
        && allows.is_empty()
    {
        return closed(
            Some(name.to_owned()),
            None,
            format!("the plan has no allow window `{name}`"),
        );
    }
    judge(&allows, &denies, now)
}

fn judge(allows: &[Times], denies: &[Times], now: Timestamp) -> WindowVerdict {
    let denied = latest_end(denies, now);
    let allowed = latest_end(allows, now);
    match (denied, allowed, allows.is_empty()) {
        (Some((deny, end)), _, _) => {
            let next = next_opening(allows, denies, now);
            closed(
                Some(deny.to_owned()),
                next,
                format!("inside the deny window `{deny}` until {}", shown(end)),
            )
        }
        (None, Some((allow, _)), _) => {
            let until = next_closing(allows, denies, now);
            WindowVerdict {
                open: true,
                by: Some(allow.to_owned()),
                until,
                next: None,
                reason: match until {
                    Some(until) => {
                        format!("inside the allow window `{allow}` until {}", shown(until))
                    }
                    None => format!("inside the allow window `{allow}`"),
                },
            }
        }
        (None, None, true) => WindowVerdict {
            open: true,
            by: None,
            until: next_closing(allows, denies, now),
            next: None,
            reason: "no window applies".to_owned(),
        },
        (None, None, false) => {
            let next = next_opening(allows, denies, now);
            let names: Vec<&str> = allows.iter().map(|w| w.name.as_str()).collect();
            closed(
                names.first().map(|name| (*name).to_owned()),
                next,
                match next {
                    Some(next) => {
                        format!(
                            "outside the allow window {}; opens {}",
                            names.join(", "),
                            shown(next)
                        )
                    }
                    None => format!(
                        "outside the allow window {}; it does not open within {SEARCH_DAYS} days",
                        names.join(", ")
                    ),
                },
            )
        }
    }
}

fn closed(by: Option<String>, next: Option<Timestamp>, reason: String) -> WindowVerdict {
    WindowVerdict {
        open: false,
        by,
        until: None,
        next,
        reason,
    }
}

/// Returns the window that ends last among those that cover `at`.
fn latest_end(windows: &[Times], at: Timestamp) -> Option<(&str, Timestamp)> {
    windows
        .iter()
        .filter_map(|w| w.covering_end(at).map(|end| (w.name.as_str(), end)))
        .max_by_key(|(_, end)| *end)
}

fn horizon(now: Timestamp) -> Timestamp {
    now.checked_add(SignedDuration::from_hours(SEARCH_DAYS * 24))
        .unwrap_or(Timestamp::MAX)
}

/// Returns the first time from `now` on that no deny window covers and, if there are allow windows,
/// one of them does.
fn next_opening(allows: &[Times], denies: &[Times], now: Timestamp) -> Option<Timestamp> {
    let limit = horizon(now);
    let mut at = now;
    for _ in 0..SEARCH_STEPS {
        if at > limit {
            return None;
        }
        if let Some((_, end)) = latest_end(denies, at) {
            at = end;
        } else if allows.is_empty() || latest_end(allows, at).is_some() {
            return Some(at);
        } else {
            at = allows.iter().filter_map(|w| w.next_start(at)).min()?;
        }
    }
    None
}

/// Returns the first time after `now`, which is open, that is closed.
fn next_closing(allows: &[Times], denies: &[Times], now: Timestamp) -> Option<Timestamp> {
    let limit = horizon(now);
    let next_deny = denies.iter().filter_map(|w| w.next_start(now)).min();
    let mut end = None;
    if !allows.is_empty() {
        // Adjacent or overlapping windows count as one.
        let mut at = now;
        for _ in 0..SEARCH_STEPS {
            match latest_end(allows, at) {
                Some((_, later)) if later > at && at <= limit => at = later,
                _ => break,
            }
        }
        end = (at <= limit).then_some(at);
    }
    [end, next_deny.filter(|d| *d <= limit)]
        .into_iter()
        .flatten()
        .min()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(name: &str, kind: WindowKind, cron: &str, duration: &str, zone: &str) -> Window {
        Window {
            name: name.to_owned(),
            kind,
            cron: Some(cron.to_owned()),
            duration: Some(duration.parse().unwrap()),
            time_zone: Some(zone.to_owned()),
            from: None,
            until: None,
            environments: Vec::new(),
            named_only: false,
        }
    }

    fn once(name: &str, kind: WindowKind, from: &str, until: &str) -> Window {
        Window {
            name: name.to_owned(),
            kind,
            cron: None,
            duration: None,
            time_zone: None,
            from: Some(time(from)),
            until: Some(time(until)),
            environments: Vec::new(),
            named_only: false,
        }
    }

    fn tuesday() -> Window {
        cron(
            "low-traffic",
            WindowKind::Allow,
            "0 2 * * TUE",
            "15m",
            "UTC",
        )
    }

    #[test]
    fn without_windows_everything_is_open() {
        let verdict = evaluate(&[], time("2026-03-01T00:00:00Z"), "production", None);
        assert!(verdict.open && verdict.by.is_none() && verdict.until.is_none());
    }

    #[test]
    fn inside_an_allow_window_until_its_end_and_outside_until_its_start() {
        let windows = [tuesday()];
        // 2026-03-03 is a Tuesday.
        let inside = evaluate(&windows, time("2026-03-03T02:14:59Z"), "production", None);
        assert!(inside.open);
        assert_eq!(inside.until, Some(time("2026-03-03T02:15:00Z")));
        for at in ["2026-03-03T02:15:00Z", "2026-03-03T01:59:59.999Z"] {
            let outside = evaluate(&windows, time(at), "production", None);
            assert!(!outside.open, "{at}: {}", outside.reason);
        }
        let start = evaluate(&windows, time("2026-03-03T02:00:00Z"), "production", None);
        assert!(start.open, "the start itself is inside");
        let outside = evaluate(&windows, time("2026-03-03T02:15:00Z"), "production", None);
        assert_eq!(outside.next, Some(time("2026-03-10T02:00:00Z")));
        assert_eq!(outside.by.as_deref(), Some("low-traffic"));
    }

    #[test]
    fn deny_wins_over_allow_and_the_next_opening_is_behind_it() {
        let freeze = once(
            "year-end",
            WindowKind::Deny,
            "2026-03-02T00:00:00Z",
            "2026-03-12T00:00:00Z",
        );
        let windows = [tuesday(), freeze];
        let verdict = evaluate(&windows, time("2026-03-03T02:05:00Z"), "production", None);
        assert!(!verdict.open);
        assert_eq!(verdict.by.as_deref(), Some("year-end"));
        assert_eq!(verdict.next, Some(time("2026-03-17T02:00:00Z")));
        // Open now, closed by a deny window before the allow window ends.
        let windows = [
            tuesday(),
            once(
                "late",
                WindowKind::Deny,
                "2026-03-03T02:10:00Z",
                "2026-03-03T03:00:00Z",
            ),
        ];
        let verdict = evaluate(&windows, time("2026-03-03T02:05:00Z"), "production", None);
        assert_eq!(verdict.until, Some(time("2026-03-03T02:10:00Z")));
    }

    #[test]
    fn windows_of_other_environments_and_named_only_windows_do_not_bind() {
        let mut other = tuesday();
        other.environments = vec!["production".to_owned()];
        assert!(
            evaluate(
                &[other.clone()],
                time("2026-03-04T00:00:00Z"),
                "staging",
                None
            )
            .open
        );
        other.named_only = true;
        let at = time("2026-03-04T00:00:00Z");
        assert!(evaluate(&[other.clone()], at, "production", None).open);
        assert!(!evaluate(&[other], at, "production", Some("low-traffic")).open);
        let unknown = evaluate(&[], at, "production", Some("nowhere"));
        assert!(!unknown.open, "a named window that is not there is closed");
    }

    #[test]
    fn a_broken_window_is_closed() {
        let mut broken = tuesday();
        broken.cron = Some("61 2 * * TUE".to_owned());
        let verdict = evaluate(&[broken], time("2026-03-03T02:05:00Z"), "production", None);
        assert!(!verdict.open && verdict.reason.contains("RB-WINDOW-2"));
    }

    #[test]
    fn a_start_that_the_clock_skips_moves_behind_the_gap() {
        // Berlin, 2026-03-29: 02:00 CET becomes 03:00 CEST (01:00Z).
        let windows = [cron(
            "night",
            WindowKind::Allow,
            "30 2 * * *",
            "1h",
            "Europe/Berlin",
        )];
        let open = |at: &str| evaluate(&windows, time(at), "production", None).open;
        assert!(open("2026-03-28T01:30:00Z"), "the day before, 02:30 CET");
        assert!(!open("2026-03-29T00:59:59Z"));
        let verdict = evaluate(&windows, time("2026-03-28T12:00:00Z"), "production", None);
        let start = verdict.next.unwrap();
        assert!(
            start >= time("2026-03-29T01:00:00Z") && start <= time("2026-03-29T01:30:00Z"),
            "{start}"
        );
        assert!(open(&start.to_string()));
        assert!(open("2026-03-30T00:30:00Z"), "the day after, 02:30 CEST");
    }

    #[test]
    fn a_start_that_the_clock_repeats_counts_once() {
        // Berlin, 2026-10-25: 03:00 CEST becomes 02:00 CET (01:00Z); 02:30 comes twice.
        let windows = [cron(
            "night",
            WindowKind::Allow,
            "30 2 * * *",
            "30m",
            "Europe/Berlin",
        )];
        let open = |at: &str| evaluate(&windows, time(at), "production", None).open;
        assert!(open("2026-10-25T00:30:00Z"), "02:30 CEST");
        assert!(!open("2026-10-25T01:00:00Z"), "02:00 CET");
        assert!(!open("2026-10-25T01:30:00Z"), "02:30 CET, the second time");
        assert!(open("2026-10-26T01:30:00Z"), "02:30 CET, the day after");
    }

    #[test]
    fn bad_shapes_are_named() {
        let mut both = tuesday();
        both.from = Some(time("2026-01-01T00:00:00Z"));
        assert_eq!(check(&both), Err(WindowError::Shape("low-traffic".into())));
        let mut zone = tuesday();
        zone.time_zone = Some("Mars/Olympus".into());
        assert!(matches!(check(&zone), Err(WindowError::TimeZone { .. })));
        for text in ["* * * *", "0 2 * * * TUE", "x", "0 2 30 2 *", "99 * * * *"] {
            let mut bad = tuesday();
            bad.cron = Some(text.to_owned());
            assert!(
                matches!(check(&bad), Err(WindowError::Cron { .. })),
                "{text}"
            );
        }
        let empty = once(
            "e",
            WindowKind::Deny,
            "2026-01-02T00:00:00Z",
            "2026-01-01T00:00:00Z",
        );
        assert_eq!(check(&empty), Err(WindowError::Empty("e".into())));
    }
}
