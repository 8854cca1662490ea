//! Snapshots: the outputs of the model for every deal, as of one consistent read.
//!
//! ```text
//!  plan ───────────▶ shards ──────▶ reports ─────▶ finish
//!  one consistent    runs of keys,  a stored part  the manifest; its SHA-256
//!  read, held open   any worker     each           is the snapshot
//! ```
//!
//! [`plan`], [`ShardWorker::run`] and [`finish`] are the pieces a fleet runs; [`take`] runs them in
//! one process. Rows are in key order: ids by their bytes, integer ids by value. Equal input gives
//! byte-identical parts on any number of workers and threads, so a part made twice is the same
//! evidence. All deals are never in memory at once: a few batches and one part per worker are.

mod batch;
pub mod calculator;
pub mod compute_pool;
pub mod current_deal;
pub mod database;
mod encode;
mod error;
pub mod error_rows;
pub mod exec;
pub mod export;
mod figure;
pub mod manifest;
mod packed;
mod page_scan;
pub mod parquet;
pub mod pipeline;
pub mod plan;
pub mod prefix;
pub mod query;
mod read;
pub mod reader;
pub mod row;
pub mod shard;
pub mod source;
pub mod sql;
pub mod task;
pub mod values;

use rollbook_ledger::evidence::EvidenceStore;
use rollbook_proto::v1::{Evidence, SnapshotTaken};

pub use calculator::{Calculator, CalculatorDescription, MetricInfo, RawDeal};
pub use error::SnapshotError;
pub use manifest::{Manifest, Part};
pub use pipeline::{Progress, finish, take, take_planned};
pub use plan::{LocalPlan, SnapshotPlan, SnapshotRequest, plan, plan_here};
pub use row::{KeyOrder, Row, RowFields, RowOutcome};
pub use shard::{ShardContext, ShardWorker, run_shard};
pub use source::{DealTable, SnapshotSource};
pub use task::{PlanSummary, ShardRead, ShardReport, ShardTask};
pub use values::{Value, Values};

/// The media type of a manifest.
pub const MANIFEST_MEDIA_TYPE: &str = "application/vnd.rollbook.snapshot+json";
/// The media type of a part.
pub const PART_MEDIA_TYPE: &str = "application/vnd.apache.parquet";

/// A stored snapshot: its manifest and the manifest's address, which names the snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's address in the evidence store.
    pub evidence: Evidence,
}

impl Snapshot {
    /// Reads the manifest at an address and checks that it is complete.
    pub async fn open(store: &EvidenceStore, sha256: &str) -> Result<Self, SnapshotError> {
        let bytes = store.get(sha256).await?;
        let manifest = Manifest::from_bytes(sha256, &bytes)?;
        let evidence = Evidence {
            sha256: sha256.to_owned(),
            size_bytes: bytes.len() as u64,
            media_type: MANIFEST_MEDIA_TYPE.to_owned(),
            name: manifest.evidence_name(),
            truncated: false,
        };
        Ok(Self { manifest, evidence })
    }

    /// All rows of one part in key order, verified against the part's SHA-256.
    ///
    /// Parts are bounded when written, so reading part by part streams a snapshot.
    pub async fn read_rows(
        &self,
        store: &EvidenceStore,
        part: usize,
    ) -> Result<Vec<Row>, SnapshotError> {
        let Some(entry) = self.manifest.parts.get(part) else {
            return Ok(Vec::new());
        };
        let file = store.open_checked(&entry.sha256).await?;
        let sha256 = entry.sha256.clone();
        let entry = entry.clone();
        let metrics = self.manifest.metrics.clone();
        let pool = compute_pool::Pool::default();
        let read = compute_pool::on_rayon(&pool, move || {
            let mut part = parquet::PartReader::open(file, &entry, &metrics)?;
            let (mut rows, mut group) = (Vec::new(), parquet::RowGroup::default());
            while part.next_group(&mut group)? {
                for index in 0..group.len() {
                    rows.push(group.row(index)?);
                }
            }
            Ok(rows)
        });
        match read.await.and_then(|rows| rows) {
            Ok(rows) => Ok(rows),
            Err(error) => Err(reader::or_damage(store, &[&sha256], error).await),
        }
    }

    /// The row of one deal; `None` when the snapshot does not contain it.
    pub async fn find(
        &self,
        store: &EvidenceStore,
        deal_id: &str,
    ) -> Result<Option<Row>, SnapshotError> {
        let Some(part) = self.manifest.part_of(deal_id) else {
            return Ok(None);
        };
        let rows = self.read_rows(store, part).await?;
        Ok(rows.into_iter().find(|row| row.deal_id == deal_id))
    }

    /// The event that records this snapshot for a step.
    pub fn to_event(&self, step_id: &str) -> SnapshotTaken {
        let manifest = &self.manifest;
        SnapshotTaken {
            step_id: step_id.to_owned(),
            snapshot: manifest.snapshot.clone(),
            label: manifest.label.clone(),
            manifest: Some(self.evidence.clone()),
            deals: manifest.total,
            errors: manifest.errors,
            model_digest: manifest.model_digest.clone(),
            flags_sequence: manifest.flags_sequence,
            flags: manifest.flags.clone().into_iter().collect(),
        }
    }
}
