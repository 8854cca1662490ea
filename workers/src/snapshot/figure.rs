//! Reads figures that another system wrote as decimals, without rounding.

use rollbook_ledger::runbook::calculator::MetricUnit;

/// How many characters of a refused text its message quotes.
const SHOWN_CHARS: usize = 40;

/// Decimal places that a decimal in a metric of this unit may have; `None` for a text.
pub(super) fn places(unit: MetricUnit) -> Option<u32> {
    match unit {
        MetricUnit::Cents => Some(2),
        MetricUnit::Count => Some(0),
        MetricUnit::Text => None,
    }
}

/// Reads a decimal text as a whole number of units, `10^places` of which make one: with two places
/// `12.5` is 1250.
///
/// Further places are refused unless they are zeros; exponents, `NaN` and infinities always are.
pub(super) fn parse(text: &str, places: u32) -> Result<i64, String> {
    let shown = || text.chars().take(SHOWN_CHARS).collect::<String>();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(format!("{:?} is not a decimal number", shown()));
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > places as usize {
        return Err(format!(
            "{:?} has more than {places} decimal places",
            shown()
        ));
    }
    let too_large = || format!("{:?} is too large", shown());
    let mut value = 0_i64;
    let padding = std::iter::repeat_n(b'0', places as usize - fraction.len());
    for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
        // Accumulated as a negative number, because there is one more negative than positive value.
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(i64::from(digit - b'0')))
            .ok_or_else(too_large)?;
    }
    if negative {
        return Ok(value);
    }
    value.checked_neg().ok_or_else(too_large)
}

/// Writes a whole number of units as a decimal text, `10^places` of which make one: with two places
/// 1250 is `12.50`.
pub(super) fn format(value: i64, places: u32) -> String {
    let Some(scale) = 10_u64.checked_pow(places).filter(|scale| *scale > 1) else {
        return value.to_string();
    };
    let sign = if value < 0 { "-" } else { "" };
    let size = value.unsigned_abs();
    let width = places as usize;
    format!("{sign}{}.{:0width$}", size / scale, size % scale)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_refused() {
        for (text, places, value) in [
            ("0", 2, 0),
            ("12", 2, 1200),
            ("12.5", 2, 1250),
            ("-0.01", 2, -1),
            ("0.10000", 2, 10),
            ("92233720368547758.07", 2, i64::MAX),
            ("-92233720368547758.08", 2, i64::MIN),
            ("7.0", 0, 7),
        ] {
            assert_eq!(parse(text, places), Ok(value), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1e3",
            "NaN",
            "inf",
            "0.001",
            "+1",
            " 1",
            "1,5",
            "--1",
            "92233720368547758.08",
        ] {
            assert!(parse(text, 2).is_err(), "{text}");
        }
        assert!(parse("7.5", 0).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(value in any::<i64>()) {
            prop_assert_eq!(parse(&format(value, 2), 2), Ok(value));
            prop_assert_eq!(parse(&format(value, 0), 0), Ok(value));
        }

        #[test]
        fn no_text_panics(text in ".{0,30}") {
            let _ = parse(&text, 2);
        }
    }
}
