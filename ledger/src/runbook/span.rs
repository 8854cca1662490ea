//! Durations in human notation: `30s`, `10m`, `2h`, `7d`, `1h30m`, `-7d`.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::error_code::Coded;

/// A duration in whole milliseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    millis: i64,
}

/// A text is not a valid duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
#[error(
    "RB-SPAN-1: `{text}` is not a duration; write a number and a unit (ms, s, m, h, d), for example 90s, 10m, 1h30m or -7d"
)]
pub struct SpanError {
    text: String,
}

const UNITS: [(&str, i64); 5] = [
    ("ms", 1),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
];

impl Span {
    /// Creates a duration of this many milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self { millis }
    }

    /// Returns the milliseconds; negative if the duration points backwards.
    pub const fn as_millis(self) -> i64 {
        self.millis
    }

    /// Converts for clock arithmetic.
    pub fn to_signed(self) -> SignedDuration {
        SignedDuration::from_millis(self.millis)
    }

    /// Converts for timers; negative durations become zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.millis).unwrap_or(0))
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let (sign, mut rest) = match trimmed.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, trimmed),
        };
        if rest.is_empty() {
            return Err(error());
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let (number, tail) = rest.split_at(digits);
            let number: i64 = number.parse().map_err(|_| error())?;
            let (unit, millis) = UNITS
                .iter()
                .find(|(unit, _)| tail.starts_with(unit))
                .ok_or_else(error)?;
            total = number
                .checked_mul(*millis)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(error)?;
            rest = tail.strip_prefix(unit).ok_or_else(error)?;
        }
        Ok(Self {
            millis: sign * total,
        })
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;
    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis == 0 {
            return f.write_str("0s");
        }
        if self.millis < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.millis.unsigned_abs();
        for (unit, millis) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
            ("ms", 1),
        ] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A duration: 90s, 10m, 1h30m, 7d, -7d",
            "pattern": r"^\s*-?([0-9]+(ms|s|m|h|d))+\s*$"
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0s", "90s", "1h30m", "7d", "-7d", "1d2h3m4s5ms", "250ms"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        assert_eq!("1h30m".parse::<Span>().unwrap().as_millis(), 5_400_000);
        for text in [
            "",
            "-",
            "5",
            "m",
            "5 m",
            "5x",
            "1h-2m",
            "99999999999999999999d",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
