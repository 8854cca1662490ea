//! Reads shards, with one adapter per kind of source.
//!
//! Each adapter plans (opens the consistent read, counts, cuts) and reads one shard at a time into
//! a [`Sink`]. Deals may come in any order; the shard sorts the rows it has computed.

mod copy;
mod file;
mod json_lines;
mod parquet_rows;
mod postgres;
mod sqlite;

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::SnapshotError;
use super::batch::{BATCH_DEALS, Batcher, RowShape};
use super::calculator::RawDeal;
use super::database::{FileKind, Opened, SourceDatabase};
use super::manifest::SourceDescription;
use super::row::KeyOrder;
use super::source::{Consistency, SnapshotSource};
use super::task::{KeyRange, ShardRead, ShardTask};

pub(super) use file::SourceFile;
pub(super) use postgres::statement as postgres_statement;

/// Maximum bytes of inventories read but not yet computed, over all shards of a process. A larger
/// deal is let through alone.
pub(super) const IN_FLIGHT_BYTES: usize = 64 * 1024 * 1024;

/// Deals per batch when they are computed on the reading thread, where they are still in the
/// processor's cache.
const DEALS_HERE: usize = 16;

/// One shard as its source cut it.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) range: KeyRange,
    pub(super) deals: u64,
    pub(super) read: ShardRead,
}

/// An open consistent read and its cuts.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) held: Held,
    pub(super) consistency: Consistency,
    pub(super) key_order: KeyOrder,
    pub(super) total: u64,
    pub(super) deleted: u64,
    pub(super) file_sha256: Option<String>,
    pub(super) shards: Vec<Cut>,
}

/// An open consistent read of a table that is cheaper to read by pages than by keys. Nothing has
/// been counted.
#[derive(Debug)]
pub(super) struct Scattered {
    pub(super) held: Held,
    pub(super) consistency: Consistency,
    pub(super) key_order: KeyOrder,
    pub(super) pages: Pages,
    /// How to read all pages.
    pub(super) read: ShardRead,
}

/// What is known of a table before all its pages are read.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) count: u64,
    /// The estimated number of deals.
    pub(super) deals: u64,
    /// Keys in order, with about one shard's deals between two neighbours.
    pub(super) bounds: Vec<String>,
}

/// A source whose consistent read is open.
pub(super) enum Source<'s> {
    Postgres(Box<postgres::Source<'s>>),
    /// A source that is already cut, because opening it cuts it.
    Cut(Planned),
}

/// How a single process reads a source.
#[derive(Debug)]
pub(super) enum PlannedHere {
    Shards(Planned),
    Pages(Scattered),
}

impl<'s> Source<'s> {
    /// Opens a consistent read for shards of `rows` deals.
    pub(super) async fn open(
        database: &'s SourceDatabase,
        source: &'s SnapshotSource,
        rows: u64,
    ) -> Result<Self, SnapshotError> {
        if let Some((kind, path)) = database.file() {
            return file::plan(kind, path, source, rows).await.map(Self::Cut);
        }
        match database.connect().await? {
            Opened::Postgres(connection) => {
                let opened = postgres::Source::open(database, *connection, source).await?;
                Ok(Self::Postgres(Box::new(opened)))
            }
            Opened::Sqlite(connection) => {
                let planned = sqlite::plan(database, *connection, source, rows).await;
                planned.map(Self::Cut)
            }
        }
    }

    /// Cuts the source into shards.
    pub(super) async fn cut(self, rows: u64) -> Result<Planned, SnapshotError> {
        match self {
            Self::Postgres(source) => source.cut(rows).await,
            Self::Cut(planned) => Ok(planned),
        }
    }

    /// Cuts the source into shards, unless its table is cheaper to read by pages.
    pub(super) async fn here(self, rows: u64) -> Result<PlannedHere, SnapshotError> {
        if let Self::Postgres(mut source) = self {
            return match source.pages(rows).await? {
                Some(pages) => Ok(PlannedHere::Pages(source.by_pages(pages))),
                None => source.cut(rows).await.map(PlannedHere::Shards),
            };
        }
        self.cut(rows).await.map(PlannedHere::Shards)
    }
}

/// Checks the counts that `sql::count` asks for and returns the deals to read and the deleted ones
/// left out, neither below zero. Refuses NULL ids.
fn counted(
    source: &SnapshotSource,
    [total, deleted, without_id]: [i64; 3],
) -> Result<(u64, u64), SnapshotError> {
    if without_id > 0 {
        return Err(SnapshotError::Order {
            table: source.table.table.clone(),
            reason: format!("{without_id} ids are NULL"),
        });
    }
    Ok((total.unsigned_abs(), deleted.unsigned_abs()))
}

/// Cuts shards that begin at each of `keys`; all have `rows` deals except the last.
fn cuts(keys: Vec<String>, total: u64, rows: u64, read: &ShardRead) -> Vec<Cut> {
    let mut left = total;
    let mut keys = keys.into_iter();
    // Open at both ends, so that no deal can fall outside.
    let mut from = None;
    keys.next();
    let mut cuts = Vec::new();
    while left > 0 {
        let below = keys.next();
        let deals = if below.is_some() {
            left.min(rows)
        } else {
            left
        };
        left -= deals;
        cuts.push(Cut {
            range: KeyRange {
                from: from.take(),
                below: below.clone(),
            },
            deals,
            read: read.clone(),
        });
        from = below;
        if from.is_none() {
            break;
        }
    }
    cuts
}

/// The source of a task; its `database` has no credentials.
fn source_of(task: &ShardTask) -> SnapshotSource {
    let source = &task.source;
    SnapshotSource {
        database: source.database.clone(),
        table: source.table.clone(),
        inventory_query: source.inventory_query.clone(),
        filter: source.filter.clone(),
        tenant: source.tenant.clone(),
    }
}

/// Keeps a consistent read alive.
#[derive(Debug)]
pub(super) enum Held {
    Postgres(Box<postgres::Coordinator>),
    /// `None` once a session has taken over the connection.
    Sqlite(Option<Box<sqlite::Session>>),
    File(SourceFile),
}

impl Held {
    pub(super) async fn check(&mut self, source: &SourceDescription) -> Result<(), SnapshotError> {
        match self {
            Self::Postgres(coordinator) => coordinator.check(source).await,
            Self::Sqlite(_) => Ok(()),
            Self::File(file) => file.check_unchanged(),
        }
    }

    /// Opens a session in the planning process, which need not verify again what the plan has
    /// verified.
    pub(super) fn session(&mut self, database: &SourceDatabase) -> Session {
        match self {
            Self::Postgres(_) => Session::Unopened(database.clone()),
            Self::Sqlite(held) => held
                .take()
                .map_or_else(|| Session::Unopened(database.clone()), Session::Sqlite),
            Self::File(file) => Session::File(file.clone()),
        }
    }
}

/// A reader. Its first shard opens it, and it stays open for further shards of the same plan.
#[derive(Debug)]
pub(super) enum Session {
    Unopened(SourceDatabase),
    Postgres(Box<postgres::Session>),
    Sqlite(Box<sqlite::Session>),
    File(SourceFile),
}

impl Session {
    /// Reads the deals of a task into the sink. Returns how many deleted deals were read and left
    /// out, which only a range of pages contains. After an error the session must be dropped.
    pub(super) async fn read(
        &mut self,
        task: &ShardTask,
        mut sink: Sink,
    ) -> Result<u64, SnapshotError> {
        self.open(task).await?;
        let mut deleted = 0;
        match self {
            Self::Postgres(session) => deleted = session.read(task, &mut sink).await?,
            Self::Sqlite(session) => session.read(task, &mut sink).await?,
            Self::File(file) => file::read(file, task, &mut sink).await?,
            Self::Unopened(_) => {}
        }
        sink.finish().await;
        Ok(deleted)
    }

    async fn open(&mut self, task: &ShardTask) -> Result<(), SnapshotError> {
        let database = match self {
            Self::Unopened(database) => database.clone(),
            Self::Postgres(session) if !session.sees(task) => session.database().clone(),
            _ => return Ok(()),
        };
        if database.shown() != task.source.database {
            return Err(task.error(format!(
                "it is of {}, this worker was given {}",
                task.source.database,
                database.shown()
            )));
        }
        *self = match (&task.read, database.file()) {
            (
                ShardRead::Postgres { snapshot, .. } | ShardRead::PostgresPages { snapshot, .. },
                None,
            ) => {
                let session = postgres::Session::open(&database, snapshot).await?;
                Self::Postgres(Box::new(session))
            }
            (ShardRead::JsonLines { .. }, Some((FileKind::JsonLines, path)))
            | (ShardRead::Parquet { .. }, Some((FileKind::Parquet, path))) => {
                let expected = task.source.file_sha256.as_deref().unwrap_or_default();
                Self::File(SourceFile::open_verified(path, expected).await?)
            }
            (ShardRead::Sqlite { .. }, _) => {
                return Err(task.error(
                    "SQLite can be read only on the connection that planned; do it in that process",
                ));
            }
            _ => return Err(task.error("the source is of another kind than the task says")),
        };
        Ok(())
    }
}

/// Deals on their way to the compute threads, with the permit for their share of
/// [`IN_FLIGHT_BYTES`].
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) deals: Vec<RawDeal>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// Takes rows from a reader and cuts them into batches.
#[derive(Debug)]
pub(super) struct Sink {
    batcher: Batcher,
    outlet: Outlet,
}

/// Where batches go.
#[derive(Debug)]
pub(super) enum Outlet {
    /// To the compute threads; the reader waits while they have enough.
    Threads {
        sender: mpsc::Sender<Batch>,
        in_flight: Arc<Semaphore>,
    },
    /// Computed on the reading thread, before it reads on.
    Here(Here),
}

/// Handles a batch on the thread that read it.
pub(super) struct Here(pub(super) Box<dyn FnMut(Vec<RawDeal>) -> Result<(), Closed> + Send>);

impl fmt::Debug for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Here(…)")
    }
}

/// Nobody needs further deals; the reader may stop.
#[derive(Debug)]
pub(super) struct Closed;

impl Sink {
    pub(super) fn new(shape: RowShape, outlet: Outlet) -> Self {
        let deals = match outlet {
            Outlet::Threads { .. } => BATCH_DEALS,
            Outlet::Here(_) => DEALS_HERE,
        };
        Self {
            batcher: Batcher::new(shape, deals),
            outlet,
        }
    }

    /// Whether deals leave the thread that reads them.
    pub(super) fn hands_over(&self) -> bool {
        matches!(self.outlet, Outlet::Threads { .. })
    }

    pub(super) async fn push(
        &mut self,
        id: &str,
        deal_type: Option<&str>,
        inventory: Option<bytes::Bytes>,
    ) -> Result<(), Closed> {
        match self.batcher.push(id, deal_type, inventory) {
            Some(deals) => self.outlet.send(deals).await,
            None => Ok(()),
        }
    }

    /// Sends a batch that was assembled elsewhere.
    pub(super) async fn send(&mut self, deals: Vec<RawDeal>) -> Result<(), Closed> {
        self.outlet.send(deals).await
    }

    async fn finish(self) {
        let Self {
            batcher,
            mut outlet,
        } = self;
        let rest = batcher.finish();
        if !rest.is_empty() {
            // If the receiver is gone, the rest is not needed.
            let _ = outlet.send(rest).await;
        }
    }
}

impl Outlet {
    async fn send(&mut self, deals: Vec<RawDeal>) -> Result<(), Closed> {
        let (sender, in_flight) = match self {
            Self::Threads { sender, in_flight } => (sender, in_flight),
            Self::Here(Here(take)) => return take(deals),
        };
        let bytes: usize = deals.iter().map(|deal| deal.inventory.len()).sum();
        let share = u32::try_from(bytes.min(IN_FLIGHT_BYTES)).unwrap_or(u32::MAX);
        let permit = Arc::clone(in_flight)
            .acquire_many_owned(share)
            .await
            .map_err(|_| Closed)?;
        let batch = Batch { deals, permit };
        sender.send(batch).await.map_err(|_| Closed)
    }
}
