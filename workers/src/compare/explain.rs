//! Shows one deal side by side, with the rule that decided on each figure.

use rollbook_ledger::evidence::EvidenceStore;
use serde::{Deserialize, Serialize};

use super::declaration::Declaration;
use super::judge::Judge;
use super::merge::Change;
use super::rules::{Class, Rules};
use super::{CompareError, comparable};
use crate::snapshot::{Row, RowOutcome, Snapshot, Value};

/// One figure or text of a deal in both snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedMetric {
    /// The metric.
    pub metric: String,
    /// `cents`, `count` or `text`.
    pub unit: String,
    /// The figure before; absent if the deal has none.
    pub before: Option<i64>,
    /// The figure after; absent if the deal has none.
    pub after: Option<i64>,
    /// The text before; absent for NULL, for a deal without figures and for a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_text: Option<String>,
    /// The text after; absent in the same cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_text: Option<String>,
    /// How the difference is judged; absent unless both values exist.
    pub class: Option<Class>,
    /// The rule that applies to this metric of this deal.
    pub rule: String,
    /// Its threshold in words.
    pub threshold: String,
}

/// One deal in both snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The deal.
    pub deal_id: String,
    /// Its type before; absent for an added deal.
    pub type_before: Option<String>,
    /// Its type after; absent for a missing deal.
    pub type_after: Option<String>,
    /// The type it was computed as and is judged by, if that differs from the stored word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_as: Option<String>,
    /// Whether the rules guard the deal against regression.
    pub guarded: bool,
    /// What happened to the deal; absent when all figures are equal.
    pub change: Option<Change>,
    /// The worst class of all figures.
    pub class: Class,
    /// Why there were no figures before.
    pub error_before: Option<String>,
    /// Why there were no figures after.
    pub error_after: Option<String>,
    /// Every figure, in the order of the manifest.
    pub metrics: Vec<ExplainedMetric>,
}

/// Explains how the rules judge a deal; reads one part of each snapshot.
pub async fn explain(
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    declared: &dyn Declaration,
    store: &EvidenceStore,
    deal_id: &str,
) -> Result<Explanation, CompareError> {
    comparable(&before.manifest, &after.manifest, rules)?;
    let old = before.find(store, deal_id).await?;
    let new = after.find(store, deal_id).await?;
    let judged_type = match (&old, &new) {
        (Some(row), _) | (None, Some(row)) => row.deal_type.clone(),
        (None, None) => {
            return Err(CompareError::NoSuchDeal {
                deal_id: deal_id.to_owned(),
            });
        }
    };
    let infos = &before.manifest.metrics;
    let mut judge = Judge::of(rules, declared, &before.manifest);
    let metrics: Vec<ExplainedMetric> = infos
        .iter()
        .enumerate()
        .map(|(index, info)| {
            let old = old.as_ref().and_then(Row::values);
            let new = new.as_ref().and_then(Row::values);
            let before = old.and_then(|values| values.get(infos, index));
            let after = new.and_then(|values| values.get(infos, index));
            let judgement = match (
                before.and_then(Value::number),
                after.and_then(Value::number),
            ) {
                _ if info.is_text() => judge.judge_text(&judged_type, index, before == after),
                (before, after) => judge.judge(
                    &judged_type,
                    index,
                    before.unwrap_or_default(),
                    after.unwrap_or_default(),
                ),
            };
            let (rule, threshold) = judge.describe(judgement.rule);
            let (rule, threshold) = (rule.to_owned(), threshold.to_owned());
            ExplainedMetric {
                metric: info.name.clone(),
                unit: info.unit.clone(),
                before: before.and_then(Value::number),
                after: after.and_then(Value::number),
                before_text: before.and_then(Value::text).map(str::to_owned),
                after_text: after.and_then(Value::text).map(str::to_owned),
                class: before.and(after).map(|_| judgement.class),
                rule,
                threshold,
            }
        })
        .collect();
    let worst = metrics.iter().filter_map(|m| m.class).max();
    let failed = |row: &Option<Row>| row.as_ref().is_some_and(Row::is_error);
    let (change, class) = match (&old, &new) {
        (Some(_), None) => (Some(Change::Missing), Class::Regression),
        (None, _) => (Some(Change::Added), Class::Equal),
        _ if failed(&old) && failed(&new) => (Some(Change::ErrorOnBothSides), Class::Equal),
        _ if failed(&old) || failed(&new) => (Some(Change::ErrorOnOneSide), Class::Regression),
        _ => match worst.unwrap_or(Class::Equal) {
            Class::Equal => (None, Class::Equal),
            class => (Some(Change::Changed), class),
        },
    };
    Ok(Explanation {
        deal_id: deal_id.to_owned(),
        guarded: judge.guards(&judged_type),
        judged_as: judge.judged_as(&judged_type).map(str::to_owned),
        change,
        class,
        error_before: error(&old),
        error_after: error(&new),
        metrics,
        type_before: old.map(|row| row.deal_type),
        type_after: new.map(|row| row.deal_type),
    })
}

fn error(row: &Option<Row>) -> Option<String> {
    match &row.as_ref()?.outcome {
        RowOutcome::Error(text) => Some(text.clone()),
        RowOutcome::Success(_) => None,
    }
}
