//! Reads the rows of a snapshot, or of a key range, with one row group in memory.

use std::cmp::Ordering;
use std::sync::Arc;

use rollbook_ledger::evidence::{CheckedFile, EvidenceStore};
use tokio::runtime::Handle;

use super::manifest::Manifest;
use super::parquet::{PartReader, RowGroup};
use super::row::KeyOrder;
use super::task::KeyRange;
use super::{Snapshot, SnapshotError};

/// The comparison that orders the keys of a snapshot.
///
/// Everything that walks, cuts or merges snapshots uses it. It takes bytes, because keys that are
/// only compared need not be decoded to text.
pub fn key_order(manifest: &Manifest) -> fn(&[u8], &[u8]) -> Ordering {
    match manifest.key_order {
        KeyOrder::Bytes => |left, right| left.cmp(right),
        KeyOrder::Integer => |left, right| {
            let text = |key| str::from_utf8(key).unwrap_or_default();
            KeyOrder::Integer.compare(text(left), text(right))
        },
    }
}

/// Opens parts from a blocking thread. Must not be used on an async thread.
#[derive(Clone, Debug)]
pub struct BlockingStore {
    store: EvidenceStore,
    handle: Handle,
}

impl BlockingStore {
    /// Wraps a store for blocking threads of the current runtime.
    pub fn new(store: &EvidenceStore) -> Self {
        Self {
            store: store.clone(),
            handle: Handle::current(),
        }
    }

    fn open(&self, sha256: &str) -> Result<CheckedFile, SnapshotError> {
        Ok(self.handle.block_on(self.store.open_checked(sha256))?)
    }

    /// Stores bytes as evidence.
    pub fn put(
        &self,
        bytes: bytes::Bytes,
        media_type: &str,
        name: &str,
    ) -> Result<rollbook_proto::v1::Evidence, SnapshotError> {
        Ok(self
            .handle
            .block_on(self.store.put(bytes, media_type, name))?)
    }
}

/// Replaces an error of reading parts by the damage behind it, if one of the parts is damaged.
///
/// Parts are decoded while they are hashed, so a reader may fail on damaged bytes before the digest
/// shows the damage.
pub async fn or_damage(
    store: &EvidenceStore,
    parts: &[&str],
    error: SnapshotError,
) -> SnapshotError {
    if matches!(
        error,
        SnapshotError::Malformed { .. } | SnapshotError::Compute { .. }
    ) {
        for sha256 in parts {
            if let Err(damage) = store.open_file(sha256).await {
                return damage.into();
            }
        }
    }
    error
}

/// Reads the rows of a key range of a snapshot, in strict key order.
///
/// Rows can be relied on only once [`Cursor::advance`] has returned `false`: then every part that
/// was touched has been read whole and its digest matches its address.
#[derive(Debug)]
pub struct Cursor {
    store: BlockingStore,
    snapshot: Arc<Snapshot>,
    order: fn(&[u8], &[u8]) -> Ordering,
    range: KeyRange,
    next_part: usize,
    part: Option<PartReader>,
    group: RowGroup,
    row: usize,
    /// One past the last row of the group that is in the range.
    end: usize,
    previous: Option<Vec<u8>>,
}

impl Cursor {
    /// Starts before the first row of a range.
    pub fn new(store: BlockingStore, snapshot: Arc<Snapshot>, range: KeyRange) -> Self {
        let order = key_order(&snapshot.manifest);
        let next_part = range.from.as_ref().map_or(0, |from| {
            snapshot
                .manifest
                .parts
                .partition_point(|part| order(part.last_id.as_bytes(), from.as_bytes()).is_lt())
        });
        Self {
            store,
            snapshot,
            order,
            range,
            next_part,
            part: None,
            group: RowGroup::default(),
            row: 0,
            end: 0,
            previous: None,
        }
    }

    /// Moves to the next row; `false` when there is none.
    pub fn advance(&mut self) -> Result<bool, SnapshotError> {
        self.row += 1;
        if self.row < self.end {
            return Ok(true);
        }
        self.next_group(None)
    }

    /// Like [`Cursor::advance`], beside the cursor of another snapshot: columns stored in the same
    /// bytes in its row group are not decoded again.
    pub fn advance_beside(&mut self, other: &Self) -> Result<bool, SnapshotError> {
        self.row += 1;
        if self.row < self.end {
            return Ok(true);
        }
        self.next_group(Some(&other.group))
    }

    /// Whether both cursors are known, without comparing ids, to be at the same deal.
    pub fn shares_deal(&self, other: &Self) -> bool {
        self.row == other.row && self.group.shares_deals(&other.group)
    }

    /// Whether the figure of both rows is known, without decoding it, to be the same.
    pub fn shares_metric(&self, other: &Self, metric: usize) -> bool {
        self.row == other.row && self.group.shares_metric(&other.group, metric)
    }

    /// The current row group and the row in it; `None` when the cursor is not on a row.
    pub fn current(&mut self) -> Option<(&mut RowGroup, usize)> {
        (self.row < self.end).then_some((&mut self.group, self.row))
    }

    /// The row group the cursor is in and the row in it.
    pub fn at(&self) -> (&RowGroup, usize) {
        (&self.group, self.row)
    }

    fn next_group(&mut self, beside: Option<&RowGroup>) -> Result<bool, SnapshotError> {
        (self.row, self.end) = (0, 0);
        loop {
            if let Some(mut part) = self.part.take() {
                while part.next_group_beside(&mut self.group, beside)? {
                    self.check_order(beside)?;
                    let (start, end) = self.rows_in_range();
                    if start < end {
                        (self.row, self.end) = (start, end);
                        self.part = Some(part);
                        return Ok(true);
                    }
                    if start < self.group.len() {
                        // The range ends before this group, and so before all later ones.
                        break;
                    }
                }
                part.skip_rest()?;
            }
            let manifest = &self.snapshot.manifest;
            let next = manifest.parts.get(self.next_part).filter(|entry| {
                let below = self.range.below.as_ref();
                below.is_none_or(|below| {
                    (self.order)(entry.first_id.as_bytes(), below.as_bytes()).is_lt()
                })
            });
            let Some(entry) = next else {
                return Ok(false);
            };
            let file = self.store.open(&entry.sha256)?;
            self.part = Some(PartReader::open(file, entry, &manifest.metrics)?);
            self.next_part += 1;
        }
    }

    /// The rows of the group that are in the range: first, and one past the last.
    fn rows_in_range(&self) -> (usize, usize) {
        let below = |bound: &str| {
            let (mut low, mut high) = (0, self.group.len());
            while low < high {
                let middle = low.midpoint(high);
                if (self.order)(self.group.key(middle), bound.as_bytes()).is_lt() {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            low
        };
        let start = self.range.from.as_deref().map_or(0, below);
        let end = self.range.below.as_deref();
        (start, end.map_or(self.group.len(), below))
    }

    /// Refuses keys out of order; a merge over them would silently report deals as missing.
    fn check_order(&mut self, beside: Option<&RowGroup>) -> Result<(), SnapshotError> {
        let group = &self.group;
        let mut previous = self.previous.as_deref();
        // The other group's ids were checked when they were decoded; only the first needs a check
        // here, against the row before it.
        let known = beside.is_some_and(|beside| group.shares_deals(beside));
        let unchecked = if known { 1 } else { group.len() };
        for row in 0..unchecked {
            let key = group.key(row);
            if previous.is_some_and(|previous| (self.order)(previous, key).is_ge()) {
                let part = self
                    .snapshot
                    .manifest
                    .parts
                    .get(self.next_part.saturating_sub(1));
                return Err(SnapshotError::Malformed {
                    what: "part",
                    sha256: part.map(|part| part.sha256.clone()).unwrap_or_default(),
                    reason: format!(
                        "deal {:?} comes after {:?}",
                        String::from_utf8_lossy(key),
                        String::from_utf8_lossy(previous.unwrap_or_default())
                    ),
                });
            }
            previous = Some(key);
        }
        let last = group.key(group.len().saturating_sub(1)).to_vec();
        self.previous = Some(last);
        Ok(())
    }
}
