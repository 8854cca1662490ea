//! Taking a snapshot: read, compute and store run side by side with bounded memory between.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use rayon::ThreadPool;
use rayon::prelude::*;
use rollbook_ledger::evidence::EvidenceStore;

use super::bridge::{on_rayon, panic_text, pool};
use super::calculator::{Calculator, RawDeal};
use super::manifest::{MANIFEST_VERSION, Manifest, Part, SourceDescription, Total};
use super::parquet::PartWriter;
use super::row::{Row, RowOutcome};
use super::source::{OpenSource, SnapshotSource};
use super::{MANIFEST_MEDIA_TYPE, PART_MEDIA_TYPE, Snapshot, SnapshotError};

/// Rows per part unless the request says otherwise.
pub const ROWS_PER_PART: u64 = 65_536;
/// The most rows a part may have: readers hold one part's compressed bytes.
const MAX_ROWS_PER_PART: u64 = 1_048_576;
/// Deal types counted apart; a column of free text must not grow the manifest without end.
const MAX_DEAL_TYPES: usize = 256;
/// Where the others are counted.
const OTHER_TYPES: &str = "(other)";
/// The shortest time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// What to snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotRequest {
    /// The snapshot's name in its plan.
    pub name: String,
    /// `before`, `after` …
    pub label: String,
    /// Where the deals are.
    pub source: SnapshotSource,
    /// What computes the figures.
    pub calculator: Arc<dyn Calculator>,
    /// The flags in force.
    pub flags: BTreeMap<String, String>,
    /// The ledger sequence the flags were read at; 0 without a ledger.
    pub flags_sequence: u64,
    /// The time to record, from the injected clock.
    pub taken_at: Timestamp,
    /// Rows per part, 1 to 1,048,576; usually [`ROWS_PER_PART`].
    pub rows_per_part: u64,
    /// Compute threads; `None`: one per core. The result does not depend on it.
    pub threads: Option<usize>,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Deals computed.
    pub done: u64,
    /// Deals in all, as counted at the start of the same transaction.
    pub total: u64,
    /// Deals without figures so far.
    pub errors: u64,
}

/// Takes a snapshot and stores it.
///
/// Durable on return: every part and the manifest are in the evidence store. After an error
/// parts may be there, but no manifest names them, so no snapshot exists. A deal that cannot
/// be computed is an error row; look at `manifest.errors`. `progress` is called at most five
/// times a second and once at the end.
pub async fn take(
    request: &SnapshotRequest,
    store: &EvidenceStore,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Snapshot, SnapshotError> {
    check(request)?;
    let pool = pool(request.threads)?;
    let in_flight = request.threads.unwrap_or_else(rayon::current_num_threads) + 1;
    let source = OpenSource::open(&request.source).await?;
    let mut tally = Tally::new(request, source.total)?;
    let description = SourceDescription {
        database: source.shown().to_owned(),
        table: request.source.table.clone(),
        inventory_query: request.source.inventory_query.clone(),
        filter: request.source.filter.clone(),
    };
    let (consistency, deleted_excluded) = (source.consistency, source.deleted);

    let batches = futures::stream::unfold(source.read(), |mut batches| async move {
        batches.next().await.map(|batch| (batch, batches))
    });
    let computed = batches
        .map(|batch| {
            let pool = pool.clone();
            let calculator = Arc::clone(&request.calculator);
            async move {
                let batch = batch?;
                on_rayon(pool.as_ref(), move || compute(&batch, calculator.as_ref())).await
            }
        })
        .buffered(in_flight);
    futures::pin_mut!(computed);

    let mut reported = Instant::now();
    while let Some(rows) = computed.next().await {
        for row in rows? {
            tally.count(&row);
            tally.writer.push(row)?;
            if tally.writer.rows() >= request.rows_per_part {
                tally.close_part(request, store, pool.as_ref()).await?;
            }
        }
        if reported.elapsed() >= PROGRESS_INTERVAL {
            reported = Instant::now();
            progress(tally.progress);
        }
    }
    if tally.writer.rows() > 0 {
        tally.close_part(request, store, pool.as_ref()).await?;
    }
    progress(tally.progress);

    let calculator = &request.calculator;
    let totals = calculator
        .metrics()
        .iter()
        .zip(&tally.totals)
        .map(|(metric, total)| (metric.name.clone(), Total(*total)))
        .collect();
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        snapshot: request.name.clone(),
        label: request.label.clone(),
        source: description,
        consistency,
        model: calculator.name().to_owned(),
        model_digest: calculator.digest().to_owned(),
        deal_type_awareness: calculator.deal_type_awareness(),
        flags: request.flags.clone(),
        flags_sequence: request.flags_sequence,
        metrics: calculator.metrics().to_vec(),
        parts: tally.parts,
        totals,
        deal_types: tally.deal_types,
        total: tally.progress.done,
        success: tally.progress.done - tally.progress.errors,
        errors: tally.progress.errors,
        deleted_excluded,
        taken_at: request.taken_at,
    };
    let bytes = Bytes::from(manifest.to_bytes()?);
    let evidence = store
        .put(bytes, MANIFEST_MEDIA_TYPE, &manifest.evidence_name())
        .await?;
    Ok(Snapshot { manifest, evidence })
}

fn check(request: &SnapshotRequest) -> Result<(), SnapshotError> {
    let refuse = |field, reason: String| Err(SnapshotError::Request { field, reason });
    if request.name.trim().is_empty() {
        return refuse("name", "it is empty; name the snapshot".to_owned());
    }
    if request.label.trim().is_empty() {
        return refuse("label", "it is empty; say `before`, `after` …".to_owned());
    }
    if !(1..=MAX_ROWS_PER_PART).contains(&request.rows_per_part) {
        return refuse(
            "rows_per_part",
            format!(
                "{} is not within 1 to {MAX_ROWS_PER_PART}",
                request.rows_per_part
            ),
        );
    }
    let metrics = request.calculator.metrics();
    let reserved = ["deal_id", "deal_type", "status", "error", "digest"];
    for (index, metric) in metrics.iter().enumerate() {
        let twice = metrics.iter().take(index).any(|m| m.name == metric.name);
        if twice || metric.name.is_empty() || reserved.contains(&metric.name.as_str()) {
            let reason = format!(
                "metric {:?} is empty, reserved or declared twice",
                metric.name
            );
            return refuse("calculator", reason);
        }
    }
    Ok(())
}

/// Computes a batch on all compute threads; the rows keep the order of the deals.
fn compute(batch: &[RawDeal], calculator: &dyn Calculator) -> Vec<Row> {
    batch
        .par_iter()
        .map(|deal| {
            // One deal must not take the others with it, whatever the model does.
            let outcome = catch_unwind(AssertUnwindSafe(|| calculator.compute(deal)))
                .unwrap_or_else(|panic| {
                    Err(format!("the model stopped: {}", panic_text(panic.as_ref())))
                });
            Row::new(deal.id.clone(), deal.deal_type.as_deref(), outcome)
        })
        .collect()
}

/// What is known of the rows so far.
struct Tally {
    writer: PartWriter,
    parts: Vec<Part>,
    totals: Vec<i128>,
    deal_types: BTreeMap<String, u64>,
    progress: Progress,
}

impl Tally {
    fn new(request: &SnapshotRequest, total: u64) -> Result<Self, SnapshotError> {
        let metrics = request.calculator.metrics();
        Ok(Self {
            writer: PartWriter::new(metrics)?,
            parts: Vec::new(),
            totals: vec![0; metrics.len()],
            deal_types: BTreeMap::new(),
            progress: Progress {
                done: 0,
                total,
                errors: 0,
            },
        })
    }

    fn count(&mut self, row: &Row) {
        self.progress.done += 1;
        let known = self.deal_types.contains_key(&row.deal_type);
        let key = if known || self.deal_types.len() < MAX_DEAL_TYPES {
            row.deal_type.as_str()
        } else {
            OTHER_TYPES
        };
        *self.deal_types.entry(key.to_owned()).or_default() += 1;
        match &row.outcome {
            RowOutcome::Success(values) => {
                for (total, value) in self.totals.iter_mut().zip(values) {
                    *total += i128::from(*value);
                }
            }
            RowOutcome::Error(_) => self.progress.errors += 1,
        }
    }

    /// Encodes and stores the rows so far as one part.
    async fn close_part(
        &mut self,
        request: &SnapshotRequest,
        store: &EvidenceStore,
        pool: Option<&Arc<ThreadPool>>,
    ) -> Result<(), SnapshotError> {
        let next = PartWriter::new(request.calculator.metrics())?;
        let full = std::mem::replace(&mut self.writer, next);
        let (bytes, mut part) = on_rayon(pool, move || full.finish()).await??;
        let name = format!(
            "{}-{}.{:05}.parquet",
            request.name,
            request.label,
            self.parts.len()
        );
        let stored = store
            .put(Bytes::from(bytes), PART_MEDIA_TYPE, &name)
            .await?;
        part.sha256 = stored.sha256;
        self.parts.push(part);
        Ok(())
    }
}
