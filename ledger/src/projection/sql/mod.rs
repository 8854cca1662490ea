//! The view store that both databases share, over a small SQL port. Its SQL is valid in both;
//! placeholders are `?`, which an adapter rewrites if its database needs another form.

mod decode;
mod load;
mod notes;
mod positions;
mod queries;
mod write;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Mutex, mpsc};
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::decode::decode;
use self::write::{Latest, Writer};
use super::change::project;
use super::row::{Column, ColumnValue, Kind, RowChange, ViewRow, clean};
use super::rows::AnomalyRow;
use super::state::{NeededRows, State};
use super::store::{VIEWS_VERSION, ViewError};
use super::views::{AsOf, ViewAnswer};
use crate::journal::StoredCommit;

/// Maximum number of aggregates whose rows are cached between batches.
const MAX_CACHED_AGGREGATES: usize = 4_096;

/// Creates the missing indexes; valid in both databases.
const INDEX: &str = include_str!("../../../../migrations/ledger/002_view_indexes.deploy.sql");
/// Checks the columns that [`Database::STEP_PEOPLE`] adds; valid in both databases.
const VERIFY_STEP_PEOPLE: &str =
    include_str!("../../../../migrations/ledger/004_step_people.verify.sql");
/// Number of commits projected at a time.
const CHUNK_COMMITS: usize = 1_024;
/// Maximum number of chunks that are projected but not yet written.
const CHUNKS_AHEAD: usize = 2;

/// A database adapter.
#[async_trait]
pub(super) trait Database: Send + Sync + Debug {
    /// A transaction.
    type Tx: Tx + 'static;
    /// SQL that reads the position row and locks out other writers until the transaction ends.
    const LOCK_POSITION: &'static str;
    /// SQL that locks out other processes from creating the tables concurrently.
    const LOCK_SCHEMA: Option<&'static str>;
    /// SQL that counts position tables: 0 or 1.
    const HAS_TABLES: &'static str;
    /// SQL that creates the tables.
    const DEPLOY: &'static str;
    /// SQL that adds who left a step out and who undid it to the empty tables.
    const STEP_PEOPLE: &'static str;
    /// SQL that fails if tables or columns of [`Self::DEPLOY`] are missing.
    const VERIFY: &'static str;
    /// SQL that removes the tables.
    const REVERT: &'static str;
    /// Maximum number of rows in an insert statement.
    const MAX_STATEMENT_ROWS: usize;

    /// Begins a transaction that reads one consistent state of the database.
    async fn read(&self) -> Result<Self::Tx, ViewError>;
    /// Begins a transaction that writes.
    async fn write(&self) -> Result<Self::Tx, ViewError>;
    /// Closes every connection.
    async fn close(&self);
}

/// A transaction; dropping it without commit changes nothing.
#[async_trait]
pub(super) trait Tx: Send {
    /// Runs several statements without parameters.
    async fn script(&mut self, sql: &'static str) -> Result<(), ViewError>;
    /// Runs one statement; `kinds` are the types of `args`.
    async fn execute(
        &mut self,
        sql: Arc<str>,
        args: Vec<ColumnValue>,
        kinds: &[Kind],
    ) -> Result<(), ViewError>;
    /// Reads rows; `columns` are the types of the result's columns.
    async fn fetch(
        &mut self,
        sql: String,
        args: Vec<ColumnValue>,
        columns: &[Kind],
    ) -> Result<Vec<Vec<ColumnValue>>, ViewError>;
    /// Commits; as durable as the database's settings provide.
    async fn commit(self) -> Result<(), ViewError>;
}

/// Returns the types of a row's columns.
fn kinds_of<R: ViewRow>() -> Vec<Kind> {
    R::TABLE.columns.iter().map(|column| column.kind).collect()
}

/// Returns the quoted columns of a row, each after `prefix`.
fn columns_of<R: ViewRow>(prefix: &str) -> String {
    R::TABLE
        .columns
        .iter()
        .map(|column| format!("{prefix}\"{}\"", column.name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Reads rows of one table; `rest` is the SQL after its name.
async fn select<R: ViewRow, T: Tx>(
    tx: &mut T,
    rest: &str,
    args: Vec<ColumnValue>,
) -> Result<Vec<R>, ViewError> {
    let sql = format!(
        "SELECT {} FROM {} t {rest}",
        columns_of::<R>("t."),
        R::TABLE.name
    );
    tx.fetch(sql, args, &kinds_of::<R>())
        .await?
        .into_iter()
        .map(|values| R::from_values(values).map_err(ViewError::from))
        .collect()
}

/// The existing rows onto which the next batch is projected.
#[derive(Debug, Default)]
struct Cache {
    state: State,
    /// The position the state belongs to.
    sequence: u64,
    /// The state holds all rows there are, so nothing needs to be loaded.
    is_complete: bool,
}

/// A view store over one database.
#[derive(Debug)]
pub(super) struct SqlViews<D> {
    database: D,
    /// Taken out while a batch is applied and put back only after the commit, so a failed or
    /// cancelled batch leaves nothing behind.
    cache: Mutex<Option<Cache>>,
    writer: Arc<Writer>,
}

impl<D: Database> SqlViews<D> {
    /// Opens the store and creates its tables, or recreates those of another version, in one
    /// transaction.
    pub(super) async fn open(database: D) -> Result<Self, ViewError> {
        let mut tx = database.write().await?;
        if let Some(lock) = D::LOCK_SCHEMA {
            tx.script(lock).await?;
        }
        let found = tx
            .fetch(D::HAS_TABLES.to_owned(), Vec::new(), &[Kind::Int])
            .await?;
        let has_tables = found
            .first()
            .is_some_and(|row| *row != [ColumnValue::Int(0)]);
        let version = if has_tables {
            let sql = "SELECT version FROM view_position WHERE id = 1";
            tx.fetch(sql.to_owned(), Vec::new(), &[Kind::Int])
                .await?
                .pop()
                .and_then(|row| row.into_iter().next())
        } else {
            None
        };
        if version != Some(ColumnValue::Int(VIEWS_VERSION)) {
            Self::create(&mut tx).await?;
        }
        tx.script(positions::DEPLOY).await?;
        for verify in [D::VERIFY, VERIFY_STEP_PEOPLE] {
            tx.script(verify).await.map_err(|error| match error {
                ViewError::Database { reason, .. } => ViewError::Schema { reason },
                other => other,
            })?;
        }
        tx.commit().await?;
        Ok(Self {
            database,
            cache: Mutex::new(None),
            writer: Arc::default(),
        })
    }

    /// Replaces any tables with empty ones at position 0.
    async fn create(tx: &mut D::Tx) -> Result<(), ViewError> {
        tx.script(D::REVERT).await?;
        tx.script(D::DEPLOY).await?;
        tx.script(D::STEP_PEOPLE).await?;
        tx.execute(
            "INSERT INTO view_position (id, version, sequence, recorded_at, ledger, commit_id) \
             VALUES (1, ?, 0, NULL, '', '')"
                .into(),
            vec![ColumnValue::Int(VIEWS_VERSION)],
            &[Kind::Int],
        )
        .await
    }

    pub(super) async fn create_indexes(&self) -> Result<(), ViewError> {
        let mut tx = self.database.write().await?;
        Self::position_in(&mut tx, D::LOCK_POSITION).await?;
        tx.script(INDEX).await?;
        tx.commit().await
    }

    async fn position_in(tx: &mut D::Tx, sql: &str) -> Result<AsOf, ViewError> {
        let rows = tx
            .fetch(sql.to_owned(), Vec::new(), &[Kind::Int, Kind::Text])
            .await?;
        let mut row = rows
            .into_iter()
            .next()
            .ok_or_else(|| ViewError::Schema {
                reason: "view_position has no row".to_owned(),
            })?
            .into_iter();
        let mut next = || row.next().unwrap_or(ColumnValue::Null);
        let damaged = |found| ViewError::Schema {
            reason: format!("view_position holds {found}"),
        };
        Ok(AsOf {
            sequence: u64::from_value(next()).map_err(damaged)?,
            recorded_at: Option::<Timestamp>::from_value(next()).map_err(damaged)?,
        })
    }

    /// Begins a query's transaction and reads the position it sees.
    async fn begin_query(&self) -> Result<(D::Tx, AsOf), ViewError> {
        let mut tx = self.database.read().await?;
        let sql = "SELECT sequence, recorded_at FROM view_position WHERE id = 1";
        let as_of = Self::position_in(&mut tx, sql).await?;
        Ok((tx, as_of))
    }

    /// Ends a query with its answer.
    async fn answer<T: Send>(tx: D::Tx, as_of: AsOf, data: T) -> Result<ViewAnswer<T>, ViewError> {
        tx.commit().await?;
        Ok(ViewAnswer {
            as_of,
            lag: None,
            data,
        })
    }

    /// Applies a batch; if the database cannot store a value, splits the batch in halves until the
    /// offending commit is alone.
    pub(super) async fn apply_batch(&self, batch: &[StoredCommit]) -> Result<AsOf, ViewError> {
        let mut slot = self.cache.lock().await;
        let mut parts = vec![batch];
        let mut reached = None;
        while let Some(part) = parts.pop() {
            match (self.apply_part(&mut slot, part).await, part) {
                (Ok(position), _) => reached = Some(position),
                (Err(ViewError::Value { .. }), [commit]) => {
                    reached = Some(self.apply_refused(&mut slot, commit).await?);
                }
                (Err(ViewError::Value { reason }), _) => {
                    tracing::warn!(%reason, commits = part.len(), "a batch is applied in parts");
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        match reached {
            Some(position) => Ok(position),
            None => self.apply_part(&mut slot, &[]).await,
        }
    }

    async fn apply_part(
        &self,
        slot: &mut Option<Cache>,
        batch: &[StoredCommit],
    ) -> Result<AsOf, ViewError> {
        let mut tx = self.database.write().await?;
        let position = Self::position_in(&mut tx, D::LOCK_POSITION).await?;
        let news = new_commits(batch, position.sequence)?;
        let Some(last) = news.last() else {
            return Ok(position);
        };
        let mut cache = match slot.take() {
            Some(cache) if cache.sequence == position.sequence => cache,
            _ => Cache {
                is_complete: position.sequence == 0,
                ..Cache::default()
            },
        };
        let needs = NeededRows::of(news);
        if !cache.is_complete {
            let missing = needs.clone().missing_in(&cache.state);
            load::load(&mut tx, &mut cache.state, missing).await?;
        }
        let mut tx = self.write_projected(tx, &mut cache.state, news).await?;
        let reached = Self::reach(&mut tx, last).await?;
        tx.commit().await?;
        cache.sequence = reached.sequence;
        if cache.state.len() > MAX_CACHED_AGGREGATES {
            cache.state.keep_only(&needs);
            cache.is_complete = false;
        }
        *slot = Some(cache);
        Ok(reached)
    }

    /// Moves the position to a commit.
    async fn reach(tx: &mut D::Tx, last: &StoredCommit) -> Result<AsOf, ViewError> {
        let reached = AsOf {
            sequence: last.sequence,
            recorded_at: super::words::time(last.commit.recorded_at.as_ref()),
        };
        tx.execute(
            "UPDATE view_position SET sequence = ?, recorded_at = ?, ledger = ?, commit_id = ? \
             WHERE id = 1"
                .into(),
            vec![
                reached.sequence.to_value(),
                reached.recorded_at.to_value(),
                ColumnValue::Text(last.commit.ledger.clone()),
                ColumnValue::Text(last.commit.id.clone()),
            ],
            &[Kind::Int, Kind::Text, Kind::Text, Kind::Text],
        )
        .await?;
        Ok(reached)
    }

    /// Applies a commit with rows that the database cannot store: omits these and records an
    /// anomaly instead. Later commits are projected onto the stored rows.
    async fn apply_refused(
        &self,
        slot: &mut Option<Cache>,
        commit: &StoredCommit,
    ) -> Result<AsOf, ViewError> {
        *slot = None;
        let mut tx = self.database.write().await?;
        let position = Self::position_in(&mut tx, D::LOCK_POSITION).await?;
        if new_commits(std::slice::from_ref(commit), position.sequence)?.is_empty() {
            return Ok(position);
        }
        let mut state = State::default();
        let needs = NeededRows::of(std::slice::from_ref(commit));
        load::load(&mut tx, &mut state, needs).await?;
        let mut rows = Latest::default();
        for change in project(&mut state, commit) {
            rows.put(change);
        }
        let mut refused = Vec::new();
        for row in rows.into_rows() {
            let table = row.table.name;
            tx.script("SAVEPOINT one_row").await?;
            match self.writer.write_rows(&mut tx, 1, vec![row]).await {
                Ok(()) => tx.script("RELEASE SAVEPOINT one_row").await?,
                Err(ViewError::Value { reason }) => {
                    tx.script("ROLLBACK TO SAVEPOINT one_row").await?;
                    refused.push(format!("a row of `{table}`: {reason}"));
                }
                Err(error) => return Err(error),
            }
        }
        let anomaly = refused_anomaly(commit, &refused);
        tracing::error!(sequence = commit.sequence, reason = %anomaly.reason, "a row is missing in the views");
        let anomaly = RowChange::put(&anomaly);
        self.writer.write_rows(&mut tx, 1, vec![anomaly]).await?;
        let reached = Self::reach(&mut tx, commit).await?;
        tx.commit().await?;
        Ok(reached)
    }

    /// Projects the commits onto `state` and writes their rows concurrently. If either fails or the
    /// call is cancelled, the transaction is dropped, so nothing is written.
    async fn write_projected(
        &self,
        mut tx: D::Tx,
        state: &mut State,
        news: &[StoredCommit],
    ) -> Result<D::Tx, ViewError> {
        let (sender, mut ready) = mpsc::channel(CHUNKS_AHEAD);
        let writer = self.writer.clone();
        let writing = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(rows) = ready.recv().await {
                writer
                    .write_rows(&mut tx, D::MAX_STATEMENT_ROWS, rows)
                    .await?;
            }
            Ok(tx)
        }));
        // Write rows that later commits replace only once, at the end.
        let mut latest = Latest::default();
        for chunk in news.chunks(CHUNK_COMMITS) {
            let mut grown = Vec::with_capacity(chunk.len().saturating_mul(2));
            for commit in chunk {
                for change in project(state, commit) {
                    if change.table.is_updated() {
                        latest.put(change);
                    } else {
                        grown.push(change);
                    }
                }
            }
            if sender.send(grown).await.is_err() {
                // The writer has failed and reports why.
                break;
            }
        }
        let _ = sender.send(latest.into_rows()).await;
        drop(sender);
        writing.await.map_err(|stopped| ViewError::Database {
            action: "write a batch",
            reason: stopped.to_string(),
        })?
    }

    pub(super) async fn shut(&self) {
        self.database.close().await;
    }

    pub(super) async fn empty(&self) -> Result<(), ViewError> {
        let mut slot = self.cache.lock().await;
        *slot = None;
        let mut tx = self.database.write().await?;
        Self::position_in(&mut tx, D::LOCK_POSITION).await?;
        Self::create(&mut tx).await?;
        tx.commit().await
    }
}

/// Maximum length of an anomaly's reason, in bytes.
const MAX_REASON_BYTES: usize = 2_000;

/// Builds the anomaly of rows the database cannot store; its index follows those of the commit's
/// events.
fn refused_anomaly(stored: &StoredCommit, refused: &[String]) -> AnomalyRow {
    let commit = &stored.commit;
    let mut reason = clean(&format!(
        "the views' database does not take {}",
        refused.join("; ")
    ));
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    AnomalyRow {
        sequence: stored.sequence,
        idx: u32::try_from(commit.events.len()).unwrap_or(u32::MAX),
        recorded_at: super::words::time(commit.recorded_at.as_ref()),
        aggregate: clean(&format!("{} {}", commit.aggregate, commit.aggregate_id)),
        event: "commit".to_owned(),
        reason,
    }
}

/// Returns the part of a batch after `position`; `Gap` unless it is consecutive and directly
/// follows.
fn new_commits(batch: &[StoredCommit], position: u64) -> Result<&[StoredCommit], ViewError> {
    let start = batch.partition_point(|commit| commit.sequence <= position);
    let news = batch.get(start..).unwrap_or_default();
    let mut expected = position;
    for commit in news {
        if commit.sequence != expected.saturating_add(1) {
            return Err(ViewError::Gap {
                position: expected,
                first: commit.sequence,
            });
        }
        expected = commit.sequence;
    }
    Ok(news)
}
