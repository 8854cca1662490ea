//! Compares two snapshots exactly to the cent, by rules that are data.
//!
//! ```text
//!  before ─┐  key ranges,      ┌─ merge ─ judge by rules ─┬─▶ counts, totals, worst, histogram
//!          ├─ cut where parts ─┤   one per range,         │     added up in key order
//!  after ──┘  begin            └─   on rayon              └─▶ differences (Parquet evidence)
//! ```
//!
//! `rules`, `judge`, `merge`, `tally` and `ranges` are pure. A [`Declaration`], which is a port,
//! tells what types and figures mean; whatever makes the figures implements it.
//!
//! Memory does not grow with the number of deals: each thread holds one row group of each side and
//! one page of differences. Ranges depend on the manifests alone, so the outcome is byte for byte
//! the same on any number of threads and in whichever processes the ranges are merged (`task`).
//! Every part is hashed while it is read; a damaged part fails the comparison with an error that
//! names it.

pub mod declaration;
mod declared_rules;
pub mod differences;
mod error;
mod event;
pub mod explain;
pub mod figures;
pub mod histogram;
pub mod judge;
pub mod merge;
pub mod millionths;
mod ranges;
pub mod result;
pub mod rules;
pub mod tally;
pub mod task;
#[cfg(test)]
mod test_declaration;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_proto::v1::Evidence;

use crate::snapshot::compute_pool::{self, Pool};
use crate::snapshot::reader::{BlockingStore, Cursor, key_order, or_damage};
use crate::snapshot::task::KeyRange;
use crate::snapshot::{Manifest, MetricInfo, Progress, Snapshot, SnapshotError};

pub use error::CompareError;
pub use explain::{Explanation, explain};
pub use millionths::Millionths;
pub use result::ComparisonResult;
pub use rules::Rules;
pub use task::{RangeReport, RangeTask, RangeWorker};

use declaration::Declaration;
use differences::{DifferencePage, PAGE_MEDIA_TYPE, Page, PageWriter};
use judge::Judge;
use tally::Tally;

/// The media type of a comparison's result.
pub const RESULT_MEDIA_TYPE: &str = "application/vnd.rollbook.comparison+json";
const PAGE_NAME: &str = "differences.parquet";

/// A finished comparison and the address of its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The result.
    pub result: ComparisonResult,
    /// The result as evidence.
    pub evidence: Evidence,
}

/// Compares two snapshots by rules, on one thread per core.
///
/// `declared` must be the declaration of whatever made the figures.
///
/// Refused before anything is read: invalid rules, different metrics, and different models unless
/// the rules say `allow_model_change`. Comparing an old with a new model is the purpose of a
/// rollout, but it must be intended, so it must be requested and is recorded.
///
/// Durable on return: every difference and the result are in the evidence store.
pub async fn compare(
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    declared: &Arc<dyn Declaration>,
    store: &EvidenceStore,
) -> Result<Comparison, CompareError> {
    compare_on(None, before, after, rules, declared, store).await
}

/// Like [`compare`], on `threads` threads of its own; `None` means one per core. The outcome does
/// not depend on their number.
pub async fn compare_on(
    threads: Option<usize>,
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    declared: &Arc<dyn Declaration>,
    store: &EvidenceStore,
) -> Result<Comparison, CompareError> {
    compare_with(threads, before, after, rules, declared, store, &|_| {}).await
}

/// Like [`compare_on`], and reports progress: the deals of the larger snapshot, at the start and
/// after each key range.
pub async fn compare_with(
    threads: Option<usize>,
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    declared: &Arc<dyn Declaration>,
    store: &EvidenceStore,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Comparison, CompareError> {
    comparable(&before.manifest, &after.manifest, rules)?;
    let pool = Pool::new(threads)?;
    let job = Arc::new(Job::new((before, after), rules, declared, store));
    let order = key_order(&before.manifest);
    let ranges = ranges::plan(&before.manifest.parts, &after.manifest.parts, order);
    let mut now = Progress {
        done: 0,
        total: ranges.iter().map(|range| range.deals).sum(),
        errors: 0,
    };
    progress(now);
    let mut found = stream::iter(ranges)
        .map(|range| {
            let merged = merge_range(pool.clone(), Arc::clone(&job), range.keys, store);
            merged.map_ok(move |(tally, pages)| (range.deals, tally, pages))
        })
        .buffered(ranges::MAX_RANGES);
    let (mut tally, mut pages) = (Tally::new(rules.rules.len()), Vec::new());
    while let Some((deals, counted, more)) = found.try_next().await? {
        tally.add(counted);
        pages.extend(more);
        now.done += deals;
        now.errors = tally.errors;
        progress(now);
    }
    drop(found);
    let found = (tally, pages);
    conclude((before, after), rules, declared.as_ref(), found, store).await
}

/// Stores the result made from the outcomes of all ranges.
async fn conclude(
    (before, after): (&Snapshot, &Snapshot),
    rules: &Rules,
    declared: &dyn Declaration,
    (tally, pages): (Tally, Vec<DifferencePage>),
    store: &EvidenceStore,
) -> Result<Comparison, CompareError> {
    let measures = declared.measures();
    let result = ComparisonResult::new(before, after, rules, measures, tally, pages);
    let bytes = Bytes::from(result.to_bytes()?);
    let evidence = store
        .put(bytes, RESULT_MEDIA_TYPE, "comparison.json")
        .await
        .map_err(SnapshotError::from)?;
    Ok(Comparison { result, evidence })
}

/// What the merge of every range needs.
struct Job {
    before: Arc<Snapshot>,
    after: Arc<Snapshot>,
    rules: Rules,
    declared: Arc<dyn Declaration>,
    store: BlockingStore,
}

/// Merges one range on the compute threads. Its last page is stored while they continue.
async fn merge_range(
    pool: Pool,
    job: Arc<Job>,
    range: KeyRange,
    store: &EvidenceStore,
) -> Result<(Tally, Vec<DifferencePage>), CompareError> {
    let (inside, work) = (range.clone(), Arc::clone(&job));
    let merged = compute_pool::on_rayon(&pool, move || work.run(inside)).await;
    let (tally, mut pages, last) = match merged.map_err(CompareError::from).flatten() {
        Ok(merged) => merged,
        Err(CompareError::Snapshot(error)) => {
            let parts = job.parts_in(&range);
            return Err(or_damage(store, &parts, error).await.into());
        }
        Err(error) => return Err(error),
    };
    if let Some((bytes, entry)) = last {
        let stored = store.put(bytes, PAGE_MEDIA_TYPE, PAGE_NAME).await;
        pages.push(DifferencePage {
            sha256: stored.map_err(SnapshotError::from)?.sha256,
            ..entry
        });
    }
    Ok((tally, pages))
}

impl Job {
    fn new(
        (before, after): (&Snapshot, &Snapshot),
        rules: &Rules,
        declared: &Arc<dyn Declaration>,
        store: &EvidenceStore,
    ) -> Self {
        Self {
            before: Arc::new(before.clone()),
            after: Arc::new(after.clone()),
            rules: rules.clone(),
            declared: Arc::clone(declared),
            store: BlockingStore::new(store),
        }
    }

    /// The parts of both snapshots that contain keys of a range.
    fn parts_in(&self, range: &KeyRange) -> Vec<&str> {
        let order = key_order(&self.before.manifest);
        let parts = [&self.before, &self.after].map(|snapshot| snapshot.manifest.parts.iter());
        parts
            .into_iter()
            .flatten()
            .filter(|part| range.touches(&part.first_id, &part.last_id, order))
            .map(|part| part.sha256.as_str())
            .collect()
    }

    fn run(
        &self,
        range: KeyRange,
    ) -> Result<(Tally, Vec<DifferencePage>, Option<Page>), CompareError> {
        let order = key_order(&self.before.manifest);
        let cursor = |snapshot: &Arc<Snapshot>, range| {
            Cursor::new(self.store.clone(), Arc::clone(snapshot), range)
        };
        let mut left = cursor(&self.before, range.clone());
        let mut right = cursor(&self.after, range);
        let mut pages = Vec::new();
        // A range in which nearly everything differs fills many pages; they must not pile up in
        // memory.
        let metrics = &self.before.manifest.metrics;
        let texts = metrics.iter().any(MetricInfo::is_text);
        let mut writer = PageWriter::new(texts, |(bytes, entry): Page| {
            let stored = self.store.put(bytes, PAGE_MEDIA_TYPE, PAGE_NAME)?;
            pages.push(DifferencePage {
                sha256: stored.sha256,
                ..entry
            });
            Ok(())
        });
        let tally = merge::merge(
            &mut left,
            &mut right,
            order,
            metrics,
            Judge::of(&self.rules, self.declared.as_ref(), &self.before.manifest),
            &mut writer,
        )?;
        let last = writer.finish()?;
        Ok((tally, pages, last))
    }
}

/// Refuses manifests whose figures have different meanings, and rules that cannot judge them.
fn comparable(before: &Manifest, after: &Manifest, rules: &Rules) -> Result<(), CompareError> {
    rules.check()?;
    if before.metrics != after.metrics {
        let missing = |from: &Manifest, other: &Manifest| -> Vec<String> {
            from.metrics
                .iter()
                .filter(|metric| !other.metrics.contains(metric))
                .map(|metric| format!("{} ({})", metric.name, metric.unit))
                .collect()
        };
        let (only_before, only_after) = (missing(before, after), missing(after, before));
        let changed = before.metrics.iter().find_map(|metric| {
            let other = after.metrics.iter().find(|m| m.name == metric.name)?;
            (other.unit != metric.unit).then_some((metric, other))
        });
        let reason = if let Some((metric, other)) = changed {
            format!(
                "{} is {} before and {} after",
                metric.name, metric.unit, other.unit
            )
        } else if only_before.is_empty() && only_after.is_empty() {
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
    if before.key_order != after.key_order {
        return Err(CompareError::Keys {
            before: before.key_order,
            after: after.key_order,
        });
    }
    let model = |manifest: &Manifest| format!("{} {}", manifest.model, manifest.model_digest);
    if model(before) != model(after) && !rules.allow_model_change {
        return Err(CompareError::Model {
            before: model(before),
            after: model(after),
        });
    }
    rules.check_texts(&before.metrics)
}
