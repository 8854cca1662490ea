//! Takes a snapshot of a table by reading it in page order.
//!
//! ```text
//!  pages ──▶ rows ──▶ buckets, a run of keys each ──▶ sort by key, cut, encode, store: parts
//!  several connections    bounded memory, then a file
//! ```
//!
//! The parts are byte for byte those that reading by keys makes: they are cut at every n-th key,
//! regardless of where buckets begin.

mod buckets;
mod parts;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::buckets::Buckets;
use self::parts::Parts;
use super::SnapshotError;
use super::database::SourceDatabase;
use super::packed;
use super::plan::PagePlan;
use super::row::{KeyOrder, Row};
use super::shard::{ShardContext, ShardWorker, TakeRows, store_part};
use super::task::{PlanSummary, ShardRead, ShardReport, ShardTask};

/// Bytes of rows held in memory before they are written to a file. Fresh memory costs more than the
/// file, which the system keeps in its cache while there is room.
const MEMORY_BYTES: usize = 16 * 1024 * 1024;

/// The size that most encoded rows fit in, in bytes.
const USUAL_ROW_BYTES: usize = 192;

/// The fewest pages requested at once.
const LEAST_PAGES: u64 = 64;

/// A snapshot to be taken page by page.
pub(super) struct PageScan {
    pub(super) context: ShardContext,
    pub(super) database: SourceDatabase,
    pub(super) plan: PagePlan,
    pub(super) connections: usize,
}

impl PageScan {
    /// Reads all pages, then stores all parts. Returns the plan completed with the counts, and the
    /// reports of its shards.
    pub(super) async fn run(self) -> Result<(PlanSummary, Vec<ShardReport>), SnapshotError> {
        let Self {
            context,
            database,
            plan,
            connections,
        } = self;
        let ranges: Arc<[_]> = ranges(plan.pages.count, connections).into();
        let bounds: Arc<[String]> = plan.pages.bounds.into();
        let buckets = Arc::new(Mutex::new(Buckets::new(bounds.len() + 1, MEMORY_BYTES)));
        let (next, deleted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        // Readers also compute if there are as many of them as compute threads.
        let here = connections == context.threads();
        let mut readers = Vec::new();
        for _ in 0..connections {
            let mut worker = ShardWorker::of(context.clone(), database.clone());
            let (ranges, whole) = (Arc::clone(&ranges), plan.whole.clone());
            let (next, deleted) = (Arc::clone(&next), Arc::clone(&deleted));
            let (bounds, buckets, order) =
                (Arc::clone(&bounds), Arc::clone(&buckets), whole.key_order);
            let take: TakeRows = Arc::new(move |rows| distribute(&rows, &bounds, order, &buckets));
            let reading = async move {
                while let Some(range) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let task = of_pages(&whole, *range);
                    let passed = worker.each_batch(&task, Arc::clone(&take), here).await?;
                    deleted.fetch_add(passed, Ordering::Relaxed);
                }
                Ok(())
            };
            readers.push(on_own_thread(reading)?);
        }
        try_join_all(readers).await?;
        let full = {
            let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *buckets, Buckets::new(0, 0))
        };
        let parts = Arc::new(Parts::new(full, plan.rows_per_part));
        let store = |(shard, deals)| {
            let (context, parts) = (context.clone(), Arc::clone(&parts));
            let task = ShardTask {
                shard,
                deals,
                ..plan.whole.clone()
            };
            async move { store_part(&context, task, move |task| parts.encode(task)).await }
        };
        let reports: Vec<ShardReport> = stream::iter((0..).zip(parts.sizes()).map(store))
            .buffered(context.threads() + 1)
            .try_collect()
            .await?;
        let summary = PlanSummary {
            shards: u32::try_from(reports.len()).unwrap_or(u32::MAX),
            total: parts.total(),
            deleted_excluded: deleted.load(Ordering::Relaxed),
            ..plan.summary
        };
        Ok((summary, reports))
    }
}

/// Ranges of pages of decreasing size, so that all readers end at about the same time. The last
/// range is open.
fn ranges(pages: u64, connections: usize) -> Vec<(u64, Option<u64>)> {
    let shares = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_mul(3);
    let mut ranges = Vec::new();
    let mut from = 0;
    loop {
        let size = ((pages - from) / shares.max(1)).max(LEAST_PAGES);
        let below = (from + size < pages).then_some(from + size);
        ranges.push((from, below));
        match below {
            Some(below) => from = below,
            None => return ranges,
        }
    }
}

/// The task for a range of pages.
fn of_pages(whole: &ShardTask, (start, end): (u64, Option<u64>)) -> ShardTask {
    let mut task = whole.clone();
    if let ShardRead::PostgresPages { from, below, .. } = &mut task.read {
        (*from, *below) = (start, end);
    }
    task
}

/// Runs a reader on its own thread and runtime; both end when the outcome is there or nobody waits
/// for it any more.
fn on_own_thread(
    reading: impl Future<Output = Result<(), SnapshotError>> + Send + 'static,
) -> Result<impl Future<Output = Result<(), SnapshotError>>, SnapshotError> {
    let failed = |error: &dyn std::fmt::Display| SnapshotError::Compute {
        reason: format!("a reader ended: {error}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let (sender, receiver) = oneshot::channel();
    let wanted = CancellationToken::new();
    let unwanted = wanted.clone();
    let thread = move || {
        let outcome = runtime.block_on(unwanted.run_until_cancelled(reading));
        // If the waiter is gone, nobody needs the outcome.
        let _ = outcome.map(|outcome| sender.send(outcome));
    };
    std::thread::Builder::new()
        .name("reader".to_owned())
        .spawn(thread)
        .map_err(|error| failed(&error))?;
    let guard = wanted.drop_guard();
    Ok(async move {
        let outcome = receiver.await.map_err(|error| failed(&error))?;
        drop(guard);
        outcome
    })
}

fn failed(error: impl std::fmt::Display) -> SnapshotError {
    SnapshotError::Spill {
        directory: std::env::temp_dir().display().to_string(),
        reason: error.to_string(),
    }
}

/// Adds each row to the bucket of its key.
fn distribute(
    rows: &[Row],
    bounds: &[String],
    order: KeyOrder,
    buckets: &Mutex<Buckets>,
) -> Result<(), SnapshotError> {
    let mut encoded = Vec::with_capacity(rows.len() * USUAL_ROW_BYTES);
    let mut ends = Vec::with_capacity(rows.len());
    for row in rows {
        let bucket = bounds.partition_point(|bound| order.compare(bound, &row.deal_id).is_le());
        encoded = packed::pack(row, encoded).map_err(failed)?;
        ends.push((bucket, encoded.len()));
    }
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    let mut start = 0;
    for (bucket, end) in ends {
        buckets.add(bucket, encoded.get(start..end).unwrap_or_default());
        start = end;
    }
    buckets.spill_if_large().map_err(failed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_have_every_page_once_and_the_last_is_open(
            pages in 0..200_000_u64,
            connections in 1..64_usize,
        ) {
            let ranges = ranges(pages, connections);
            let mut next = 0;
            for (index, (from, below)) in ranges.iter().enumerate() {
                prop_assert_eq!(*from, next);
                prop_assert_eq!(below.is_none(), index + 1 == ranges.len());
                next = below.unwrap_or(pages.max(from + 1));
                prop_assert!(next > *from && next <= pages.max(1));
            }
            prop_assert_eq!(next, pages.max(1));
        }
    }
}
