//! Runs one slice: starts a layout, runs rollouts under faults, lets them finish, stops and judges
//! it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::task::JoinSet;

use super::StormError;
use super::inject::inject;
use super::person::ApiClient;
use super::plans::{self, GeneratedRunbook, StormEnvironment};
use super::random::Random;
use super::schedule::{Fault, Kind, Layout, Views, faults};
use super::system::System;
use super::untested;
use super::webhook_receiver::WebhookReceiver;
use crate::deals::postgres::Postgres;
use crate::judge::report::{REPORT, Report};
use crate::record::{self, EFFECTS, FAULTS, Recorder, Row, SHARED_ROWS};

/// How long rollouts may take to end once nothing disturbs them: the task of a dead worker is
/// redelivered after 30 seconds, and a step may lose several workers in turn.
const REST_LIMIT: Duration = Duration::from_secs(300);
/// The interval between two checks whether all have ended.
const REST_STEP: Duration = Duration::from_millis(500);
/// The table that `sql` steps insert into.
const CREATE_EFFECTS: &str = "CREATE TABLE effects (rollout TEXT NOT NULL, step TEXT NOT NULL)";
/// How long notices may take after the rollouts: a webhook is retried for 90 seconds, and a notice
/// whose server died is redelivered.
const NOTICE_LIMIT: Duration = Duration::from_secs(150);
/// One long rollout for this many faults.
const FAULTS_PER_LONG: usize = 8;

/// The configuration of a slice.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) layout: Layout,
    pub(crate) seed: u64,
    pub(crate) faults: usize,
    pub(crate) longest_pause: Duration,
    /// The path of `libfaketime`, if installed.
    pub(crate) faketime: Option<PathBuf>,
}

impl Wanted {
    /// The faults of the slice.
    pub(crate) fn planned(&self) -> Vec<Fault> {
        faults(self.seed, self.layout, self.faults, self.longest_pause)
    }
}

/// What a slice did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The number of faults of each kind.
    pub(crate) kinds: BTreeMap<String, usize>,
    /// Holds the views in PostgreSQL until they have been judged.
    pub(crate) _postgres: Option<Arc<Postgres>>,
}

/// Runs a slice in `directory`, from scratch.
pub(crate) async fn run(
    directory: &Path,
    rollbook: &Path,
    wanted: &Wanted,
) -> Result<Ran, StormError> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(StormError::files(directory))?;
    }
    std::fs::create_dir_all(directory).map_err(StormError::files(directory))?;
    let recorder = Arc::new(Recorder::new(directory));
    create_effects(directory).await?;
    let mut planned = wanted.planned();
    let postgres = postgres()?.map(Arc::new);
    let shared_views = match (Views::of(wanted.seed, wanted.layout), &postgres) {
        (Views::Postgres, Some(postgres)) => Some(views(postgres)?),
        _ => None,
    };
    let mut system = System::prepare(
        directory,
        wanted.layout,
        rollbook,
        wanted.faketime.clone(),
        recorder.clone(),
        shared_views.as_deref(),
    )
    .await?;
    let hook = WebhookReceiver::start(recorder.clone()).map_err(StormError::files(directory))?;
    let around = StormEnvironment {
        directory: directory.to_path_buf(),
        shared: postgres.is_some(),
        hook: Some(hook.url()),
    };
    system.post_to(hook);
    if wanted.faketime.is_none() && plans_any(&planned, Kind::Skew) {
        untested(
            "a clock that is off",
            "there is no libfaketime; `make setup` installs it",
        )?;
        planned.retain(|fault| fault.kind != Kind::Skew);
    }
    if plans_any(&planned, Kind::FullDisk)
        && let Err(why) = system.use_small_disk()
    {
        untested("a full file system", &why)?;
        planned.retain(|fault| fault.kind != Kind::FullDisk);
    }
    if let Some(postgres) = &postgres {
        system.share(postgres.clone());
    }
    let worker_first = Random::new(wanted.seed, 5).percent(50);
    system.start_all(worker_first).await?;
    let desk = ApiClient::new(
        system.addresses(),
        system.rollbook().to_path_buf(),
        directory.to_path_buf(),
        recorder.clone(),
    )?;
    let mut rollouts = JoinSet::new();
    let reader = tokio::spawn(desk.clone().read_ledger());
    let mut random = Random::new(wanted.seed, 2);
    let mut number = 0;
    let mut posted: Vec<String> = Vec::new();
    let mut begin = |rollouts: &mut JoinSet<_>, random: &mut Random, is_long: bool| {
        number += 1;
        let id = format!("storm-{}-{number}", wanted.seed);
        let made: GeneratedRunbook = if is_long {
            plans::long(&around, &id, random)
        } else {
            plans::small(&around, &id, random)
        };
        posted.extend(plans::posted(&id));
        rollouts.spawn(
            desk.clone()
                .roll_out(made, Random::new(wanted.seed, 100 + number)),
        );
    };
    let mut kinds = BTreeMap::new();
    for (index, fault) in planned.iter().enumerate() {
        if index % FAULTS_PER_LONG == 0 {
            begin(&mut rollouts, &mut random, true);
        }
        for _ in 0..random.between(1, 2) {
            begin(&mut rollouts, &mut random, false);
        }
        system.rest(fault.after).await?;
        print_fault(fault);
        recorder.append(FAULTS, fault)?;
        inject(&mut system, fault, &mut random).await?;
        *kinds.entry(kind_name(fault)).or_insert(0) += 1;
    }
    let deadline = Instant::now() + REST_LIMIT;
    while !rollouts.is_empty() && Instant::now() < deadline {
        system.rest(REST_STEP).await?;
        while let Some(ended) = rollouts.try_join_next() {
            finished(ended)?;
        }
    }
    let deadline = Instant::now() + NOTICE_LIMIT;
    let is_taken = |system: &System| {
        let hook = system.hook();
        hook.is_none_or(|hook| posted.iter().all(|id| hook.has_taken(id)))
    };
    while rollouts.is_empty() && !is_taken(&system) && Instant::now() < deadline {
        system.rest(REST_STEP).await?;
    }
    desk.closing.cancel();
    while let Some(ended) = rollouts.join_next().await {
        finished(ended)?;
    }
    finished(reader.await)?;
    system.stop_all().await?;
    if let Some(postgres) = &postgres {
        shared_rows(postgres, &recorder).await?;
    }
    Ok(Ran {
        kinds,
        _postgres: postgres,
    })
}

fn plans_any(planned: &[Fault], kind: Kind) -> bool {
    planned.iter().any(|fault| fault.kind == kind)
}

fn finished(
    ended: Result<Result<(), StormError>, tokio::task::JoinError>,
) -> Result<(), StormError> {
    ended.unwrap_or_else(|error| {
        Err(StormError::Silent {
            what: format!("a person: {error}"),
        })
    })
}

/// A PostgreSQL with the table that `sql` steps insert into.
fn postgres() -> Result<Option<Postgres>, StormError> {
    if std::env::var_os("ROLLBOOK_PG_BIN").is_none() {
        untested("steps in PostgreSQL", "ROLLBOOK_PG_BIN names no PostgreSQL")?;
        return Ok(None);
    }
    let failed = |error| StormError::Silent {
        what: format!("PostgreSQL ({error})"),
    };
    let postgres = Postgres::start().map_err(failed)?;
    postgres.execute(CREATE_EFFECTS).map_err(failed)?;
    Ok(Some(postgres))
}

/// An empty database for the views of all servers.
fn views(postgres: &Postgres) -> Result<String, StormError> {
    let made = postgres.execute("CREATE DATABASE views");
    made.map_err(|error| StormError::Silent {
        what: format!("PostgreSQL ({error})"),
    })?;
    Ok(postgres.database("views"))
}

/// Records what steps inserted into PostgreSQL, which does not outlive the slice.
async fn shared_rows(postgres: &Postgres, recorder: &Recorder) -> Result<(), StormError> {
    let failed = |error: sqlx::Error| StormError::Silent {
        what: format!("PostgreSQL ({error})"),
    };
    let pool = sqlx::PgPool::connect(postgres.url())
        .await
        .map_err(failed)?;
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT rollout, step FROM effects")
        .fetch_all(&pool)
        .await
        .map_err(failed)?;
    pool.close().await;
    for (rollout, step) in rows {
        recorder.append(SHARED_ROWS, &Row { rollout, step })?;
    }
    Ok(())
}

/// The SQLite database that `sql` steps insert into.
pub(crate) async fn create_effects(directory: &Path) -> Result<(), StormError> {
    let path = directory.join(EFFECTS);
    let failed = StormError::files::<sqlx::Error>(&path);
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let pool = sqlx::SqlitePool::connect_with(options)
        .await
        .map_err(&failed)?;
    sqlx::query(CREATE_EFFECTS)
        .execute(&pool)
        .await
        .map_err(&failed)?;
    pool.close().await;
    Ok(())
}

/// Judges the content of the directory in a separate process.
pub(crate) async fn judge(directory: &Path) -> Result<Report, StormError> {
    let exe = std::env::current_exe().map_err(StormError::files(directory))?;
    let status = Command::new(exe)
        .arg("judge")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(StormError::files(directory))?;
    match status.code() {
        Some(0 | 1) => Ok(record::read(&directory.join(REPORT))?),
        _ => Err(StormError::Silent {
            what: "the judge".to_owned(),
        }),
    }
}

fn kind_name(fault: &Fault) -> String {
    let name = serde_json::to_value(fault.kind).unwrap_or_default();
    name.as_str().unwrap_or_default().replace('_', " ")
}

/// Prints the fault that is injected.
pub(crate) fn print_fault(fault: &Fault) {
    println!(
        "  {} {} for {:.1} s",
        kind_name(fault),
        fault.target,
        fault.pause.as_secs_f64()
    );
}
