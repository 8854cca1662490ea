//! The columns of a row group that are decoded on first use.

use ::parquet::errors::ParquetError;

use super::super::FIXED_COLUMNS;
use super::super::nullable::NullableTexts;
use super::super::part::malformed;
use super::{Column, RowGroup};
use crate::snapshot::SnapshotError;
use crate::snapshot::row::Row;
use crate::snapshot::values::Values;

impl RowGroup {
    /// The error of a row; empty when it has none.
    pub fn error(&mut self, row: usize) -> Result<&str, SnapshotError> {
        if self.errors.is_none() {
            let read = self.read_errors();
            self.errors = Some(read.map_err(|error| malformed(&self.sha256, error))?);
        }
        let before = self.errors_at.iter().take(row).filter(|error| **error);
        let rank = before.count();
        let errors = self.errors.as_deref().unwrap_or_default();
        let text = errors.get(rank).filter(|_| self.is_error(row));
        Ok(text.map_or("", String::as_str))
    }

    fn read_errors(&self) -> Result<Vec<String>, ParquetError> {
        let mut texts = NullableTexts::default();
        self.column(FIXED_COLUMNS - 1)?.nullable_texts(&mut texts)?;
        let texts: Vec<_> = (0..texts.len()).map(|row| texts.get(row)).collect();
        let given = texts.iter().map(Option::is_some);
        if !given.eq(self.errors_at.iter().copied()) {
            return Err(ParquetError::General("an error is missing".to_owned()));
        }
        let text = |bytes| {
            std::str::from_utf8(bytes)
                .map(str::to_owned)
                .map_err(|_| ParquetError::General("a text is not UTF-8".to_owned()))
        };
        texts.into_iter().flatten().map(text).collect()
    }

    /// All figures of a metric, 0 on error rows; empty if there is no such metric.
    pub fn metric_column(&mut self, metric: usize) -> Result<&[i64], SnapshotError> {
        let Some(column) = self.metrics.get_mut(metric) else {
            return Ok(&[]);
        };
        if !column.loaded {
            let mut values = std::mem::take(&mut column.values);
            let read = self.read_metric(metric, &mut values);
            read.map_err(|error| malformed(&self.sha256, error))?;
            if let Some(column) = self.metrics.get_mut(metric) {
                *column = Column {
                    loaded: true,
                    values,
                };
            }
        }
        Ok(self
            .metrics
            .get(metric)
            .map_or(&[], |column| &column.values))
    }

    fn read_metric(&self, metric: usize, values: &mut Vec<i64>) -> Result<(), ParquetError> {
        let mut present = Vec::new();
        let wanted = (self.failed > 0).then_some(&mut present);
        self.column(FIXED_COLUMNS + metric)?
            .integers(values, wanted)?;
        if values.len() + self.failed != self.len() {
            return Err(ParquetError::General("a figure is missing".to_owned()));
        }
        if self.failed > 0 {
            if !present
                .iter()
                .map(|level| *level == 0)
                .eq(self.errors_at.iter().copied())
            {
                return Err(ParquetError::General("a figure is missing".to_owned()));
            }
            let mut figures = std::mem::take(values).into_iter();
            let spread = self.errors_at.iter().map(|error| {
                let figure = if *error { None } else { figures.next() };
                figure.unwrap_or_default()
            });
            values.extend(spread);
        }
        Ok(())
    }

    /// The figure of a row; `None` on error rows.
    pub fn metric(&mut self, row: usize, metric: usize) -> Result<Option<i64>, SnapshotError> {
        if self.is_error(row) {
            return Ok(None);
        }
        Ok(self.metric_column(metric)?.get(row).copied())
    }

    /// The text of a row; `None` for NULL, on error rows, and for a numeric metric.
    pub fn text(&mut self, row: usize, metric: usize) -> Result<Option<&str>, SnapshotError> {
        let place = self.texts.iter().position(|text| text.metric == metric);
        let Some(place) = place else {
            return Ok(None);
        };
        if let Some(column) = self.texts.get_mut(place).filter(|column| !column.loaded) {
            let mut texts = std::mem::take(&mut column.texts);
            let read = self.read_texts(metric, &mut texts);
            read.map_err(|error| malformed(&self.sha256, error))?;
            if let Some(column) = self.texts.get_mut(place) {
                (column.loaded, column.texts) = (true, texts);
            }
        }
        let column = self.texts.get(place);
        let text = column.and_then(|column| column.texts.get(row));
        text.map(std::str::from_utf8)
            .transpose()
            .map_err(|_| malformed(&self.sha256, "a text is not UTF-8"))
    }

    fn read_texts(&self, metric: usize, texts: &mut NullableTexts) -> Result<(), ParquetError> {
        self.column(FIXED_COLUMNS + metric)?.nullable_texts(texts)?;
        let mut rows = 0..self.len();
        if texts.len() != self.len()
            || rows.any(|row| self.is_error(row) && texts.get(row).is_some())
        {
            let reason = "a text is missing or on an error row";
            return Err(ParquetError::General(reason.to_owned()));
        }
        Ok(())
    }

    /// The complete row.
    pub fn row(&mut self, row: usize) -> Result<Row, SnapshotError> {
        let outcome = if self.is_error(row) {
            Err(self.error(row)?.to_owned())
        } else {
            let mut values = Values::from(Vec::with_capacity(self.metrics.len()));
            for metric in 0..self.metrics.len() {
                if self.texts.iter().any(|text| text.metric == metric) {
                    let text = self.text(row, metric)?.map(str::to_owned);
                    values.texts.push(text);
                } else {
                    let number = self.metric(row, metric)?.unwrap_or_default();
                    values.numbers.push(number);
                }
            }
            Ok(values)
        };
        let deal_id = self.deal_id(row)?.to_owned();
        let built = Row::new(deal_id, Some(self.deal_type(row)), outcome);
        if built.digest != self.digest(row) {
            let reason = format!(
                "the digest of deal {:?} is not that of its row",
                built.deal_id
            );
            return Err(malformed(&self.sha256, reason));
        }
        Ok(built)
    }
}
