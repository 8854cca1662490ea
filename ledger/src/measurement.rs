//! Reads and writes the number of a measurement.

use rollbook_proto::v1::Measurement;

use crate::decimal::Decimal;

/// Returns the measured number; `None` means no data. Older events hold only a double, which counts
/// as the decimal of its shortest text.
pub fn number(measurement: &Measurement) -> Option<Decimal> {
    if measurement.incomplete {
        None
    } else if measurement.decimal.is_empty() {
        Decimal::from_f64(measurement.value?).ok()
    } else {
        measurement.decimal.parse().ok()
    }
}

/// Sets the number: exactly, and as the nearest double for older programs.
#[must_use]
pub fn with_number(measurement: Measurement, number: Option<Decimal>) -> Measurement {
    Measurement {
        value: number.map(Decimal::to_f64),
        decimal: number.map(|number| number.to_string()).unwrap_or_default(),
        ..measurement
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_number_counts_and_where_there_is_none_the_double() {
        let double = |value| Measurement {
            value: Some(value),
            ..Measurement::default()
        };
        assert_eq!(number(&double(0.1)).unwrap().to_string(), "0.1");
        assert_eq!(number(&double(f64::NAN)), None);
        let large: Decimal = "9007199254740993".parse().unwrap();
        let exact = with_number(Measurement::default(), Some(large));
        assert_eq!(exact.value, Some(9_007_199_254_740_992.0));
        assert_eq!(number(&exact), Some(large));
        let incomplete = Measurement {
            incomplete: true,
            ..exact
        };
        assert_eq!(number(&incomplete), None);
    }
}
