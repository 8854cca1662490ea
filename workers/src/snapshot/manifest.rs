//! The manifest: what a snapshot holds and what it was made from.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use super::calculator::MetricInfo;
use super::row::KeyOrder;
use super::source::{Consistency, DealTable};

/// The manifest version that this code writes, and the only one it reads.
pub const MANIFEST_VERSION: u32 = 1;

/// A snapshot's table of contents. Its SHA-256 as evidence names the snapshot.
///
/// Its bytes are compact JSON with the fields in the order given here and maps sorted by key,
/// so equal manifests have equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// The snapshot's name in its plan.
    pub snapshot: String,
    /// `before`, `after` …
    pub label: String,
    /// Where the deals were read, without credentials.
    pub source: SourceDescription,
    /// How the read is consistent.
    pub consistency: Consistency,
    /// How the rows are ordered by deal id.
    #[serde(default)]
    pub key_order: KeyOrder,
    /// The model's name.
    pub model: String,
    /// SHA-256 of everything that determines the figures besides deals and flag.
    pub model_digest: String,
    /// Whether deal types changed the figures.
    pub deal_type_awareness: bool,
    /// The values of the flags when the snapshot was taken.
    pub flags: BTreeMap<String, String>,
    /// The ledger sequence at which the flags were read; 0 without a ledger.
    pub flags_sequence: u64,
    /// The metrics of every row, in column order.
    pub metrics: Vec<MetricInfo>,
    /// The stored parts, in key order.
    pub parts: Vec<Part>,
    /// The sum of each numeric metric over the computed deals.
    pub totals: BTreeMap<String, Total>,
    /// Deals per type as stored; types beyond the first 256 are counted under `(other)`.
    pub deal_types: BTreeMap<String, u64>,
    /// Number of rows.
    pub total: u64,
    /// Rows with figures.
    pub success: u64,
    /// Rows without figures.
    pub errors: u64,
    /// Deals left out because they are marked as deleted.
    pub deleted_excluded: u64,
    /// When the read began, by the clock of the process that planned.
    pub taken_at: Timestamp,
}

/// The source of a snapshot as its manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDescription {
    /// The database without credentials.
    pub database: String,
    /// Table and columns.
    pub table: DealTable,
    /// The query that gave the inventory items, where no column did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_query: Option<String>,
    /// The SQL condition on the deals.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The tenant whose deals were read; `None` means all deals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// SHA-256 of the source file; `None` for a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sha256: Option<String>,
}

/// A run of rows in key order, stored as one Parquet file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The file's address in the evidence store.
    pub sha256: String,
    /// The file's size.
    pub size_bytes: u64,
    /// Rows, at least one.
    pub rows: u64,
    /// The first deal id, in the key order of the manifest.
    pub first_id: String,
    /// The last deal id.
    pub last_id: String,
    /// Rows without figures.
    pub errors: u64,
}

/// An exact sum; a decimal text in JSON, because JSON readers round large numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Total(pub i128);

impl Serialize for Total {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Total {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Manifest {
    /// The bytes whose SHA-256 names the snapshot.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        serde_json::to_vec(self).map_err(|error| SnapshotError::Encode {
            reason: error.to_string(),
        })
    }

    /// Reads a manifest and checks that its parts are ordered and its counts add up.
    pub fn from_bytes(sha256: &str, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let malformed = |reason: String| SnapshotError::Malformed {
            what: "manifest",
            sha256: sha256.to_owned(),
            reason,
        };
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        manifest.check().map_err(malformed)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.version != MANIFEST_VERSION {
            return Err(format!(
                "it has version {}, this program reads {MANIFEST_VERSION}",
                self.version
            ));
        }
        let before = |left: &str, right: &str| self.key_order.compare(left, right).is_lt();
        let mut previous: Option<&Part> = None;
        let (mut rows, mut errors) = (0u64, 0u64);
        for part in &self.parts {
            let ordered = !before(&part.last_id, &part.first_id)
                && previous.is_none_or(|previous| before(&previous.last_id, &part.first_id));
            if part.rows == 0 || part.errors > part.rows || !ordered {
                return Err(format!("part {} is out of order or empty", part.sha256));
            }
            rows = rows.saturating_add(part.rows);
            errors = errors.saturating_add(part.errors);
            previous = Some(part);
        }
        let types = self
            .deal_types
            .values()
            .fold(0u64, |a, b| a.saturating_add(*b));
        if rows != self.total
            || errors != self.errors
            || self.success.checked_add(self.errors) != Some(self.total)
            || types != self.total
        {
            return Err(format!(
                "its counts do not add up: {} deals, {} computed, {} errors, {rows} rows in parts",
                self.total, self.success, self.errors
            ));
        }
        for (index, metric) in self.metrics.iter().enumerate() {
            let twice = self
                .metrics
                .iter()
                .skip(index + 1)
                .any(|m| m.name == metric.name);
            if twice {
                return Err(format!("metric {} occurs twice", metric.name));
            }
        }
        Ok(())
    }

    /// The index of the part that holds a deal, if any part does.
    pub fn part_of(&self, deal_id: &str) -> Option<usize> {
        let before = |left: &str, right: &str| self.key_order.compare(left, right).is_lt();
        let index = self
            .parts
            .partition_point(|part| before(&part.last_id, deal_id));
        let part = self.parts.get(index)?;
        (!before(deal_id, &part.first_id)).then_some(index)
    }

    pub(super) fn evidence_name(&self) -> String {
        format!("{}-{}.manifest.json", self.snapshot, self.label)
    }
}
