//! Stores the differences as Parquet pages of evidence: one row per differing figure, in key order.
//!
//! Columns: `deal_id`, `deal_type`, `change`, `deal_class`, `metric`, `before`, `after`, `class`,
//! `rule`, `threshold`, `error_before`, `error_after`; where the snapshots have texts also
//! `before_text` and `after_text`, following `after`. A deal that is missing, added or in error has
//! one row, whose metric is `deal` or `status`. Within a deal, texts come after figures.

mod read;

use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::{ColumnPath, Type};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::CompareError;
use super::judge::Judge;
use super::merge::{Change, ERROR_THRESHOLD, MISSING_THRESHOLD, RowDifference, Sink};
use super::rules::Class;
use super::tally::{ERROR_RULE, MISSING_RULE};

use crate::snapshot::parquet::write_column;

pub use read::{DifferenceRow, RegressionPage, read_page, regressions};

/// The media type of a page.
pub const PAGE_MEDIA_TYPE: &str = "application/vnd.apache.parquet";
/// Rows per row group.
const GROUP_ROWS: usize = 8_192;
/// A page is closed when it has this many rows; the rows of one deal are never split.
const PAGE_ROWS: u64 = 131_072;

/// One page of differences: a Parquet file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferencePage {
    /// The page's address in the evidence store.
    pub sha256: String,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// Rows, one per differing figure.
    pub rows: u64,
    /// Number of deals.
    pub deals: u64,
    /// Deals with a regression.
    pub regressions: u64,
    /// The first deal id, in key order.
    pub first_id: String,
    /// The last deal id.
    pub last_id: String,
}

/// The text columns in order; the values before and after stand between the fifth and the sixth.
const TEXTS: [&str; 10] = [
    "deal_id",
    "deal_type",
    "change",
    "deal_class",
    "metric",
    "class",
    "rule",
    "threshold",
    "error_before",
    "error_after",
];
/// Columns with few distinct values, which are dictionary-encoded.
const DICTIONARIES: [&str; 7] = [
    "deal_type",
    "change",
    "deal_class",
    "metric",
    "class",
    "rule",
    "threshold",
];

fn schema(texts: bool) -> Result<Arc<Type>, ParquetError> {
    let text = |name: &str| {
        let repetition = if name.starts_with("error") || name.ends_with("_text") {
            Repetition::OPTIONAL
        } else {
            Repetition::REQUIRED
        };
        Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
            .with_repetition(repetition)
            .with_logical_type(Some(LogicalType::String))
            .build()
            .map(Arc::new)
    };
    let figure = |name: &str| {
        Type::primitive_type_builder(name, Physical::INT64)
            .with_repetition(Repetition::OPTIONAL)
            .build()
            .map(Arc::new)
    };
    let mut fields = Vec::new();
    for name in TEXTS {
        if name == "class" {
            fields.extend([figure("before")?, figure("after")?]);
            if texts {
                fields.extend([text("before_text")?, text("after_text")?]);
            }
        }
        fields.push(text(name)?);
    }
    let schema = Type::group_type_builder("difference")
        .with_fields(fields)
        .build()?;
    Ok(Arc::new(schema))
}

fn properties() -> Result<Arc<WriterProperties>, ParquetError> {
    let builder = WriterProperties::builder()
        .set_created_by("rollbook".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None);
    let builder = DICTIONARIES.iter().fold(builder, |builder, name| {
        builder.set_column_dictionary_enabled(ColumnPath::from(*name), true)
    });
    Ok(Arc::new(builder.build()))
}

fn encode_error(error: &ParquetError) -> CompareError {
    CompareError::Encode {
        reason: error.to_string(),
    }
}

/// A finished page: the file, and its entry, which has no address yet.
pub(super) type Page = (Bytes, DifferencePage);

/// Writes differences into pages, with one page in memory.
pub(super) struct PageWriter<F> {
    /// Called with each full page.
    full: F,
    /// Whether the page has columns for texts.
    texts: bool,
    file: Option<SerializedFileWriter<Vec<u8>>>,
    entry: DifferencePage,
    rows: Columns,
    names: Names,
}

/// Interns texts that occur repeatedly.
#[derive(Default)]
struct Names {
    metrics: Vec<ByteArray>,
    rules: Vec<(ByteArray, ByteArray)>,
    deal_type: (String, ByteArray),
}

#[derive(Default)]
struct Columns {
    deals: Vec<[ByteArray; 2]>,
    /// The deal, its change and class, and the finding for each row.
    rows: Vec<EncodedRow>,
}

struct EncodedRow {
    deal: usize,
    change: Change,
    deal_class: Class,
    metric: ByteArray,
    figures: Option<(i64, i64)>,
    texts: [Option<ByteArray>; 2],
    class: Class,
    rule: ByteArray,
    threshold: ByteArray,
    error_before: Option<ByteArray>,
    error_after: Option<ByteArray>,
}

impl<F: FnMut(Page) -> Result<(), CompareError>> PageWriter<F> {
    /// Passes each full page to `full`; `texts` says whether any metric is a text.
    pub(super) fn new(texts: bool, full: F) -> Self {
        Self {
            full,
            texts,
            file: None,
            entry: empty(),
            rows: Columns::default(),
            names: Names::default(),
        }
    }

    /// Returns the last page, if it has any rows.
    pub(super) fn finish(mut self) -> Result<Option<Page>, CompareError> {
        self.close()
    }

    fn close(&mut self) -> Result<Option<Page>, CompareError> {
        if self.entry.rows == 0 {
            return Ok(None);
        }
        self.flush()?;
        let Some(file) = self.file.take() else {
            return Ok(None);
        };
        let bytes = file.into_inner().map_err(|error| encode_error(&error))?;
        let mut entry = std::mem::replace(&mut self.entry, empty());
        entry.size_bytes = bytes.len() as u64;
        Ok(Some((Bytes::from(bytes), entry)))
    }

    fn flush(&mut self) -> Result<(), CompareError> {
        if self.rows.rows.is_empty() {
            return Ok(());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => schema(self.texts)
                .and_then(|schema| SerializedFileWriter::new(Vec::new(), schema, properties()?))
                .map_err(|error| encode_error(&error))?,
        };
        let file = self.file.insert(file);
        let written = file.next_row_group().and_then(|mut group| {
            self.rows.write(&mut group, self.texts)?;
            group.close().map(|_| ())
        });
        self.rows.rows.clear();
        self.rows.deals.clear();
        written.map_err(|error| encode_error(&error))
    }

    fn type_name(&mut self, deal_type: &str) -> ByteArray {
        if self.names.deal_type.0 != deal_type {
            self.names.deal_type = (deal_type.to_owned(), array(deal_type));
        }
        self.names.deal_type.1.clone()
    }
}

impl<F: FnMut(Page) -> Result<(), CompareError>> Sink for PageWriter<F> {
    fn take(
        &mut self,
        difference: &RowDifference<'_>,
        judge: &Judge<'_>,
    ) -> Result<(), CompareError> {
        if self.names.metrics.is_empty() {
            self.names.metrics = judge
                .metrics()
                .iter()
                .map(|metric| array(&metric.name))
                .collect();
            let rules = (0..judge.rules()).map(Some).chain([None]);
            let described = rules.map(|rule| judge.describe(rule));
            self.names.rules = described
                .map(|(id, threshold)| (array(id), array(threshold)))
                .collect();
        }
        let deal = self.rows.deals.len();
        let deal_type = self.type_name(difference.deal_type);
        self.rows.deals.push([array(difference.deal_id), deal_type]);
        let row = |metric, figures, class, rule: (ByteArray, ByteArray)| EncodedRow {
            deal,
            change: difference.change,
            deal_class: difference.class,
            metric,
            figures,
            texts: [None, None],
            class,
            rule: rule.0,
            threshold: rule.1,
            error_before: difference.error_before.map(array),
            error_after: difference.error_after.map(array),
        };
        let rows = &mut self.rows.rows;
        let had = rows.len();
        let last = self.names.rules.len().saturating_sub(1);
        for finding in difference.findings {
            let metric = self.names.metrics.get(finding.metric);
            let rule = self.names.rules.get(finding.rule.unwrap_or(last));
            rows.push(row(
                metric.cloned().unwrap_or_default(),
                Some((finding.before, finding.after)),
                finding.class,
                rule.cloned().unwrap_or_default(),
            ));
        }
        for finding in difference.texts {
            let metric = self.names.metrics.get(finding.metric);
            let rule = self.names.rules.get(finding.rule.unwrap_or(last));
            let text = |text: &Option<String>| text.as_deref().map(array);
            rows.push(EncodedRow {
                texts: [text(&finding.before), text(&finding.after)],
                ..row(
                    metric.cloned().unwrap_or_default(),
                    None,
                    finding.class,
                    rule.cloned().unwrap_or_default(),
                )
            });
        }
        if let Some((metric, rule, threshold)) = whole_deal(difference.change) {
            let rule = (array(rule), array(threshold));
            rows.push(row(array(metric), None, difference.class, rule));
        }
        let entry = &mut self.entry;
        if entry.deals == 0 {
            difference.deal_id.clone_into(&mut entry.first_id);
        }
        difference.deal_id.clone_into(&mut entry.last_id);
        entry.deals += 1;
        entry.regressions += u64::from(difference.class == Class::Regression);
        entry.rows += (rows.len() - had) as u64;
        if rows.len() >= GROUP_ROWS {
            self.flush()?;
        }
        if self.entry.rows >= PAGE_ROWS
            && let Some(page) = self.close()?
        {
            (self.full)(page)?;
        }
        Ok(())
    }
}

/// Metric, rule and threshold of a change that concerns the whole deal.
fn whole_deal(change: Change) -> Option<(&'static str, &'static str, &'static str)> {
    match change {
        Change::Changed => None,
        Change::Missing => Some(("deal", MISSING_RULE, MISSING_THRESHOLD)),
        Change::Added => Some(("deal", "added-after", "new deals are listed")),
        Change::ErrorOnOneSide => Some(("status", ERROR_RULE, ERROR_THRESHOLD)),
        Change::ErrorOnBothSides => Some((
            "status",
            "error-on-both-sides",
            "nothing is known about the deal",
        )),
    }
}

impl Columns {
    fn write(
        &self,
        group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
        with_texts: bool,
    ) -> Result<(), ParquetError> {
        let rows = &self.rows;
        let texts = |text: &dyn Fn(&EncodedRow) -> ByteArray| -> Vec<ByteArray> {
            rows.iter().map(text).collect()
        };
        let of_deal = |part: usize| {
            texts(&|row| {
                let deal = self.deals.get(row.deal).and_then(|deal| deal.get(part));
                deal.cloned().unwrap_or_default()
            })
        };
        write_column::<ByteArrayType>(group, &of_deal(0), None)?;
        write_column::<ByteArrayType>(group, &of_deal(1), None)?;
        write_column::<ByteArrayType>(group, &texts(&|row| change_name(row.change)), None)?;
        write_column::<ByteArrayType>(group, &texts(&|row| class_name(row.deal_class)), None)?;
        write_column::<ByteArrayType>(group, &texts(&|row| row.metric.clone()), None)?;
        let levels: Vec<i16> = rows
            .iter()
            .map(|r| i16::from(r.figures.is_some()))
            .collect();
        for figure in [|f: (i64, i64)| f.0, |f: (i64, i64)| f.1] {
            let values: Vec<i64> = rows
                .iter()
                .filter_map(|row| row.figures.map(figure))
                .collect();
            write_column::<Int64Type>(group, &values, Some(&levels))?;
        }
        if with_texts {
            write_nullable(group, rows, |row| row.texts[0].clone())?;
            write_nullable(group, rows, |row| row.texts[1].clone())?;
        }
        write_column::<ByteArrayType>(group, &texts(&|row| class_name(row.class)), None)?;
        write_column::<ByteArrayType>(group, &texts(&|row| row.rule.clone()), None)?;
        write_column::<ByteArrayType>(group, &texts(&|row| row.threshold.clone()), None)?;
        write_nullable(group, rows, |row| row.error_before.clone())?;
        write_nullable(group, rows, |row| row.error_after.clone())
    }
}

fn write_nullable(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    rows: &[EncodedRow],
    text: fn(&EncodedRow) -> Option<ByteArray>,
) -> Result<(), ParquetError> {
    let values: Vec<ByteArray> = rows.iter().filter_map(text).collect();
    let levels: Vec<i16> = rows.iter().map(|r| i16::from(text(r).is_some())).collect();
    write_column::<ByteArrayType>(group, &values, Some(&levels))
}

fn empty() -> DifferencePage {
    DifferencePage {
        sha256: String::new(),
        size_bytes: 0,
        rows: 0,
        deals: 0,
        regressions: 0,
        first_id: String::new(),
        last_id: String::new(),
    }
}

fn array(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

fn change_name(change: Change) -> ByteArray {
    static_array(match change {
        Change::Changed => "changed",
        Change::Missing => "missing",
        Change::Added => "added",
        Change::ErrorOnOneSide => "error_on_one_side",
        Change::ErrorOnBothSides => "error_on_both_sides",
    })
}

fn class_name(class: Class) -> ByteArray {
    static_array(class.as_str())
}

fn static_array(text: &'static str) -> ByteArray {
    ByteArray::from(Bytes::from_static(text.as_bytes()))
}
