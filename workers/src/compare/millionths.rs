//! Exact tolerances and ratios.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One, in millionths.
pub const SCALE: i64 = 1_000_000;

/// A decimal with at most six places, stored in millionths: 5 % is exactly 5 %, not the nearest
/// binary fraction. It is serialised as text and read from a text or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millionths(i64);

/// Why a text is not a usable decimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a decimal number with at most six places below a billion")]
pub struct MillionthsError(String);

impl Millionths {
    /// A whole number, at most a billion in magnitude.
    pub const fn whole(value: i32) -> Self {
        Self(value as i64 * SCALE)
    }

    /// The number in millionths.
    pub const fn millionths(self) -> i64 {
        self.0
    }

    /// Makes a number from millionths.
    pub const fn from_millionths(millionths: i64) -> Self {
        Self(millionths)
    }
}

impl FromStr for Millionths {
    type Err = MillionthsError;

    fn from_str(text: &str) -> Result<Self, MillionthsError> {
        let bad = || MillionthsError(text.chars().take(40).collect());
        let trimmed = text.trim();
        let (negative, digits) = match trimmed.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
        };
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let places = places.trim_end_matches('0');
        if (whole.is_empty() && places.is_empty() && !digits.contains('0'))
            || whole.len() > 9
            || places.len() > 6
            || !all_digits(whole)
            || !all_digits(places)
        {
            return Err(bad());
        }
        let number = |part: &str| -> Result<i64, MillionthsError> {
            if part.is_empty() {
                return Ok(0);
            }
            part.parse().map_err(|_| bad())
        };
        let millionths = number(whole)? * SCALE + number(&format!("{places:0<6}"))?;
        Ok(Self(if negative { -millionths } else { millionths }))
    }
}

impl fmt::Display for Millionths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, places) = (
            self.0.unsigned_abs() / SCALE as u64,
            self.0.unsigned_abs() % SCALE as u64,
        );
        if places == 0 {
            return write!(f, "{sign}{whole}");
        }
        let places = format!("{places:06}");
        write!(f, "{sign}{whole}.{}", places.trim_end_matches('0'))
    }
}

impl Serialize for Millionths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millionths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Whole(i64),
            Fraction(f64),
        }
        // The shortest text of a binary fraction is the decimal that its author wrote.
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Whole(number) => number.to_string(),
            Written::Fraction(number) => number.to_string(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, millionths, shown) in [
            ("5", 5_000_000, "5"),
            ("5.0", 5_000_000, "5"),
            ("0.25", 250_000, "0.25"),
            (".5", 500_000, "0.5"),
            ("-1.000001", -1_000_001, "-1.000001"),
            ("0", 0, "0"),
            ("0.10000000", 100_000, "0.1"),
        ] {
            let decimal: Millionths = text.parse().unwrap();
            assert_eq!(decimal.millionths(), millionths, "{text}");
            assert_eq!(decimal.to_string(), shown, "{text}");
        }
        for bad in [
            "",
            ".",
            "-",
            "NaN",
            "inf",
            "1e3",
            "0.0000001",
            "10000000000",
            "5 %",
            "--5",
        ] {
            assert!(bad.parse::<Millionths>().is_err(), "{bad}");
        }
    }

    #[test]
    fn json_numbers_and_texts_are_read() {
        let read: Vec<Millionths> = serde_json::from_str("[5, 5.0, 0.1, \"0.1\"]").unwrap();
        let expected = [5_000_000, 5_000_000, 100_000, 100_000].map(Millionths::from_millionths);
        assert_eq!(read, expected);
        assert_eq!(serde_json::to_string(&read[2]).unwrap(), "\"0.1\"");
        assert!(serde_json::from_str::<Millionths>("1e300").is_err());
    }
}
