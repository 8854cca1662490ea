//! What a plan hands to workers and gets back: plain data that can travel as JSON. No secrets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use super::calculator::{Calculator, CalculatorDescription};
use super::manifest::{Part, SourceDescription, Total};
use super::row::KeyOrder;
use super::source::Consistency;

/// The version of tasks and reports this code writes and the only one it takes.
pub const TASK_VERSION: u32 = 1;

/// A run of keys: from `from` on (`None`: the first), below `below` (`None`: to the last).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRange {
    /// The smallest key in it.
    pub from: Option<String>,
    /// The smallest key behind it.
    pub below: Option<String>,
}

/// How keys are compared by the database, as the plan found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// An integer column.
    Integer,
    /// A text column whose own order is that of bytes.
    Text,
    /// A text column whose own order is another; compared under `COLLATE "C"`.
    CollatedText,
    /// A `uuid` column of PostgreSQL: its order is that of its text's bytes.
    Uuid,
    /// Anything else, compared by the bytes of its text. No index serves that.
    Cast,
}

impl KeyKind {
    /// How keys of this kind are ordered in a snapshot.
    pub fn order(self) -> KeyOrder {
        match self {
            Self::Integer => KeyOrder::Integer,
            Self::Text | Self::CollatedText | Self::Uuid | Self::Cast => KeyOrder::Bytes,
        }
    }
}

/// In which form PostgreSQL sends the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InventoryForm {
    /// `json` or a text type: the text itself.
    Text,
    /// `jsonb`: a version byte, then the text.
    Jsonb,
    /// Anything else, sent as its text.
    Cast,
}

/// Where the deals of a shard are, and how to see them as the plan saw them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "in")]
pub enum ShardRead {
    /// In PostgreSQL, under a snapshot that the plan holds.
    Postgres {
        /// The name `pg_export_snapshot` gave.
        snapshot: String,
        /// The id column.
        key: KeyKind,
        /// The inventory column, or the item column of the child query.
        inventory: InventoryForm,
        /// The deal's id in the child query, when it is of the id column's kind.
        item_key: Option<KeyKind>,
    },
    /// In PostgreSQL, on a range of the table's pages.
    PostgresPages {
        /// The name `pg_export_snapshot` gave.
        snapshot: String,
        /// The inventory column.
        inventory: InventoryForm,
        /// The first page.
        from: u64,
        /// The page behind the last; `None`: to the end of the table.
        below: Option<u64>,
    },
    /// In SQLite, on the connection the plan holds and no other.
    Sqlite {
        /// The id column.
        key: KeyKind,
    },
    /// In lines of a file.
    JsonLines {
        /// Where the first line begins, in bytes.
        start: u64,
        /// Where the line behind the last begins.
        end: u64,
        /// The first line's number, from 1.
        first_line: u64,
    },
    /// In rows of a Parquet file.
    Parquet {
        /// The first row, from 0.
        start: u64,
        /// The row behind the last.
        end: u64,
    },
}

/// One shard: a run of deals to be read, computed and stored as one part.
///
/// Whoever does it, however often and on how many threads: the part has the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardTask {
    /// [`TASK_VERSION`].
    pub version: u32,
    /// Its place in the plan, from 0.
    pub shard: u32,
    /// The snapshot's name in its plan.
    pub snapshot: String,
    /// `before`, `after` …
    pub label: String,
    /// The source without credentials; the worker knows how to reach it.
    pub source: SourceDescription,
    /// How the deals are from one moment.
    pub consistency: Consistency,
    /// How the keys are ordered.
    pub key_order: KeyOrder,
    /// Its keys.
    pub range: KeyRange,
    /// Where and how to read them.
    pub read: ShardRead,
    /// Deals in it, as the plan counted; of a range of pages, which are not counted, at most.
    pub deals: u64,
    /// What must compute the figures.
    pub calculator: CalculatorDescription,
}

impl ShardTask {
    /// Whether any worker that reaches the source can do it, or only the process that planned.
    pub fn is_portable(&self) -> bool {
        !matches!(self.read, ShardRead::Sqlite { .. })
    }

    /// The statement that reads it from PostgreSQL, as an operator may want to `EXPLAIN` it;
    /// `None` for other sources.
    pub fn statement(&self) -> Option<String> {
        super::read::postgres_statement(self)
    }

    /// Refuses a task of another version or for another calculator.
    pub(super) fn check(&self, calculator: &dyn Calculator) -> Result<(), SnapshotError> {
        if self.version != TASK_VERSION {
            return Err(self.error(format!(
                "it has version {}, this program does {TASK_VERSION}; update the workers",
                self.version
            )));
        }
        let here = calculator.description();
        if *here != self.calculator {
            return Err(self.error(format!(
                "it needs the calculator {} {}, not {} {}",
                self.calculator.name, self.calculator.digest, here.name, here.digest
            )));
        }
        Ok(())
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> SnapshotError {
        SnapshotError::Shard {
            shard: self.shard,
            reason: reason.into(),
        }
    }
}

/// What became of a shard: its part is in the evidence store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardReport {
    /// Its place in the plan.
    pub shard: u32,
    /// Where the rows are.
    pub part: Part,
    /// Sum of each metric that is no text over the computed deals, in the order of the metrics.
    pub totals: Vec<Total>,
    /// Deals per type as stored; types beyond the first 256 are under `(other)`.
    pub deal_types: BTreeMap<String, u64>,
}

/// What a plan found out, besides its shards: enough to finish the snapshot anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSummary {
    /// [`TASK_VERSION`].
    pub version: u32,
    /// The snapshot's name in its plan.
    pub snapshot: String,
    /// `before`, `after` …
    pub label: String,
    /// The source without credentials.
    pub source: SourceDescription,
    /// How the deals are from one moment.
    pub consistency: Consistency,
    /// How the keys are ordered.
    pub key_order: KeyOrder,
    /// What computes the figures.
    pub calculator: CalculatorDescription,
    /// The flags in force.
    pub flags: BTreeMap<String, String>,
    /// The ledger sequence the flags were read at; 0 without a ledger.
    pub flags_sequence: u64,
    /// When the read began.
    pub taken_at: Timestamp,
    /// Shards.
    pub shards: u32,
    /// Deals that will be read.
    pub total: u64,
    /// Deals left out because they are deleted.
    pub deleted_excluded: u64,
}
