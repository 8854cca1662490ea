//! Plans a snapshot: opens one consistent read and cuts it into shards of equal work.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::SnapshotError;
use super::calculator::{Calculator, CalculatorDescription};
use super::database::SourceDatabase;
use super::manifest::SourceDescription;
use super::read::{Held, Pages, Planned, PlannedHere, Scattered, Source};
use super::row::KeyOrder;
use super::source::{Consistency, SnapshotSource};
use super::task::{KeyRange, PlanSummary, ShardRead, ShardTask, TASK_VERSION};

/// Deals per shard, and so rows per part, unless the request sets it. Small enough that the last
/// shards end together, large enough that opening a part costs nothing compared with reading it.
pub const ROWS_PER_PART: u64 = 16_384;
/// Maximum number of rows in a part: workers hold one part's rows, readers its compressed bytes.
pub(super) const MAX_ROWS_PER_PART: u64 = 65_536;
/// Maximum number of shards in a plan.
const MAX_SHARDS: usize = 1_000_000;
/// Maximum number of connections of one run.
const MAX_CONNECTIONS: usize = 64;

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
    /// The values of the flags when the snapshot is taken.
    pub flags: BTreeMap<String, String>,
    /// The ledger sequence at which the flags were read; 0 without a ledger.
    pub flags_sequence: u64,
    /// The time to record, from the injected clock.
    pub taken_at: Timestamp,
    /// Rows per part, 1 to 65,536; normally [`ROWS_PER_PART`].
    pub rows_per_part: u64,
    /// Compute threads; `None`: one per core. The result does not depend on it.
    pub threads: Option<usize>,
    /// Connections that read in parallel, 1 to 64; `None`: one per thread, at most 8. SQLite always
    /// uses one. The result does not depend on it.
    pub connections: Option<usize>,
}

/// The shards of one consistent read, together with that read. Dropping it ends the read; its
/// shards can then no longer be done.
#[derive(Debug)]
pub struct SnapshotPlan {
    /// What [`super::finish`] needs.
    pub summary: PlanSummary,
    /// The shards in key order. Each has at least one deal.
    pub shards: Vec<ShardTask>,
    pub(super) held: Held,
}

impl SnapshotPlan {
    /// Fails if the consistent read has ended, so that no worker starts in vain.
    pub async fn check_held(&mut self) -> Result<(), SnapshotError> {
        self.held.check(&self.summary.source).await
    }
}

/// A table that this process reads page by page, because its keys are scattered over the pages.
/// Dropping the plan ends the read.
#[derive(Debug)]
pub struct PagePlan {
    /// Shards and deleted deals are unknown until everything is read; the total is an estimate.
    pub(super) summary: PlanSummary,
    pub(super) pages: Pages,
    /// The task that covers all pages.
    pub(super) whole: ShardTask,
    pub(super) rows_per_part: u64,
    _held: Held,
}

/// How this process takes a snapshot on its own. Both ways produce the same parts.
#[derive(Debug)]
pub enum LocalPlan {
    /// Shard by shard.
    Shards(SnapshotPlan),
    /// Page by page.
    Pages(PagePlan),
}

impl LocalPlan {
    /// What is known before the read.
    pub(super) fn summary(&self) -> &PlanSummary {
        match self {
            Self::Shards(plan) => &plan.summary,
            Self::Pages(plan) => &plan.summary,
        }
    }
}

impl From<SnapshotPlan> for LocalPlan {
    fn from(plan: SnapshotPlan) -> Self {
        Self::Shards(plan)
    }
}

/// Opens a consistent read of the source and cuts it into shards of `rows_per_part` deals each; the
/// last one may be smaller.
///
/// The cuts depend on the live deals alone (and, in PostgreSQL, on whether an index serves them),
/// so an unchanged run of deals becomes the same part in every snapshot. Nothing is stored.
pub async fn plan(request: &SnapshotRequest) -> Result<SnapshotPlan, SnapshotError> {
    check(request)?;
    let database = SourceDatabase::parse(&request.source.database)?;
    let rows = request.rows_per_part;
    let source = Source::open(&database, &request.source, rows).await?;
    let planned = source.cut(rows).await?;
    shards(request, &database, planned)
}

/// Like [`plan`], but for this process alone, which may read a table page by page where that costs
/// less. In that case nothing is counted or cut beforehand. This is the only place that chooses
/// between the two; either gives the same snapshot, or the same kind of error.
pub async fn plan_here(request: &SnapshotRequest) -> Result<LocalPlan, SnapshotError> {
    check(request)?;
    let database = SourceDatabase::parse(&request.source.database)?;
    let rows = request.rows_per_part;
    let source = Source::open(&database, &request.source, rows).await?;
    let Scattered {
        held,
        consistency,
        key_order,
        pages,
        read,
    } = match source.here(rows).await? {
        PlannedHere::Shards(planned) => {
            return shards(request, &database, planned).map(LocalPlan::Shards);
        }
        PlannedHere::Pages(scattered) => scattered,
    };
    let outline = Outline {
        request,
        source: described(&request.source, &database, None),
        consistency,
        key_order,
        calculator: request.calculator.description().clone(),
    };
    let all = KeyRange {
        from: None,
        below: None,
    };
    Ok(LocalPlan::Pages(PagePlan {
        whole: outline.task(0, all, read, u64::MAX),
        summary: outline.summary(0, pages.deals, 0),
        pages,
        rows_per_part: rows,
        _held: held,
    }))
}

fn shards(
    request: &SnapshotRequest,
    database: &SourceDatabase,
    planned: Planned,
) -> Result<SnapshotPlan, SnapshotError> {
    if planned.shards.len() > MAX_SHARDS {
        return Err(SnapshotError::Request {
            field: "rows_per_part",
            reason: format!(
                "{} deals make over {MAX_SHARDS} parts; ask for more rows each",
                planned.total
            ),
        });
    }
    let outline = Outline {
        request,
        source: described(&request.source, database, planned.file_sha256),
        consistency: planned.consistency,
        key_order: planned.key_order,
        calculator: request.calculator.description().clone(),
    };
    let cuts = (0..).zip(planned.shards);
    let shards: Vec<ShardTask> = cuts
        .map(|(shard, cut)| outline.task(shard, cut.range, cut.read, cut.deals))
        .collect();
    let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    Ok(SnapshotPlan {
        summary: outline.summary(count, planned.total, planned.deleted),
        shards,
        held: planned.held,
    })
}

fn described(
    source: &SnapshotSource,
    database: &SourceDatabase,
    file_sha256: Option<String>,
) -> SourceDescription {
    SourceDescription {
        database: database.shown().to_owned(),
        table: source.table.clone(),
        inventory_query: source.inventory_query.clone(),
        filter: source.filter.clone(),
        tenant: source.tenant.clone(),
        file_sha256,
    }
}

/// What all tasks of a plan share.
struct Outline<'r> {
    request: &'r SnapshotRequest,
    source: SourceDescription,
    consistency: Consistency,
    key_order: KeyOrder,
    calculator: CalculatorDescription,
}

impl Outline<'_> {
    fn task(&self, shard: u32, range: KeyRange, read: ShardRead, deals: u64) -> ShardTask {
        ShardTask {
            version: TASK_VERSION,
            shard,
            snapshot: self.request.name.clone(),
            label: self.request.label.clone(),
            source: self.source.clone(),
            consistency: self.consistency,
            key_order: self.key_order,
            range,
            read,
            deals,
            calculator: self.calculator.clone(),
        }
    }

    fn summary(self, shards: u32, total: u64, deleted_excluded: u64) -> PlanSummary {
        PlanSummary {
            version: TASK_VERSION,
            snapshot: self.request.name.clone(),
            label: self.request.label.clone(),
            source: self.source,
            consistency: self.consistency,
            key_order: self.key_order,
            calculator: self.calculator,
            flags: self.request.flags.clone(),
            flags_sequence: self.request.flags_sequence,
            taken_at: self.request.taken_at,
            shards,
            total,
            deleted_excluded,
        }
    }
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
    if let Some(connections) = request.connections
        && !(1..=MAX_CONNECTIONS).contains(&connections)
    {
        return refuse(
            "connections",
            format!("{connections} is not within 1 to {MAX_CONNECTIONS}"),
        );
    }
    let tenant = request.source.tenant.as_deref();
    if tenant.is_some_and(|tenant| tenant.is_empty() || tenant.contains('\0')) {
        return refuse("tenant", "it is empty or holds a NUL; name one".to_owned());
    }
    let metrics = &request.calculator.description().metrics;
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
