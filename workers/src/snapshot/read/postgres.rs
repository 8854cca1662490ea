//! PostgreSQL: a coordinator exports its snapshot, readers import it and COPY ranges of keys.

mod cuts;
mod pages;

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::future::poll_immediate;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::runtime::{Handle, RuntimeFlavor};

use self::cuts::{CutKeys, Cutter};
use super::copy::{CopyRows, Gather};
use super::{Held, Planned, Sink};
use crate::snapshot::SnapshotError;
use crate::snapshot::database::{Database, Opened};
use crate::snapshot::manifest::SourceDescription;
use crate::snapshot::source::{Consistency, SnapshotSource};
use crate::snapshot::sql::{self, column, literal, quoted};
use crate::snapshot::task::{InventoryForm, KeyKind, KeyRange, ShardRead, ShardTask};

/// Begins a transaction that only reads, and makes it independent of how the server treats
/// others: literals mean what they say, it may wait for its shards, and no query is compiled
/// or spread over processes that its neighbours need.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL standard_conforming_strings = on; SET LOCAL statement_timeout = 0; \
     SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off";
/// Lets the server look once a second whether this process still listens, so that the query of a
/// snapshot nobody wants any more ends: it would notice only when it sends the next row. Servers
/// before version 14, and some systems, cannot.
const WATCH_CLIENT: &str = "DO $$ BEGIN \
     PERFORM set_config('client_connection_check_interval', '1000', true); \
     EXCEPTION WHEN OTHERS THEN NULL; END $$";
/// A server sends 8 KB at a time. To wake up for each costs as much as to compute what is in it,
/// so a reader with a thread of its own lets what comes gather in the kernel's buffer for a moment.
/// The thread itself sleeps: one that waits by a timer is woken all the same.
const GATHER_FOR: Duration = Duration::from_millis(1);
/// For sorting keys while planning.
const PLAN_MEMORY: &str = "SET LOCAL work_mem = '128MB'";
/// A reader fills its core by itself.
const READ_ALONE: &str = "SET LOCAL max_parallel_workers_per_gather = 0";

/// The connection whose snapshot the readers share.
#[derive(Debug)]
pub(in crate::snapshot) struct Coordinator {
    connection: PgConnection,
    database: Database,
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

fn read_over(database: &Database, reason: &impl ToString) -> SnapshotError {
    SnapshotError::ReadOver {
        database: database.shown().to_owned(),
        reason: reason.to_string(),
    }
}

/// What the catalogue says about a column: its type, whether its own order is that of bytes,
/// and whether an index gives its rows in byte order (or by value, for numbers).
const COLUMN: &str = r#"
SELECT format_type(a.atttypid, NULL) AS type,
       coalesce(a.attcollation = 0 OR b.bytes, true) AS bytes,
       EXISTS (
           SELECT 1 FROM pg_index i LEFT JOIN pg_collation ic ON ic.oid = i.indcollation[0]
           WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indisvalid
             AND (a.attcollation = 0 OR i.indcollation[0] = a.attcollation AND b.bytes
                  OR ic.collname IN ('C', 'POSIX'))
       ) AS indexed
FROM pg_attribute a
LEFT JOIN pg_collation c ON c.oid = a.attcollation
LEFT JOIN LATERAL (
    SELECT c.collname IN ('C', 'POSIX')
        OR c.collname = 'default' AND (
            SELECT d.datcollate IN ('C', 'POSIX')
                   AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c'
                OR coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'b'
            FROM pg_database d WHERE d.datname = current_database()) AS bytes
) b ON true
WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped"#;

/// Opens the read, counts and cuts.
pub(super) async fn plan(
    database: &Database,
    mut connection: PgConnection,
    source: &SnapshotSource,
    rows: u64,
) -> Result<Planned, SnapshotError> {
    let table = &source.table;
    let failed = |error: sqlx::Error| database.query_error(&table.table, 0, &error);
    let begin = format!("{BEGIN}; {PLAN_MEMORY}");
    run(&mut connection, &begin).await.map_err(failed)?;
    run(&mut connection, WATCH_CLIENT).await.map_err(failed)?;
    let snapshot: String = sqlx::query_scalar("SELECT pg_export_snapshot()")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let (key, indexed) = key_of(&mut connection, source).await.map_err(failed)?;
    let (inventory, item_key) = forms(&mut connection, source, key).await.map_err(failed)?;
    let cut = Cutter {
        connection: &mut connection,
        database,
        snapshot: &snapshot,
        source,
        key,
    };
    let CutKeys {
        keys,
        rows,
        total,
        deleted,
    } = cut.cut(rows, indexed, &failed).await?;
    let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
    let pages = match indexed {
        true => pages::worth_reading(&mut connection, source, total, count)
            .await
            .map_err(failed)?,
        // A scan for each shard was planned; then there are few of them.
        false => None,
    };
    let read = ShardRead::Postgres {
        snapshot,
        key,
        inventory,
        item_key,
    };
    Ok(Planned {
        held: Held::Postgres(Box::new(Coordinator {
            connection,
            database: database.clone(),
        })),
        consistency: Consistency::PostgresExportedSnapshot,
        key_order: key.order(),
        total,
        deleted,
        file_sha256: None,
        shards: super::cuts(keys, total, rows, &read),
        pages,
    })
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

/// The kind of the id column, and whether an index serves ranges of it.
async fn key_of(
    connection: &mut PgConnection,
    source: &SnapshotSource,
) -> Result<(KeyKind, bool), sqlx::Error> {
    let table = &source.table;
    let row = sqlx::query(COLUMN)
        .bind(quoted(&table.table))
        .bind(&table.id)
        .fetch_optional(connection)
        .await?;
    // Without the column the count says what is missing.
    let Some(row) = row else {
        return Ok((KeyKind::Cast, false));
    };
    let bytes: bool = row.try_get(1)?;
    let indexed: bool = row.try_get(2)?;
    Ok(match key_kind(row.try_get(0)?, bytes) {
        KeyKind::Cast => (KeyKind::Cast, false),
        kind => (kind, indexed),
    })
}

fn key_kind(type_name: &str, bytes: bool) -> KeyKind {
    match type_name {
        "smallint" | "integer" | "bigint" => KeyKind::Integer,
        "uuid" => KeyKind::Uuid,
        "text" | "character varying" if bytes => KeyKind::Text,
        "text" | "character varying" => KeyKind::CollatedText,
        _ => KeyKind::Cast,
    }
}

/// How the inventory comes, and the kind of the deal's id in the child query where it matches.
async fn forms(
    connection: &mut PgConnection,
    source: &SnapshotSource,
    key: KeyKind,
) -> Result<(InventoryForm, Option<KeyKind>), sqlx::Error> {
    // Of no row, so that nothing is read: a query's types are known without.
    let type_of = |value: &str, from: String| {
        format!("pg_typeof((SELECT {value} FROM {from} LIMIT 0))::text")
    };
    let columns = match sql::item_query(source) {
        None => {
            let inventory = column(&source.table, &source.table.inventory);
            let of_inventory = type_of(&inventory, quoted(&source.table.table));
            format!("{of_inventory}, NULL::text")
        }
        Some(query) => {
            let items = || format!("(\n{query}\n) i(deal_id, item)");
            format!(
                "{}, {}",
                type_of("item", items()),
                type_of("deal_id", items())
            )
        }
    };
    let row = fetch_one(connection, format!("SELECT {columns}")).await?;
    let form = match row.try_get::<&str, _>(0)? {
        "json" | "text" | "character varying" => InventoryForm::Text,
        "jsonb" => InventoryForm::Jsonb,
        _ => InventoryForm::Cast,
    };
    let item_type: Option<&str> = row.try_get(1)?;
    // Texts always under an explicit collation: the child's own may differ from the parent's.
    let item_key = item_type.map(|item| key_kind(item, false));
    let item_key = match (key, item_key) {
        (KeyKind::Text | KeyKind::CollatedText, Some(KeyKind::CollatedText)) => item_key,
        (KeyKind::Integer | KeyKind::Uuid, Some(item)) if item == key => item_key,
        _ => None,
    };
    Ok((form, item_key))
}

/// The expression ranges and order are about.
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

fn range_condition(expression: &str, key: KeyKind, range: &KeyRange) -> String {
    let value = |text: &String| match key {
        KeyKind::Integer => format!("CAST({} AS bigint)", literal(text)),
        KeyKind::Uuid => format!("CAST({} AS uuid)", literal(text)),
        KeyKind::Text | KeyKind::CollatedText | KeyKind::Cast => literal(text),
    };
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

/// The rows of a shard: id, type, inventory. Unordered, so that the server may read them as
/// they lie; only items of a child table must come deal by deal, in byte order of their text.
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

/// The columns of a deal, and where they come from.
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

/// Deals whose inventory is one column.
fn whole_sql(source: &SnapshotSource, condition: &str, form: InventoryForm) -> String {
    let (columns, from) = deals_sql(source, condition);
    let inventory = column(&source.table, &source.table.inventory);
    format!("SELECT {columns}, {} {from}", sent(&inventory, form))
}

/// How an inventory is asked for.
fn sent(value: &str, form: InventoryForm) -> String {
    match form {
        InventoryForm::Text | InventoryForm::Jsonb => value.to_owned(),
        InventoryForm::Cast => format!("CAST({value} AS text)"),
    }
}

/// The statement of a shard.
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
        } => Some(whole_sql(
            &source,
            &pages::condition(from, below),
            inventory,
        )),
        _ => None,
    }
}

/// A reader under the plan's snapshot.
#[derive(Debug)]
pub(in crate::snapshot) struct Session {
    connection: PgConnection,
    database: Database,
    snapshot: String,
}

impl Session {
    pub(super) async fn open(database: &Database, snapshot: &str) -> Result<Self, SnapshotError> {
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
        // The server knows the name as long as the plan's transaction is open.
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

    pub(super) fn database(&self) -> &Database {
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

    pub(super) async fn read(
        &mut self,
        task: &ShardTask,
        sink: &mut Sink,
    ) -> Result<(), SnapshotError> {
        let (
            ShardRead::Postgres { inventory, .. } | ShardRead::PostgresPages { inventory, .. },
            Some(sql),
        ) = (&task.read, statement(task))
        else {
            return Err(task.error("it is not of PostgreSQL"));
        };
        let table = &task.source.table.table;
        let mut read = 0u64;
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
        let alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        let (mut rows, mut gather) = (CopyRows::default(), Gather::default());
        loop {
            let next = match poll_immediate(stream.next()).await {
                Some(next) => next,
                None if alone => {
                    std::thread::sleep(GATHER_FOR);
                    tokio::task::yield_now().await;
                    continue;
                }
                None => stream.next().await,
            };
            let Some(chunk) = next else {
                break;
            };
            rows.push(chunk.map_err(|error| failed(error, read))?);
            while let Some([id, deal_type, value]) = rows.next::<3>().map_err(garbled)? {
                read += 1;
                let id = text(id.as_ref()).map_err(garbled)?.unwrap_or_default();
                let deal_type = text(deal_type.as_ref()).map_err(garbled)?;
                let value = value.map(|value| plain(value, *inventory));
                let value = match sink.hands_over() {
                    true => value.map(|value| gather.keep(value)),
                    false => value,
                };
                if sink.push(id, deal_type, value).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !rows.is_complete() {
            return Err(garbled("the rows end without their end mark".to_owned()));
        }
        Ok(())
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
