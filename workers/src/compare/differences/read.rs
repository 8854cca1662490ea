//! Reads pages of differences back.

use std::cmp::Ordering;

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::FileReader;
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::record::{Field, Row};
use rollbook_ledger::evidence::EvidenceStore;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::DifferencePage;
use crate::compare::CompareError;
use crate::compare::merge::Change;
use crate::compare::rules::Class;
use crate::snapshot::SnapshotError;

/// One differing figure, or one deal that is missing, added or in error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DifferenceRow {
    /// The deal's id.
    pub deal_id: String,
    /// Its type before; for an added deal, after.
    pub deal_type: String,
    /// What happened to the deal.
    pub change: Change,
    /// The worst class of the deal's figures.
    pub deal_class: Class,
    /// The metric; `deal` or `status` for a change of the whole deal.
    pub metric: String,
    /// The figure before.
    pub before: Option<i64>,
    /// The figure after.
    pub after: Option<i64>,
    /// The text before; absent for NULL and for a metric that is not a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_text: Option<String>,
    /// The text after; absent in the same cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_text: Option<String>,
    /// What the difference means.
    pub class: Class,
    /// The rule that decided.
    pub rule: String,
    /// Its threshold in words.
    pub threshold: String,
    /// Why there were no figures before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_before: Option<String>,
    /// Why there were no figures after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_after: Option<String>,
}

/// The regressions of a number of deals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegressionPage {
    /// The regressions, in key order.
    pub regressions: Vec<DifferenceRow>,
    /// The last deal of this page; absent when there are no more deals after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// The rows of one page, verified against its address.
pub async fn read_page(
    store: &EvidenceStore,
    page: &DifferencePage,
) -> Result<Vec<DifferenceRow>, CompareError> {
    let bytes = store.get(&page.sha256).await.map_err(SnapshotError::from)?;
    let malformed = |error: ParquetError| SnapshotError::Malformed {
        what: "page of differences",
        sha256: page.sha256.clone(),
        reason: error.to_string(),
    };
    let file = SerializedFileReader::new(bytes).map_err(malformed)?;
    let rows = file.get_row_iter(None).map_err(malformed)?;
    let rows: Result<Vec<_>, _> = rows.map(|row| decode(&row?)).collect();
    Ok(rows.map_err(malformed)?)
}

/// The regressions of at most `limit` deals that follow a deal in key order; those of one deal stay
/// together. Pages without regressions are not read.
pub async fn regressions(
    store: &EvidenceStore,
    pages: &[DifferencePage],
    order: fn(&[u8], &[u8]) -> Ordering,
    after: Option<&str>,
    limit: usize,
) -> Result<RegressionPage, CompareError> {
    let is_after = |id: &str| {
        after.is_none_or(|after| order(id.as_bytes(), after.as_bytes()) == Ordering::Greater)
    };
    let mut found: Vec<DifferenceRow> = Vec::new();
    let mut deals = 0;
    for page in pages {
        if page.regressions == 0 || !is_after(&page.last_id) {
            continue;
        }
        for row in read_page(store, page).await? {
            if row.class != Class::Regression || !is_after(&row.deal_id) {
                continue;
            }
            let last = found.last().map(|last| last.deal_id.as_str());
            if last != Some(row.deal_id.as_str()) {
                if deals == limit {
                    let next_after = last.map(str::to_owned);
                    return Ok(RegressionPage {
                        regressions: found,
                        next_after,
                    });
                }
                deals += 1;
            }
            found.push(row);
        }
    }
    Ok(RegressionPage {
        regressions: found,
        next_after: None,
    })
}

fn decode(row: &Row) -> Result<DifferenceRow, ParquetError> {
    let field = |name: &str| {
        let mut columns = row.get_column_iter();
        let found = columns.find(|(column, _)| *column == name);
        found
            .map(|(_, field)| field)
            .ok_or_else(|| ParquetError::General(format!("it has no column {name}")))
    };
    let wrong = |name: &str| ParquetError::General(format!("column {name} has another type"));
    let optional = |name: &str| match field(name)? {
        Field::Null => Ok(None),
        Field::Str(text) => Ok(Some(text.clone())),
        _ => Err(wrong(name)),
    };
    // Pages of snapshots without texts lack these columns.
    let if_there = |name: &str| match row.get_column_iter().any(|(column, _)| column == name) {
        true => optional(name),
        false => Ok(None),
    };
    let text = |name: &str| optional(name)?.ok_or_else(|| wrong(name));
    let figure = |name: &str| match field(name)? {
        Field::Null => Ok(None),
        Field::Long(figure) => Ok(Some(*figure)),
        _ => Err(wrong(name)),
    };
    Ok(DifferenceRow {
        deal_id: text("deal_id")?,
        deal_type: text("deal_type")?,
        change: named(&text("change")?)?,
        deal_class: named(&text("deal_class")?)?,
        metric: text("metric")?,
        before: figure("before")?,
        after: figure("after")?,
        before_text: if_there("before_text")?,
        after_text: if_there("after_text")?,
        class: named(&text("class")?)?,
        rule: text("rule")?,
        threshold: text("threshold")?,
        error_before: optional("error_before")?,
        error_after: optional("error_after")?,
    })
}

/// Parses an enum value from its name in results.
fn named<T: DeserializeOwned>(name: &str) -> Result<T, ParquetError> {
    let name = serde_json::Value::String(name.to_owned());
    serde_json::from_value(name).map_err(|error| ParquetError::General(error.to_string()))
}
