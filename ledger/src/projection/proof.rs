//! Checks whether an aggregate's stored rows match the ledger: rebuilds them from its own commits
//! and compares value by value.
//!
//! An aggregate's rows depend only on its own commits, so nothing else has to be read; except, for
//! a rollout, the flags whose changes are on its timeline.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::change::project;
use super::projector::ProjectorError;
use super::row::{ColumnValue, RowChange, TableSpec, ViewRow};
use super::rows::{
    EnvironmentRow, FlagHistoryRow, FlagRow, RequestRow, RolloutRow, TABLES, TimelineRow, WorkerRow,
};
use super::state::State;
use super::store::ViewStore;
use super::views::ViewAnswer;
use crate::error_code::Coded;
use crate::ids::{Aggregate, RolloutId};
use crate::journal::{Journal, StoredCommit};

/// Maximum number of flags read for one rollout.
const MAX_FLAGS: usize = 200;
/// Maximum length of a value in a message, in characters.
const MAX_SHOWN: usize = 60;

/// The column that names a row's rollout.
const ROLLOUT: &str = "rollout";

/// A stored row that does not match the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewDifference {
    /// The table.
    pub table: &'static str,
    /// The row's key: its values joined by `/`.
    pub row: String,
    /// The difference.
    pub what: String,
}

impl fmt::Display for ViewDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of {} {}", self.row, self.table, self.what)
    }
}

/// The views do not match the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
#[error(
    "RB-VIEW-9: the views are not what the ledger says: {first}{}; the ledger is the record: stop the server, delete views.db (in PostgreSQL: drop the schema of the views) and start again, and the views are rebuilt",
    more(*others)
)]
pub struct Differs {
    /// The first difference.
    pub first: ViewDifference,
    /// The number of further differences.
    pub others: usize,
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(", and {others} more"),
    }
}

impl Differs {
    /// Wraps differences; `None` if there are none.
    pub fn of(mut differences: Vec<ViewDifference>) -> Option<Self> {
        if differences.is_empty() {
            return None;
        }
        let first = differences.remove(0);
        Some(Self {
            first,
            others: differences.len(),
        })
    }
}

/// The rows of one table.
pub type TableRows = (&'static TableSpec, Vec<Vec<ColumnValue>>);

/// A table, and the columns that tell which aggregate a row belongs to.
#[derive(Debug, Clone)]
pub struct Owned {
    /// The table.
    pub table: &'static TableSpec,
    /// The columns with the values they have in the aggregate's rows.
    pub by: Vec<(&'static str, String)>,
}

/// Returns the tables with rows of an aggregate. A flag's row belongs to the flag alone; it only
/// names the rollout that changed it last.
pub fn owned(aggregate: &Aggregate) -> Vec<Owned> {
    let with = |table, by: &[(&'static str, &str)]| Owned {
        table,
        by: by
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect(),
    };
    match aggregate {
        Aggregate::Rollout(id) => TABLES
            .into_iter()
            .filter(|table| table.name != FlagRow::TABLE.name && column(table, ROLLOUT).is_some())
            .map(|table| with(table, &[(ROLLOUT, id.as_str())]))
            .collect(),
        Aggregate::Flag(environment, key) => {
            let flag = [("environment", environment.as_str()), ("key", key.as_str())];
            vec![
                with(FlagRow::TABLE, &flag),
                with(FlagHistoryRow::TABLE, &flag),
                with(RequestRow::TABLE, &[("aggregate", &aggregate.to_string())]),
            ]
        }
        Aggregate::Environment(name) => {
            vec![with(
                EnvironmentRow::TABLE,
                &[("environment", name.as_str())],
            )]
        }
        Aggregate::Worker(name) => vec![with(WorkerRow::TABLE, &[("worker", name.as_str())])],
    }
}

fn column(table: &TableSpec, name: &str) -> Option<usize> {
    table.columns.iter().position(|column| column.name == name)
}

/// Compares a rollout's stored rows with those rebuilt from its commits up to the views' position.
/// `flags` are the flags that its plan names.
///
/// # Errors
/// The journal or the views cannot be read, or the journal is damaged.
pub async fn prove(
    journal: &dyn Journal,
    views: &dyn ViewStore,
    rollout: &RolloutId,
    flags: impl IntoIterator<Item = Aggregate>,
) -> Result<Vec<ViewDifference>, ProjectorError> {
    let mut aggregates: BTreeSet<Aggregate> = flags.into_iter().take(MAX_FLAGS).collect();
    let own = Aggregate::Rollout(rollout.clone());
    let stored = views.rows_of(&own).await?;
    aggregates.extend(named_by(&stored.data));
    aggregates.insert(own.clone());
    compared(journal, &own, &aggregates, stored).await
}

/// Compares the stored rows of a flag, an environment or a worker with those rebuilt from its
/// commits up to the views' position.
///
/// # Errors
/// The journal or the views cannot be read, or the journal is damaged.
pub async fn prove_alone(
    journal: &dyn Journal,
    views: &dyn ViewStore,
    aggregate: &Aggregate,
) -> Result<Vec<ViewDifference>, ProjectorError> {
    let stored = views.rows_of(aggregate).await?;
    compared(journal, aggregate, [aggregate], stored).await
}

async fn compared<'a>(
    journal: &dyn Journal,
    own: &Aggregate,
    read: impl IntoIterator<Item = &'a Aggregate>,
    stored: ViewAnswer<Vec<TableRows>>,
) -> Result<Vec<ViewDifference>, ProjectorError> {
    let mut commits = Vec::new();
    for aggregate in read {
        commits.extend(journal.read(aggregate, 0).await?);
    }
    commits.retain(|commit| commit.sequence <= stored.as_of.sequence);
    commits.sort_by_key(|commit| commit.sequence);
    Ok(differences(rebuild(&commits, own), &stored.data))
}

/// True if projecting the commits gives a row for this rollout.
pub fn is_shown(commits: &[StoredCommit], rollout: &RolloutId) -> bool {
    let rebuilt = rebuild(commits, &Aggregate::Rollout(rollout.clone()));
    rebuilt
        .keys()
        .any(|(table, _)| *table == RolloutRow::TABLE.name)
}

/// Returns the flags named by stored timeline rows.
fn named_by(stored: &[TableRows]) -> BTreeSet<Aggregate> {
    let Some(place) = column(TimelineRow::TABLE, "aggregate") else {
        return BTreeSet::new();
    };
    let timeline = stored
        .iter()
        .filter(|(table, _)| table.name == TimelineRow::TABLE.name);
    timeline
        .flat_map(|(_, rows)| rows)
        .filter_map(|row| match row.get(place) {
            Some(ColumnValue::Text(text)) => {
                let (kind, id) = text.split_once(' ')?;
                Aggregate::of(kind, id)
            }
            _ => None,
        })
        .filter(|aggregate| matches!(aggregate, Aggregate::Flag(..)))
        .take(MAX_FLAGS)
        .collect()
}

type RebuiltRows = BTreeMap<(&'static str, String), (&'static TableSpec, Vec<ColumnValue>)>;

/// Rebuilds an aggregate's rows from commits.
fn rebuild(commits: &[StoredCommit], aggregate: &Aggregate) -> RebuiltRows {
    let owned = owned(aggregate);
    let is_own = |table: &TableSpec, values: &[ColumnValue]| {
        owned.iter().any(|owned| {
            owned.table.name == table.name
                && owned.by.iter().all(|(name, text)| {
                    let value = column(table, name).and_then(|place| values.get(place));
                    matches!(value, Some(ColumnValue::Text(found)) if found == text)
                })
        })
    };
    let mut state = State::default();
    let mut rebuilt = RebuiltRows::new();
    for commit in commits {
        for RowChange { table, values } in project(&mut state, commit) {
            if !is_own(table, &values) {
                continue;
            }
            let key = (table.name, key_of(table, &values));
            if table.is_updated() {
                rebuilt.insert(key, (table, values));
            } else {
                rebuilt.entry(key).or_insert((table, values));
            }
        }
    }
    rebuilt
}

fn key_of(table: &TableSpec, row: &[ColumnValue]) -> String {
    let texts: Vec<String> = row.iter().take(table.key).map(shown).collect();
    texts.join("/")
}

fn differences(mut rebuilt: RebuiltRows, stored: &[TableRows]) -> Vec<ViewDifference> {
    let mut found = Vec::new();
    for (table, rows) in stored {
        for row in rows {
            let key = key_of(table, row);
            let expected = rebuilt.remove(&(table.name, key.clone()));
            let what = match expected {
                None => "is not on the ledger".to_owned(),
                Some((_, expected)) => match differing(table, &expected, row) {
                    None => continue,
                    Some(what) => what,
                },
            };
            found.push(ViewDifference {
                table: table.name,
                row: key,
                what,
            });
        }
    }
    found.extend(rebuilt.into_keys().map(|(table, row)| ViewDifference {
        table,
        row,
        what: "is missing".to_owned(),
    }));
    found
}

/// Describes the first value that differs.
fn differing(
    table: &TableSpec,
    expected: &[ColumnValue],
    stored: &[ColumnValue],
) -> Option<String> {
    let place = (0..table.columns.len()).find(|at| expected.get(*at) != stored.get(*at))?;
    let name = table.columns.get(place).map_or("", |column| column.name);
    let cut = |row: &[ColumnValue]| {
        let text = row.get(place).map(shown).unwrap_or_default();
        let mut short: String = text.chars().take(MAX_SHOWN).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        short
    };
    Some(format!(
        "says {name} `{}`, and the ledger `{}`",
        cut(stored),
        cut(expected)
    ))
}

fn shown(value: &ColumnValue) -> String {
    match value {
        ColumnValue::Null => String::new(),
        ColumnValue::Bool(value) => value.to_string(),
        ColumnValue::Int(value) => value.to_string(),
        ColumnValue::Real(value) => value.to_string(),
        ColumnValue::Text(value) => value.clone(),
    }
}
