//! The record that a storm writes for its judge: JSON lines in the files of one directory. The
//! judge knows nothing else about the storm.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rollbook_ledger::error_code::Coded;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where the processes keep their data.
pub(crate) const SYSTEM: &str = "system.json";
/// Rollouts that were opened, or may have been.
pub(crate) const PLANS: &str = "plans.jsonl";
/// Commands that were acknowledged.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged.jsonl";
/// Commits that a client was shown.
pub(crate) const SEEN: &str = "seen.jsonl";
/// Faults as they were injected.
pub(crate) const FAULTS: &str = "faults.jsonl";
/// Processes that ended, whether told to or not.
pub(crate) const ENDS: &str = "ends.jsonl";
/// Written by the commands of steps: `begin|end ROLLOUT STEP ATTEMPT`.
pub(crate) const MARKERS: &str = "markers";
/// Written by notices and by `notify` steps.
pub(crate) const NOTICES: &str = "notices.jsonl";
/// Written by the receiver of webhooks: what it accepted, and what it read but answered with an
/// error.
pub(crate) const CALLS: &str = "calls.jsonl";
/// Rows that `sql` steps inserted into PostgreSQL.
pub(crate) const SHARED_ROWS: &str = "rows-postgres.jsonl";
/// The SQLite database that `sql` steps change.
pub(crate) const EFFECTS: &str = "effects.db";

/// Why the record could not be written or read.
#[derive(Debug, thiserror::Error, Coded)]
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

/// Where the processes keep their data, for the judge that starts them again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SystemRecord {
    /// `up`, `one` or `three`.
    pub(crate) layout: String,
    /// The program under test.
    pub(crate) rollbook: PathBuf,
    /// The directory of each nats-server's store.
    pub(crate) stores: Vec<PathBuf>,
    /// The evidence store.
    pub(crate) objects: PathBuf,
    /// The database of each server's views: `sqlite:PATH` or `postgres://…`.
    pub(crate) views: Vec<String>,
}

/// The effect of a step outside the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// A command that must not be repeated without a request.
    Once,
    /// A command that may be repeated.
    Idempotent,
    /// A row inserted by `sql`, which must not exist twice.
    Row,
    /// No effect that the judge checks.
    None,
}

/// A step of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    pub(crate) id: String,
    pub(crate) effect: Effect,
}

/// A rollout that a simulated person tried to open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    pub(crate) rollout: String,
    pub(crate) steps: Vec<StepRecord>,
    /// The ids of its notices; each is the subject of its message.
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
    /// Its idempotency key; absent if the command line generated it.
    pub(crate) command_id: Option<String>,
    /// The sequence given in the answer.
    pub(crate) sequence: u64,
    /// The number of recorded events given in the answer; zero means that there was nothing to do.
    pub(crate) events: usize,
    /// How often the command was sent.
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
    /// After SIGTERM, within this time.
    Told {
        code: Option<i32>,
        after_ms: u64,
        /// Whether it was still starting: it had not yet installed its signal handlers and owned
        /// nothing.
        #[serde(default)]
        starting: bool,
    },
    /// Not after SIGTERM: it was still running when the wait was over, and was killed.
    Deaf { after_ms: u64 },
    /// Not when it had to give up: it was still running when the wait was over.
    Stays { after_ms: u64 },
}

/// A process that ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) process: String,
    pub(crate) end: End,
}

/// Appends lines to the files of one directory; a line is written completely or not at all.
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

/// All lines of a file; empty if the file does not exist.
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

/// Reads a file that holds one value.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let failed = |error: &dyn std::fmt::Display| RecordError::new(path, error);
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

/// Writes a file that holds one value.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let failed = |error: &dyn std::fmt::Display| RecordError::new(path, error);
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(&error))?;
    std::fs::write(path, text).map_err(|error| failed(&error))
}
