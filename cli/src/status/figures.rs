//! Times and numbers as people read them.

use jiff::Timestamp;
use rollbook_ledger::projection::words::MeasuredValue;

/// The time between two moments; nothing if they are the wrong way round, as clocks of two machines
/// may say.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    let passed = to.duration_since(from).as_secs();
    seconds(u64::try_from(passed).unwrap_or(0))
}

/// Whole seconds: `12 s`, `4 m 07 s`, `3 h 12 m`, `2 d 05 h`.
pub(super) fn seconds(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} m {:02} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {:02} m", minutes % 60),
        _ => format!("{days} d {:02} h", hours % 24),
    }
}

/// A length of time that a plan sets, in milliseconds: `45 m`, `1 h 30 m`.
pub(super) fn length(millis: i64) -> String {
    let text = seconds(u64::try_from(millis / 1_000).unwrap_or(0));
    let round = [" 00 s", " 00 m", " 00 h"];
    let short = round.iter().find_map(|rest| text.strip_suffix(rest));
    short.map_or_else(|| text.clone(), str::to_owned)
}

/// A moment that is to come: `2026-11-29 16:22:53 UTC, in 3 h 12 m`.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    let when = crate::print::time(at);
    if at.duration_since(now).as_secs() > 0 {
        format!("{when}, in {}", between(now, at))
    } else {
        format!("{when}, any moment")
    }
}

/// A number with thousands separators.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things: `1 step`, `2 steps`.
pub(super) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A measured value with its unit.
pub(super) fn value(measured: &MeasuredValue) -> String {
    match (&measured.decimal, measured.text.is_empty()) {
        (Some(number), _) if measured.unit.is_empty() => number.clone(),
        (Some(number), _) => format!("{number} {}", measured.unit),
        (None, false) => measured.text.clone(),
        (None, true) => "no data".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units_at_most() {
        assert_eq!(seconds(7), "7 s");
        assert_eq!(seconds(247), "4 m 07 s");
        assert_eq!(seconds(11_520), "3 h 12 m");
        assert_eq!(seconds(190_800), "2 d 05 h");
        assert_eq!(
            (length(2_700_000), length(5_400_000)),
            ("45 m".to_owned(), "1 h 30 m".to_owned())
        );
        let start = Timestamp::UNIX_EPOCH;
        assert_eq!(
            between(start + jiff::SignedDuration::from_secs(5), start),
            "0 s"
        );
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
