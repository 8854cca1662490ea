//! Comparison of two snapshots: exact to the cent, by rules that are data.
//!
//! ```text
//!  before ─┐
//!          ├─ merge in key order ─ judge by rules ─┬─▶ result (counts, totals, worst, histogram)
//!  after ──┘  equal digests skipped                └─▶ differences (JSON lines, paged evidence)
//! ```
//!
//! `rules` and `merge` are pure. Memory does not grow with the number of deals: one row group
//! per side, one page of differences and the bounded result are held.

pub mod decimal;
pub mod defaults;
mod error;
pub mod explain;
pub mod merge;
mod pages;
pub mod result;
pub mod rules;

use std::sync::Arc;

use bytes::Bytes;
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_proto::v1::Evidence;

use crate::snapshot::reader::{BlockingStore, Cursor};
use crate::snapshot::{Manifest, Snapshot, SnapshotError};

pub use decimal::Decimal;
pub use error::CompareError;
pub use explain::{Explanation, explain};
pub use result::ComparisonResult;
pub use rules::Rules;

use pages::Pages;

/// The media type of a comparison's result.
pub const RESULT_MEDIA_TYPE: &str = "application/vnd.rollbook.comparison+json";

/// A finished comparison and where its result lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What was found.
    pub result: ComparisonResult,
    /// The stored result.
    pub evidence: Evidence,
}

/// Compares two snapshots by rules.
///
/// Refused before anything is read: invalid rules, different metrics, and different models
/// unless the rules say `allow_model_change`; the comparison of an old with a new model is the
/// purpose of a rollout, but it must be meant, so it is asked for and recorded.
///
/// Durable on return: every difference and the result are in the evidence store.
pub async fn compare(
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    store: &EvidenceStore,
) -> Result<Comparison, CompareError> {
    rules.check()?;
    comparable(&before.manifest, &after.manifest, rules)?;
    let blocking = BlockingStore::new(store);
    let (before, after, rules) = (before.clone(), after.clone(), rules.clone());
    let result = tokio::task::spawn_blocking(move || run(&before, &after, &rules, &blocking))
        .await
        .map_err(|stopped| CompareError::Stopped {
            reason: stopped.to_string(),
        })??;
    let evidence = store
        .put(
            Bytes::from(result.to_bytes()?),
            RESULT_MEDIA_TYPE,
            "comparison.json",
        )
        .await
        .map_err(SnapshotError::from)?;
    Ok(Comparison { result, evidence })
}

fn run(
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    store: &BlockingStore,
) -> Result<ComparisonResult, CompareError> {
    let metrics: Arc<[String]> = before
        .manifest
        .metrics
        .iter()
        .map(|metric| metric.name.clone())
        .collect();
    let mut pages = Pages::new(store.clone());
    let mut left = Cursor::new(store.clone(), before);
    let mut right = Cursor::new(store.clone(), after);
    let summary = merge::merge(&mut left, &mut right, &metrics, rules, &mut |difference| {
        pages.push(difference)
    })?;
    let differences = pages.finish()?;
    Ok(ComparisonResult::new(
        before,
        after,
        rules,
        summary,
        differences,
    ))
}

/// Refuses manifests whose figures do not mean the same.
fn comparable(before: &Manifest, after: &Manifest, rules: &Rules) -> Result<(), CompareError> {
    if before.metrics != after.metrics {
        let missing = |from: &Manifest, other: &Manifest| -> Vec<String> {
            from.metrics
                .iter()
                .filter(|metric| !other.metrics.contains(metric))
                .map(|metric| format!("{} ({})", metric.name, metric.unit))
                .collect()
        };
        let (only_before, only_after) = (missing(before, after), missing(after, before));
        let reason = if only_before.is_empty() && only_after.is_empty() {
            "the same metrics in another order".to_owned()
        } else {
            format!(
                "only before: [{}]; only after: [{}]",
                only_before.join(", "),
                only_after.join(", ")
            )
        };
        return Err(CompareError::Metrics { reason });
    }
    let model = |manifest: &Manifest| format!("{} {}", manifest.model, manifest.model_digest);
    if model(before) != model(after) && !rules.allow_model_change {
        return Err(CompareError::Model {
            before: model(before),
            after: model(after),
        });
    }
    Ok(())
}
