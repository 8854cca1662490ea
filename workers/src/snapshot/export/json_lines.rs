//! Rows as JSON lines, in the form in which a calculator's program answers.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{decimal, values};
use crate::snapshot::calculator::MetricInfo;
use crate::snapshot::row::{Row, RowFields};
use crate::snapshot::values::Value;

/// Writes one JSON object per line.
pub(super) struct JsonLines<W> {
    out: W,
    metrics: Vec<MetricInfo>,
}

#[derive(Serialize)]
struct Line<'r> {
    deal_id: &'r str,
    deal_type: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Figures<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'r str>,
    digest: String,
}

/// The values of a row by metric, in the order of the manifest.
struct Figures<'r> {
    row: &'r Row,
    metrics: &'r [MetricInfo],
}

/// A value as JSON: a whole number as one, money as a decimal text.
#[derive(Serialize)]
#[serde(untagged)]
enum Figure<'r> {
    Whole(i64),
    Money(String),
    Text(Option<&'r str>),
}

impl Serialize for Figures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.metrics.len()))?;
        for (metric, value) in values(self.row, self.metrics).into_iter().flatten() {
            let figure = match value {
                Value::Text(text) => Figure::Text(text),
                Value::Number(number) => match decimal(number, metric) {
                    text if text.contains('.') => Figure::Money(text),
                    _ => Figure::Whole(number),
                },
            };
            map.serialize_entry(&metric.name, &figure)?;
        }
        map.end()
    }
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(out: W, metrics: &[MetricInfo]) -> Self {
        Self {
            out,
            metrics: metrics.to_vec(),
        }
    }

    pub(super) fn push(&mut self, row: &Row) -> io::Result<()> {
        let metrics = &self.metrics;
        let line = Line {
            deal_id: &row.deal_id,
            deal_type: &row.deal_type,
            metrics: row.values().map(|_| Figures { row, metrics }),
            error: row.error(),
            digest: hex::encode(row.digest),
        };
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")
    }

    pub(super) fn into_inner(self) -> W {
        self.out
    }
}
