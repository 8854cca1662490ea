//! Does one shard: reads, computes and encodes in parallel, then stores one part.
//!
//! ```text
//!  source ──batches──▶ compute ──rows──▶ sort by key, encode ──▶ evidence store
//!  one session   bounded bytes  any thread   one part's rows      one part
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rollbook_ledger::evidence::EvidenceStore;
use tokio::sync::{Semaphore, mpsc};

use super::batch::RowShape;
use super::calculator::{Calculator, RawDeal};
use super::compute_pool::{Pool, compute, on_rayon};
use super::database::SourceDatabase;
use super::encode::{Encoded, ShardEncoder};
use super::plan::MAX_ROWS_PER_PART;
use super::read::{Batch, Closed, Here, IN_FLIGHT_BYTES, Outlet, Session, Sink};
use super::row::Row;
use super::task::{ShardReport, ShardTask};
use super::{PART_MEDIA_TYPE, SnapshotError};

/// Batches that may wait between a reader and the compute threads.
const QUEUED_BATCHES: usize = 2;

/// What all shards of a process share: the calculator, the evidence store and the bounds.
#[derive(Clone, Debug)]
pub struct ShardContext {
    calculator: Arc<dyn Calculator>,
    store: EvidenceStore,
    pool: Pool,
    in_flight: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// Deals computed so far, and how many of them have no figures.
#[derive(Debug, Default)]
struct Counters {
    done: AtomicU64,
    errors: AtomicU64,
}

impl ShardContext {
    /// Computes on `threads` threads; `None` means one per core.
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

    /// Deals computed by all workers of this context since it was made, and how many of them have
    /// no figures. Failed shards count with the deals they computed.
    pub fn counts(&self) -> (u64, u64) {
        let counters = &self.counters;
        (
            counters.done.load(Ordering::Relaxed),
            counters.errors.load(Ordering::Relaxed),
        )
    }

    pub(super) fn threads(&self) -> usize {
        self.pool.threads()
    }
}

/// A worker that does shards one after another and keeps its session with the source open between
/// them.
#[derive(Debug)]
pub struct ShardWorker {
    context: ShardContext,
    database: SourceDatabase,
    session: Option<Session>,
}

impl ShardWorker {
    /// Makes a worker that reads the source at a URL, which may hold a password. Nothing is opened
    /// before the first shard.
    pub fn new(context: ShardContext, database_url: &str) -> Result<Self, SnapshotError> {
        Ok(Self::of(context, SourceDatabase::parse(database_url)?))
    }

    pub(super) fn of(context: ShardContext, database: SourceDatabase) -> Self {
        Self {
            context,
            database,
            session: None,
        }
    }

    pub(super) fn with_session(
        context: ShardContext,
        database: SourceDatabase,
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
    /// Durable on return: its part is in the evidence store, synced. The part's bytes depend only
    /// on the deals and the calculator, so doing a shard again, here or elsewhere, stores the same
    /// part. A deal that cannot be computed is an error row. After an error nothing was reported;
    /// see [`SnapshotError::is_retryable`] and [`SnapshotError::needs_new_plan`].
    pub async fn run(&mut self, task: &ShardTask) -> Result<ShardReport, SnapshotError> {
        self.compute(task).await?.store().await
    }

    /// The first half of [`ShardWorker::run`]. The result can be stored while the worker computes
    /// another shard. Nothing is durable yet.
    pub(super) async fn compute(&mut self, task: &ShardTask) -> Result<Computed, SnapshotError> {
        Ok(Computed {
            context: self.context.clone(),
            task: task.clone(),
            rows: self.rows_of(task).await?,
        })
    }

    /// Computes the rows of a shard, in any order.
    async fn rows_of(&mut self, task: &ShardTask) -> Result<Vec<Row>, SnapshotError> {
        let expected = usize::try_from(task.deals.min(MAX_ROWS_PER_PART)).unwrap_or_default();
        let rows = Arc::new(Mutex::new(Vec::with_capacity(expected)));
        let all = Arc::clone(&rows);
        let take = move |batch: Vec<Row>| {
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(batch);
            Ok(())
        };
        self.each_batch(task, Arc::new(take), false).await?;
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *rows))
    }

    /// Computes the deals of a task and passes their rows to `take`, some at a time and in any
    /// order. With `here` it computes on the reading thread, otherwise on the compute threads.
    /// Returns how many deleted deals were read and left out, which only a range of pages contains.
    pub(super) async fn each_batch(
        &mut self,
        task: &ShardTask,
        take: TakeRows,
        here: bool,
    ) -> Result<u64, SnapshotError> {
        task.check(self.context.calculator.as_ref())?;
        // Taken out, so that a session whose stream was interrupted is never used again.
        let mut session = self
            .session
            .take()
            .unwrap_or_else(|| Session::Unopened(self.database.clone()));
        let batches = Arc::new(Batches {
            context: self.context.clone(),
            task: task.clone(),
            read: AtomicU64::new(0),
            take,
        });
        let deleted = if here {
            batches.compute_here(&mut session).await?
        } else {
            batches.compute_on_threads(&mut session).await?
        };
        self.session = Some(session);
        Ok(deleted)
    }
}

/// Receives rows as they are computed.
pub(super) type TakeRows = Arc<dyn Fn(Vec<Row>) -> Result<(), SnapshotError> + Send + Sync>;

/// The batches of one task between its source and the computed rows.
struct Batches {
    context: ShardContext,
    task: ShardTask,
    read: AtomicU64,
    take: TakeRows,
}

impl Batches {
    /// Reads and computes in parallel.
    async fn compute_on_threads(
        self: &Arc<Self>,
        session: &mut Session,
    ) -> Result<u64, SnapshotError> {
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES);
        let outlet = Outlet::Threads {
            sender,
            in_flight: Arc::clone(&self.context.in_flight),
        };
        let batches = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|batch| (batch, receiver))
        });
        let pool = &self.context.pool;
        let computing = batches
            .map(|Batch { deals, permit }| async {
                let batches = Arc::clone(self);
                let work = move || {
                    let done = batches.compute(deals);
                    drop(permit);
                    done
                };
                on_rayon(pool, work).await?
            })
            .buffer_unordered(pool.threads())
            .try_for_each(|()| async { Ok(()) });
        let reading = session.read(&self.task, Sink::new(self.shape(), outlet));
        tokio::try_join!(reading, computing).map(|(deleted, ())| deleted)
    }

    /// Reads and computes in turn, which avoids the cost of handing deals to other threads.
    async fn compute_here(self: &Arc<Self>, session: &mut Session) -> Result<u64, SnapshotError> {
        let failure = Arc::new(Mutex::new(None));
        let (batches, failed) = (Arc::clone(self), Arc::clone(&failure));
        let compute = move |deals| {
            batches.compute(deals).map_err(|error| {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Closed
            })
        };
        let outlet = Outlet::Here(Here(Box::new(compute)));
        let deleted = session
            .read(&self.task, Sink::new(self.shape(), outlet))
            .await?;
        let failure = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        failure.map_or(Ok(deleted), Err)
    }

    fn shape(&self) -> RowShape {
        match self.task.source.inventory_query {
            Some(_) => RowShape::Item,
            None => RowShape::Whole,
        }
    }

    fn compute(&self, deals: Vec<RawDeal>) -> Result<(), SnapshotError> {
        let calculator = self.context.calculator.as_ref();
        let rows = compute(deals, calculator);
        if let Some(reason) = calculator.fault() {
            return Err(SnapshotError::Calculator { reason });
        }
        let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
        let errors = rows.iter().filter(|row| row.is_error()).count();
        let Counters { done, errors: bad } = self.context.counters.as_ref();
        done.fetch_add(count(rows.len()), Ordering::Relaxed);
        bad.fetch_add(count(errors), Ordering::Relaxed);
        let read = count(rows.len()) + self.read.fetch_add(count(rows.len()), Ordering::Relaxed);
        if read > self.task.deals {
            return Err(self.task.error(format!(
                "it has more than the {} deals the plan counted; the source is not as it was planned",
                self.task.deals
            )));
        }
        (self.take)(rows)
    }
}

/// A shard whose deals are computed but not stored.
pub(super) struct Computed {
    context: ShardContext,
    task: ShardTask,
    rows: Vec<Row>,
}

impl Computed {
    /// The second half of [`ShardWorker::run`]: encodes and stores the part. Durable on return.
    pub(super) async fn store(self) -> Result<ShardReport, SnapshotError> {
        let Self {
            context,
            task,
            mut rows,
        } = self;
        let encode = move |task: &ShardTask| {
            let order = task.key_order;
            rows.sort_unstable_by(|left, right| order.compare(&left.deal_id, &right.deal_id));
            let mut encoder = ShardEncoder::new(task)?;
            for row in rows {
                encoder.push(&row)?;
            }
            encoder.finish()
        };
        store_part(&context, task, encode).await
    }
}

/// Encodes the part of a shard on the compute threads and stores it.
pub(super) async fn store_part(
    context: &ShardContext,
    task: ShardTask,
    encode: impl FnOnce(&ShardTask) -> Result<Encoded, SnapshotError> + Send + 'static,
) -> Result<ShardReport, SnapshotError> {
    let name = format!("{}-{}.{:05}.parquet", task.snapshot, task.label, task.shard);
    let Encoded { bytes, mut report } = on_rayon(&context.pool, move || encode(&task)).await??;
    let stored = context
        .store
        .put(Bytes::from(bytes), PART_MEDIA_TYPE, &name);
    report.part.sha256 = stored.await?.sha256;
    Ok(report)
}

/// Does one shard with a worker made for it: see [`ShardWorker::run`].
pub async fn run_shard(
    task: &ShardTask,
    database_url: &str,
    context: &ShardContext,
) -> Result<ShardReport, SnapshotError> {
    ShardWorker::new(context.clone(), database_url)?
        .run(task)
        .await
}
