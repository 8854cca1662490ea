//! Evidence that is hashed while it is read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::{EvidenceError, verify};

/// Buffer size for hashing skipped ranges, in bytes.
const SKIP_BYTES: usize = 256 * 1024;

/// A reader of stored evidence that hashes the content while reading it front to back.
///
/// Rely on nothing read from it before [`CheckedFile::finish`] has returned: only then are the
/// bytes known to match the digest. In exchange the content is read once instead of twice.
#[derive(Debug)]
pub struct CheckedFile {
    file: File,
    sha256: String,
    location: String,
    hasher: Sha256,
    hashed_bytes: u64,
    size_bytes: u64,
}

impl CheckedFile {
    pub(super) fn new(file: File, sha256: &str, location: &str) -> Result<Self, EvidenceError> {
        let metadata = file.metadata();
        let metadata =
            metadata.map_err(|source| EvidenceError::from_io(location, "read", &source))?;
        Ok(Self {
            file,
            sha256: sha256.to_owned(),
            location: location.to_owned(),
            hasher: Sha256::new(),
            hashed_bytes: 0,
            size_bytes: metadata.len(),
        })
    }

    /// Returns the size of the content in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Reads a range out of order, such as the footer of a file. It is hashed later, in its turn. A
    /// range past the end returns nothing.
    pub fn peek(&self, start: u64, length: usize) -> Result<Vec<u8>, EvidenceError> {
        let end = start.saturating_add(length as u64);
        if end > self.size_bytes {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; length];
        self.fill(start, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads `start..end` into a buffer, replacing its content. Unread bytes before the range are
    /// hashed on the way; bytes already hashed are not hashed again, and a range past the end is
    /// cut.
    pub fn read(&mut self, start: u64, end: u64, into: &mut Vec<u8>) -> Result<(), EvidenceError> {
        let end = end.min(self.size_bytes);
        self.hash_to(start.min(end))?;
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        into.clear();
        into.resize(length, 0);
        self.fill(start, into)?;
        if start == self.hashed_bytes {
            self.hasher.update(&into);
            self.hashed_bytes = end;
        }
        Ok(())
    }

    /// Hashes what was not read, and compares the result with the digest.
    pub fn finish(mut self) -> Result<(), EvidenceError> {
        self.hash_to(self.size_bytes)?;
        let found = hex::encode(self.hasher.finalize());
        verify(&self.sha256, &found, self.size_bytes)
    }

    fn hash_to(&mut self, end: u64) -> Result<(), EvidenceError> {
        let mut buffer = Vec::new();
        while self.hashed_bytes < end {
            let left = usize::try_from(end - self.hashed_bytes).unwrap_or(SKIP_BYTES);
            buffer.resize(left.min(SKIP_BYTES), 0);
            self.fill(self.hashed_bytes, &mut buffer)?;
            self.hasher.update(&buffer);
            self.hashed_bytes += buffer.len() as u64;
        }
        Ok(())
    }

    fn fill(&self, start: u64, bytes: &mut [u8]) -> Result<(), EvidenceError> {
        self.file
            .read_exact_at(bytes, start)
            .map_err(|source| EvidenceError::from_io(&self.location, "read", &source))
    }
}
