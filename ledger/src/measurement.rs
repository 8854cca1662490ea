//! The number of a recorded measurement.

use rollbook_proto::v1::Measurement;

use crate::decimal::Decimal;

/// The number that was measured; `None` is no data. Events of before exact numbers hold a double:
/// it counts as the decimal of its shortest text.
pub fn number(measurement: &Measurement) -> Option<Decimal> {
    if measurement.incomplete {
        None
    } else if measurement.decimal.is_empty() {
        Decimal::from_f64(measurement.value?).ok()
    } else {
        measurement.decimal.parse().ok()
    }
}

/// Puts a number into a measurement: exactly, and as the nearest double for programs of before.
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
