//! Rows as comma-separated values.
//!
//! A spreadsheet runs a cell that begins like a formula, and the texts of deals are foreign. Such a
//! text therefore gets an apostrophe in front, and so does one that begins with an apostrophe: to
//! get every text back exactly, remove one leading apostrophe.

use std::io::{self, Write};

use super::{decimal, status, values};
use crate::snapshot::calculator::MetricInfo;
use crate::snapshot::row::{Row, RowFields};
use crate::snapshot::values::Value;

/// The columns before those of the metrics.
const FIRST: [&str; 4] = ["deal_id", "deal_type", "status", "error"];
/// The column after them.
const LAST: &str = "digest";

/// Writes a header and rows of comma-separated values.
pub(super) struct Csv<W> {
    out: W,
    metrics: Vec<MetricInfo>,
    /// The line being built.
    line: String,
}

impl<W: Write> Csv<W> {
    /// Writes the header.
    pub(super) fn new(out: W, metrics: &[MetricInfo]) -> io::Result<Self> {
        let mut csv = Self {
            out,
            metrics: metrics.to_vec(),
            line: String::new(),
        };
        let names = metrics.iter().map(|metric| metric.name.as_str());
        for name in FIRST.into_iter().chain(names).chain([LAST]) {
            csv.text(Some(name));
        }
        csv.end_line()?;
        Ok(csv)
    }

    pub(super) fn push(&mut self, row: &Row) -> io::Result<()> {
        self.text(Some(&row.deal_id));
        self.text(Some(&row.deal_type));
        self.text(Some(status(row)));
        self.text(row.error());
        let metrics = std::mem::take(&mut self.metrics);
        match values(row, &metrics) {
            Some(values) => {
                for (metric, value) in values {
                    match value {
                        Value::Number(number) => self.cell(&decimal(number, metric)),
                        Value::Text(text) => self.text(text),
                    }
                }
            }
            None => metrics.iter().for_each(|_| self.text(None)),
        }
        self.metrics = metrics;
        self.cell(&hex::encode(row.digest));
        self.end_line()
    }

    pub(super) fn into_inner(self) -> W {
        self.out
    }

    /// Adds a text that may be anything. NULL is nothing at all, an empty text two quotes.
    fn text(&mut self, text: Option<&str>) {
        match text {
            None => self.cell(""),
            Some("") => self.cell("\"\""),
            Some(text) => self.cell(&escaped(text)),
        }
    }

    /// Adds a cell as it is to be written.
    fn cell(&mut self, text: &str) {
        self.line.push_str(text);
        self.line.push(',');
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.pop();
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }
}

/// A text that no spreadsheet takes for a formula, quoted if it must be.
fn escaped(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\'']);
    let guard = if formula && !is_whole_number(text) {
        "'"
    } else {
        ""
    };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{guard}{}\"", text.replace('"', "\"\"")),
        false => format!("{guard}{text}"),
    }
}

/// Whether a text is an integer id such as `-7`, which is no formula.
fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_never_become_formulas() {
        for (text, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            (
                "=HYPERLINK(\"x\",\"y\")",
                "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"",
            ),
            ("+1", "'+1"),
            ("-1+cmd", "'-1+cmd"),
            ("-7", "-7"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("'quoted", "''quoted"),
        ] {
            assert_eq!(escaped(text), written, "{text:?}");
        }
    }
}
