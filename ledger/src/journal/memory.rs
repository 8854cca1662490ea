//! A journal in this process's memory, for tests and rehearsals; nothing survives the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use rollbook_proto::v1::Commit;
use tokio::sync::watch;

use super::{
    Appended, Journal, JournalError, ReadFrom, ReportSource, ServerReport, StoredCommit, envelope,
};
use crate::clock::{SharedClock, SystemClock};
use crate::ids::{Aggregate, LedgerId};

/// Number of commits a follower takes from the log at a time.
const FOLLOW_CHUNK: usize = 256;

/// The in-memory journal. Clones share one log.
#[derive(Debug, Clone)]
pub struct MemoryJournal {
    ledger: LedgerId,
    clock: SharedClock,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: Mutex<Log>,
    /// The last sequence; its changes wake followers.
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Log {
    /// The log: `commits[i]` has sequence `i + 1`.
    commits: Vec<StoredCommit>,
    /// The sequences of each aggregate, ascending.
    of: HashMap<Aggregate, Vec<u64>>,
}

impl Log {
    fn at(&self, sequence: u64) -> Option<&StoredCommit> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.commits.get(index)
    }
}

impl MemoryJournal {
    /// Creates an empty journal that stamps commits with the system time.
    pub fn new(ledger: LedgerId) -> Self {
        Self::with_clock(ledger, Arc::new(SystemClock))
    }

    /// Creates an empty journal that stamps commits with `clock`.
    pub fn with_clock(ledger: LedgerId, clock: SharedClock) -> Self {
        Self {
            ledger,
            clock,
            shared: Arc::new(Shared {
                log: Mutex::default(),
                last: watch::Sender::new(0),
            }),
        }
    }

    /// Runs `work` on the log. A panicked writer cannot have left it inconsistent: the only
    /// mutation pushes both halves without a fallible step in between.
    fn log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        let mut log = self
            .shared
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut log)
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(
        &self,
        aggregate: &Aggregate,
        commit: Commit,
    ) -> Result<Appended, JournalError> {
        envelope::seal(&self.ledger, aggregate, &commit)?;
        let stored_at = self.clock.now();
        self.log(|log| {
            let own = log.of.get(aggregate).map_or(&[][..], Vec::as_slice);
            let actual = own.last().copied().unwrap_or(0);
            // The first commit after the expected one decides: if it is ours, this append is a
            // repetition.
            let next = own.iter().find(|s| **s > commit.previous_sequence);
            if let Some(stored) = next.and_then(|s| log.at(*s))
                && stored.commit.id == commit.id
            {
                return Ok(Appended {
                    sequence: stored.sequence,
                });
            }
            if actual != commit.previous_sequence {
                return Err(JournalError::Conflict {
                    aggregate: aggregate.to_string(),
                    expected: commit.previous_sequence,
                    actual,
                });
            }
            let sequence = log.commits.len() as u64 + 1;
            log.of.entry(aggregate.clone()).or_default().push(sequence);
            let stored = StoredCommit::new(sequence, stored_at, commit);
            log.commits.push(stored);
            self.shared.last.send_replace(sequence);
            Ok(Appended { sequence })
        })
    }

    async fn read(
        &self,
        aggregate: &Aggregate,
        after: u64,
    ) -> Result<Vec<StoredCommit>, JournalError> {
        Ok(self.log(|log| {
            let own = log.of.get(aggregate).map_or(&[][..], Vec::as_slice);
            let start = own.partition_point(|sequence| *sequence <= after);
            own.iter()
                .skip(start)
                .filter_map(|sequence| log.at(*sequence).cloned())
                .collect()
        }))
    }

    async fn follow(
        &self,
        from: ReadFrom,
    ) -> Result<BoxStream<'static, Result<StoredCommit, JournalError>>, JournalError> {
        let last = self.last_sequence().await?;
        if from.after > last {
            return Err(super::ahead(from.after, last));
        }
        let journal = self.clone();
        let watcher = self.shared.last.subscribe();
        let chunks = stream::unfold((journal, watcher, from.after), |state| async move {
            let (journal, mut watcher, after) = state;
            // The sender lives in `journal`, so waiting cannot fail.
            let _ = watcher.wait_for(|last| *last > after).await;
            let chunk: Vec<Result<StoredCommit, JournalError>> = journal.log(|log| {
                let start = usize::try_from(after).unwrap_or(usize::MAX);
                let rest = log.commits.iter().skip(start);
                rest.take(FOLLOW_CHUNK).cloned().map(Ok).collect()
            });
            let after = after + chunk.len() as u64;
            Some((stream::iter(chunk), (journal, watcher, after)))
        });
        Ok(chunks.flatten().boxed())
    }

    async fn subjects(
        &self,
        kind: &str,
        at_most: usize,
    ) -> Result<Option<Vec<String>>, JournalError> {
        let subjects: Vec<String> = self.log(|log| {
            let of_kind = log.of.keys().filter(|aggregate| aggregate.kind() == kind);
            of_kind
                .map(|aggregate| aggregate.subject(&self.ledger))
                .collect()
        });
        Ok((subjects.len() <= at_most).then_some(subjects))
    }

    async fn last_sequence(&self) -> Result<u64, JournalError> {
        Ok(*self.shared.last.borrow())
    }
}

#[async_trait]
impl ReportSource for MemoryJournal {
    async fn report(&self) -> Result<ServerReport, JournalError> {
        let (last, bytes) = self.log(|log| {
            let bytes: usize = log.commits.iter().map(|stored| stored.payload.len()).sum();
            (log.commits.len() as u64, bytes as u64)
        });
        Ok(ServerReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: None,
            stream: self.ledger.to_string(),
            replicas: 1,
            replicas_behind: 0,
            quorum: true,
            sync: self.sync(),
            first_sequence: last.min(1),
            last_sequence: last,
            deleted: 0,
            bytes,
        })
    }
}
