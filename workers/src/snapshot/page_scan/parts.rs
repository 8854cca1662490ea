//! Cuts the rows of all buckets into the parts that cutting at every n-th key makes.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buckets::Buckets;
use super::failed;
use crate::snapshot::SnapshotError;
use crate::snapshot::encode::{Encoded, ShardEncoder};
use crate::snapshot::packed::{self, PackedRow};
use crate::snapshot::row::KeyOrder;
use crate::snapshot::task::ShardTask;

/// Buckets being turned into parts. A bucket is sorted for the first part that needs it and dropped
/// after the last.
#[derive(Debug)]
pub(super) struct Parts {
    buckets: Mutex<Buckets>,
    /// The number of rows before each bucket; the last entry is the total.
    starts: Vec<u64>,
    /// Rows of each part except the last.
    rows: u64,
    sorted: Vec<Mutex<Slot>>,
}

#[derive(Debug)]
struct Slot {
    /// The sorted bucket, or why it could not be read, for every part that needs it.
    bucket: Option<Result<Arc<Sorted>, String>>,
    /// Parts that still need it.
    wanted: u64,
}

/// The sorted rows of a bucket.
#[derive(Debug)]
struct Sorted {
    bytes: Vec<u8>,
    /// The byte ranges of the rows, in key order.
    order: Vec<Range<usize>>,
}

impl Parts {
    /// Cuts a part every `rows` rows.
    pub(super) fn new(buckets: Buckets, rows: u64) -> Self {
        let rows = rows.max(1);
        let mut starts = vec![0];
        let mut total = 0;
        let slot = |count: &u64| {
            let first = total / rows;
            total += count;
            starts.push(total);
            let wanted = if *count > 0 {
                (total - 1) / rows - first + 1
            } else {
                0
            };
            Mutex::new(Slot {
                bucket: None,
                wanted,
            })
        };
        let sorted = buckets.rows().iter().map(slot).collect();
        Self {
            buckets: Mutex::new(buckets),
            starts,
            rows,
            sorted,
        }
    }

    /// The total number of rows.
    pub(super) fn total(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// The number of rows of each part.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> + use<> {
        let (total, rows) = (self.total(), self.rows);
        (0..total.div_ceil(rows)).map(move |part| rows.min(total - part * rows))
    }

    /// Encodes the part of a task. Each part may be made only once.
    pub(super) fn encode(&self, task: &ShardTask) -> Result<Encoded, SnapshotError> {
        let start = u64::from(task.shard) * self.rows;
        let end = start + task.deals;
        let first = self.starts.partition_point(|begin| *begin <= start) - 1;
        let mut encoder = ShardEncoder::new(task)?;
        let spans = self.starts.windows(2).enumerate().skip(first);
        for (index, span) in spans {
            let [from, to] = *span else { continue };
            if from >= end {
                break;
            }
            if from == to {
                continue;
            }
            let place =
                |row: u64| usize::try_from(row.clamp(from, to) - from).unwrap_or(usize::MAX);
            let bucket = self.sorted(index, place(to), task)?;
            // The encoder detects an id twice within a part; this detects one that also ends the
            // part before.
            let pair = place(start).checked_sub(1).map(|last| last..last + 2);
            if let Some([last, first]) = pair.and_then(|pair| bucket.order.get(pair)) {
                let id = packed::id_of(bucket.row(first)).map_err(failed)?;
                if packed::id_of(bucket.row(last)).map_err(failed)? == id {
                    return Err(SnapshotError::twice(&task.source.table, id));
                }
            }
            let rows = bucket.order.get(place(start)..place(end));
            for row in rows.unwrap_or_default() {
                encoder.push(&PackedRow::of(bucket.row(row)).map_err(failed)?)?;
            }
        }
        encoder.finish()
    }

    /// Returns a bucket with its rows sorted, for a part that takes this many of them.
    fn sorted(
        &self,
        index: usize,
        rows: usize,
        task: &ShardTask,
    ) -> Result<Arc<Sorted>, SnapshotError> {
        let Some(slot) = self.sorted.get(index) else {
            return Err(task.error("its rows were never read"));
        };
        let mut slot = locked(slot);
        slot.wanted = slot.wanted.saturating_sub(1);
        let bucket = slot.bucket.take().unwrap_or_else(|| {
            let bytes = locked(&self.buckets).take(index);
            let bytes = bytes.map_err(|error| error.to_string())?;
            let sorted = Sorted::of(bytes, rows, task.key_order);
            sorted.map(Arc::new).map_err(|error| error.to_string())
        });
        if slot.wanted > 0 {
            slot.bucket = Some(bucket.clone());
        }
        bucket.map_err(failed)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sorted {
    /// Sorts packed rows.
    fn of(bytes: Vec<u8>, count: usize, order: KeyOrder) -> Result<Self, postcard::Error> {
        let mut rows = Vec::with_capacity(count);
        let mut rest = bytes.as_slice();
        while let Some((row, behind)) = packed::split(rest) {
            let id = packed::id_of(row)?;
            let end = bytes.len() - behind.len();
            rows.push((order.rank(id), id, end - row.len()..end));
            rest = behind;
        }
        rows.sort_unstable_by(|left, right| {
            let ranked = left.0.cmp(&right.0);
            ranked.then_with(|| order.compare(left.1, right.1))
        });
        let order = rows.into_iter().map(|(_, _, row)| row).collect();
        Ok(Self { bytes, order })
    }

    fn row(&self, place: &Range<usize>) -> &[u8] {
        self.bytes.get(place.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::calculator::{CalculatorDescription, MetricInfo};
    use crate::snapshot::manifest::SourceDescription;
    use crate::snapshot::row::Row;
    use crate::snapshot::source::{Consistency, DealTable};
    use crate::snapshot::task::{KeyRange, ShardRead, TASK_VERSION};

    fn task(shard: u32, deals: u64) -> ShardTask {
        ShardTask {
            version: TASK_VERSION,
            shard,
            snapshot: "s".to_owned(),
            label: "l".to_owned(),
            source: SourceDescription {
                database: "d".to_owned(),
                table: DealTable::default(),
                inventory_query: None,
                filter: None,
                tenant: None,
                file_sha256: None,
            },
            consistency: Consistency::PostgresExportedSnapshot,
            key_order: KeyOrder::Bytes,
            range: KeyRange {
                from: None,
                below: None,
            },
            read: ShardRead::JsonLines {
                start: 0,
                end: 0,
                first_line: 1,
            },
            deals,
            calculator: CalculatorDescription {
                name: "c".to_owned(),
                digest: String::new(),
                deal_type_awareness: true,
                metrics: vec![MetricInfo {
                    name: "n".to_owned(),
                    unit: "count".to_owned(),
                }],
            },
        }
    }

    /// Makes buckets of rows in any order, cut at some keys, with little memory.
    fn buckets(rows: &[Row], bounds: &[String]) -> Buckets {
        let mut buckets = Buckets::new(bounds.len() + 1, 200);
        for row in rows {
            let bucket = bounds.partition_point(|bound| *bound <= row.deal_id);
            buckets.add(bucket, &packed::pack(row, Vec::new()).unwrap());
            buckets.spill_if_large().unwrap();
        }
        buckets
    }

    fn row(id: &str) -> Row {
        Row::new(id.to_owned(), Some("square"), Ok(vec![id.len() as i64]))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn parts_are_every_n_rows_in_key_order_wherever_buckets_begin(
            keys in prop::collection::hash_set("[a-d]{0,4}", 0..80),
            bounds in prop::collection::btree_set("[a-d]{0,3}", 0..8),
            size in 1..30_usize,
        ) {
            let rows: Vec<Row> = keys.iter().map(|key| row(key)).collect();
            let bounds: Vec<String> = bounds.into_iter().collect();
            let parts = Parts::new(buckets(&rows, &bounds), size as u64);
            prop_assert_eq!(parts.total(), rows.len() as u64);
            let mut sorted = rows.clone();
            sorted.sort_by(|left, right| left.deal_id.cmp(&right.deal_id));
            let sizes: Vec<u64> = parts.sizes().collect();
            prop_assert_eq!(sizes.len(), sorted.chunks(size).len());
            for (shard, expected) in (0..).zip(sorted.chunks(size)) {
                let task = task(shard, expected.len() as u64);
                prop_assert_eq!(sizes[shard as usize], task.deals);
                let mut encoder = ShardEncoder::new(&task).unwrap();
                for row in expected {
                    encoder.push(row).unwrap();
                }
                let expected = encoder.finish().unwrap();
                let found = parts.encode(&task).unwrap();
                prop_assert!(found.bytes == expected.bytes && found.report == expected.report);
            }
            // No bucket is kept once no part needs it.
            prop_assert!(parts.sorted.iter().all(|slot| locked(slot).bucket.is_none()));
        }
    }

    #[test]
    fn an_id_that_occurs_twice_is_refused_in_a_part_and_between_two() {
        for (keys, refused) in [
            (["a", "b", "b", "c"], 1),
            (["a", "c", "c", "d"], 1),
            (["b", "b", "c", "d"], 0),
        ] {
            // In either order, because parts are made in parallel.
            for order in [[0, 1], [1, 0]] {
                let parts = Parts::new(buckets(&keys.map(row), &["b".to_owned()]), 2);
                for shard in order {
                    let outcome = parts.encode(&task(shard, 2));
                    let twice = matches!(outcome, Err(SnapshotError::Order { .. }));
                    assert_eq!(twice, shard == refused, "{keys:?} {shard}");
                    assert!(twice || outcome.is_ok());
                }
            }
        }
    }
}
