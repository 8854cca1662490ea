//! Content that is hashed while it is read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::{EvidenceError, verify};

/// What is hashed at once where bytes are only passed over, in bytes.
const SKIP_BYTES: usize = 256 * 1024;

/// The content of an address, read front to back and hashed on the way.
///
/// Nothing read from it may be relied on before [`CheckedFile::finish`] has returned: only then
/// are the bytes known to be those of the address. In exchange they are read once, not twice.
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

    /// The size of the content.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Reads a range ahead of its turn, as the footer of a file must be. It is hashed when its
    /// turn comes. A range past the end is an empty answer.
    pub fn peek(&self, start: u64, length: usize) -> Result<Vec<u8>, EvidenceError> {
        let end = start.saturating_add(length as u64);
        if end > self.size_bytes {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; length];
        self.fill(start, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads `start..end` into a buffer whose old content is dropped. Whatever lies before it
    /// and was not read yet is hashed on the way; a range that goes back or past the end is
    /// read without being hashed twice, or cut.
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

    /// Hashes what was not read, and compares with the address.
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
