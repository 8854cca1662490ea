//! Doing all shards of a table that is read in the order of its pages.
//!
//! ```text
//!  pages ──▶ rows ──▶ buckets, one for each shard ──▶ sort by key, encode, store: one part each
//!  several connections    bounded memory, then a file
//! ```
//!
//! Parts are those that reading by keys makes, byte for byte: which rows a part has depends on its
//! keys alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::SnapshotError;
use super::database::Database;
use super::encode::{Encoded, ShardEncoder};
use super::packed::{self, PackedRow};
use super::plan::MAX_ROWS_PER_PART;
use super::row::Row;
use super::shard::{ShardContext, ShardWorker, TakeRows, store_part};
use super::task::{KeyRange, ShardRead, ShardReport, ShardTask};

/// Bytes of rows held before they are written to a file. Fresh memory costs more than the file,
/// which the system keeps in its cache as long as there is room.
const MEMORY_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of most encoded rows.
const USUAL_ROW_BYTES: usize = 192;

/// What is to be done.
pub(super) struct Sweep {
    pub(super) context: ShardContext,
    pub(super) database: Database,
    /// All shards, in key order; at least one.
    pub(super) shards: Arc<[ShardTask]>,
    /// Pages of the table.
    pub(super) pages: u64,
    pub(super) connections: usize,
}

impl Sweep {
    /// Reads all pages, then stores all parts.
    pub(super) async fn run(self) -> Result<Vec<ShardReport>, SnapshotError> {
        let tasks: Arc<[ShardTask]> = self.tasks().into();
        let buckets = Arc::new(Mutex::new(Buckets::new(self.shards.len(), MEMORY_BYTES)));
        let next = Arc::new(AtomicUsize::new(0));
        // Those who read can compute too, if they are as many as are to compute.
        let here = self.connections == self.context.threads();
        let mut readers = Vec::new();
        for _ in 0..self.connections {
            let mut worker = ShardWorker::of(self.context.clone(), self.database.clone());
            let (tasks, next) = (Arc::clone(&tasks), Arc::clone(&next));
            let (shards, buckets) = (Arc::clone(&self.shards), Arc::clone(&buckets));
            let take: TakeRows = Arc::new(move |rows| distribute(&rows, &shards, &buckets));
            let reading = async move {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    worker.each_batch(task, Arc::clone(&take), here).await?;
                }
                Ok(())
            };
            readers.push(on_own_thread(reading)?);
        }
        try_join_all(readers).await?;
        let store = |task: &ShardTask| {
            let (task, buckets) = (task.clone(), Arc::clone(&buckets));
            let context = self.context.clone();
            async move { store_part(&context, task, move |task| encode(task, &buckets)).await }
        };
        stream::iter(self.shards.iter().map(store))
            .buffered(self.context.threads() + 1)
            .try_collect()
            .await
    }

    /// As many ranges of pages as there are shards.
    fn tasks(&self) -> Vec<ShardTask> {
        let Some(first) = self.shards.first() else {
            return Vec::new();
        };
        let ShardRead::Postgres {
            snapshot,
            inventory,
            ..
        } = &first.read
        else {
            return Vec::new();
        };
        let count = u64::try_from(self.shards.len()).unwrap_or(u64::MAX);
        let step = self.pages.div_ceil(count).max(1);
        let starts = (0..count).map(|index| index * step);
        let starts = starts.take_while(|start| *start == 0 || *start < self.pages);
        let task = |from| ShardTask {
            range: KeyRange {
                from: None,
                below: None,
            },
            read: ShardRead::PostgresPages {
                snapshot: snapshot.clone(),
                inventory: *inventory,
                from,
                below: Some(from + step).filter(|below| *below < self.pages),
            },
            deals: self.shards.iter().map(|shard| shard.deals).sum(),
            ..first.clone()
        };
        starts.map(task).collect()
    }
}

/// Runs a reader on a thread and a runtime of its own, which end when the outcome is there or
/// nobody waits for it any more.
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
        // One who no longer waits needs no outcome.
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

/// Puts each row into the bucket of its shard.
fn distribute(
    rows: &[Row],
    shards: &[ShardTask],
    buckets: &Mutex<Buckets>,
) -> Result<(), SnapshotError> {
    let mut encoded = Vec::with_capacity(rows.len() * USUAL_ROW_BYTES);
    let mut ends = Vec::with_capacity(rows.len());
    for row in rows {
        let behind = shards.partition_point(|shard| {
            let from = shard.range.from.as_deref();
            from.is_none_or(|from| shard.key_order.compare(from, &row.deal_id).is_le())
        });
        encoded = packed::pack(row, encoded).map_err(failed)?;
        ends.push((behind.saturating_sub(1), encoded.len()));
    }
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    let mut start = 0;
    for (shard, end) in ends {
        buckets.add(shard, encoded.get(start..end).unwrap_or_default());
        start = end;
    }
    buckets.spill_if_large().map_err(failed)
}

/// Makes the part of a shard of the rows in its bucket.
fn encode(task: &ShardTask, buckets: &Mutex<Buckets>) -> Result<Encoded, SnapshotError> {
    let shard = usize::try_from(task.shard).unwrap_or(usize::MAX);
    let bytes = {
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(shard).map_err(failed)?
    };
    // Sorted as they are packed: a row at a time is read, in memory that is warm.
    let order = task.key_order;
    let expected = task.deals.min(MAX_ROWS_PER_PART);
    let mut rows = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    let mut rest = bytes.as_slice();
    while let Some((row, behind)) = packed::split(rest) {
        let id = packed::id_of(row).map_err(failed)?;
        rows.push((order.rank(id), id, row));
        rest = behind;
    }
    rows.sort_unstable_by(|left, right| {
        let ranked = left.0.cmp(&right.0);
        ranked.then_with(|| order.compare(left.1, right.1))
    });
    let mut encoder = ShardEncoder::new(task)?;
    for (_, _, row) in rows {
        encoder.push(&PackedRow::of(row).map_err(failed)?)?;
    }
    encoder.finish()
}

/// Encoded rows by shard: in memory up to a bound, the others in a file without a name.
#[derive(Debug)]
struct Buckets {
    /// What is in memory.
    held: Vec<Vec<u8>>,
    held_bytes: usize,
    memory: usize,
    file: Option<File>,
    spills: Vec<Spill>,
}

/// What was written to the file at once: the bytes of one bucket after those of the other.
#[derive(Debug)]
struct Spill {
    start: u64,
    /// Where each bucket's bytes end, from the start on. A spill is little larger than the bound
    /// in memory, so that four bytes do.
    ends: Vec<u32>,
}

impl Spill {
    /// Place and length of a bucket's bytes.
    fn range(&self, shard: usize) -> (u64, usize) {
        let end = |index: usize| self.ends.get(index).copied().unwrap_or_default();
        let from = shard.checked_sub(1).map_or(0, end);
        let length = end(shard).saturating_sub(from);
        (self.start + u64::from(from), length as usize)
    }

    fn end(&self) -> u64 {
        self.start + u64::from(self.ends.last().copied().unwrap_or_default())
    }
}

impl Buckets {
    fn new(count: usize, memory: usize) -> Self {
        // Each has its share from the start: to grow means to copy into fresh memory.
        let share = memory / count.max(1);
        let bucket = || Vec::with_capacity(share + share / 8);
        Self {
            held: std::iter::repeat_with(bucket).take(count).collect(),
            held_bytes: 0,
            memory,
            file: None,
            spills: Vec::new(),
        }
    }

    fn add(&mut self, shard: usize, bytes: &[u8]) {
        if let Some(bucket) = self.held.get_mut(shard) {
            bucket.extend_from_slice(bytes);
            self.held_bytes += bytes.len();
        }
    }

    fn spill_if_large(&mut self) -> io::Result<()> {
        if self.held_bytes <= self.memory {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let start = self.spills.last().map_or(0, Spill::end);
        let (mut ends, mut end) = (Vec::with_capacity(self.held.len()), 0_u32);
        for bytes in &mut self.held {
            file.write_all_at(bytes, start + u64::from(end))?;
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            end = end
                .checked_add(length)
                .ok_or_else(|| io::Error::other("the rows of one batch have over 4 GB"))?;
            ends.push(end);
            bytes.clear();
        }
        self.spills.push(Spill { start, ends });
        self.held_bytes = 0;
        Ok(())
    }

    fn take(&mut self, shard: usize) -> io::Result<Vec<u8>> {
        let Some(bucket) = self.held.get_mut(shard) else {
            return Ok(Vec::new());
        };
        let mut bytes = std::mem::take(bucket);
        self.held_bytes -= bytes.len();
        let runs = || self.spills.iter().map(|spill| spill.range(shard));
        bytes.reserve_exact(runs().map(|(_, length)| length).sum());
        for (place, length) in runs() {
            let start = bytes.len();
            bytes.resize(start + length, 0);
            if let (Some(file), Some(room)) = (&self.file, bytes.get_mut(start..)) {
                file.read_exact_at(room, place)?;
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn buckets_give_back_what_they_were_given(
            rounds in prop::collection::vec(prop::collection::vec((0..5_usize, any::<u8>(), 0..40_usize), 0..12), 0..12),
            memory in 0..200_usize,
        ) {
            let mut buckets = Buckets::new(5, memory);
            let mut expected = vec![Vec::new(); 5];
            for round in rounds {
                for (shard, byte, length) in round {
                    buckets.add(shard, &vec![byte; length]);
                    expected[shard].extend(vec![byte; length]);
                }
                buckets.spill_if_large().unwrap();
                prop_assert!(buckets.held_bytes <= memory);
            }
            for (shard, expected) in expected.iter_mut().enumerate() {
                let mut found = buckets.take(shard).unwrap();
                // What is still in memory comes first; a part is sorted by key anyway.
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(&found, expected);
            }
        }
    }
}
