//! The differences as JSON lines in pages of evidence.

use bytes::Bytes;

use super::CompareError;
use super::merge::Difference;
use super::result::DifferencePage;
use crate::snapshot::reader::BlockingStore;

/// A page is closed when it reaches this size, in bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The media type of a page.
const MEDIA_TYPE: &str = "application/x-ndjson";

/// Writes pages one after the other; one is in memory.
#[derive(Debug)]
pub(super) struct Pages {
    store: BlockingStore,
    buffer: Vec<u8>,
    deals: u64,
    first_id: String,
    last_id: String,
    done: Vec<DifferencePage>,
}

impl Pages {
    pub(super) fn new(store: BlockingStore) -> Self {
        Self {
            store,
            buffer: Vec::new(),
            deals: 0,
            first_id: String::new(),
            last_id: String::new(),
            done: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, difference: &Difference) -> Result<(), CompareError> {
        serde_json::to_writer(&mut self.buffer, difference).map_err(|error| {
            CompareError::Encode {
                reason: error.to_string(),
            }
        })?;
        self.buffer.push(b'\n');
        if self.deals == 0 {
            self.first_id.clone_from(&difference.deal_id);
        }
        self.last_id.clone_from(&difference.deal_id);
        self.deals += 1;
        if self.buffer.len() >= PAGE_BYTES {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), CompareError> {
        if self.deals == 0 {
            return Ok(());
        }
        let name = format!("differences.{:05}.jsonl", self.done.len());
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let stored = self.store.put(bytes, MEDIA_TYPE, &name)?;
        self.done.push(DifferencePage {
            sha256: stored.sha256,
            size_bytes: stored.size_bytes,
            deals: std::mem::take(&mut self.deals),
            first_id: std::mem::take(&mut self.first_id),
            last_id: std::mem::take(&mut self.last_id),
        });
        Ok(())
    }

    /// Every page, in key order.
    pub(super) fn finish(mut self) -> Result<Vec<DifferencePage>, CompareError> {
        self.close()?;
        Ok(self.done)
    }
}
