//! The case to judge, read from the directory of a slice.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::Found;
use crate::record::{
    self, ACKNOWLEDGED, Acknowledged, CALLS, ENDS, Ended, MARKERS, NOTICES, PLANS, PlanRecord,
    RecordError, Row, SEEN, SHARED_ROWS, Seen,
};

/// The subdirectory in which a judge stores what it collected.
pub(crate) const COLLECTED: &str = "collected";
/// The ledger, as `rollbook log --json` prints it.
pub(crate) const LOG: &str = "log.jsonl";
/// Each rollout, as `rollbook status --json` prints it.
pub(crate) const STATUSES: &str = "statuses.jsonl";
/// Rows that `sql` steps inserted into SQLite.
pub(crate) const ROWS: &str = "rows.jsonl";
/// The rows of each views' database.
pub(crate) const VIEWS: &str = "views.jsonl";
/// Processes that were still running.
pub(crate) const PROCESSES: &str = "processes.jsonl";

/// One commit of the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) sequence: u64,
    pub(crate) id: String,
    /// `rollout/ID`, `flag/ID`, `worker/ID`.
    pub(crate) aggregate: String,
    pub(crate) rollout: String,
    pub(crate) command_id: String,
    pub(crate) previous: u64,
    pub(crate) actor: String,
    pub(crate) is_person: bool,
    pub(crate) events: Vec<Value>,
}

/// A line written by the command of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) is_begin: bool,
    pub(crate) rollout: String,
    pub(crate) step: String,
    pub(crate) attempt: u64,
}

/// All rows of one database of views.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Views {
    pub(crate) name: String,
    /// Whether it was just rebuilt from the ledger.
    pub(crate) rebuilt: bool,
    pub(crate) sequence: u64,
    pub(crate) tables: BTreeMap<String, Vec<String>>,
}

/// Everything that is judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) plans: Vec<PlanRecord>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) ends: Vec<Ended>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) statuses: Vec<Value>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) rows: Vec<Row>,
    pub(crate) notices: Vec<Value>,
    pub(crate) views: Vec<Views>,
    pub(crate) processes: Vec<Found>,
}

impl Case {
    /// Reads what the storm recorded and what was collected.
    pub(crate) fn read(directory: &Path) -> Result<Self, RecordError> {
        let collected = directory.join(COLLECTED);
        let log: Vec<Value> = record::lines(&collected.join(LOG))?;
        Ok(Self {
            plans: record::lines(&directory.join(PLANS))?,
            acknowledged: record::lines(&directory.join(ACKNOWLEDGED))?,
            seen: record::lines(&directory.join(SEEN))?,
            ends: record::lines(&directory.join(ENDS))?,
            commits: log.iter().map(Commit::of).collect(),
            statuses: record::lines(&collected.join(STATUSES))?,
            marks: marks(&directory.join(MARKERS))?,
            rows: rows(directory, &collected)?,
            notices: notices(directory)?,
            views: record::lines(&collected.join(VIEWS))?,
            processes: record::lines(&collected.join(PROCESSES))?,
        })
    }

    /// The rollouts that the ledger has.
    pub(crate) fn opened(&self) -> impl Iterator<Item = &str> {
        self.events("rolloutOpened")
            .map(|(commit, _)| commit.rollout.as_str())
    }

    /// The events of a kind, in order.
    pub(crate) fn events<'a>(
        &'a self,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a Commit, &'a Value)> {
        self.commits.iter().flat_map(move |commit| {
            commit
                .events
                .iter()
                .filter_map(move |event| Some((commit, event.get(kind)?)))
        })
    }

    /// How often a person had a step of a rollout run again.
    pub(crate) fn retries(&self, rollout: &str, step: &str) -> usize {
        self.events("stepRetried")
            .filter(|(commit, event)| {
                commit.is_person && commit.rollout == rollout && event["stepId"] == *step
            })
            .count()
    }
}

impl Commit {
    /// Parses a line of the log.
    pub(crate) fn of(line: &Value) -> Self {
        let commit = &line["commit"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&commit["aggregate"]);
        let id = text(&commit["aggregateId"]);
        Self {
            sequence: line["sequence"].as_u64().unwrap_or(0),
            id: text(&commit["id"]),
            aggregate: format!("{kind}/{id}"),
            rollout: if kind == "rollout" { id } else { String::new() },
            command_id: text(&commit["commandId"]),
            // proto3 JSON writes 64-bit numbers as strings.
            previous: text(&commit["previousSequence"]).parse().unwrap_or(0),
            actor: text(&commit["actor"]["name"]),
            is_person: commit["actor"]["kind"] == "PERSON",
            events: commit["events"].as_array().cloned().unwrap_or_default(),
        }
    }
}

/// The rows in SQLite, which the judge reads itself, and those recorded from a PostgreSQL that is
/// gone.
fn rows(directory: &Path, collected: &Path) -> Result<Vec<Row>, RecordError> {
    let mut rows: Vec<Row> = record::lines(&collected.join(ROWS))?;
    rows.extend(record::lines::<Row>(&directory.join(SHARED_ROWS))?);
    Ok(rows)
}

/// The notices in the file, and those that were posted.
fn notices(directory: &Path) -> Result<Vec<Value>, RecordError> {
    let mut notices: Vec<Value> = record::lines(&directory.join(NOTICES))?;
    notices.extend(record::lines::<Value>(&directory.join(CALLS))?);
    Ok(notices)
}

/// Reads the marks; a line that a killed command wrote only half is skipped.
fn marks(path: &Path) -> Result<Vec<Mark>, RecordError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RecordError::new(path, error)),
    };
    Ok(text.lines().filter_map(mark).collect())
}

pub(crate) fn mark(line: &str) -> Option<Mark> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [what, rollout, step, attempt] = words.as_slice() else {
        return None;
    };
    Some(Mark {
        is_begin: *what == "begin",
        rollout: (*rollout).to_owned(),
        step: (*step).to_owned(),
        attempt: attempt.parse().ok()?,
    })
}
