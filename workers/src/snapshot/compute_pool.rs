//! The single place where async code hands work to the compute threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rayon::ThreadPool;

use super::SnapshotError;
use super::calculator::{Calculator, RawDeal};
use super::row::Row;

/// The largest inventory that is computed, in bytes; a deal with a larger one becomes an error row.
pub const MAX_INVENTORY_BYTES: usize = 64 * 1024 * 1024;

/// The compute threads, by default those of the process. Cheap to clone; clones share the threads.
#[derive(Clone, Debug, Default)]
pub struct Pool(Option<Arc<ThreadPool>>);

impl Pool {
    /// Makes a pool of `threads` threads; `None` is the process-wide pool, one thread per core.
    pub fn new(threads: Option<usize>) -> Result<Self, SnapshotError> {
        let Some(threads) = threads else {
            return Ok(Self(None));
        };
        if threads == 0 {
            return Err(SnapshotError::Request {
                field: "threads",
                reason: "0 threads compute nothing; give at least 1".to_owned(),
            });
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("compute-{index}"))
            .build()
            .map(|pool| Self(Some(Arc::new(pool))))
            .map_err(|error| SnapshotError::Compute {
                reason: error.to_string(),
            })
    }

    /// The number of compute threads.
    pub fn threads(&self) -> usize {
        self.0
            .as_ref()
            .map_or_else(rayon::current_num_threads, |pool| {
                pool.current_num_threads()
            })
    }

    fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Some(pool) => pool.spawn(job),
            None => rayon::spawn(job),
        }
    }
}

/// Runs `work` on the compute threads and waits for it without blocking an async thread.
///
/// The work runs to completion even if the waiting future is dropped; a panic in it becomes an
/// error.
pub async fn on_rayon<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SnapshotError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    pool.spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        // If the waiting future was dropped, nobody needs the result.
        let _ = sender.send(result);
    });
    match receiver.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => Err(SnapshotError::Compute {
            reason: panic_text(panic.as_ref()),
        }),
        Err(_) => Err(SnapshotError::Compute {
            reason: "the work was dropped".to_owned(),
        }),
    }
}

/// Computes a batch on the calling thread; the rows keep the order of the deals.
pub(super) fn compute(batch: Vec<RawDeal>, calculator: &dyn Calculator) -> Vec<Row> {
    let row = |deal: RawDeal| {
        // A panic on one deal must not lose the rest of the batch.
        let outcome = if deal.inventory.len() > MAX_INVENTORY_BYTES {
            Err(format!(
                "the inventory has {} bytes, over the limit of {MAX_INVENTORY_BYTES}",
                deal.inventory.len()
            ))
        } else {
            catch_unwind(AssertUnwindSafe(|| calculator.compute(&deal))).unwrap_or_else(|panic| {
                Err(format!("the model stopped: {}", panic_text(panic.as_ref())))
            })
        };
        Row::new(deal.id, deal.deal_type.as_deref(), outcome)
    };
    batch.into_iter().map(row).collect()
}

/// The message of a caught panic.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}
