//! A journal whose last acknowledged position is kept outside of it, so that a journal that comes
//! back shorter, or with other commits, is noticed before anything is appended to it.
//!
//! The position is written behind: after a crash the kept one may be up to [`WRITE_BEHIND`] and one
//! write older than what was acknowledged. A loss within that window is seen by the views only.

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
use crate::ids::Aggregate;

/// The shortest time between two writes of the position.
pub const WRITE_BEHIND: Duration = Duration::from_millis(100);
/// A write that takes longer is given up; the next one has the newer position.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Why a position was not read or written.
#[derive(Debug, thiserror::Error)]
#[error("RB-INTEGRITY-6: the last acknowledged position cannot be {action} in {place}: {reason}")]
pub struct KeepError {
    /// `read` or `written`.
    pub action: &'static str,
    /// The file, or the database.
    pub place: String,
    /// What happened.
    pub reason: String,
}

/// Where the last acknowledged position of a ledger is kept.
#[async_trait]
pub trait PositionStore: Send + Sync + std::fmt::Debug {
    /// The position kept; `None`: there is none.
    async fn load(&self) -> Result<Option<Position>, KeepError>;
    /// Keeps a position, unless a later one of the ledger is kept. On disk on return.
    async fn save(&self, position: &Position) -> Result<(), KeepError>;
    /// Forgets what is kept.
    async fn forget(&self) -> Result<(), KeepError>;
}

/// A journal that notes what it acknowledges. Clones share the note.
#[derive(Debug, Clone)]
pub struct KeptJournal {
    inner: Arc<dyn Journal>,
    acknowledged: Arc<watch::Sender<Position>>,
}

impl KeptJournal {
    /// Notes what `inner` acknowledges from now on.
    pub fn new(inner: Arc<dyn Journal>) -> Self {
        Self {
            inner,
            acknowledged: Arc::new(watch::Sender::new(Position::default())),
        }
    }

    /// Writes the position to `store` behind the acknowledgements, until `stop`; then once more.
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
                    // Said once an outage: it comes many times a second.
                    Ok(Err(error)) if !failing => {
                        tracing::warn!(%error, "the acknowledged position is not kept");
                        failing = true;
                    }
                    Err(_) if !failing => {
                        tracing::warn!("the acknowledged position is not kept: no answer in time");
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
impl Journal for KeptJournal {
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

/// A position in a file of its own, replaced whole.
#[derive(Debug, Clone)]
pub struct PositionFile(PathBuf);

impl PositionFile {
    /// The file `acknowledged.json` in a directory; nothing is touched yet.
    pub fn in_dir(dir: &Path) -> Self {
        Self(dir.join("acknowledged.json"))
    }

    fn failed(&self, action: &'static str) -> impl Fn(String) -> KeepError {
        let place = self.0.display().to_string();
        move |reason| KeepError {
            action,
            place: place.clone(),
            reason,
        }
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, KeepError> {
        let (failed, path) = (self.failed(action), self.0.clone());
        match tokio::task::spawn_blocking(move || work(&path)).await {
            Ok(done) => done.map_err(|error| failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

#[async_trait]
impl PositionStore for PositionFile {
    async fn load(&self) -> Result<Option<Position>, KeepError> {
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

    async fn save(&self, position: &Position) -> Result<(), KeepError> {
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

    async fn forget(&self) -> Result<(), KeepError> {
        let remove = |path: &Path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        self.blocking("written", remove).await
    }
}
