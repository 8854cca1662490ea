//! Deals for the snapshot tests: ids that are hostile to SQL and to collations, all types, one
//! broken inventory, one deleted deal.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollbook_ledger::evidence::EvidenceStore;
use rollbook_workers::snapshot::{
    Calculator, Snapshot, SnapshotError, SnapshotRequest, SnapshotSource, take,
};

pub(crate) use crate::calculators::calculator;

pub(crate) struct Deal {
    pub(crate) id: String,
    pub(crate) deal_type: Option<&'static str>,
    /// The items as JSON texts.
    pub(crate) items: Vec<String>,
    pub(crate) deleted: bool,
}

impl Deal {
    pub(crate) fn inventory(&self) -> String {
        format!("[{}]", self.items.join(","))
    }
}

const TYPES: [Option<&str>; 6] = [
    Some("acquisition"),
    None,
    Some("carveout"),
    Some(""),
    Some("divestiture"),
    Some("merger"),
];

/// 2,500 deals, not in the order of their ids; every 6th has one particular type.
pub(crate) fn deals() -> Vec<Deal> {
    let mut deals: Vec<Deal> = (0..2_500usize)
        .map(|n| {
            let id = match n {
                0 => "O'Brien \"x\"".to_owned(),
                1 => "é-accent".to_owned(),
                2 => "Z-upper".to_owned(),
                3 => "z-lower".to_owned(),
                4 => "line\nbreak".to_owned(),
                _ => format!("d{:05}", (n * 7919) % 100_000),
            };
            Deal {
                id,
                deal_type: TYPES[n % TYPES.len()],
                items: items(n),
                deleted: n == 11,
            }
        })
        .collect();
    deals[10].items = Vec::new();
    deals
}

fn items(n: usize) -> Vec<String> {
    let item = |kind: &str, id: usize, data: String| {
        format!(
            r#"{{"item_id":"I-{kind}-{id}","inventory_type":"{kind}","entity":"target","name":"{kind} {id}","status":"active","data":{{{data}}}}}"#
        )
    };
    let mut items = vec![item(
        "organization",
        0,
        format!(r#""role":"all","headcount":{},"location":"Berlin""#, 50 + n),
    )];
    for id in 0..n % 4 {
        let owner = if id == 0 {
            r#","hosted_by_parent":true"#
        } else {
            ""
        };
        items.push(item(
            "application",
            id,
            format!(
                r#""vendor":"V{id}","category":"crm","users":{},"cost":200000{owner}"#,
                10 + n
            ),
        ));
    }
    items
}

pub(crate) fn store() -> (tempfile::TempDir, EvidenceStore) {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().join("evidence");
    let store = EvidenceStore::open(location.to_str().unwrap()).unwrap();
    (directory, store)
}

pub(crate) fn request(source: SnapshotSource, calculator: Arc<dyn Calculator>) -> SnapshotRequest {
    SnapshotRequest {
        name: "deals".to_owned(),
        label: "before".to_owned(),
        source,
        calculator,
        flags: BTreeMap::from([("DEAL_TYPE_AWARENESS".to_owned(), "on".to_owned())]),
        flags_sequence: 7,
        taken_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        rows_per_part: 1_000,
        threads: None,
        connections: None,
    }
}

pub(crate) async fn snapshot(
    source: SnapshotSource,
    awareness: bool,
    store: &EvidenceStore,
) -> Result<Snapshot, SnapshotError> {
    take(&request(source, calculator(awareness)), store, &|_| {}).await
}
