//! Writes all rows of a snapshot in a format for other programs, in deal order.
//!
//! One part at a time is in memory, and its digest is verified before any of its rows is written.
//! Money is never a floating-point number: Parquet holds whole cents, as the parts do; CSV and JSON
//! lines hold decimal texts with two places.

mod csv;
mod json_lines;

use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::runbook::calculator::MetricUnit;

use super::calculator::MetricInfo;
use super::figure;
use super::parquet::PartWriter;
use super::row::{Row, RowFields};
use super::values::Value;
use super::{Snapshot, SnapshotError};
use csv::Csv;
use json_lines::JsonLines;

/// A format of exported rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One Parquet file with the columns of a part.
    Parquet,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON object per line.
    JsonLines,
}

/// Writes every row of a snapshot to `out`, in key order, and returns their number. `to` says in
/// errors where that is. On success everything is flushed; after an error `out` holds an unfinished
/// file.
pub async fn export(
    snapshot: &Snapshot,
    store: &EvidenceStore,
    format: Format,
    out: impl Write + Send,
    to: &str,
) -> Result<u64, SnapshotError> {
    let (out, failure) = Watched::new(out);
    let written = write(snapshot, store, format, BufWriter::new(out), to).await;
    // The Parquet writer keeps only the words of an error.
    let failed = failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match (written, failed) {
        (Err(_), Some(reason)) => Err(export_error(to, reason)),
        (written, _) => written,
    }
}

async fn write(
    snapshot: &Snapshot,
    store: &EvidenceStore,
    format: Format,
    out: impl Write + Send,
    to: &str,
) -> Result<u64, SnapshotError> {
    let mut writer = RowWriter::new(format, out, &snapshot.manifest.metrics, to)?;
    let mut rows = 0;
    for part in 0..snapshot.manifest.parts.len() {
        for row in snapshot.read_rows(store, part).await? {
            writer.push(&row, to)?;
            rows += 1;
        }
    }
    writer.finish(to)?;
    Ok(rows)
}

fn export_error(to: &str, reason: io::Error) -> SnapshotError {
    SnapshotError::Export {
        to: to.to_owned(),
        reason,
    }
}

/// A writer of rows in one format.
enum RowWriter<W: Write + Send> {
    Parquet(Box<PartWriter<W>>),
    Csv(Csv<W>),
    JsonLines(JsonLines<W>),
}

impl<W: Write + Send> RowWriter<W> {
    fn new(
        format: Format,
        out: W,
        metrics: &[MetricInfo],
        to: &str,
    ) -> Result<Self, SnapshotError> {
        Ok(match format {
            Format::Parquet => Self::Parquet(Box::new(PartWriter::at(out, metrics)?)),
            Format::Csv => {
                Self::Csv(Csv::new(out, metrics).map_err(|error| export_error(to, error))?)
            }
            Format::JsonLines => Self::JsonLines(JsonLines::new(out, metrics)),
        })
    }

    fn push(&mut self, row: &Row, to: &str) -> Result<(), SnapshotError> {
        match self {
            Self::Parquet(writer) => writer.push(row),
            Self::Csv(writer) => writer.push(row).map_err(|error| export_error(to, error)),
            Self::JsonLines(writer) => writer.push(row).map_err(|error| export_error(to, error)),
        }
    }

    fn finish(self, to: &str) -> Result<(), SnapshotError> {
        let mut out = match self {
            Self::Parquet(writer) => writer.into_inner()?,
            Self::Csv(writer) => writer.into_inner(),
            Self::JsonLines(writer) => writer.into_inner(),
        };
        out.flush().map_err(|error| export_error(to, error))
    }
}

/// The values of a row that has figures, in the order of the manifest; `None` for an error row.
fn values<'r>(
    row: &'r Row,
    metrics: &'r [MetricInfo],
) -> Option<impl Iterator<Item = (&'r MetricInfo, Value<'r>)>> {
    let values = row.values()?;
    let (mut numbers, mut texts) = (row.numbers(), values.texts.iter());
    Some(metrics.iter().map_while(move |metric| {
        let value = match metric.is_text() {
            true => Value::Text(texts.next()?.as_deref()),
            false => Value::Number(numbers.next()?),
        };
        Some((metric, value))
    }))
}

/// A number of a metric as text: money with two decimal places, counts without.
fn decimal(number: i64, metric: &MetricInfo) -> String {
    let unit = MetricUnit::ALL
        .into_iter()
        .find(|unit| unit.as_str() == metric.unit);
    figure::format(number, unit.and_then(figure::places).unwrap_or_default())
}

fn status(row: &Row) -> &'static str {
    match row.is_error() {
        true => "error",
        false => "success",
    }
}

/// Passes bytes on and remembers why they could not be written.
struct Watched<W> {
    out: W,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl<W: Write> Watched<W> {
    fn new(out: W) -> (Self, Arc<Mutex<Option<io::Error>>>) {
        let failure = Arc::default();
        let watched = Self {
            out,
            failure: Arc::clone(&failure),
        };
        (watched, failure)
    }

    fn checked<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() != io::ErrorKind::Interrupted
        {
            let copy = io::Error::new(error.kind(), error.to_string());
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(copy);
        }
        result
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.checked(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.checked(result)
    }
}

#[cfg(test)]
mod tests;
