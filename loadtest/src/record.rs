//! What a storm writes down for its judge: lines of JSON in files of one directory. The judge knows
//! nothing else of the storm.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where the processes kept their data.
pub(crate) const SYSTEM: &str = "system.json";
/// Rollouts that were opened, or may have been.
pub(crate) const PLANS: &str = "plans.jsonl";
/// Commands that were acknowledged.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged.jsonl";
/// Commits that a client was shown.
pub(crate) const SEEN: &str = "seen.jsonl";
/// Faults as they were injected.
pub(crate) const FAULTS: &str = "faults.jsonl";
/// Processes that ended, told to or not.
pub(crate) const ENDS: &str = "ends.jsonl";
/// Written by the commands of steps: `begin|end ROLLOUT STEP ATTEMPT`.
pub(crate) const MARKERS: &str = "markers";
/// Written by notices and by `notify` steps.
pub(crate) const NOTICES: &str = "notices.jsonl";
/// Written by the receiver of webhooks: what it took, and what it read but said it could not take.
pub(crate) const CALLS: &str = "calls.jsonl";
/// Rows that `sql` steps inserted into PostgreSQL.
pub(crate) const SHARED_ROWS: &str = "rows-postgres.jsonl";
/// The SQLite database that `sql` steps change.
pub(crate) const EFFECTS: &str = "effects.db";

/// Why the record could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("RB-STORM-1: {file}: {reason}; a storm is judged by its whole record, so run it again")]
pub(crate) struct RecordError {
    file: String,
    reason: String,
}

impl RecordError {
    pub(crate) fn new(file: &Path, reason: impl std::fmt::Display) -> Self {
        Self {
            file: file.display().to_string(),
            reason: reason.to_string(),
        }
    }
}

/// Where the processes kept their data, for whoever starts them again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SystemRecord {
    /// `up`, `one` or `three`.
    pub(crate) layout: String,
    /// The program that ran.
    pub(crate) rollbook: PathBuf,
    /// The directory of each nats-server's store.
    pub(crate) stores: Vec<PathBuf>,
    /// Evidence.
    pub(crate) objects: PathBuf,
    /// The database of each server's views: `sqlite:PATH` or `postgres://…`.
    pub(crate) views: Vec<String>,
}

/// What a step does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// A command that must not be repeated unasked.
    Once,
    /// A command that may be.
    Idempotent,
    /// A row inserted by `sql`, which must not be there twice.
    Row,
    /// Nothing that the judge looks at.
    None,
}

/// A step of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    pub(crate) id: String,
    pub(crate) effect: Effect,
}

/// A rollout that somebody tried to open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    pub(crate) rollout: String,
    pub(crate) steps: Vec<StepRecord>,
    /// Ids of its notices; each is its message's subject.
    pub(crate) notices: Vec<String>,
}

/// A row that a `sql` step inserted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) rollout: String,
    pub(crate) step: String,
}

/// An acknowledged command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    pub(crate) rollout: String,
    /// The verb.
    pub(crate) what: String,
    pub(crate) actor: String,
    /// Its idempotency key; absent where the command line made its own.
    pub(crate) command_id: Option<String>,
    /// Where the answer said it is recorded.
    pub(crate) sequence: u64,
    /// How many events it said were recorded; none: there was nothing to do.
    pub(crate) events: usize,
    /// How often it was sent.
    pub(crate) tries: u32,
}

/// A commit that a client was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) sequence: u64,
    pub(crate) commit: String,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// By itself, with this exit code.
    Unasked { code: Option<i32>, said: String },
    /// Told to by SIGTERM, after so long.
    Told {
        code: Option<i32>,
        after_ms: u64,
        /// It had hardly begun: signals were not yet in its hands, and nothing was its own.
        #[serde(default)]
        starting: bool,
    },
    /// Told to by SIGTERM, and still there when the wait was over; then killed.
    Deaf { after_ms: u64 },
    /// It had to give up, and was still there when the wait was over.
    Stays { after_ms: u64 },
}

/// A process that ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) process: String,
    pub(crate) end: End,
}

/// Appends lines to the files of one directory; a line is whole or not there.
#[derive(Debug)]
pub(crate) struct Recorder {
    directory: PathBuf,
    lock: Mutex<()>,
}

impl Recorder {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            lock: Mutex::new(()),
        }
    }

    /// Appends one line.
    pub(crate) fn append<T: Serialize>(&self, file: &str, line: &T) -> Result<(), RecordError> {
        let path = self.directory.join(file);
        let failed = |error: &dyn std::fmt::Display| RecordError::new(&path, error);
        let mut text = serde_json::to_vec(line).map_err(|error| failed(&error))?;
        text.push(b'\n');
        let _alone = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file: File| file.write_all(&text))
            .map_err(|error| failed(&error))
    }
}

/// All lines of a file; none where there is no such file.
pub(crate) fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let failed = |error: &dyn std::fmt::Display| RecordError::new(path, error);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| failed(&error)))
        .collect()
}

/// A file with one value.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let failed = |error: &dyn std::fmt::Display| RecordError::new(path, error);
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

/// Writes a file with one value.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let failed = |error: &dyn std::fmt::Display| RecordError::new(path, error);
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(&error))?;
    std::fs::write(path, text).map_err(|error| failed(&error))
}
