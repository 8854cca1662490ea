//! PostgreSQL as a source: a coordinator exports its snapshot; readers import it and COPY key
//! ranges.

mod catalogue;
mod cuts;
mod pages;
mod pause;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::future::poll_immediate;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::runtime::{Handle, RuntimeFlavor};

use self::catalogue::{forms, key_of};
use self::cuts::{CutKeys, Cutter};
use self::pause::Pause;
use super::copy::{CopyRows, Gather};
use super::{Held, Pages, Planned, Scattered, Sink, counted};
use crate::snapshot::SnapshotError;
use crate::snapshot::database::{Opened, SourceDatabase};
use crate::snapshot::manifest::SourceDescription;
use crate::snapshot::source::{Consistency, SnapshotSource};
use crate::snapshot::sql::{self, column, literal, quoted};
use crate::snapshot::task::{InventoryForm, KeyKind, KeyRange, ShardRead, ShardTask};

/// Begins a read-only transaction that does not depend on the server's settings: string literals
/// are standard, the session may stay idle while it waits for shards, and queries use neither JIT
/// nor parallel workers, which other sessions need.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL standard_conforming_strings = on; SET LOCAL statement_timeout = 0; \
     SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off";
/// Makes the server check every 250 ms that this process is still connected, so that the query of
/// an abandoned snapshot ends; otherwise the server would notice only when it sends the next row.
/// Servers before version 14, and some operating systems, cannot do this.
const WATCH_CLIENT: &str = "DO $$ BEGIN \
     PERFORM set_config('client_connection_check_interval', '250', true); \
     EXCEPTION WHEN OTHERS THEN NULL; END $$";
/// Memory for sorting keys while planning.
const PLAN_MEMORY: &str = "SET LOCAL work_mem = '128MB'";
/// A reader fills its core without parallel workers.
const READ_ALONE: &str = "SET LOCAL max_parallel_workers_per_gather = 0";

/// The connection that exports the snapshot shared by the readers.
#[derive(Debug)]
pub(in crate::snapshot) struct Coordinator {
    connection: PgConnection,
    database: SourceDatabase,
}

impl Coordinator {
    pub(in crate::snapshot) async fn check(
        &mut self,
        source: &SourceDescription,
    ) -> Result<(), SnapshotError> {
        let over = |error: sqlx::Error| {
            let error = self.database.query_error(&source.table.table, 0, &error);
            read_over(&self.database, &error)
        };
        let done = sqlx::raw_sql("SELECT 1")
            .execute(&mut self.connection)
            .await;
        done.map(|_| ()).map_err(over)
    }
}

fn read_over(database: &SourceDatabase, reason: &impl ToString) -> SnapshotError {
    SnapshotError::ReadOver {
        database: database.shown().to_owned(),
        reason: reason.to_string(),
    }
}

/// A source whose consistent read is open, and what the catalogue says about it.
pub(in crate::snapshot) struct Source<'s> {
    database: &'s SourceDatabase,
    source: &'s SnapshotSource,
    connection: PgConnection,
    snapshot: String,
    key: KeyKind,
    indexed: bool,
    inventory: InventoryForm,
    item_key: Option<KeyKind>,
}

impl<'s> Source<'s> {
    /// Opens the consistent read.
    pub(super) async fn open(
        database: &'s SourceDatabase,
        mut connection: PgConnection,
        source: &'s SnapshotSource,
    ) -> Result<Self, SnapshotError> {
        let failed = |error: sqlx::Error| database.query_error(&source.table.table, 0, &error);
        let begin = format!("{BEGIN}; {PLAN_MEMORY}");
        run(&mut connection, &begin).await.map_err(failed)?;
        run(&mut connection, WATCH_CLIENT).await.map_err(failed)?;
        let snapshot = sqlx::query_scalar("SELECT pg_export_snapshot()")
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
        let (key, indexed) = key_of(&mut connection, source).await.map_err(failed)?;
        let (inventory, item_key) = forms(&mut connection, source, key).await.map_err(failed)?;
        Ok(Self {
            database,
            source,
            connection,
            snapshot,
            key,
            indexed,
            inventory,
            item_key,
        })
    }

    fn failed(&self) -> impl Fn(sqlx::Error) -> SnapshotError + use<'s> {
        let (database, source) = (self.database, self.source);
        move |error| database.query_error(&source.table.table, 0, &error)
    }

    /// The table's pages, if reading them costs less than reading shards of `rows` deals.
    pub(super) async fn pages(&mut self, rows: u64) -> Result<Option<Pages>, SnapshotError> {
        // Without an index every shard scans the table, but then there are few shards.
        if !self.indexed {
            return Ok(None);
        }
        let (failed, source) = (self.failed(), self.source);
        let connection = &mut self.connection;
        let found = pages::worth_reading(connection, source, self.key, rows, &failed).await?;
        let Some(pages) = found else {
            return Ok(None);
        };
        let without_id = fetch_one(&mut self.connection, pages::without_id(source)).await;
        let without_id = without_id.and_then(|row| row.try_get(0));
        counted(source, [0, 0, without_id.map_err(failed)?])?;
        Ok(Some(pages))
    }

    /// Turns the open read into one by pages.
    pub(super) fn by_pages(self, pages: Pages) -> Scattered {
        Scattered {
            consistency: Consistency::PostgresExportedSnapshot,
            key_order: self.key.order(),
            pages,
            read: ShardRead::PostgresPages {
                snapshot: self.snapshot,
                inventory: self.inventory,
                from: 0,
                below: None,
            },
            held: held(self.connection, self.database),
        }
    }

    /// Counts the deals and cuts them into shards.
    pub(super) async fn cut(mut self, rows: u64) -> Result<Planned, SnapshotError> {
        let failed = self.failed();
        let cut = Cutter {
            connection: &mut self.connection,
            database: self.database,
            snapshot: &self.snapshot,
            source: self.source,
            key: self.key,
        };
        let CutKeys {
            keys,
            rows,
            total,
            deleted,
        } = cut.cut(rows, self.indexed, &failed).await?;
        let read = ShardRead::Postgres {
            snapshot: self.snapshot,
            key: self.key,
            inventory: self.inventory,
            item_key: self.item_key,
        };
        Ok(Planned {
            consistency: Consistency::PostgresExportedSnapshot,
            key_order: self.key.order(),
            total,
            deleted,
            file_sha256: None,
            shards: super::cuts(keys, total, rows, &read),
            held: held(self.connection, self.database),
        })
    }
}

fn held(connection: PgConnection, database: &SourceDatabase) -> Held {
    Held::Postgres(Box::new(Coordinator {
        connection,
        database: database.clone(),
    }))
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .map(|_| ())
}

async fn fetch_one(connection: &mut PgConnection, sql: String) -> Result<PgRow, sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await
}

/// The key expression that ranges compare and cuts are ordered by.
fn key_expression(source: &SnapshotSource, key: KeyKind) -> String {
    expression(&column(&source.table, &source.table.id), key)
}

fn expression(column: &str, key: KeyKind) -> String {
    match key {
        KeyKind::Integer | KeyKind::Text | KeyKind::Uuid => column.to_owned(),
        KeyKind::CollatedText => format!("{column} COLLATE \"C\""),
        KeyKind::Cast => format!("CAST({column} AS text) COLLATE \"C\""),
    }
}

fn key_literal(key: KeyKind, text: &str) -> String {
    match key {
        KeyKind::Integer => format!("CAST({} AS bigint)", literal(text)),
        KeyKind::Uuid => format!("CAST({} AS uuid)", literal(text)),
        KeyKind::Text | KeyKind::CollatedText | KeyKind::Cast => literal(text),
    }
}

fn range_condition(expression: &str, key: KeyKind, range: &KeyRange) -> String {
    let value = |text: &String| key_literal(key, text);
    let from = range.from.as_ref();
    let below = range.below.as_ref();
    let conditions: Vec<String> = from
        .map(|key| format!("{expression} >= {}", value(key)))
        .into_iter()
        .chain(below.map(|key| format!("{expression} < {}", value(key))))
        .collect();
    if conditions.is_empty() {
        "1=1".to_owned()
    } else {
        conditions.join(" AND ")
    }
}

/// The query for the rows of a shard: id, type, inventory. It is unordered, so that the server may
/// read in storage order; only the items of a child table must come deal by deal, in byte order of
/// their text.
fn shard_sql(
    source: &SnapshotSource,
    range: &KeyRange,
    key: KeyKind,
    form: InventoryForm,
    item_key: Option<KeyKind>,
) -> String {
    let key_sql = key_expression(source, key);
    let condition = range_condition(&key_sql, key, range);
    let Some(query) = sql::item_query(source) else {
        return whole_sql(source, &condition, form);
    };
    let (columns, from) = deals_sql(source, &condition);
    let item = sent("i.item", form);
    let (item_key_sql, joined, ranged) = match item_key {
        Some(key) => {
            let item = expression("i.deal_id", key);
            let ranged = range_condition(&item, key, range);
            (item, "d.key".to_owned(), ranged)
        }
        None => {
            let item = "CAST(i.deal_id AS text) COLLATE \"C\"".to_owned();
            (item, "d.id COLLATE \"C\"".to_owned(), "1=1".to_owned())
        }
    };
    format!(
        "WITH rollbook_deals AS (SELECT {key_sql} AS key, {columns} {from}), \
         rollbook_items(deal_id, item) AS (\n{query}\n) \
         SELECT d.id, d.deal_type, {} FROM rollbook_deals d LEFT JOIN \
         (SELECT * FROM rollbook_items i WHERE {ranged}) i ON {item_key_sql} = {joined} \
         ORDER BY d.id COLLATE \"C\", CAST(i.item AS text) COLLATE \"C\"",
        item,
    )
}

/// The columns of a deal, and the FROM clause with its conditions.
fn deals_sql(source: &SnapshotSource, condition: &str) -> (String, String) {
    let table = &source.table;
    let id = column(table, &table.id);
    let deal_type = column(table, &table.deal_type);
    let columns = format!("CAST({id} AS text) AS id, CAST({deal_type} AS text) AS deal_type");
    let from = format!(
        "FROM {} WHERE {} AND {condition}",
        quoted(&table.table),
        sql::live(source),
    );
    (columns, from)
}

/// The query for deals whose inventory is one column.
fn whole_sql(source: &SnapshotSource, condition: &str, form: InventoryForm) -> String {
    let (columns, from) = deals_sql(source, condition);
    let inventory = column(&source.table, &source.table.inventory);
    format!("SELECT {columns}, {} {from}", sent(&inventory, form))
}

/// The expression that selects an inventory in a form.
fn sent(value: &str, form: InventoryForm) -> String {
    match form {
        InventoryForm::Text | InventoryForm::Jsonb => value.to_owned(),
        InventoryForm::Cast => format!("CAST({value} AS text)"),
    }
}

/// The SQL statement that reads a shard; `None` if it is not in PostgreSQL.
pub(in crate::snapshot) fn statement(task: &ShardTask) -> Option<String> {
    let source = super::source_of(task);
    match task.read {
        ShardRead::Postgres {
            key,
            inventory,
            item_key,
            ..
        } => Some(shard_sql(&source, &task.range, key, inventory, item_key)),
        ShardRead::PostgresPages {
            inventory,
            from,
            below,
            ..
        } => Some(pages::statement(&source, inventory, from, below)),
        _ => None,
    }
}

/// A reader that shares the plan's snapshot.
#[derive(Debug)]
pub(in crate::snapshot) struct Session {
    connection: PgConnection,
    database: SourceDatabase,
    snapshot: String,
}

impl Session {
    pub(super) async fn open(
        database: &SourceDatabase,
        snapshot: &str,
    ) -> Result<Self, SnapshotError> {
        let Opened::Postgres(mut connection) = database.connect().await? else {
            return Err(SnapshotError::Url {
                database: database.shown().to_owned(),
                reason: "it is no PostgreSQL".to_owned(),
            });
        };
        let failed = |error: sqlx::Error| database.query_error("", 0, &error);
        run(&mut connection, BEGIN).await.map_err(failed)?;
        let import = format!(
            "SET TRANSACTION SNAPSHOT {}; {READ_ALONE}",
            literal(snapshot)
        );
        // The server knows the exported snapshot only while the plan's transaction is open.
        run(&mut connection, &import).await.map_err(|error| {
            if matches!(error, sqlx::Error::Database(_)) {
                read_over(database, &failed(error))
            } else {
                failed(error)
            }
        })?;
        let watched = run(&mut connection, WATCH_CLIENT).await;
        watched.map_err(failed)?;
        Ok(Self {
            connection: *connection,
            database: database.clone(),
            snapshot: snapshot.to_owned(),
        })
    }

    pub(super) fn database(&self) -> &SourceDatabase {
        &self.database
    }

    /// Whether this session reads under the snapshot of a task.
    pub(super) fn sees(&self, task: &ShardTask) -> bool {
        let snapshot = match &task.read {
            ShardRead::Postgres { snapshot, .. } | ShardRead::PostgresPages { snapshot, .. } => {
                snapshot
            }
            _ => return false,
        };
        *snapshot == self.snapshot
    }

    /// Reads a task and returns how many deleted deals were read; the query for a key range leaves
    /// them out.
    pub(super) async fn read(
        &mut self,
        task: &ShardTask,
        sink: &mut Sink,
    ) -> Result<u64, SnapshotError> {
        let (
            ShardRead::Postgres { inventory, .. } | ShardRead::PostgresPages { inventory, .. },
            Some(sql),
        ) = (&task.read, statement(task))
        else {
            return Err(task.error("it is not of PostgreSQL"));
        };
        let table = &task.source.table.table;
        let with_deleted = matches!(task.read, ShardRead::PostgresPages { .. });
        let (mut read, mut deleted) = (0u64, 0u64);
        let database = &self.database;
        let failed = |error: sqlx::Error, read| database.query_error(table, read, &error);
        let garbled = |reason: String| SnapshotError::Query {
            database: database.shown().to_owned(),
            table: table.clone(),
            reason,
        };
        let statement = format!("COPY (\n{sql}\n) TO STDOUT (FORMAT binary)");
        let mut stream = self
            .connection
            .copy_out_raw(&statement)
            .await
            .map_err(|error| failed(error, 0))?;
        // On a single-threaded runtime the thread itself sleeps: a timer would not stop socket
        // events from waking it.
        let alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        let mut pause = Pause::default();
        let (mut rows, mut gather) = (CopyRows::default(), Gather::default());
        loop {
            let next = match poll_immediate(stream.next()).await {
                Some(next) => next,
                None if alone => {
                    std::thread::sleep(pause.next());
                    tokio::task::yield_now().await;
                    continue;
                }
                None => stream.next().await,
            };
            let Some(chunk) = next else {
                break;
            };
            let chunk = chunk.map_err(|error| failed(error, read))?;
            pause.count(chunk.len());
            rows.push(chunk);
            while let Some([id, deal_type, value]) = rows.next::<3>().map_err(garbled)? {
                if with_deleted && id.is_none() {
                    deleted += 1;
                    continue;
                }
                read += 1;
                let id = text(id.as_ref()).map_err(garbled)?.unwrap_or_default();
                let deal_type = text(deal_type.as_ref()).map_err(garbled)?;
                let value = value.map(|value| plain(value, *inventory));
                let value = match sink.hands_over() {
                    true => value.map(|value| gather.keep(value)),
                    false => value,
                };
                if sink.push(id, deal_type, value).await.is_err() {
                    return Ok(deleted);
                }
            }
        }
        if !rows.is_complete() {
            return Err(garbled("the rows end without their end mark".to_owned()));
        }
        Ok(deleted)
    }
}

fn text(bytes: Option<&Bytes>) -> Result<Option<&str>, String> {
    bytes
        .map(|bytes| std::str::from_utf8(bytes))
        .transpose()
        .map_err(|_| "an id or type is not UTF-8".to_owned())
}

fn plain(mut value: Bytes, form: InventoryForm) -> Bytes {
    if form == InventoryForm::Jsonb && value.first() == Some(&1) {
        value.advance(1);
    }
    value
}
