//! Takes a snapshot in one process: plans it, does the shards on several connections and finishes
//! it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rollbook_ledger::evidence::EvidenceStore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::task::AbortOnDropHandle;

use super::database::SourceDatabase;
use super::encode::count_type;
use super::manifest::{MANIFEST_VERSION, Manifest, Total};
use super::page_scan::PageScan;
use super::plan::{LocalPlan, SnapshotPlan, SnapshotRequest, plan_here};
use super::shard::{ShardContext, ShardWorker};
use super::task::{PlanSummary, ShardReport, ShardTask};
use super::{MANIFEST_MEDIA_TYPE, Snapshot, SnapshotError};

/// Maximum number of connections unless the request sets one: more would put a noticeable load on
/// the database.
const MAX_DEFAULT_CONNECTIONS: usize = 8;
/// The interval between two progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// How far a snapshot has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Deals computed.
    pub done: u64,
    /// Total number of deals, counted in the same consistent read. While a table is read page by
    /// page this is an estimate, and never less than `done`.
    pub total: u64,
    /// Deals without figures so far.
    pub errors: u64,
}

/// Takes a snapshot and stores it.
///
/// Durable on return: every part and the manifest are in the evidence store. After an error, parts
/// may have been stored, but no manifest names them, so no snapshot exists. A deal that cannot be
/// computed is an error row; see `manifest.errors`. `progress` is called at most five times a
/// second and once at the end.
pub async fn take(
    request: &SnapshotRequest,
    store: &EvidenceStore,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Snapshot, SnapshotError> {
    take_planned(request, plan_here(request).await?, store, progress).await
}

/// Carries out a plan of this process and finishes the snapshot: see [`take`].
pub async fn take_planned(
    request: &SnapshotRequest,
    plan: impl Into<LocalPlan>,
    store: &EvidenceStore,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Snapshot, SnapshotError> {
    let plan = plan.into();
    let calculator = Arc::clone(&request.calculator);
    let context = ShardContext::new(calculator, store.clone(), request.threads)?;
    let expected = plan.summary().total;
    let now = || {
        let (done, errors) = context.counts();
        Progress {
            done,
            total: expected.max(done),
            errors,
        }
    };
    let mut taking = pin!(run(request, plan, &context));
    let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
    let (summary, reports) = loop {
        tokio::select! {
            // When this is dropped on an error, all workers stop.
            done = &mut taking => break done?,
            _ = tick.tick() => progress(now()),
        }
    };
    progress(Progress {
        total: summary.total,
        ..now()
    });
    finish(&summary, reports, store).await
}

/// Carries out a plan; returns its summary and the reports of all shards.
async fn run(
    request: &SnapshotRequest,
    plan: LocalPlan,
    context: &ShardContext,
) -> Result<(PlanSummary, Vec<ShardReport>), SnapshotError> {
    let database = SourceDatabase::parse(&request.source.database)?;
    let default = context.threads().min(MAX_DEFAULT_CONNECTIONS);
    let connections = request.connections.unwrap_or(default);
    let mut plan = match plan {
        LocalPlan::Shards(plan) => plan,
        LocalPlan::Pages(plan) => {
            let page_scan = PageScan {
                context: context.clone(),
                database,
                plan,
                connections,
            };
            return page_scan.run().await;
        }
    };
    let mut running = start(&mut plan, database, connections, context);
    let mut reports = Vec::with_capacity(plan.shards.len());
    while let Some(done) = running.join_next().await {
        reports.extend(outcome_of(done)?);
    }
    Ok((plan.summary, reports))
}

type Reports = Result<Vec<ShardReport>, SnapshotError>;

/// Flattens the outcome of a spawned task.
fn outcome_of<T>(outcome: Result<Result<T, SnapshotError>, JoinError>) -> Result<T, SnapshotError> {
    outcome.unwrap_or_else(|error| {
        let reason = error.to_string();
        Err(SnapshotError::Compute { reason })
    })
}

/// Starts workers that each take one shard after another until none is left. Dropping the set stops
/// them.
fn start(
    plan: &mut SnapshotPlan,
    database: SourceDatabase,
    connections: usize,
    context: &ShardContext,
) -> JoinSet<Reports> {
    let shards: Arc<[ShardTask]> = plan.shards.as_slice().into();
    let portable = shards.iter().all(ShardTask::is_portable);
    let connections = if portable {
        connections.min(shards.len())
    } else {
        1
    };
    let mut running = JoinSet::new();
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..connections {
        let session = plan.held.session(&database);
        let mut worker = ShardWorker::with_session(context.clone(), database.clone(), session);
        let (shards, next) = (Arc::clone(&shards), Arc::clone(&next));
        running.spawn(async move {
            let mut reports = Vec::new();
            // A part is encoded and synced while the next shard is read.
            let mut storing: Option<AbortOnDropHandle<_>> = None;
            while let Some(task) = shards.get(next.fetch_add(1, Ordering::Relaxed)) {
                let computed = worker.compute(task).await?;
                let stored = tokio::spawn(computed.store());
                if let Some(earlier) = storing.replace(AbortOnDropHandle::new(stored)) {
                    reports.push(outcome_of(earlier.await)?);
                }
            }
            if let Some(last) = storing {
                reports.push(outcome_of(last.await)?);
            }
            Ok(reports)
        });
    }
    running
}

/// Combines the reports of all shards of a plan and stores the manifest.
///
/// Durable on return: the manifest is in the evidence store, where the parts are already. Reports
/// may come in any order, and a shard may be reported twice, since both reports name the same part.
pub async fn finish(
    plan: &PlanSummary,
    reports: Vec<ShardReport>,
    store: &EvidenceStore,
) -> Result<Snapshot, SnapshotError> {
    let manifest = assemble(plan, reports)?;
    let bytes = Bytes::from(manifest.to_bytes()?);
    // Never store a manifest that a reader would refuse.
    Manifest::from_bytes("(to be stored)", &bytes)?;
    let evidence = store
        .put(bytes, MANIFEST_MEDIA_TYPE, &manifest.evidence_name())
        .await?;
    Ok(Snapshot { manifest, evidence })
}

/// Builds the manifest from a plan and the reports of all its shards.
fn assemble(plan: &PlanSummary, mut reports: Vec<ShardReport>) -> Result<Manifest, SnapshotError> {
    reports.sort_by_key(|report| report.shard);
    if let Some(twice) = reports.windows(2).find_map(|pair| match pair {
        [left, right] if left.shard == right.shard && left != right => Some(left.shard),
        _ => None,
    }) {
        return Err(SnapshotError::Shard {
            shard: twice,
            reason: "it was reported twice, and not the same; the calculator is no pure function"
                .to_owned(),
        });
    }
    reports.dedup_by_key(|report| report.shard);
    let expected = 0..plan.shards;
    let missing = expected
        .zip(
            reports
                .iter()
                .map(|report| Some(report.shard))
                .chain(std::iter::repeat(None)),
        )
        .find(|(shard, reported)| Some(*shard) != *reported);
    if let Some((shard, _)) = missing {
        return Err(SnapshotError::Shard {
            shard,
            reason: "it was not reported; do it before finishing".to_owned(),
        });
    }
    let metrics = &plan.calculator.metrics;
    let numbers = metrics.iter().filter(|metric| !metric.is_text());
    let mut totals = vec![Total::default(); numbers.clone().count()];
    let mut deal_types = std::collections::BTreeMap::new();
    let mut parts = Vec::with_capacity(reports.len());
    let (mut total, mut errors) = (0u64, 0u64);
    for report in reports.into_iter().take(plan.shards as usize) {
        for (sum, shard) in totals.iter_mut().zip(&report.totals) {
            sum.0 += shard.0;
        }
        for (deal_type, deals) in &report.deal_types {
            count_type(&mut deal_types, deal_type, *deals);
        }
        total += report.part.rows;
        errors += report.part.errors;
        parts.push(report.part);
    }
    let named = numbers.map(|metric| metric.name.clone());
    Ok(Manifest {
        version: MANIFEST_VERSION,
        snapshot: plan.snapshot.clone(),
        label: plan.label.clone(),
        source: plan.source.clone(),
        consistency: plan.consistency,
        key_order: plan.key_order,
        model: plan.calculator.name.clone(),
        model_digest: plan.calculator.digest.clone(),
        deal_type_awareness: plan.calculator.deal_type_awareness,
        flags: plan.flags.clone(),
        flags_sequence: plan.flags_sequence,
        metrics: metrics.clone(),
        parts,
        totals: named.zip(totals).collect(),
        deal_types,
        total,
        success: total.saturating_sub(errors),
        errors,
        deleted_excluded: plan.deleted_excluded,
        taken_at: plan.taken_at,
    })
}
