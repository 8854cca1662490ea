//! Doing one shard: read, compute and encode side by side, then store one part.
//!
//! ```text
//!  source ──batches──▶ compute ──rows──▶ sort by key, encode ──▶ evidence store
//!  one session   bounded bytes  any thread   one part's rows      one part
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use rollbook_ledger::evidence::EvidenceStore;
use tokio::sync::{Semaphore, mpsc};

use super::batch::RowShape;
use super::bridge::{Pool, compute, on_rayon};
use super::calculator::Calculator;
use super::database::Database;
use super::manifest::{Part, Total};
use super::parquet::PartWriter;
use super::plan::MAX_ROWS_PER_PART;
use super::read::{Batch, IN_FLIGHT_BYTES, Session, Sink};
use super::row::Row;
use super::task::{ShardReport, ShardTask};
use super::{PART_MEDIA_TYPE, SnapshotError};

/// Batches waiting between a reader and the compute threads.
const QUEUED_BATCHES: usize = 2;
/// Deal types counted apart; a column of free text must not grow the manifest without end.
const MAX_DEAL_TYPES: usize = 256;
/// Where the others are counted.
const OTHER_TYPES: &str = "(other)";

/// What all shards of a process share: the calculator, where parts go, and the bounds.
#[derive(Clone, Debug)]
pub struct ShardContext {
    calculator: Arc<dyn Calculator>,
    store: EvidenceStore,
    pool: Pool,
    in_flight: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// Deals computed so far, and those of them without figures.
#[derive(Debug, Default)]
struct Counters {
    done: AtomicU64,
    errors: AtomicU64,
}

impl ShardContext {
    /// Computes on `threads` threads; `None`: one per core.
    pub fn new(
        calculator: Arc<dyn Calculator>,
        store: EvidenceStore,
        threads: Option<usize>,
    ) -> Result<Self, SnapshotError> {
        Ok(Self {
            calculator,
            store,
            pool: Pool::new(threads)?,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_BYTES)),
            counters: Arc::default(),
        })
    }

    /// Deals computed since this context was made, by all its workers, and those of them without
    /// figures. Shards that failed are counted as far as they came.
    pub fn counts(&self) -> (u64, u64) {
        let counters = &self.counters;
        (
            counters.done.load(Ordering::Relaxed),
            counters.errors.load(Ordering::Relaxed),
        )
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn threads(&self) -> usize {
        self.pool.threads()
    }
}

/// One worker: it does shards one after the other and keeps its session with the source open
/// between them.
#[derive(Debug)]
pub struct ShardWorker {
    context: ShardContext,
    database: Database,
    session: Option<Session>,
}

impl ShardWorker {
    /// A worker that reaches the source at a URL, which may hold a password. Nothing is opened
    /// before the first shard.
    pub fn new(context: ShardContext, database_url: &str) -> Result<Self, SnapshotError> {
        Ok(Self::of(context, Database::parse(database_url)?))
    }

    pub(super) fn of(context: ShardContext, database: Database) -> Self {
        Self {
            context,
            database,
            session: None,
        }
    }

    pub(super) fn with_session(
        context: ShardContext,
        database: Database,
        session: Session,
    ) -> Self {
        Self {
            context,
            database,
            session: Some(session),
        }
    }

    /// Does one shard.
    ///
    /// Durable on return: its part is in the evidence store, synced. The part's bytes depend on
    /// the deals and the calculator alone, so doing a shard again, here or elsewhere, stores the
    /// same part. A deal that cannot be computed is an error row. After an error nothing was
    /// reported; look at [`SnapshotError::is_retryable`] and [`SnapshotError::needs_new_plan`].
    pub async fn run(&mut self, task: &ShardTask) -> Result<ShardReport, SnapshotError> {
        self.compute(task).await?.store().await
    }

    /// The first half of [`ShardWorker::run`]. What it gives can be stored while the worker
    /// computes another shard. Nothing is durable yet.
    pub(super) async fn compute(&mut self, task: &ShardTask) -> Result<Computed, SnapshotError> {
        let rows = self.rows_of(task).await?;
        Computed::new(self.context.clone(), task.clone(), rows)
    }

    /// The rows of a shard, in any order.
    pub(super) async fn rows_of(&mut self, task: &ShardTask) -> Result<Vec<Row>, SnapshotError> {
        task.check(self.context.calculator.as_ref())?;
        // Taken out, so that a session whose stream broke off is never used again.
        let mut session = self
            .session
            .take()
            .unwrap_or_else(|| Session::Unopened(self.database.clone()));
        let rows = self.rows(task, &mut session).await?;
        self.session = Some(session);
        Ok(rows)
    }

    /// Reads and computes side by side; the rows come in any order.
    async fn rows(
        &self,
        task: &ShardTask,
        session: &mut Session,
    ) -> Result<Vec<Row>, SnapshotError> {
        let context = &self.context;
        let shape = match task.source.inventory_query {
            Some(_) => RowShape::Item,
            None => RowShape::Whole,
        };
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES);
        let sink = Sink::new(shape, sender, Arc::clone(&context.in_flight));
        let batches = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|batch| (batch, receiver))
        });
        let computing = async {
            let expected = task.deals.min(MAX_ROWS_PER_PART);
            let mut rows = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
            let computed = batches
                .map(|Batch { deals, permit }| async {
                    let calculator = Arc::clone(&context.calculator);
                    let work = move || {
                        let rows = compute(deals, calculator.as_ref());
                        drop(permit);
                        rows
                    };
                    on_rayon(&context.pool, work).await
                })
                .buffer_unordered(context.pool.threads());
            futures::pin_mut!(computed);
            while let Some(batch) = computed.next().await {
                let batch = batch?;
                if let Some(reason) = context.calculator.fault() {
                    return Err(SnapshotError::Calculator { reason });
                }
                let errors = batch.iter().filter(|row| row.is_error()).count();
                let counters = &context.counters;
                counters
                    .done
                    .fetch_add(batch.len() as u64, Ordering::Relaxed);
                counters.errors.fetch_add(errors as u64, Ordering::Relaxed);
                if rows.len() + batch.len() > usize::try_from(task.deals).unwrap_or(usize::MAX) {
                    return Err(task.error(format!(
                        "it has more than the {} deals the plan counted; the source is not as it was planned",
                        task.deals
                    )));
                }
                rows.extend(batch);
            }
            Ok(rows)
        };
        let ((), rows) = tokio::try_join!(session.read(task, sink), computing)?;
        Ok(rows)
    }
}

/// A shard whose deals are computed.
pub(super) struct Computed {
    context: ShardContext,
    task: ShardTask,
    rows: Vec<Row>,
}

impl Computed {
    /// Refuses rows that are more or fewer than the plan counted.
    pub(super) fn new(
        context: ShardContext,
        task: ShardTask,
        rows: Vec<Row>,
    ) -> Result<Self, SnapshotError> {
        if rows.len() as u64 != task.deals {
            return Err(task.error(format!(
                "it has {} deals, the plan counted {}; the source is not as it was planned",
                rows.len(),
                task.deals
            )));
        }
        Ok(Self {
            context,
            task,
            rows,
        })
    }

    /// The second half of [`ShardWorker::run`]: encodes the part and stores it.
    pub(super) async fn store(self) -> Result<ShardReport, SnapshotError> {
        let Self {
            context,
            task,
            rows,
        } = self;
        let name = format!("{}-{}.{:05}.parquet", task.snapshot, task.label, task.shard);
        let work = move || encode(rows, &task);
        let (bytes, mut report) = on_rayon(&context.pool, work).await??;
        let stored = context
            .store
            .put(Bytes::from(bytes), PART_MEDIA_TYPE, &name);
        report.part.sha256 = stored.await?.sha256;
        Ok(report)
    }
}

/// Does one shard with a worker of its own: see [`ShardWorker::run`].
pub async fn run_shard(
    task: &ShardTask,
    database_url: &str,
    context: &ShardContext,
) -> Result<ShardReport, SnapshotError> {
    ShardWorker::new(context.clone(), database_url)?
        .run(task)
        .await
}

/// Sorts the rows and makes their part, its address still empty, and the report.
fn encode(mut rows: Vec<Row>, task: &ShardTask) -> Result<(Vec<u8>, ShardReport), SnapshotError> {
    let (order, metrics) = (task.key_order, &task.calculator.metrics);
    rows.sort_unstable_by(|left, right| order.compare(&left.deal_id, &right.deal_id));
    let twice = rows.windows(2).find_map(|pair| match pair {
        [left, right] if left.deal_id == right.deal_id => Some(left),
        _ => None,
    });
    if let Some(row) = twice {
        return Err(SnapshotError::Order {
            table: task.source.table.table.clone(),
            reason: format!("id {:?} occurs twice", row.deal_id),
        });
    }
    let mut report = ShardReport {
        shard: task.shard,
        part: Part::default(),
        totals: vec![Total::default(); metrics.iter().filter(|m| !m.is_text()).count()],
        deal_types: BTreeMap::new(),
    };
    let mut writer = PartWriter::new(metrics)?;
    for row in rows {
        count_type(&mut report.deal_types, &row.deal_type, 1);
        if let Some(values) = row.values() {
            for (total, value) in report.totals.iter_mut().zip(&values.numbers) {
                total.0 += i128::from(*value);
            }
        }
        writer.push(row)?;
    }
    let (bytes, part) = writer.finish()?;
    report.part = part;
    Ok((bytes, report))
}

/// Counts deals of a type, under a common name when there are too many types.
pub(super) fn count_type(types: &mut BTreeMap<String, u64>, name: &str, deals: u64) {
    if let Some(count) = types.get_mut(name) {
        *count += deals;
        return;
    }
    let name = if types.len() < MAX_DEAL_TYPES {
        name
    } else {
        OTHER_TYPES
    };
    *types.entry(name.to_owned()).or_default() += deals;
}
