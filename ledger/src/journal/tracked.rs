//! Remembers a journal's last acknowledged position outside of it, so that a journal that comes
//! back shorter, or with other commits, is detected before anything is appended.
//!
//! The position is written behind the acknowledgements: after a crash it may lag by up to
//! [`WRITE_BEHIND`] plus one write. Only the views can detect a loss within that window.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use rollbook_proto::v1::Commit;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::integrity::{Extent, Position};
use super::{Appended, Journal, JournalError, ReadFrom, StoredCommit, SyncKnown};
use crate::error_code::Coded;
use crate::ids::Aggregate;

/// Minimum time between two writes of the position.
pub const WRITE_BEHIND: Duration = Duration::from_millis(100);
/// Timeout of one write; the next write carries the newer position.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Failure to read or write a position.
#[derive(Debug, thiserror::Error, Coded)]
#[error("RB-INTEGRITY-6: the last acknowledged position cannot be {action} in {place}: {reason}")]
pub struct PositionStoreError {
    /// `read` or `written`.
    pub action: &'static str,
    /// The file, or the database.
    pub place: String,
    /// The cause.
    pub reason: String,
}

/// Storage for a ledger's last acknowledged position.
#[async_trait]
pub trait PositionStore: Send + Sync + std::fmt::Debug {
    /// Returns the stored position, if any.
    async fn load(&self) -> Result<Option<Position>, PositionStoreError>;
    /// Stores a position, unless a later one of the ledger is stored. On disk on return.
    async fn save(&self, position: &Position) -> Result<(), PositionStoreError>;
    /// Deletes the stored position.
    async fn forget(&self) -> Result<(), PositionStoreError>;
}

/// A journal that tracks the last position it acknowledged; clones share it.
#[derive(Debug, Clone)]
pub struct TrackedJournal {
    inner: Arc<dyn Journal>,
    acknowledged: Arc<watch::Sender<Position>>,
}

impl TrackedJournal {
    /// Wraps `inner` and tracks what it acknowledges from now on.
    pub fn new(inner: Arc<dyn Journal>) -> Self {
        Self {
            inner,
            acknowledged: Arc::new(watch::Sender::new(Position::default())),
        }
    }

    /// Writes the position to `store` behind the acknowledgements until `stop`, then once more.
    pub async fn keep(&self, store: &dyn PositionStore, stop: CancellationToken) {
        let mut changes = self.acknowledged.subscribe();
        let mut failing = false;
        loop {
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = stop.cancelled() => {}
            }
            let position = changes.borrow_and_update().clone();
            if position.sequence > 0 {
                let saved = tokio::time::timeout(WRITE_WITHIN, store.save(&position)).await;
                match saved {
                    Ok(Ok(())) => failing = false,
                    // Log only the first failure of an outage: there are many per second.
                    Ok(Err(error)) if !failing => {
                        tracing::warn!(%error, "the acknowledged position was not saved");
                        failing = true;
                    }
                    Err(_) if !failing => {
                        tracing::warn!(
                            "the acknowledged position was not saved: no answer in time"
                        );
                        failing = true;
                    }
                    _ => {}
                }
            }
            if stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(WRITE_BEHIND) => {}
            }
        }
    }
}

#[async_trait]
impl Journal for TrackedJournal {
    async fn append(
        &self,
        aggregate: &Aggregate,
        commit: Commit,
    ) -> Result<Appended, JournalError> {
        let (ledger, id) = (commit.ledger.clone(), commit.id.clone());
        let appended = self.inner.append(aggregate, commit).await?;
        self.acknowledged.send_if_modified(|position| {
            let later = appended.sequence > position.sequence;
            if later {
                *position = Position {
                    ledger,
                    sequence: appended.sequence,
                    commit_id: id,
                };
            }
            later
        });
        Ok(appended)
    }

    async fn read(
        &self,
        aggregate: &Aggregate,
        after: u64,
    ) -> Result<Vec<StoredCommit>, JournalError> {
        self.inner.read(aggregate, after).await
    }

    async fn follow(
        &self,
        from: ReadFrom,
    ) -> Result<BoxStream<'static, Result<StoredCommit, JournalError>>, JournalError> {
        self.inner.follow(from).await
    }

    async fn last_sequence(&self) -> Result<u64, JournalError> {
        self.inner.last_sequence().await
    }

    async fn at(&self, sequence: u64) -> Result<Option<StoredCommit>, JournalError> {
        self.inner.at(sequence).await
    }

    async fn extent(&self) -> Result<Extent, JournalError> {
        self.inner.extent().await
    }

    async fn subjects(
        &self,
        kind: &str,
        at_most: usize,
    ) -> Result<Option<Vec<String>>, JournalError> {
        self.inner.subjects(kind, at_most).await
    }

    fn sync(&self) -> SyncKnown {
        self.inner.sync()
    }
}

/// A position stored in a file of its own, which is replaced as a whole.
#[derive(Debug, Clone)]
pub struct PositionFile(PathBuf);

impl PositionFile {
    /// Names the file `acknowledged.json` in a directory, without touching it.
    pub fn in_dir(dir: &Path) -> Self {
        Self(dir.join("acknowledged.json"))
    }

    fn failed(&self, action: &'static str) -> impl Fn(String) -> PositionStoreError {
        let place = self.0.display().to_string();
        move |reason| PositionStoreError {
            action,
            place: place.clone(),
            reason,
        }
    }

    /// Runs blocking file work on a thread where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, PositionStoreError> {
        let (failed, path) = (self.failed(action), self.0.clone());
        match tokio::task::spawn_blocking(move || work(&path)).await {
            Ok(done) => done.map_err(|error| failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

#[async_trait]
impl PositionStore for PositionFile {
    async fn load(&self) -> Result<Option<Position>, PositionStoreError> {
        let read = |path: &Path| match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let Some(bytes) = self.blocking("read", read).await? else {
            return Ok(None);
        };
        let position = serde_json::from_slice(&bytes);
        position
            .map(Some)
            .map_err(|error| self.failed("read")(error.to_string()))
    }

    async fn save(&self, position: &Position) -> Result<(), PositionStoreError> {
        let bytes = serde_json::to_vec(position)
            .map_err(|error| self.failed("written")(error.to_string()))?;
        self.blocking("written", move |path| {
            use std::io::Write;
            let fresh = path.with_extension("json.new");
            let mut file = std::fs::File::create(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            std::fs::rename(&fresh, path)
        })
        .await
    }

    async fn forget(&self) -> Result<(), PositionStoreError> {
        let remove = |path: &Path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        self.blocking("written", remove).await
    }
}
