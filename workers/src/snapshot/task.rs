//! What a plan hands to workers and gets back: plain data that can travel as JSON. No secrets.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use super::calculator::{Calculator, CalculatorDescription};
use super::manifest::{Part, SourceDescription, Total};
use super::row::KeyOrder;
use super::source::Consistency;

/// The version of tasks and reports that this code writes, and the only one it accepts.
pub const TASK_VERSION: u32 = 1;

/// A range of keys: from `from` (`None`: the first), below `below` (`None`: to the last).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRange {
    /// The first key in the range.
    pub from: Option<String>,
    /// The first key after the range.
    pub below: Option<String>,
}

impl KeyRange {
    /// Whether the range overlaps the keys from `first` to `last`, both included.
    pub fn touches(&self, first: &str, last: &str, order: fn(&[u8], &[u8]) -> Ordering) -> bool {
        let before = |left: &str, right: &str| order(left.as_bytes(), right.as_bytes()).is_lt();
        self.from.as_ref().is_none_or(|from| !before(last, from))
            && self.below.as_ref().is_none_or(|below| before(first, below))
    }
}

/// How the database compares keys, as found by the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// An integer column.
    Integer,
    /// A text column whose own collation orders by bytes.
    Text,
    /// A text column with another collation; compared under `COLLATE "C"`.
    CollatedText,
    /// A `uuid` column of PostgreSQL, which orders like the bytes of its text.
    Uuid,
    /// Any other type, compared by the bytes of its text. No index serves that.
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

/// The form in which PostgreSQL sends the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InventoryForm {
    /// `json` or a text type: the text itself.
    Text,
    /// `jsonb`: a version byte, then the text.
    Jsonb,
    /// Any other type, sent as its text.
    Cast,
}

/// Where the deals of a shard are, and how to read them in the state the plan saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "in")]
pub enum ShardRead {
    /// In PostgreSQL, under a snapshot held by the plan.
    Postgres {
        /// The name returned by `pg_export_snapshot`.
        snapshot: String,
        /// The kind of the id column.
        key: KeyKind,
        /// The form of the inventory column, or of the item column of the child query.
        inventory: InventoryForm,
        /// The kind of the deal's id in the child query, if it matches the id column.
        item_key: Option<KeyKind>,
    },
    /// In PostgreSQL, on a range of the table's pages.
    PostgresPages {
        /// The name returned by `pg_export_snapshot`.
        snapshot: String,
        /// The form of the inventory column.
        inventory: InventoryForm,
        /// The first page.
        from: u64,
        /// The page after the last; `None`: to the end of the table.
        below: Option<u64>,
    },
    /// In SQLite, only on the connection that the plan holds.
    Sqlite {
        /// The kind of the id column.
        key: KeyKind,
    },
    /// In lines of a file.
    JsonLines {
        /// Where the first line begins, in bytes.
        start: u64,
        /// Where the line after the last one begins, in bytes.
        end: u64,
        /// The first line's number, from 1.
        first_line: u64,
    },
    /// In rows of a Parquet file.
    Parquet {
        /// The first row, from 0.
        start: u64,
        /// The row after the last.
        end: u64,
    },
}

/// One shard: a run of deals to be read, computed and stored as one part.
///
/// The part has the same bytes regardless of who does the shard, how often and on how many threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardTask {
    /// [`TASK_VERSION`].
    pub version: u32,
    /// Its index in the plan, from 0.
    pub shard: u32,
    /// The snapshot's name in its plan.
    pub snapshot: String,
    /// `before`, `after` …
    pub label: String,
    /// The source without credentials; the worker supplies them.
    pub source: SourceDescription,
    /// How the read is consistent.
    pub consistency: Consistency,
    /// How the keys are ordered.
    pub key_order: KeyOrder,
    /// The range of its keys.
    pub range: KeyRange,
    /// Where and how to read its deals.
    pub read: ShardRead,
    /// The number of deals, as counted by the plan; an upper bound for a range of pages, whose
    /// deals are not counted.
    pub deals: u64,
    /// The calculator that must compute the figures.
    pub calculator: CalculatorDescription,
}

impl ShardTask {
    /// Whether any worker that reaches the source can do it, rather than only the process that
    /// planned.
    pub fn is_portable(&self) -> bool {
        !matches!(self.read, ShardRead::Sqlite { .. })
    }

    /// The statement that reads it from PostgreSQL, for an operator to `EXPLAIN`; `None` for other
    /// sources.
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

/// The result of a shard whose part is in the evidence store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardReport {
    /// Its index in the plan.
    pub shard: u32,
    /// The stored part.
    pub part: Part,
    /// The sum of each numeric metric over the computed deals, in the order of the metrics.
    pub totals: Vec<Total>,
    /// Deals per type as stored; types beyond the first 256 are counted under `(other)`.
    pub deal_types: BTreeMap<String, u64>,
}

/// What a plan found out apart from its shards: enough to finish the snapshot anywhere.
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
    /// How the read is consistent.
    pub consistency: Consistency,
    /// How the keys are ordered.
    pub key_order: KeyOrder,
    /// The calculator that computes the figures.
    pub calculator: CalculatorDescription,
    /// The values of the flags when the snapshot is taken.
    pub flags: BTreeMap<String, String>,
    /// The ledger sequence at which the flags were read; 0 without a ledger.
    pub flags_sequence: u64,
    /// When the read began.
    pub taken_at: Timestamp,
    /// Number of shards.
    pub shards: u32,
    /// Number of deals to read.
    pub total: u64,
    /// Deals left out because they are marked as deleted.
    pub deleted_excluded: u64,
}
