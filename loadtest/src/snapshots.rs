//! Makes two stored snapshots of synthetic deals with the writer of real ones.

use rollbook_ledger::evidence::EvidenceStore;
use rollbook_workers::snapshot::parquet::PartWriter;
use rollbook_workers::snapshot::{MANIFEST_MEDIA_TYPE, MetricInfo, PART_MEDIA_TYPE, Part, Row};
use serde_json::{Value, json};

use crate::bar::{BenchError, failed};

/// The figures of each deal.
pub(crate) const METRICS: [&str; 12] = [
    "cost_one_time_upside",
    "cost_one_time_base",
    "cost_one_time_stress",
    "cost_licences_annual",
    "cost_applications",
    "cost_day_1",
    "cost_day_100",
    "cost_total",
    "synergy_savings_low",
    "synergy_savings_high",
    "synergy_count",
    "work_item_count",
];
/// How many of these, at the end, are counts rather than cents.
const COUNTS: usize = 2;
const TYPES: [&str; 3] = ["acquisition", "carveout", "divestiture"];
/// Rows per part, the maximum that snapshots allow.
const PART_ROWS: u64 = 65_536;
/// One in this many deals has changed: 2 %.
const CHANGED_ONE_IN: u64 = 50;
/// One in this many deals is on one side only.
const ONE_SIDED_ONE_IN: u64 = 100_000;

/// Two snapshots in their own store, removed on drop.
pub(crate) struct Pair {
    directory: tempfile::TempDir,
    before: String,
    after: String,
    files: [Vec<String>; 2],
}

impl Pair {
    /// Makes deals `0..deals`, of which 2 % change: half of these by 3 %, half by 10 %.
    pub(crate) async fn make(deals: u64) -> Result<Self, BenchError> {
        let directory = tempfile::tempdir().map_err(failed("make a directory"))?;
        let location = directory.path().display().to_string();
        let store = EvidenceStore::open(&location).map_err(failed("open the store"))?;
        let mut files = [Vec::new(), Vec::new()];
        let mut manifests = Vec::new();
        for (side, files) in files.iter_mut().enumerate() {
            let mut parts = Vec::new();
            for first in (0..deals).step_by(usize::try_from(PART_ROWS).unwrap_or(1)) {
                let last = (first + PART_ROWS).min(deals);
                let encoded = tokio::task::spawn_blocking(move || part(first, last, deals, side));
                let (bytes, mut entry) = encoded.await.map_err(failed("write a part"))??;
                let stored = store.put(bytes.into(), PART_MEDIA_TYPE, "part").await;
                entry.sha256 = stored.map_err(failed("store a part"))?.sha256;
                let prefix = entry.sha256.get(..2).unwrap_or_default();
                files.push(format!("{location}/{prefix}/{}", entry.sha256));
                parts.push(entry);
            }
            let manifest = serde_json::to_vec(&manifest(&parts)).map_err(failed("encode"))?;
            let stored = store
                .put(manifest.into(), MANIFEST_MEDIA_TYPE, "manifest")
                .await;
            manifests.push(stored.map_err(failed("store a manifest"))?.sha256);
        }
        let mut manifests = manifests.into_iter();
        Ok(Self {
            directory,
            before: manifests.next().unwrap_or_default(),
            after: manifests.next().unwrap_or_default(),
            files,
        })
    }

    /// The path of the store and the two snapshots, for the measured process.
    pub(crate) fn arguments(&self) -> [String; 3] {
        let location = self.directory.path().display().to_string();
        [location, self.before.clone(), self.after.clone()]
    }

    /// The command that the peer executes.
    pub(crate) fn duckdb_command(
        &self,
        tolerance_percent: i32,
        threads: usize,
    ) -> Result<String, BenchError> {
        let [before, after] = &self.files;
        serde_json::to_string(&json!({
            "before": before,
            "after": after,
            "metrics": METRICS,
            "tolerance_percent": tolerance_percent,
            "threads": threads,
        }))
        .map_err(failed("ask DuckDB"))
    }
}

fn part(first: u64, last: u64, deals: u64, side: usize) -> Result<(Vec<u8>, Part), BenchError> {
    let metrics: Vec<MetricInfo> = METRICS.iter().map(|name| info(name)).collect();
    let write = failed("write a part");
    let mut writer = PartWriter::new(&metrics).map_err(&write)?;
    for deal in first..last {
        if let Some(row) = row(deal, deals, side) {
            writer.push(&row).map_err(&write)?;
        }
    }
    writer.finish().map_err(&write)
}

fn info(name: &str) -> MetricInfo {
    let place = METRICS.iter().position(|metric| *metric == name);
    let is_count = place.is_some_and(|place| place >= METRICS.len() - COUNTS);
    MetricInfo {
        name: name.to_owned(),
        unit: if is_count { "count" } else { "cents" }.to_owned(),
    }
}

/// A deal on one side; `None` if it is only on the other. Ids have 36 characters and sort by
/// number, as sorted UUIDs do.
fn row(deal: u64, deals: u64, side: usize) -> Option<Row> {
    let noise = mix(deal);
    if noise % ONE_SIDED_ONE_IN == side as u64 {
        return None;
    }
    let high = u128::from(deal) * u128::from(u64::MAX) / u128::from(deals);
    let (high, low) = (u64::try_from(high).unwrap_or(u64::MAX), mix(noise));
    let id = format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low & 0xfff,
        low >> 16
    );
    let changed = side == 1 && mix(noise ^ 1).is_multiple_of(CHANGED_ONE_IN);
    let percent = if mix(noise ^ 2).is_multiple_of(2) {
        103
    } else {
        110
    };
    let values = (0..METRICS.len()).map(|metric| {
        let random = mix(noise ^ (metric as u64 + 16));
        let value = if metric >= METRICS.len() - COUNTS {
            1 + random % 12
        } else if metric % 4 == 3 {
            // Some figures are exact to the cent; most are rounded to $1,000 by their rules.
            10_000 + random % 900_000_000
        } else {
            100_000 * (1 + random % 9_000)
        };
        // Half of the figures, including the total.
        let moved = changed && metric % 2 == 1;
        let value = if moved { value * percent / 100 } else { value };
        i64::try_from(value).unwrap_or(i64::MAX)
    });
    let kind = usize::try_from(noise >> 60).unwrap_or(0) % TYPES.len();
    Some(Row::new(
        id,
        TYPES.get(kind).copied(),
        Ok(values.collect::<Vec<i64>>()),
    ))
}

/// SplitMix64: a pseudorandom number that is the same everywhere.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Built as JSON, so that optional fields of a manifest can be omitted.
fn manifest(parts: &[Part]) -> Value {
    let rows: u64 = parts.iter().map(|part| part.rows).sum();
    let metrics: Vec<MetricInfo> = METRICS.iter().map(|name| info(name)).collect();
    json!({
        "version": 1,
        "snapshot": "deals",
        "label": "bench",
        "source": {
            "database": "none",
            "table": {},
        },
        "consistency": "sqlite-read-transaction",
        "model": "bench",
        "model_digest": "0".repeat(64),
        "deal_type_awareness": true,
        "flags": {},
        "flags_sequence": 0,
        "metrics": metrics,
        "parts": parts,
        "totals": {},
        "deal_types": {"acquisition": rows},
        "total": rows,
        "success": rows,
        "errors": 0,
        "deleted_excluded": 0,
        "taken_at": "2026-01-01T00:00:00Z",
    })
}
