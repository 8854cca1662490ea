//! Compares rebuilding the SQLite views from a journal with inserting the same rows directly, by
//! multi-row statements, in transactions of the same number of commits.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::{Journal, MemoryJournal};
use rollbook_ledger::projection::projector::{MAX_BATCH_COMMITS, Projector};
use rollbook_ledger::projection::row::TableSpec;
use rollbook_ledger::projection::rows::TABLES;
use rollbook_ledger::projection::sqlite;
use rollbook_proto::v1::{self, event::Kind};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Row, ValueRef};

use crate::bar::{Bar, BenchError, Limit, failed};
use crate::commits::{LEDGER, aggregate, commit, sample};

/// Number of commits replayed.
const COMMITS: u64 = 60_000;
/// Number of rollouts they belong to.
const ROLLOUTS: usize = 200;
/// Number of runs; the median is judged.
const RUNS: usize = 5;
/// Rows per statement of the peer.
const ROWS_PER_STATEMENT: usize = 256;

/// Rows per second, rebuild ÷ bare insert.
pub(crate) async fn ratio() -> Result<Bar, BenchError> {
    let journal: Arc<dyn Journal> = Arc::new(filled().await?);
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let dir = tempfile::tempdir().map_err(failed("make a directory"))?;
        let path = dir.path().join("views.db");
        let store = sqlite::open(&path)
            .await
            .map_err(failed("open the views"))?;
        let projector = Projector::new(journal.clone(), store.clone());
        let start = Instant::now();
        projector.rebuild().await.map_err(failed("rebuild"))?;
        let ours = start.elapsed().as_secs_f64();
        drop(projector);
        drop(store);
        let (rows, theirs) = bare(&path, &dir.path().join("bare.db")).await?;
        eprintln!("rebuild: {rows} rows, ledger {ours:.2} s, bare insert {theirs:.2} s");
        runs.push(theirs / ours);
    }
    Ok(Bar::judge(
        "rebuild_ratio",
        Limit::AtLeast(0.5),
        "ratio",
        "bare multi-row inserts of the same rows",
        runs,
    ))
}

async fn filled() -> Result<MemoryJournal, BenchError> {
    let ledger = LedgerId::new(LEDGER).map_err(failed("name the ledger"))?;
    let journal = MemoryJournal::new(ledger);
    let mut last = vec![0_u64; ROLLOUTS];
    for number in 0..COMMITS {
        let slot = usize::try_from(number).unwrap_or(0) % ROLLOUTS;
        let aggregate = aggregate(slot)?;
        let Some(previous) = last.get_mut(slot) else {
            continue;
        };
        let round = number / ROLLOUTS as u64;
        let commit = match round {
            0 => commit(&aggregate, 0, vec![Kind::RolloutOpened(opened())]),
            1 => commit(
                &aggregate,
                *previous,
                vec![Kind::RolloutStarted(v1::RolloutStarted {})],
            ),
            _ if round % 5 == 2 => commit(&aggregate, *previous, vec![started(round)]),
            _ if round % 5 == 4 => commit(&aggregate, *previous, vec![finished(round)]),
            _ => sample(&aggregate, *previous),
        };
        let appended = journal
            .append(&aggregate, commit)
            .await
            .map_err(failed("fill the journal"))?;
        *previous = appended.sequence;
    }
    Ok(journal)
}

fn opened() -> v1::RolloutOpened {
    let steps = (1..=9)
        .map(|number| v1::StepOutline {
            id: format!("1.{number}"),
            title: format!("Step {number}"),
            kind: "watch".to_owned(),
            critical: true,
        })
        .collect();
    v1::RolloutOpened {
        name: "bench".to_owned(),
        runbook: "bench".to_owned(),
        runbook_version: "1".to_owned(),
        plan: Some(v1::Evidence {
            sha256: "0".repeat(64),
            ..v1::Evidence::default()
        }),
        outline: Some(v1::PlanOutline {
            phases: vec![v1::PhaseOutline {
                id: "1".to_owned(),
                title: "Phase".to_owned(),
                steps,
                gate: true,
            }],
            success_metrics: vec!["errors".to_owned()],
            ..v1::PlanOutline::default()
        }),
        environment: "production".to_owned(),
        ..v1::RolloutOpened::default()
    }
}

fn attempt(round: u64) -> u32 {
    u32::try_from(round / 5 + 1).unwrap_or(u32::MAX)
}

fn started(round: u64) -> Kind {
    Kind::StepStarted(v1::StepStarted {
        step_id: "1.8".to_owned(),
        attempt: attempt(round),
        worker: "worker-1".to_owned(),
        intent: "watch for 2h every 5m".to_owned(),
    })
}

fn finished(round: u64) -> Kind {
    Kind::StepFinished(v1::StepFinished {
        step_id: "1.8".to_owned(),
        attempt: attempt(round),
        verdict: v1::Verdict::Fail.into(),
        rule: "value > 0".to_owned(),
        message: "1 error".to_owned(),
        ..v1::StepFinished::default()
    })
}

async fn connect(path: &Path) -> Result<SqliteConnection, BenchError> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .connect()
        .await
        .map_err(failed("open a database"))
}

/// A value of a stored row, ready to be bound.
#[derive(Debug, Clone)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

/// The peer: inserts the rows of the rebuilt views into empty tables of the same shape. Reading
/// them is not timed.
async fn bare(from: &Path, to: &Path) -> Result<(usize, f64), BenchError> {
    let mut source = connect(from).await?;
    let mut target = connect(to).await?;
    let mut tables = Vec::new();
    for table in TABLES {
        let shape: String =
            sqlx::query("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?")
                .bind(table.name)
                .fetch_one(&mut source)
                .await
                .and_then(|row| row.try_get(0))
                .map_err(failed("read a table's shape"))?;
        sqlx::query(AssertSqlSafe(shape))
            .execute(&mut target)
            .await
            .map_err(failed("create a table"))?;
        tables.push((table, rows_of(&mut source, table).await?));
    }
    // As many transactions as the projector uses, so that each has the same number of rows.
    let total: usize = tables.iter().map(|(_, rows)| rows.len()).sum();
    let batches = usize::try_from(COMMITS)
        .unwrap_or(usize::MAX)
        .div_ceil(MAX_BATCH_COMMITS);
    let rows_per_transaction = total.div_ceil(batches).max(1);
    let start = Instant::now();
    for (table, rows) in tables {
        for chunk in rows.chunks(rows_per_transaction) {
            let mut transaction = target.begin().await.map_err(failed("begin"))?;
            for part in chunk.chunks(ROWS_PER_STATEMENT) {
                insert(&mut transaction, table, part).await?;
            }
            transaction.commit().await.map_err(failed("commit"))?;
        }
    }
    Ok((total, start.elapsed().as_secs_f64()))
}

async fn rows_of(
    source: &mut SqliteConnection,
    table: &TableSpec,
) -> Result<Vec<Vec<Cell>>, BenchError> {
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let query = format!("SELECT {} FROM {}", quoted(&columns), table.name);
    let rows = sqlx::query(AssertSqlSafe(query))
        .fetch_all(source)
        .await
        .map_err(failed("read rows"))?;
    rows.iter()
        .map(|row| {
            row.columns()
                .iter()
                .map(|column| cell(row, column.ordinal()))
                .collect()
        })
        .collect()
}

fn cell(row: &sqlx::sqlite::SqliteRow, index: usize) -> Result<Cell, BenchError> {
    let raw = row.try_get_raw(index).map_err(failed("read a value"))?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    if let Ok(number) = row.try_get::<i64, _>(index) {
        return Ok(Cell::Integer(number));
    }
    if let Ok(number) = row.try_get::<f64, _>(index) {
        return Ok(Cell::Real(number));
    }
    row.try_get(index)
        .map(Cell::Text)
        .map_err(failed("read a value"))
}

async fn insert(
    target: &mut SqliteConnection,
    table: &TableSpec,
    rows: &[Vec<Cell>],
) -> Result<(), BenchError> {
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let places = format!("({})", vec!["?"; columns.len()].join(","));
    let statement = format!(
        "INSERT INTO {} ({}) VALUES {}",
        table.name,
        quoted(&columns),
        vec![places; rows.len()].join(",")
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for value in rows.iter().flatten() {
        query = match value {
            Cell::Null => query.bind(None::<i64>),
            Cell::Integer(number) => query.bind(number),
            Cell::Real(number) => query.bind(number),
            Cell::Text(text) => query.bind(text),
        };
    }
    query.execute(target).await.map_err(failed("insert"))?;
    Ok(())
}

fn quoted(columns: &[&str]) -> String {
    columns
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ")
}
