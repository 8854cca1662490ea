//! A comparison in pieces that travel: what a plan hands to workers and gets back.
//!
//! ```text
//!  plan ─▶ terms (evidence)  ─▶ RangeTask ─▶ any worker: merge the range
//!                                             │ pages of differences, partial tally (evidence)
//!  finish ◀── tallies added in key order ◀── RangeReport
//! ```
//!
//! Everything is named by its content: equal snapshots and rules make equal terms, and a range
//! merged twice, wherever, makes the same bytes.

use std::sync::Arc;

use bytes::Bytes;
use rollbook_ledger::evidence::EvidenceStore;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::declaration::Declaration;
use super::differences::DifferencePage;
use super::rules::Rules;
use super::tally::Tally;
use super::{CompareError, Comparison, Job, comparable, conclude, merge_range, ranges};
use crate::snapshot::bridge::Pool;
use crate::snapshot::reader::{self, key_order};
use crate::snapshot::task::KeyRange;
use crate::snapshot::{Snapshot, SnapshotError};

/// The version of terms, tasks and tallies this code writes and the only one it takes.
const VERSION: u32 = 1;

const TERMS: &str = "comparison terms";
const PARTIAL: &str = "partial tally";
const JSON: &str = "application/json";

/// What is compared, by what rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    version: u32,
    /// Address of the manifest compared against.
    before: String,
    /// Address of the manifest compared.
    after: String,
    rules: Rules,
}

/// One range of keys to be merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeTask {
    /// Of terms, task and tally.
    pub version: u32,
    /// Its place in the plan, from 0.
    pub range: u32,
    /// Its keys.
    pub keys: KeyRange,
    /// Deals of the larger snapshot in it.
    pub deals: u64,
    /// Address of what is compared, by what rules.
    pub terms: String,
}

/// What became of a range: pages and partial tally are in the evidence store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeReport {
    /// Its place in the plan.
    pub range: u32,
    /// Address of the tally and the list of pages.
    pub partial: String,
    /// Deals of the larger snapshot in it.
    pub deals: u64,
    /// Deals that could be computed on neither side.
    pub errors: u64,
}

/// What was found in a range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partial {
    version: u32,
    tally: Tally,
    pages: Vec<DifferencePage>,
}

/// Cuts a comparison into ranges, the same as [`super::compare`] merges.
///
/// Refuses what that refuses. Durable on return: what is compared, by what rules.
pub async fn plan(
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    store: &EvidenceStore,
) -> Result<Vec<RangeTask>, CompareError> {
    comparable(&before.manifest, &after.manifest, rules)?;
    let terms = Terms {
        version: VERSION,
        before: before.evidence.sha256.clone(),
        after: after.evidence.sha256.clone(),
        rules: rules.clone(),
    };
    let terms = put(store, &terms, "comparison-terms.json").await?;
    let order = key_order(&before.manifest);
    let ranges = ranges::plan(&before.manifest.parts, &after.manifest.parts, order);
    let task = |(range, planned): (u32, ranges::Range)| RangeTask {
        version: VERSION,
        range,
        keys: KeyRange {
            from: planned.keys.from,
            below: planned.keys.to,
        },
        deals: planned.deals,
        terms: terms.clone(),
    };
    Ok((0u32..).zip(ranges).map(task).collect())
}

/// Merges ranges of one comparison. Cheap to clone; clones share the snapshots' manifests.
#[derive(Clone)]
pub struct RangeWorker {
    terms: String,
    job: Arc<Job>,
    store: EvidenceStore,
    pool: Pool,
}

impl std::fmt::Debug for RangeWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RangeWorker({})", self.terms)
    }
}

impl RangeWorker {
    /// A worker for the ranges of a task's comparison. Nothing but the manifests is read yet.
    pub async fn open(
        task: &RangeTask,
        declared: &Arc<dyn Declaration>,
        store: &EvidenceStore,
        threads: Option<usize>,
    ) -> Result<Self, CompareError> {
        if task.version != VERSION {
            return Err(mismatch(
                task.range,
                format!(
                    "it has version {}, this program does {VERSION}; update the workers",
                    task.version
                ),
            ));
        }
        let terms: Terms = get(store, TERMS, &task.terms).await?;
        let before = Snapshot::open(store, &terms.before).await?;
        let after = Snapshot::open(store, &terms.after).await?;
        comparable(&before.manifest, &after.manifest, &terms.rules)?;
        Ok(Self {
            terms: task.terms.clone(),
            job: Arc::new(Job::new((&before, &after), &terms.rules, declared, store)),
            store: store.clone(),
            pool: Pool::new(threads)?,
        })
    }

    /// Whether a task's range is of its comparison.
    pub fn is_for(&self, task: &RangeTask) -> bool {
        self.terms == task.terms
    }

    /// Merges one range.
    ///
    /// Durable on return: its differences and its partial tally are in the evidence store. Both
    /// depend on the snapshots and the rules alone, so doing a range again stores the same. A
    /// damaged part is reported by its address.
    pub async fn run(&self, task: &RangeTask) -> Result<RangeReport, CompareError> {
        if !self.is_for(task) {
            let reason = format!("it is of the comparison {}, not {}", task.terms, self.terms);
            return Err(mismatch(task.range, reason));
        }
        let keys = reader::KeyRange {
            from: task.keys.from.clone(),
            to: task.keys.below.clone(),
        };
        let job = Arc::clone(&self.job);
        let (tally, pages) = merge_range(self.pool.clone(), job, keys, &self.store).await?;
        let errors = tally.errors;
        let partial = Partial {
            version: VERSION,
            tally,
            pages,
        };
        Ok(RangeReport {
            range: task.range,
            partial: put(&self.store, &partial, "comparison-partial.json").await?,
            deals: task.deals,
            errors,
        })
    }
}

/// Puts the reports of all ranges of a plan together and stores the result: the same bytes as
/// [`super::compare`] makes.
///
/// The order of the reports does not matter. Durable on return, like the pages already.
pub async fn finish(
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    declared: &dyn Declaration,
    tasks: &[RangeTask],
    mut reports: Vec<RangeReport>,
    store: &EvidenceStore,
) -> Result<Comparison, CompareError> {
    reports.sort_by_key(|report| report.range);
    reports.dedup();
    let (mut tally, mut pages) = (Tally::new(rules.rules.len()), Vec::new());
    let mut reports = reports.into_iter();
    for task in tasks {
        let report = reports.next().filter(|report| report.range == task.range);
        let Some(report) = report else {
            let reason = "it was not reported, or twice and not the same".to_owned();
            return Err(mismatch(task.range, reason));
        };
        let partial: Partial = get(store, PARTIAL, &report.partial).await?;
        tally.add(partial.tally);
        pages.extend(partial.pages);
    }
    conclude((before, after), rules, declared, (tally, pages), store).await
}

fn mismatch(range: u32, reason: String) -> CompareError {
    let shard = range;
    SnapshotError::Shard { shard, reason }.into()
}

async fn put<T: Serialize + Sync>(
    store: &EvidenceStore,
    value: &T,
    name: &str,
) -> Result<String, CompareError> {
    let bytes = serde_json::to_vec(value).map_err(|error| CompareError::Encode {
        reason: error.to_string(),
    })?;
    let stored = store.put(Bytes::from(bytes), JSON, name).await;
    Ok(stored.map_err(SnapshotError::from)?.sha256)
}

async fn get<T: DeserializeOwned>(
    store: &EvidenceStore,
    what: &'static str,
    sha256: &str,
) -> Result<T, CompareError> {
    let bytes = store.get(sha256).await.map_err(SnapshotError::from)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let malformed = SnapshotError::Malformed {
            what,
            sha256: sha256.to_owned(),
            reason: format!("{error}; update the workers"),
        };
        malformed.into()
    })
}
