//! A comparison cut into tasks for a fleet: what a plan hands to workers and gets back.
//!
//! ```text
//!  plan ─▶ terms (evidence)  ─▶ RangeTask ─▶ any worker: merge the range
//!                                             │ pages of differences, partial tally (evidence)
//!  finish ◀── tallies added in key order ◀── RangeReport
//! ```
//!
//! Everything is addressed by its content: equal snapshots and rules make equal terms, and a range
//! merged twice, on any worker, makes the same bytes.

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
use crate::snapshot::compute_pool::Pool;
use crate::snapshot::reader::key_order;
use crate::snapshot::task::KeyRange;
use crate::snapshot::{Snapshot, SnapshotError};

/// The version of terms, tasks and tallies that this code writes, and the only one it accepts.
/// Tallies of version 1 had no sums of one side.
const VERSION: u32 = 2;

const TERMS: &str = "comparison terms";
const PARTIAL: &str = "partial tally";
const JSON: &str = "application/json";

/// What a comparison compares, and by which rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    version: u32,
    /// Address of the manifest before.
    before: String,
    /// Address of the manifest after.
    after: String,
    rules: Rules,
}

/// The task to merge one key range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeTask {
    /// The version of terms, task and tally.
    pub version: u32,
    /// Its index in the plan, from 0.
    pub range: u32,
    /// The range of its keys.
    pub keys: KeyRange,
    /// Deals of the larger snapshot in it.
    pub deals: u64,
    /// Address of the stored terms: what is compared, and by which rules.
    pub terms: String,
}

impl RangeTask {
    /// Whether this program can do it: it is of the version that this program plans.
    pub fn is_of_this_version(&self) -> bool {
        self.version == VERSION
    }
}

/// The result of a range whose pages and partial tally are in the evidence store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeReport {
    /// Its index in the plan.
    pub range: u32,
    /// Address of its tally and list of pages.
    pub partial: String,
    /// Deals of the larger snapshot in it.
    pub deals: u64,
    /// Deals that were computed on neither side.
    pub errors: u64,
}

/// What was found in a range: its tally and its pages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partial {
    version: u32,
    tally: Tally,
    pages: Vec<DifferencePage>,
}

/// Cuts a comparison into the same ranges that [`super::compare`] merges.
///
/// Refuses whatever that refuses. Durable on return: the terms, which say what is compared and by
/// which rules.
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
        keys: planned.keys,
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
    /// Opens a worker for the ranges of a task's comparison. Only the manifests are read.
    pub async fn open(
        task: &RangeTask,
        declared: &Arc<dyn Declaration>,
        store: &EvidenceStore,
        threads: Option<usize>,
    ) -> Result<Self, CompareError> {
        if !task.is_of_this_version() {
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

    /// Whether a task belongs to this worker's comparison.
    pub fn is_for(&self, task: &RangeTask) -> bool {
        self.terms == task.terms
    }

    /// Merges one range.
    ///
    /// Durable on return: its differences and its partial tally are in the evidence store. Both
    /// depend only on the snapshots and the rules, so doing a range again stores the same bytes.
    /// The error for a damaged part names its address.
    pub async fn run(&self, task: &RangeTask) -> Result<RangeReport, CompareError> {
        if !self.is_for(task) {
            let reason = format!("it is of the comparison {}, not {}", task.terms, self.terms);
            return Err(mismatch(task.range, reason));
        }
        let keys = task.keys.clone();
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

/// Combines the reports of all ranges of a plan and stores the result, with the same bytes that
/// [`super::compare`] makes.
///
/// The reports may come in any order. Durable on return: the result, as the pages already are.
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
