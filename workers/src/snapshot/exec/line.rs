//! The lines exchanged with a calculator's program. Pure.

use std::fmt;

use rollbook_ledger::runbook::calculator::MetricDeclaration;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::snapshot::calculator::RawDeal;
use crate::snapshot::figure;
use crate::snapshot::values::{Values, checked_text};

/// How many characters of a program's output an error quotes.
const SHOWN_CHARS: usize = 200;

/// A program's answer: figures or an error, and optionally the id of the deal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    deal_id: Option<String>,
    #[serde(default)]
    metrics: Option<Metrics>,
    #[serde(default)]
    error: Option<String>,
}

/// The figures an answer gives by name.
#[derive(Default)]
struct Metrics {
    given: serde_json::Map<String, Value>,
    /// A name given twice: nothing says which of its figures is meant, so the answer is refused.
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;

        impl<'de> Visitor<'de> for Named {
            type Value = Metrics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of figures")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metrics, A::Error> {
                let mut metrics = Metrics::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if metrics.given.contains_key(&name) {
                        metrics.twice.get_or_insert(name);
                    } else {
                        metrics.given.insert(name, value);
                    }
                }
                Ok(metrics)
            }
        }

        deserializer.deserialize_map(Named)
    }
}

/// What an answer means for its deal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The figures in declared order, or the error the program reported.
    Said(Result<Values, String>),
    /// Not a valid answer. The program may be out of step, so it cannot be used again.
    Garbage(String),
}

/// The request line for a deal, including its line end. The inventory is sent as it was read.
///
/// An inventory that is not a JSON array is an error of the deal, and nothing is sent.
pub(super) fn request(deal: &RawDeal, deal_types: bool) -> Result<Vec<u8>, String> {
    let refuse = |reason: String| format!("the inventory is no JSON array: {reason}");
    let inventory = std::str::from_utf8(&deal.inventory).map_err(|e| refuse(e.to_string()))?;
    serde_json::from_str::<IgnoredAny>(inventory).map_err(|e| refuse(e.to_string()))?;
    if !inventory.trim_start().starts_with('[') {
        return Err(refuse("it is another kind of value".to_owned()));
    }
    let id = serde_json::to_string(&deal.id).map_err(|e| e.to_string())?;
    let deal_type = deal.deal_type.as_deref().filter(|_| deal_types);
    let deal_type = serde_json::to_string(&deal_type).map_err(|e| e.to_string())?;
    let mut line =
        format!("{{\"deal_id\":{id},\"deal_type\":{deal_type},\"inventory\":").into_bytes();
    // In valid JSON a raw line end can stand only between values; inside a string it must be
    // escaped.
    line.extend(inventory.bytes().map(|b| match b {
        b'\n' | b'\r' => b' ',
        b => b,
    }));
    line.extend_from_slice(b"}\n");
    Ok(line)
}

/// Parses an answer. `redact` removes secrets from the texts of metrics.
pub(super) fn reply(
    line: &[u8],
    deal: &RawDeal,
    declared: &[MetricDeclaration],
    redact: &dyn Fn(&str) -> String,
) -> Reply {
    let answer: Answer = match serde_json::from_slice(line) {
        Ok(answer) => answer,
        Err(error) => return Reply::Garbage(format!("{}: {error}", shown(line))),
    };
    if let Some(id) = &answer.deal_id
        && *id != deal.id
    {
        return Reply::Garbage(format!("it speaks of deal {id:?}"));
    }
    match (answer.metrics, answer.error) {
        (Some(metrics), None) => Reply::Said(values(metrics, declared, redact)),
        (None, Some(error)) => Reply::Said(Err(error)),
        _ => Reply::Garbage(format!(
            "{}: one of `metrics` and `error` is wanted",
            shown(line)
        )),
    }
}

fn values(
    metrics: Metrics,
    declared: &[MetricDeclaration],
    redact: &dyn Fn(&str) -> String,
) -> Result<Values, String> {
    if let Some(name) = metrics.twice {
        return Err(format!("the program gave {name:?} twice"));
    }
    let mut metrics = metrics.given;
    let mut values = Values::from(Vec::with_capacity(declared.len()));
    for metric in declared {
        let name = &metric.name;
        let value = metrics
            .remove(name)
            .ok_or_else(|| format!("the program gave no {name}"))?;
        let wrong = |error: String| format!("{name}: {error}");
        match figure::places(metric.unit) {
            None => values.texts.push(text_of(&value, redact).map_err(wrong)?),
            Some(places) => {
                let number = figure_of(&value, places).map_err(wrong)?;
                values.numbers.push(number);
            }
        }
    }
    match metrics.keys().next() {
        None => Ok(values),
        Some(name) => Err(format!(
            "the program gave {name:?}, which is not declared under `metrics`"
        )),
    }
}

/// Reads a figure: a number is in the metric's unit; a text is a decimal, for cents an amount of
/// the currency.
fn figure_of(value: &Value, places: u32) -> Result<i64, String> {
    match value {
        Value::Number(number) => number.as_i64().ok_or_else(|| {
            format!("{number} is no whole number of 64 bits; write decimals as text: \"12.50\"")
        }),
        Value::String(text) => figure::parse(text, places),
        _ => Err("it is neither a number nor a text".to_owned()),
    }
}

fn text_of(value: &Value, redact: &dyn Fn(&str) -> String) -> Result<Option<String>, String> {
    match value {
        Value::String(text) => checked_text(redact(text)).map(Some),
        Value::Null => Ok(None),
        _ => Err("it is neither a text nor null".to_owned()),
    }
}

/// The beginning of a line in printable form.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    format!("{:?}", text.chars().take(SHOWN_CHARS).collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use rollbook_ledger::runbook::calculator::MetricUnit;

    use super::*;

    fn deal(inventory: &str) -> RawDeal {
        RawDeal {
            id: "d\"\n1".to_owned(),
            deal_type: Some("circle".to_owned()),
            inventory: Bytes::from(inventory.to_owned()),
        }
    }

    fn declared() -> Vec<MetricDeclaration> {
        [("price", MetricUnit::Cents), ("items", MetricUnit::Count)]
            .map(|(name, unit)| MetricDeclaration {
                name: name.to_owned(),
                unit,
            })
            .to_vec()
    }

    #[test]
    fn a_request_is_one_line_whatever_the_deal_holds() {
        let line = request(&deal("[\n {\"a\": \"\\n\"}\r\n]"), true).unwrap();
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["deal_id"], "d\"\n1");
        assert_eq!(value["deal_type"], "circle");
        assert_eq!(value["inventory"][0]["a"], "\n");
        let untyped: Value = serde_json::from_slice(&request(&deal("[]"), false).unwrap()).unwrap();
        assert!(untyped["deal_type"].is_null());
        for broken in ["", "{}", "[1,]", "[NaN]", "[]]"] {
            assert!(request(&deal(broken), true).is_err(), "{broken}");
        }
    }

    #[test]
    fn answers_are_figures_refusals_or_garbage() {
        let said = |line: &str| reply(line.as_bytes(), &deal("[]"), &declared(), &str::to_owned);
        for (line, figures) in [
            (r#"{"metrics":{"price":1250,"items":3}}"#, vec![1250, 3]),
            (r#"{"metrics":{"items":"3","price":"12.5"}}"#, vec![1250, 3]),
            (
                r#"{"deal_id":"d\"\n1","metrics":{"items":-1,"price":"-0.01"}}"#,
                vec![-1, -1],
            ),
        ] {
            assert_eq!(said(line), Reply::Said(Ok(figures.into())), "{line}");
        }
        for (line, error) in [
            (r#"{"error":"no such deal"}"#, "no such deal"),
            (r#"{"metrics":{"price":1}}"#, "no items"),
            (r#"{"metrics":{"price":1,"items":1,"more":1}}"#, "more"),
            (
                r#"{"metrics":{"price":1,"items":1,"price":1}}"#,
                "\"price\" twice",
            ),
            (
                r#"{"metrics":{"items":1,"price":1,"\u0070rice":2}}"#,
                "\"price\" twice",
            ),
            (
                r#"{"metrics":{"price":12.5,"items":1}}"#,
                "write decimals as text",
            ),
            (r#"{"metrics":{"price":null,"items":1}}"#, "neither"),
            (r#"{"metrics":{"price":1,"items":"1.5"}}"#, "decimal places"),
        ] {
            match said(line) {
                Reply::Said(Err(text)) => assert!(text.contains(error), "{line}: {text}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        for line in [
            "",
            "hello",
            "{}",
            "[]",
            r#"{"deal_id":"2","error":"x"}"#,
            r#"{"metrics":{},"error":"x"}"#,
            r#"{"metric":{}}"#,
            r#"{"metrics":[]}"#,
            r#"{"error":"x","error":"x"}"#,
        ] {
            assert!(matches!(said(line), Reply::Garbage(_)), "{line}");
        }
    }

    #[test]
    fn texts_are_texts_or_null_and_secrets_are_taken_out() {
        let mut declared = declared();
        declared.push(MetricDeclaration {
            name: "state".to_owned(),
            unit: MetricUnit::Text,
        });
        let said = |state: &str| {
            let line = format!(r#"{{"metrics":{{"price":1,"items":2,"state":{state}}}}}"#);
            let redact = |text: &str| text.replace("hush", "[redacted]");
            match reply(line.as_bytes(), &deal("[]"), &declared, &redact) {
                Reply::Said(said) => said,
                other => panic!("{other:?}"),
            }
        };
        for (state, text) in [
            ("null", None),
            ("\"\"", Some("")),
            (r#""a\n\"b\" \u00e9\ud83d\ude00" "#, Some("a\n\"b\" é😀")),
            (r#""so hush!" "#, Some("so [redacted]!")),
        ] {
            let texts = vec![text.map(str::to_owned)];
            let numbers = vec![1, 2];
            assert_eq!(said(state), Ok(Values { numbers, texts }), "{state}");
        }
        let long = format!("\"{}\"", "x".repeat(1025));
        for (state, reason) in [
            ("1", "neither a text nor null"),
            ("[]", "neither a text nor null"),
            (&long, "1025 bytes"),
        ] {
            let error = said(state).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = reply(&line, &deal("[]"), &declared(), &str::to_owned);
        }
    }
}
