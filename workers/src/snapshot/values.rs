//! What a calculator returns for a deal: numbers, and separately texts.

use rollbook_ledger::runbook::calculator::MAX_METRIC_TEXT_BYTES;

use super::calculator::MetricInfo;

/// The values of one deal. Numbers and texts are separate, so that a model without texts pays
/// nothing for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The values of the numeric metrics, in the order of the manifest.
    pub numbers: Vec<i64>,
    /// The values of the text metrics, in the order of the manifest; `None` is NULL.
    pub texts: Vec<Option<String>>,
}

/// One value of a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number in the metric's unit.
    Number(i64),
    /// A text, which is only tested for equality; `None` is NULL.
    Text(Option<&'a str>),
}

impl<'a> Value<'a> {
    /// The number, if it is one.
    pub fn number(self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(_) => None,
        }
    }

    /// The text, if it is one and not NULL.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Number(_) => None,
            Self::Text(text) => text,
        }
    }
}

impl From<Vec<i64>> for Values {
    fn from(numbers: Vec<i64>) -> Self {
        Self {
            numbers,
            texts: Vec::new(),
        }
    }
}

impl Values {
    /// The value of the metric at an index of the manifest.
    pub fn get(&self, metrics: &[MetricInfo], place: usize) -> Option<Value<'_>> {
        let before = metrics.get(..place)?;
        let texts = before.iter().filter(|metric| metric.is_text()).count();
        if metrics.get(place)?.is_text() {
            let text = self.texts.get(texts)?;
            return Some(Value::Text(text.as_deref()));
        }
        self.numbers.get(place - texts).copied().map(Value::Number)
    }
}

/// Refuses a text too long to be a metric's value.
pub(super) fn checked_text(text: String) -> Result<String, String> {
    if text.len() > MAX_METRIC_TEXT_BYTES {
        return Err(format!(
            "the text has {} bytes, over the limit of {MAX_METRIC_TEXT_BYTES}; shorten or hash it",
            text.len()
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_the_place_of_their_metric() {
        let metrics = [("a", "text"), ("b", "cents"), ("c", "text"), ("d", "count")];
        let metrics = metrics.map(|(name, unit)| MetricInfo {
            name: name.to_owned(),
            unit: unit.to_owned(),
        });
        let values = Values {
            numbers: vec![7, 8],
            texts: vec![Some("x".to_owned()), None],
        };
        let found: Vec<_> = (0..5).map(|place| values.get(&metrics, place)).collect();
        let expected = [
            Some(Value::Text(Some("x"))),
            Some(Value::Number(7)),
            Some(Value::Text(None)),
            Some(Value::Number(8)),
            None,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_text_is_bounded_in_bytes() {
        let longest = "é".repeat(MAX_METRIC_TEXT_BYTES / 2);
        assert_eq!(checked_text(longest.clone()), Ok(longest.clone()));
        let error = checked_text(format!("{longest}x"));
        assert!(error.is_err_and(|error| error.contains("1025 bytes")));
    }
}
