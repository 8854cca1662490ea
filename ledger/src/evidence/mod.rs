//! The evidence store: bytes addressed by their SHA-256.
//!
//! Anything too large for an event (step output, plans, snapshot parts, comparison results) is
//! stored under `<first 2 hex digits>/<sha256>`, and the event carries the digest. A digest
//! identifies exactly one content, so storing the same bytes twice, from any number of processes,
//! is harmless, and every read is checked against the requested digest.

mod checked;
mod error;
mod s3;
mod verification;

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, PutPayload};
use rollbook_proto::v1::Evidence;
use sha2::{Digest, Sha256};

pub use checked::CheckedFile;
pub use error::{EvidenceError, without_paths};
pub use verification::Verification;

/// A digest for which no content is known.
const NOWHERE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A content-addressed store. Cheap to clone; clones share the store.
#[derive(Clone)]
pub struct EvidenceStore {
    objects: Arc<dyn ObjectStore>,
    location: Arc<str>,
}

/// Shows only the location, because the connection to a bucket holds credentials.
impl fmt::Debug for EvidenceStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvidenceStore")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl EvidenceStore {
    /// Opens the store at a directory path, a `file://` URL or `s3://BUCKET/PREFIX`; a bucket is
    /// accessed with the process's `AWS_*` variables. A missing directory is created, a missing
    /// bucket is not.
    ///
    /// Otherwise nothing is written or sent, so a store on a read-only disk can be opened for
    /// reading; only [`EvidenceStore::check`] finds out whether a bucket answers.
    pub fn open(location: &str) -> Result<Self, EvidenceError> {
        Self::open_with(location, |name| std::env::var(name).ok())
    }

    /// Opens the store as [`open`](Self::open) does, but creates nothing; `None` if its directory
    /// does not exist.
    pub fn open_existing(location: &str) -> Result<Option<Self>, EvidenceError> {
        let is_missing = !is_bucket(location) && !local_directory(location)?.is_dir();
        if is_missing {
            return Ok(None);
        }
        Self::open(location).map(Some)
    }

    /// Opens the store with variables other than the process's environment.
    pub fn open_with(
        location: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, EvidenceError> {
        if is_bucket(location) {
            let bucket = s3::open(location, &variable)?;
            return Ok(Self {
                objects: bucket.objects,
                location: Arc::from(bucket.location),
            });
        }
        let directory = local_directory(location)?;
        std::fs::create_dir_all(&directory)
            .map_err(|source| EvidenceError::from_io(location, "create the directory", &source))?;
        let files = LocalFileSystem::new_with_prefix(&directory)
            .map_err(|source| EvidenceError::from_store(location, "open", source))?
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(files),
            location: Arc::from(location),
        })
    }

    /// Checks that the store answers and can be read, by requesting content that does not exist.
    /// Writes nothing.
    pub async fn check(&self) -> Result<(), EvidenceError> {
        self.exists(NOWHERE).await.map(|_| ())
    }

    /// Returns the store's location as it was opened; for a bucket with its endpoint, if one is
    /// set.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Stores bytes and returns a reference with their digest.
    ///
    /// **Durable on return**: the content appears under its digest as a whole or not at all; file
    /// and directory are synced, or S3 has acknowledged it. Existing content is replaced by the
    /// same bytes, which also repairs a damaged copy.
    pub async fn put(
        &self,
        bytes: Bytes,
        media_type: &str,
        name: &str,
    ) -> Result<Evidence, EvidenceError> {
        let size_bytes = bytes.len() as u64;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let path = object_path(&sha256)?;
        self.objects
            .put(&path, PutPayload::from_bytes(bytes))
            .await
            .map_err(|source| EvidenceError::from_store(&self.location, "store", source))?;
        Ok(evidence(sha256, size_bytes, media_type, name))
    }

    /// Reads the full content of a digest; bytes that do not match it are
    /// [`EvidenceError::Corrupt`].
    pub async fn get(&self, sha256: &str) -> Result<Bytes, EvidenceError> {
        let path = object_path(sha256)?;
        let failed = |error| EvidenceError::from_read(&self.location, sha256, error);
        let bytes = self
            .objects
            .get(&path)
            .await
            .map_err(failed)?
            .bytes()
            .await
            .map_err(failed)?;
        verify(
            sha256,
            &hex::encode(Sha256::digest(&bytes)),
            bytes.len() as u64,
        )?;
        Ok(bytes)
    }

    /// Opens the content of a digest for random access without loading it.
    ///
    /// Before this returns, the whole content has been read once and matched its digest. The handle
    /// is at the start and keeps that content whatever happens to the stored file.
    pub async fn open_file(&self, sha256: &str) -> Result<File, EvidenceError> {
        let mut file = self.file_of(sha256).await?;
        let location = Arc::clone(&self.location);
        let address = sha256.to_owned();
        blocking(move || {
            let io = |source| EvidenceError::from_io(&location, "read", &source);
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            let (found, size_bytes) = digest_of(&mut file).map_err(io)?;
            verify(&address, &found, size_bytes)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            Ok(file)
        })
        .await
    }

    /// Opens the content of a digest for reading front to back while hashing it: at the end the
    /// reader knows whether the bytes match the digest.
    pub async fn open_checked(&self, sha256: &str) -> Result<CheckedFile, EvidenceError> {
        let file = self.file_of(sha256).await?;
        CheckedFile::new(file, sha256, &self.location)
    }

    /// Returns the content of a digest as a file, unchecked.
    async fn file_of(&self, sha256: &str) -> Result<File, EvidenceError> {
        let path = object_path(sha256)?;
        let failed = |error| EvidenceError::from_read(&self.location, sha256, error);
        let found = self.objects.get(&path).await.map_err(failed)?;
        match found.payload {
            GetResultPayload::File(file, _) => Ok(file),
            GetResultPayload::Stream(mut stream) => {
                let io = |source| EvidenceError::from_io("a temporary file", "write", &source);
                let mut file = blocking(move || tempfile::tempfile().map_err(io)).await?;
                while let Some(chunk) = stream.next().await {
                    let chunk = chunk.map_err(failed)?;
                    file = blocking(move || {
                        file.write_all(&chunk).map_err(io)?;
                        Ok(file)
                    })
                    .await?;
                }
                Ok(file)
            }
        }
    }

    /// Returns whether a digest is stored, without reading the content.
    pub async fn exists(&self, sha256: &str) -> Result<bool, EvidenceError> {
        Ok(self.size(sha256).await?.is_some())
    }

    /// Returns the stored size of a digest in bytes, `None` if it is not stored, without reading
    /// the content.
    pub async fn size(&self, sha256: &str) -> Result<Option<u64>, EvidenceError> {
        let path = object_path(sha256)?;
        let failed = |source| EvidenceError::from_store(&self.location, "look up", source);
        match self.objects.head(&path).await {
            Ok(found) => return Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(failed(source)),
        }
        // Only an answer with a body tells a missing object from a missing bucket.
        match self.objects.get(&path).await {
            Ok(found) => Ok(Some(found.meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }
}

fn evidence(sha256: String, size_bytes: u64, media_type: &str, name: &str) -> Evidence {
    Evidence {
        sha256,
        size_bytes,
        media_type: media_type.to_owned(),
        name: name.to_owned(),
        truncated: false,
    }
}

fn is_bucket(location: &str) -> bool {
    let scheme = location.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(s3::SCHEME))
}

/// Returns the directory that a location names.
fn local_directory(location: &str) -> Result<PathBuf, EvidenceError> {
    let refuse = |reason: &str| EvidenceError::Location {
        location: location.to_owned(),
        reason: reason.to_owned(),
    };
    if location.is_empty() {
        return Err(refuse("it is empty; give a directory"));
    }
    let Some((scheme, rest)) = location.split_once("://") else {
        return Ok(PathBuf::from(location));
    };
    if !scheme.eq_ignore_ascii_case("file") {
        return Err(refuse(
            "only a directory path, a file:// URL or s3://BUCKET/PREFIX can be used",
        ));
    }
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(refuse(
            "a file:// URL needs an absolute path: file:///var/lib/rollbook/evidence",
        ));
    }
    if path.contains('%') {
        return Err(refuse(
            "percent escapes are not decoded; give the plain directory path instead",
        ));
    }
    Ok(PathBuf::from(path))
}

/// True if a text is a well-formed evidence digest: 64 lower-case hex digits.
pub fn is_address(text: &str) -> bool {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 64 && text.bytes().all(is_hex)
}

/// Returns the object path of a digest; anything but 64 lower-case hex digits is refused, so that
/// no text can escape the store.
fn object_path(sha256: &str) -> Result<ObjectPath, EvidenceError> {
    match sha256.get(..2) {
        Some(prefix) if is_address(sha256) => Ok(ObjectPath::from(format!("{prefix}/{sha256}"))),
        _ => Err(EvidenceError::Address {
            text: sha256.chars().take(80).collect(),
        }),
    }
}

fn verify(address: &str, found: &str, size_bytes: u64) -> Result<(), EvidenceError> {
    if address == found {
        return Ok(());
    }
    Err(EvidenceError::Corrupt {
        sha256: address.to_owned(),
        found: found.to_owned(),
        size_bytes,
    })
}

/// Returns the SHA-256 and size of the rest of a reader.
fn digest_of(reader: &mut impl Read) -> std::io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 256 * 1024];
    let mut size_bytes = 0u64;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((hex::encode(hasher.finalize()), size_bytes)),
            Ok(count) => {
                hasher.update(buffer.get(..count).unwrap_or_default());
                size_bytes += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Runs blocking file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EvidenceError> + Send + 'static,
) -> Result<T, EvidenceError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|stopped| {
            Err(EvidenceError::Unavailable {
                location: "the blocking pool".to_owned(),
                action: "run",
                reason: stopped.to_string(),
            })
        })
}
