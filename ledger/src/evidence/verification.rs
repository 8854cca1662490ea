//! Verifies stored evidence: reads and hashes it, as far as a byte budget allows.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{GetResultPayload, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::{EvidenceError, EvidenceStore, blocking, digest_of, object_path, verify};

/// Number of concurrent requests.
const AT_ONCE: usize = 8;

/// The result of verifying some evidence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// Number of items that were read in full and match their digest.
    pub sound: usize,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Number of items that exist but were not read because the byte budget was used up.
    pub unread: usize,
    /// Items that are missing ([`EvidenceError::NotFound`]) or changed
    /// ([`EvidenceError::Corrupt`]), by digest.
    pub damaged: Vec<EvidenceError>,
}

impl EvidenceStore {
    /// Reads the content of a digest with little of it in memory, compares it, and returns its size
    /// in bytes.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, or a failure of the store.
    pub async fn verify(&self, sha256: &str) -> Result<u64, EvidenceError> {
        let path = object_path(sha256)?;
        let failed = |error| EvidenceError::from_read(&self.location, sha256, error);
        let found = self.objects.get(&path).await.map_err(failed)?;
        let (digest, size_bytes) = match found.payload {
            GetResultPayload::File(mut file, _) => {
                let location = self.location.clone();
                blocking(move || {
                    let io = |source| EvidenceError::from_io(&location, "read", &source);
                    file.seek(SeekFrom::Start(0)).map_err(io)?;
                    digest_of(&mut file).map_err(io)
                })
                .await?
            }
            GetResultPayload::Stream(mut chunks) => {
                let (mut hasher, mut size_bytes) = (Sha256::new(), 0_u64);
                while let Some(chunk) = chunks.next().await {
                    let chunk = chunk.map_err(failed)?;
                    hasher.update(&chunk);
                    size_bytes += chunk.len() as u64;
                }
                (hex::encode(hasher.finalize()), size_bytes)
            }
        };
        verify(sha256, &digest, size_bytes)?;
        Ok(size_bytes)
    }

    /// Verifies some digests: all must exist, and as many as `max_bytes` allows are read in order
    /// and compared. Malformed digests are skipped.
    ///
    /// # Errors
    /// The store does not answer; damage is reported in the result, not as an error.
    pub async fn verify_all(
        &self,
        addresses: impl IntoIterator<Item = String>,
        max_bytes: u64,
    ) -> Result<Verification, EvidenceError> {
        let mut seen = BTreeSet::new();
        let once: Vec<String> = addresses
            .into_iter()
            .filter(|sha256| super::is_address(sha256) && seen.insert(sha256.clone()))
            .collect();
        let sizes: Vec<(String, Option<u64>)> = stream::iter(once)
            .map(|sha256| async move {
                let size = self.size(&sha256).await?;
                Ok::<_, EvidenceError>((sha256, size))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut looked = Verification::default();
        let mut read = Vec::new();
        for (sha256, size) in sizes {
            match size {
                None => looked.damaged.push(EvidenceError::NotFound {
                    sha256,
                    location: self.location.to_string(),
                }),
                Some(size) if looked.bytes.saturating_add(size) <= max_bytes => {
                    looked.bytes += size;
                    read.push(sha256);
                }
                Some(_) => looked.unread += 1,
            }
        }
        let verified: Vec<Result<u64, EvidenceError>> = stream::iter(read)
            .map(|sha256| async move { self.verify(&sha256).await })
            .buffered(AT_ONCE)
            .collect()
            .await;
        for one in verified {
            match one {
                Ok(_) => looked.sound += 1,
                Err(error) if error.is_damage() => looked.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(looked)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn damage_is_found_within_the_byte_budget() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = EvidenceStore::open(dir.path().to_str().unwrap()).unwrap();
        let mut addresses = Vec::new();
        for text in ["first", "second", "third"] {
            let kept = store.put(Bytes::from(text), "text/plain", "x").await;
            addresses.push(kept.unwrap().sha256);
        }
        let file = |sha256: &str| dir.path().join(&sha256[..2]).join(sha256);
        let look = |bytes| store.verify_all(addresses.clone(), bytes);
        let looked = look(100).await.unwrap();
        assert_eq!((looked.sound, looked.bytes, looked.unread), (3, 16, 0));
        assert!(looked.damaged.is_empty());
        // The second item does not fit into the budget, the third does.
        let looked = look(10).await.unwrap();
        assert_eq!((looked.sound, looked.unread), (2, 1));

        std::fs::write(file(&addresses[1]), "sEcond").unwrap();
        std::fs::remove_file(file(&addresses[2])).unwrap();
        let damaged = look(100).await.unwrap().damaged;
        assert!(
            matches!(&damaged[0], EvidenceError::NotFound { sha256, .. } if *sha256 == addresses[2])
        );
        assert!(
            matches!(&damaged[1], EvidenceError::Corrupt { sha256, .. } if *sha256 == addresses[1])
        );
        assert_eq!(look(4).await.unwrap().damaged.len(), 1);
    }
}
