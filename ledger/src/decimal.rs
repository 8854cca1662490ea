//! Exact decimal numbers, for measurements and for expressions.
//!
//! A decimal has up to 28 significant digits and the range of a double. Nothing is rounded
//! silently: a text, sum or product that needs more digits is an error. Only a quotient, which
//! rarely terminates, is rounded: half to even, at the twelfth decimal place (or at the 28th digit
//! if that comes first).
//!
//! This is our own code because the existing crates round where this must refuse (`rust_decimal`
//! rounds products and sums that do not fit and has no room for 1e-30), or have no bound at all
//! (`bigdecimal`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error_code::Coded;

/// Maximum number of significant digits.
pub const MAX_DIGITS: u32 = 28;

/// Decimal places to which a quotient is rounded.
pub const QUOTIENT_PLACES: i32 = 12;

/// Maximum absolute exponent of ten; the shortest text of every finite double fits.
const MAX_EXPONENT: i32 = 400;

/// Maximum length of a number's text, in bytes; any double's text is shorter.
const MAX_TEXT_BYTES: usize = 1_100;

/// Maximum length of plain notation; longer numbers are written with an exponent.
const MAX_PLAIN_CHARS: i32 = 40;

/// 10^28: the smallest integer with too many digits.
const BOUND: u128 = 10_u128.pow(MAX_DIGITS);

/// Why a decimal cannot be created or computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Coded)]
pub enum DecimalError {
    /// Not a decimal number; NaN and infinities are not numbers.
    #[error("RB-DECIMAL-1: not a decimal number; write digits with at most one point, as in 12.5")]
    NotANumber,
    /// More than [`MAX_DIGITS`] significant digits, so that it would have to be rounded.
    #[error(
        "RB-DECIMAL-2: it needs more than 28 digits, which cannot be held exactly; round it at its source"
    )]
    TooManyDigits,
    /// Out of the range of a double.
    #[error("RB-DECIMAL-3: it is beyond 10^400 or below 10^-400; measure in another unit")]
    OutOfRange,
    /// Division by zero.
    #[error("RB-DECIMAL-4: division by zero; exclude it, as in `total > 0 && bad / total > 0.1`")]
    DivisionByZero,
}

/// An exact decimal number: an integer of at most 28 digits times a power of ten.
///
/// It is always normalized, so that equal numbers are equal values; there is only one zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    // The integer is split in two halves: as one it would make the struct 16 bytes larger.
    high: i64,
    low: u64,
    exponent: i16,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self {
        high: 0,
        low: 0,
        exponent: 0,
    };
    /// One.
    pub const ONE: Self = Self {
        high: 0,
        low: 1,
        exponent: 0,
    };

    /// Returns `mantissa` × 10^`exponent`.
    pub fn new(mantissa: i128, exponent: i32) -> Result<Self, DecimalError> {
        let (mut digits, mut exponent) = (mantissa.unsigned_abs(), exponent);
        if digits == 0 {
            return Ok(Self::ZERO);
        }
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent = exponent.saturating_add(1);
        }
        if digits >= BOUND {
            return Err(DecimalError::TooManyDigits);
        }
        let exponent = i16::try_from(exponent)
            .ok()
            .filter(|it| i32::from(*it).abs() <= MAX_EXPONENT)
            .ok_or(DecimalError::OutOfRange)?;
        let digits = i128::try_from(digits).map_err(|_| DecimalError::TooManyDigits)?;
        let mantissa = if mantissa < 0 { -digits } else { digits };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Self {
            high: (mantissa >> 64) as i64,
            low: mantissa as u64,
            exponent,
        })
    }

    /// Converts a double by its shortest text; NaN and infinities are not numbers.
    pub fn from_f64(value: f64) -> Result<Self, DecimalError> {
        if value.is_finite() {
            format!("{value:e}").parse()
        } else {
            Err(DecimalError::NotANumber)
        }
    }

    /// Returns the nearest double, for charts; never judge by it.
    pub fn to_f64(self) -> f64 {
        // A decimal's text always parses as a double.
        format!("{}e{}", self.mantissa(), self.exponent)
            .parse()
            .unwrap_or(f64::NAN)
    }

    fn mantissa(self) -> i128 {
        (i128::from(self.high) << 64) | i128::from(self.low)
    }

    fn digits(self) -> u128 {
        self.mantissa().unsigned_abs()
    }

    fn exponent(self) -> i32 {
        i32::from(self.exponent)
    }

    /// True if it is below zero.
    pub fn is_negative(self) -> bool {
        self.high < 0
    }

    /// True if it is zero.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Returns the absolute value.
    pub fn abs(self) -> Self {
        if self.is_negative() { -self } else { self }
    }

    /// Returns the exact sum.
    pub fn checked_add(self, other: Self) -> Result<Self, DecimalError> {
        if self.is_zero() {
            return Ok(other);
        }
        if other.is_zero() {
            return Ok(self);
        }
        let (upper, lower) = if self.exponent >= other.exponent {
            (self, other)
        } else {
            (other, self)
        };
        let shift = u32::try_from(upper.exponent() - lower.exponent()).unwrap_or(u32::MAX);
        // The last digit of the lower number is not zero, so a sum that does not fit has too many
        // digits.
        let sum = 10_i128
            .checked_pow(shift)
            .and_then(|power| upper.mantissa().checked_mul(power))
            .and_then(|upper| upper.checked_add(lower.mantissa()))
            .ok_or(DecimalError::TooManyDigits)?;
        Self::new(sum, lower.exponent())
    }

    /// Returns the exact difference.
    pub fn checked_sub(self, other: Self) -> Result<Self, DecimalError> {
        self.checked_add(-other)
    }

    /// Returns the exact product.
    pub fn checked_mul(self, other: Self) -> Result<Self, DecimalError> {
        let (left, right) = (self.digits(), other.digits());
        if left == 0 || right == 0 {
            return Ok(Self::ZERO);
        }
        // Remove the tens that the product gains first, so that one that does not fit really has
        // too many digits and not just trailing zeros.
        let (left, right, tens) = without_tens(left, right);
        let (right, left, more) = without_tens(right, left);
        let product = left
            .checked_mul(right)
            .and_then(|product| i128::try_from(product).ok())
            .ok_or(DecimalError::TooManyDigits)?;
        let negative = self.is_negative() != other.is_negative();
        let exponent = self.exponent() + other.exponent() + tens + more;
        Self::new(if negative { -product } else { product }, exponent)
    }

    /// Returns the quotient, rounded half to even at the twelfth decimal place, or at the 28th
    /// digit if that comes first.
    pub fn checked_div(self, by: Self) -> Result<Self, DecimalError> {
        let (over, under) = (self.digits(), by.digits());
        if under == 0 {
            return Err(DecimalError::DivisionByZero);
        }
        let mut unit = self.exponent() - by.exponent();
        let negative = self.is_negative() != by.is_negative();
        let signed = |quotient: u128, unit: i32| {
            let quotient = i128::try_from(quotient).map_err(|_| DecimalError::TooManyDigits)?;
            Self::new(if negative { -quotient } else { quotient }, unit)
        };
        if unit < -QUOTIENT_PLACES {
            // The quotient, or all but its first digits, lies beyond the last place.
            let places = unit.saturating_add(QUOTIENT_PLACES).unsigned_abs();
            let power = 10_u128.checked_pow(places);
            return match power.and_then(|power| under.checked_mul(power)) {
                Some(under) => signed(
                    half_even(over / under, over % under, under),
                    -QUOTIENT_PLACES,
                ),
                None => Ok(Self::ZERO),
            };
        }
        let (mut quotient, mut rest) = (over / under, over % under);
        while rest != 0 && unit > -QUOTIENT_PLACES && quotient < BOUND / 10 {
            rest *= 10;
            quotient = quotient * 10 + rest / under;
            rest %= under;
            unit -= 1;
        }
        signed(half_even(quotient, rest, under), unit)
    }

    /// Returns the exact remainder of an integer division, with the sign of `self`.
    pub fn checked_rem(self, by: Self) -> Result<Self, DecimalError> {
        let (mut rest, under) = (self.digits(), by.digits());
        if under == 0 {
            return Err(DecimalError::DivisionByZero);
        }
        let mut exponent = self.exponent();
        let shift = exponent - by.exponent();
        if shift >= 0 {
            rest %= under;
            for _ in 0..shift {
                rest = rest * 10 % under;
            }
            exponent = by.exponent();
        } else {
            // If the divisor does not fit it is larger than the number, so the number itself
            // remains.
            let power = 10_u128.checked_pow(shift.unsigned_abs());
            if let Some(under) = power.and_then(|power| under.checked_mul(power)) {
                rest %= under;
            }
        }
        let rest = i128::try_from(rest).map_err(|_| DecimalError::TooManyDigits)?;
        Self::new(if self.is_negative() { -rest } else { rest }, exponent)
    }
}

/// Moves factors of two and five out of the numbers: returns both and the power of ten of their
/// product.
fn without_tens(mut left: u128, mut right: u128) -> (u128, u128, i32) {
    let mut tens = 0;
    while left.is_multiple_of(2) && right.is_multiple_of(5) {
        left /= 2;
        right /= 5;
        tens += 1;
    }
    (left, right, tens)
}

fn half_even(quotient: u128, rest: u128, under: u128) -> u128 {
    let up = match rest.cmp(&(under - rest)) {
        Ordering::Less => false,
        Ordering::Greater => true,
        Ordering::Equal => !quotient.is_multiple_of(2),
    };
    quotient + u128::from(up)
}

/// Returns the number of digits; 1 for zero.
fn length(digits: u128) -> i32 {
    i32::try_from(digits.checked_ilog10().unwrap_or(0)).unwrap_or(0) + 1
}

impl std::ops::Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        let mantissa = -self.mantissa();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Self {
            high: (mantissa >> 64) as i64,
            low: mantissa as u64,
            exponent: self.exponent,
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        // Compare by sign, then by the position of the first digit, then digit by digit.
        let sign = |it: &Self| it.mantissa().signum();
        let first = |it: &Self| length(it.digits()) + it.exponent();
        let aligned = |it: &Self| {
            let missing = MAX_DIGITS.saturating_sub(length(it.digits()).unsigned_abs());
            it.digits() * 10_u128.pow(missing)
        };
        sign(self).cmp(&sign(other)).then_with(|| {
            let larger = match sign(self) {
                0 => Ordering::Equal,
                _ => first(self)
                    .cmp(&first(other))
                    .then_with(|| aligned(self).cmp(&aligned(other))),
            };
            if self.is_negative() {
                larger.reverse()
            } else {
                larger
            }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        // 19 digits always fit.
        Self::new(i128::from(value), 0).unwrap_or(Self::ZERO)
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        // 20 digits always fit.
        Self::new(i128::from(value), 0).unwrap_or(Self::ZERO)
    }
}

impl From<u32> for Decimal {
    fn from(value: u32) -> Self {
        Self::from(u64::from(value))
    }
}

impl From<i32> for Decimal {
    fn from(value: i32) -> Self {
        Self::from(i64::from(value))
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Parses digits with an optional sign, point and exponent: `-12.5`, `.5`, `1e-7`.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(DecimalError::TooManyDigits);
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (number, power) = match unsigned.split_once(['e', 'E']) {
            Some((number, power)) => (number, exponent_of(power)?),
            None => (unsigned, 0),
        };
        let (whole, places) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && places.is_empty() {
            return Err(DecimalError::NotANumber);
        }
        let (mut mantissa, mut zeros) = (0_u128, 0_u32);
        for byte in whole.bytes().chain(places.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(DecimalError::NotANumber);
            }
            // A zero counts only if another digit follows it.
            if byte == b'0' {
                zeros += u32::from(mantissa != 0);
                continue;
            }
            mantissa = 10_u128
                .checked_pow(zeros + 1)
                .and_then(|power| mantissa.checked_mul(power))
                .filter(|shifted| *shifted < BOUND)
                .map(|shifted| shifted + u128::from(byte - b'0'))
                .ok_or(DecimalError::TooManyDigits)?;
            zeros = 0;
        }
        let places = i64::try_from(places.len()).unwrap_or(i64::MAX);
        let exponent = power
            .saturating_sub(places)
            .saturating_add(i64::from(zeros));
        let mantissa = i128::try_from(mantissa).map_err(|_| DecimalError::TooManyDigits)?;
        // Zero stays zero whatever its exponent.
        let exponent = i32::try_from(exponent).unwrap_or(i32::MAX);
        Self::new(if negative { -mantissa } else { mantissa }, exponent)
    }
}

fn exponent_of(text: &str) -> Result<i64, DecimalError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    // An exponent this long is far out of range.
    Ok(text.parse().unwrap_or(i64::from(i32::MAX)))
}

impl fmt::Display for Decimal {
    /// Writes the shortest plain notation, or an exponent if that would be long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits().to_string();
        let (length, exponent) = (length(self.digits()), self.exponent());
        let first = length + exponent;
        let plain_chars = length.max(first).max(length - first);
        let text = if plain_chars > MAX_PLAIN_CHARS {
            let (first_digit, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            format!("{first_digit}{point}{rest}e{}", first - 1)
        } else if exponent >= 0 {
            let zeros = usize::try_from(exponent).unwrap_or(0);
            format!("{digits}{:0<zeros$}", "")
        } else if first > 0 {
            let (whole, places) = digits.split_at(usize::try_from(first).unwrap_or(0));
            format!("{whole}.{places}")
        } else {
            let zeros = usize::try_from(-first).unwrap_or(0);
            format!("0.{:0<zeros$}{digits}", "")
        };
        f.pad_integral(!self.is_negative(), "", &text)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
