//! The one place where async code hands work to the compute threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rayon::ThreadPool;

use super::SnapshotError;

/// A pool of `threads` compute threads; `None` is the process-wide pool, one thread per core.
pub fn pool(threads: Option<usize>) -> Result<Option<Arc<ThreadPool>>, SnapshotError> {
    let Some(threads) = threads else {
        return Ok(None);
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
        .map(|pool| Some(Arc::new(pool)))
        .map_err(|error| SnapshotError::Compute {
            reason: error.to_string(),
        })
}

/// Runs `work` on the compute threads and waits for it without blocking an async thread.
///
/// The work runs to its end even if the waiter is dropped; a panic in it becomes an error.
pub async fn on_rayon<T: Send + 'static>(
    pool: Option<&Arc<ThreadPool>>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SnapshotError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let job = move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        // A waiter that has gone no longer wants the result.
        let _ = sender.send(result);
    };
    match pool {
        Some(pool) => pool.spawn(job),
        None => rayon::spawn(job),
    }
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

/// The message of a caught panic.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}
