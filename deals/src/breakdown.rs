//! Explains each figure of a deal by the inventory items behind it.
//!
//! A snapshot holds figures, not inventories. The deal is therefore read again from its source and
//! assessed with the model and flag of each snapshot, and the outcome is compared with the
//! snapshot: where they differ, the deal has changed since, and the result says so. Only the
//! built-in model can say what its figures are made of; figures of other calculators have no lines.

use std::collections::BTreeMap;

use rollbook_workers::compare::CompareError;
use rollbook_workers::snapshot::current_deal::{CurrentDeal, read_deal};
use rollbook_workers::snapshot::database::SourceDatabase;
use rollbook_workers::snapshot::{
    Manifest, Row, RowOutcome, Snapshot, SnapshotError, SnapshotSource,
};
use serde::Serialize;

use super::assess::Assessment;
use super::calculator::NAME;
use super::contribution::{Contribution, DriverSource, contributions, driver_sources};
use super::error::DealError;
use super::inventory::{self, Inventory};
use super::kind::DealType;
use super::model::Model;

/// One addend of a figure, with the inventory items it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The source of the amount: a work item, a category, an application.
    pub what: String,
    /// The amount, in the figure's unit.
    pub amount: i64,
    /// The ids of the inventory items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
}

/// An input of the cost rules, with the inventory items it was counted from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// `users`, `sites` …
    pub driver: String,
    /// Its value.
    pub value: i64,
    /// The ids of the inventory items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
}

/// A figure that differs from the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The metric.
    pub metric: String,
    /// The value in the snapshot.
    pub snapshot: i64,
    /// The value computed from the current inventory.
    pub now: i64,
}

/// What explains the figures of one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BreakdownSide {
    /// Whether the lines below give exactly the snapshot's figures.
    pub explains: bool,
    /// Why they do not, in words: the deal changed since, another model, an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Figures that differ from the snapshot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<Moved>,
    /// The inputs of the cost rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drivers: Vec<Driver>,
    /// The addends of each figure that is not zero.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, Vec<Line>>,
}

/// What explains a deal's figures in both snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FigureBreakdown {
    /// The database that was read, without credentials.
    pub source: String,
    /// The snapshot before.
    pub before: BreakdownSide,
    /// The snapshot after.
    pub after: BreakdownSide,
}

/// Whether the figures of a snapshot can be explained by lines at all.
pub fn has_lines(manifest: &Manifest) -> bool {
    manifest.model == NAME
}

/// Reads a deal from its source and breaks down each figure of both snapshots.
///
/// For a snapshot of another calculator than the built-in model, the result only says so; if both
/// are, check [`has_lines`] first, since the source need not be read.
///
/// `database` replaces the source's URL, as a manifest keeps no credentials. `model` is used for
/// both sides and must be the model of the snapshots, or the figures differ.
pub async fn break_down_figures(
    before: &Snapshot,
    after: &Snapshot,
    store: &rollbook_ledger::evidence::EvidenceStore,
    database: Option<&str>,
    model: &Model,
    deal_id: &str,
) -> Result<FigureBreakdown, CompareError> {
    let rows = [
        before.find(store, deal_id).await?,
        after.find(store, deal_id).await?,
    ];
    // The query of another calculator returns its figures, not inventory items.
    let described = match has_lines(&after.manifest) {
        true => &after.manifest,
        false => &before.manifest,
    };
    let source = source_of(described, database);
    let shown = SourceDatabase::parse(&source.database)?.shown().to_owned();
    let current = read_deal(&source, deal_id).await?;
    let digest = model.digest().map_err(|error| SnapshotError::Encode {
        reason: error.to_string(),
    })?;
    let [old, new] = rows;
    let side = |manifest: &Manifest, row: Option<Row>| {
        if !has_lines(manifest) {
            return noted(format!(
                "its figures are those of the calculator `{}`; only the built-in model's have lines",
                manifest.model
            ));
        }
        let mut side = explain_side(manifest, row.as_ref(), current.as_ref(), model);
        if manifest.model_digest != digest {
            side.explains = false;
            side.note = Some(format!(
                "the snapshot was made by model {} and these lines by {}; give the file of its model with --model",
                short(&manifest.model_digest),
                short(&digest)
            ));
        }
        side
    };
    Ok(FigureBreakdown {
        source: shown,
        before: side(&before.manifest, old),
        after: side(&after.manifest, new),
    })
}

/// The beginning of a digest, which suffices to tell models apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn source_of(manifest: &Manifest, database: Option<&str>) -> SnapshotSource {
    let described = &manifest.source;
    let mut source = SnapshotSource::new(database.unwrap_or(&described.database));
    source.table = described.table.clone();
    source
        .inventory_query
        .clone_from(&described.inventory_query);
    source
}

fn noted(note: String) -> BreakdownSide {
    BreakdownSide {
        note: Some(note),
        ..BreakdownSide::default()
    }
}

fn explain_side(
    manifest: &Manifest,
    row: Option<&Row>,
    current: Option<&CurrentDeal>,
    model: &Model,
) -> BreakdownSide {
    let Some(current) = current else {
        return noted("the source no longer has the deal".to_owned());
    };
    let Some(row) = row else {
        return noted("this snapshot does not have the deal".to_owned());
    };
    let aware = manifest.deal_type_awareness;
    let computed = assess(current, aware, model, |inventory, assessed| {
        let mut side = BreakdownSide::default();
        for metric in &manifest.metrics {
            let lines = contributions(inventory, assessed, &metric.name);
            if !lines.is_empty() {
                side.figures
                    .insert(metric.name.clone(), lines.into_iter().map(line).collect());
            }
        }
        side.drivers = driver_sources(inventory, &assessed.drivers)
            .into_iter()
            .map(driver)
            .collect();
        if let Some(values) = row.values() {
            let numbers = manifest.metrics.iter().filter(|metric| !metric.is_text());
            let moved = numbers.zip(&values.numbers).filter_map(|(metric, figure)| {
                let now = assessed.outputs.get(&metric.name)?;
                (now != *figure).then(|| Moved {
                    metric: metric.name.clone(),
                    snapshot: *figure,
                    now,
                })
            });
            side.moved = moved.collect();
        }
        side
    });
    match (computed, &row.outcome) {
        (Err(error), RowOutcome::Error(text)) if *text == error.to_string() => BreakdownSide {
            explains: true,
            note: Some(format!("the deal cannot be computed: {error}")),
            ..BreakdownSide::default()
        },
        (Err(error), _) => noted(format!(
            "the deal changed since the snapshot: it can no longer be computed: {error}"
        )),
        (Ok(side), RowOutcome::Error(_)) => BreakdownSide {
            note: Some("the deal changed since the snapshot: it can be computed now".to_owned()),
            ..side
        },
        (Ok(side), RowOutcome::Success(_)) if side.moved.is_empty() && !current.deleted => {
            BreakdownSide {
                explains: true,
                ..side
            }
        }
        (Ok(side), RowOutcome::Success(_)) => BreakdownSide {
            note: Some(if current.deleted {
                "the deal was deleted since the snapshot".to_owned()
            } else {
                format!(
                    "the deal changed since the snapshot: {} figures are no longer those of it",
                    side.moved.len()
                )
            }),
            ..side
        },
    }
}

/// Assesses the deal and passes the result to `take` while the inventory is still borrowed.
fn assess(
    current: &CurrentDeal,
    aware: bool,
    model: &Model,
    take: impl FnOnce(&Inventory<'_>, &Assessment<'_>) -> BreakdownSide,
) -> Result<BreakdownSide, DealError> {
    let deal_type = if aware {
        DealType::resolve(current.deal_type.as_deref())?
    } else {
        DealType::Acquisition
    };
    let inventory = inventory::parse(&current.inventory)?;
    let assessed = super::assess::assess(&inventory, deal_type, aware, model)?;
    Ok(take(&inventory, &assessed))
}

fn line(contribution: Contribution) -> Line {
    Line {
        what: contribution.what,
        amount: contribution.amount,
        items: contribution.items,
    }
}

fn driver(source: DriverSource) -> Driver {
    Driver {
        driver: source.driver.to_owned(),
        value: source.value,
        items: source.items,
    }
}
