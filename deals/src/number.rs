//! Quantities in an inventory, stored exactly.

use rollbook_ledger::decimal::{Decimal, DecimalError};

use super::exact::{DOLLAR_CENTS, ONE_MICRO};

/// The largest number that an inventory may contain, 10^12 (deal rules, drivers).
const MAX_WHOLE: i64 = 1_000_000_000_000;

/// A number from 0 to 10^12, in millionths. Digits after the sixth decimal are rounded half up, so
/// that a sum printed as 0.30000000000000004 is 0.3 and does not count as a fourth tenth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(i64);

impl Quantity {
    pub(super) fn from_u64(value: u64) -> Result<Self, &'static str> {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        if value > MAX_WHOLE {
            return Err(TOO_LARGE);
        }
        Ok(Self(value * ONE_MICRO))
    }

    pub(super) fn from_f64(value: f64) -> Result<Self, &'static str> {
        if value.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        if value < 0.0 {
            return Err(NEGATIVE);
        }
        if value > 1e12 {
            return Err(TOO_LARGE);
        }
        // The shortest text that parses to this float is what its author wrote; decimal digits are
        // exact where binary arithmetic is not.
        Self::from_digits(&value.abs().to_string())
    }

    /// Parses a numeric text: digits, at most one point, an optional sign and exponent.
    pub(super) fn from_text(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if let Some(positive) = text.strip_prefix('-') {
            Self::from_unsigned(positive)?;
            let mut digits = positive.chars().take_while(|c| !matches!(c, 'e' | 'E'));
            let zero = digits.all(|c| matches!(c, '0' | '.'));
            return if zero { Ok(Self(0)) } else { Err(NEGATIVE) };
        }
        Self::from_unsigned(text.strip_prefix('+').unwrap_or(text))
    }

    fn from_unsigned(unsigned: &str) -> Result<Self, &'static str> {
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
        if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            || !unsigned.chars().all(plain)
        {
            return Err(NOT_A_NUMBER);
        }
        match unsigned.split_once(['e', 'E']) {
            Some((_, power)) => Self::from_power(unsigned, power),
            None => Self::from_digits(unsigned),
        }
    }

    /// Parses a number with an exponent, `power`.
    fn from_power(unsigned: &str, power: &str) -> Result<Self, &'static str> {
        let is_small = power.starts_with('-');
        match unsigned.parse::<Decimal>() {
            // `Decimal` prints an exponent only if all digits come after the sixth decimal.
            Ok(number) if is_small && number < Decimal::ONE => {
                let text = number.to_string();
                Self::from_digits(if text.contains('e') { "0" } else { &text })
            }
            Ok(number) if number > Decimal::from(MAX_WHOLE) => Err(TOO_LARGE),
            Ok(number) => Self::from_digits(&number.to_string()),
            Err(DecimalError::OutOfRange) if is_small => Ok(Self(0)),
            Err(DecimalError::OutOfRange) => Err(TOO_LARGE),
            Err(DecimalError::NotANumber | DecimalError::DivisionByZero) => Err(NOT_A_NUMBER),
            // More digits than a `Decimal` holds; those after the sixth decimal are rounded anyway.
            Err(DecimalError::TooManyDigits) => {
                Self::from_f64(unsigned.parse().map_err(|_| NOT_A_NUMBER)?)
            }
        }
    }

    /// Parses digits with at most one point among them.
    pub(super) fn from_digits(text: &str) -> Result<Self, &'static str> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return Err(NOT_A_NUMBER);
        }
        let mut micros = 0_i64;
        for digit in whole.bytes() {
            micros = micros * 10 + i64::from(digit - b'0');
            if micros > MAX_WHOLE {
                return Err(TOO_LARGE);
            }
        }
        let mut fraction = fraction.bytes().map(|digit| i64::from(digit - b'0'));
        for _ in 0..6 {
            micros = micros * 10 + fraction.next().unwrap_or(0);
        }
        if fraction.next().unwrap_or(0) >= 5 {
            micros += 1;
        }
        if micros > MAX_WHOLE * ONE_MICRO {
            return Err(TOO_LARGE);
        }
        Ok(Self(micros))
    }

    /// Whole units, rounded up: part of a person, device or interface counts as a whole one.
    pub(super) fn whole_up(self) -> i64 {
        let more = i64::from(self.0 % ONE_MICRO != 0);
        self.0 / ONE_MICRO + more
    }

    /// Cents for an amount in dollars, rounded half up.
    pub(super) fn dollars_as_cents(self) -> i64 {
        let micros_per_cent = ONE_MICRO / DOLLAR_CENTS;
        let up = i64::from(self.0 % micros_per_cent >= micros_per_cent / 2);
        self.0 / micros_per_cent + up
    }

    /// The quantity in millionths.
    pub(super) fn micros(self) -> i64 {
        self.0
    }
}

const TOO_LARGE: &str = "over 10^12; correct the number";
const NEGATIVE: &str = "negative; numbers start at 0";
const NOT_A_NUMBER: &str = "not a number; use a JSON number or a numeric string";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_numeric_texts_agree() {
        for (text, micros) in [
            ("0", 0),
            ("-0", 0),
            (" 12 ", 12_000_000),
            ("+7.5", 7_500_000),
            (".25", 250_000),
            ("1e3", 1_000_000_000),
            ("1.0000005", 1_000_001),
            ("1000000000000", 1_000_000_000_000_000_000),
            // Six decimals are kept regardless of the number of digits before them.
            ("123456789012.123456", 123_456_789_012_123_456),
            ("999999999999.999999", 999_999_999_999_999_999),
            ("1.23456789012123456e11", 123_456_789_012_123_456),
            ("2.5e-3", 2_500),
            ("1e-300", 0),
            ("1e-999", 0),
            ("-0e5", 0),
        ] {
            assert_eq!(Quantity::from_text(text), Ok(Quantity(micros)), "{text}");
        }
        assert_eq!(Quantity::from_f64(0.1 + 0.2), Ok(Quantity(300_000)));
        assert_eq!(Quantity::from_f64(-0.0), Ok(Quantity(0)));
        assert_eq!(Quantity::from_u64(3), Ok(Quantity(3_000_000)));
    }

    #[test]
    fn what_is_not_a_number_in_range_is_refused() {
        for (text, reason) in [
            ("NaN", NOT_A_NUMBER),
            ("inf", NOT_A_NUMBER),
            ("", NOT_A_NUMBER),
            (".", NOT_A_NUMBER),
            ("1,200", NOT_A_NUMBER),
            ("1.2.3", NOT_A_NUMBER),
            ("--1", NOT_A_NUMBER),
            ("1e", NOT_A_NUMBER),
            ("-1", NEGATIVE),
            ("-1e-9", NEGATIVE),
            ("-0.0000001", NEGATIVE),
            ("1e999", TOO_LARGE),
            ("1000000000000.01", TOO_LARGE),
            ("99999999999999999999999999", TOO_LARGE),
            ("1e400", TOO_LARGE),
        ] {
            assert_eq!(Quantity::from_text(text), Err(reason), "{text}");
        }
        assert_eq!(Quantity::from_f64(f64::NAN), Err(NOT_A_NUMBER));
        assert_eq!(Quantity::from_f64(-1e-9), Err(NEGATIVE));
        assert_eq!(Quantity::from_f64(1.000001e12), Err(TOO_LARGE));
    }

    #[test]
    fn units_are_taken_exactly() {
        let quantity = |text| Quantity::from_text(text).unwrap();
        assert_eq!(quantity("2.000001").whole_up(), 3);
        assert_eq!(quantity("2").whole_up(), 2);
        assert_eq!(quantity("1.005").dollars_as_cents(), 101);
        assert_eq!(Quantity::from_f64(1.005).unwrap().dollars_as_cents(), 101);
        assert_eq!(quantity("1.0049").dollars_as_cents(), 100);
    }
}
