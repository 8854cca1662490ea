//! Reading a whole snapshot row by row, with one row group in memory.

use std::fs::File;
use std::sync::Arc;

use rollbook_ledger::evidence::EvidenceStore;
use tokio::runtime::Handle;

use super::manifest::Manifest;
use super::parquet::{PartReader, RowGroup};
use super::{Snapshot, SnapshotError};

/// Opens parts from a thread that may block. Must not be used on an async thread.
#[derive(Clone, Debug)]
pub struct BlockingStore {
    store: EvidenceStore,
    handle: Handle,
}

impl BlockingStore {
    /// A store for blocking threads of the runtime this is called in.
    pub fn new(store: &EvidenceStore) -> Self {
        Self {
            store: store.clone(),
            handle: Handle::current(),
        }
    }

    fn open(&self, sha256: &str) -> Result<File, SnapshotError> {
        Ok(self.handle.block_on(self.store.open_file(sha256))?)
    }

    /// Stores bytes.
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

/// The rows of a snapshot in strict key order. Each part is verified against its checksum when
/// it is opened.
#[derive(Debug)]
pub struct Cursor {
    store: BlockingStore,
    manifest: Arc<Manifest>,
    next_part: usize,
    part: Option<PartReader>,
    group: Option<RowGroup>,
    row: usize,
    previous_id: Option<String>,
}

impl Cursor {
    /// Stands before the first row.
    pub fn new(store: BlockingStore, snapshot: &Snapshot) -> Self {
        Self {
            store,
            manifest: Arc::new(snapshot.manifest.clone()),
            next_part: 0,
            part: None,
            group: None,
            row: 0,
            previous_id: None,
        }
    }

    /// Moves to the next row; `false` when there is none.
    pub fn advance(&mut self) -> Result<bool, SnapshotError> {
        if let Some(group) = &self.group {
            self.row += 1;
            if self.row < group.len() {
                return self.check_order().map(|()| true);
            }
        }
        loop {
            if let Some(part) = &mut self.part {
                if let Some(group) = part.next_group()? {
                    self.row = 0;
                    let empty = group.is_empty();
                    self.group = Some(group);
                    if empty {
                        continue;
                    }
                    return self.check_order().map(|()| true);
                }
                self.part = None;
            }
            let Some(entry) = self.manifest.parts.get(self.next_part) else {
                self.group = None;
                return Ok(false);
            };
            let file = self.store.open(&entry.sha256)?;
            self.part = Some(PartReader::open(file, entry, &self.manifest.metrics)?);
            self.next_part += 1;
        }
    }

    /// The row group and the row in it the cursor stands on.
    pub fn current(&self) -> Option<(&RowGroup, usize)> {
        self.group.as_ref().map(|group| (group, self.row))
    }

    /// A merge over rows out of order would silently call deals missing.
    fn check_order(&mut self) -> Result<(), SnapshotError> {
        let Some(group) = &self.group else {
            return Ok(());
        };
        let id = group.deal_id(self.row);
        if let Some(previous) = &mut self.previous_id {
            if self.manifest.key_order.compare(previous, id).is_ge() {
                let part = self.manifest.parts.get(self.next_part.saturating_sub(1));
                return Err(SnapshotError::Malformed {
                    what: "part",
                    sha256: part.map(|part| part.sha256.clone()).unwrap_or_default(),
                    reason: format!("deal {id:?} comes after {previous:?}"),
                });
            }
            previous.clear();
            previous.push_str(id);
        } else {
            self.previous_id = Some(id.to_owned());
        }
        Ok(())
    }
}
