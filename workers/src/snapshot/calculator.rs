//! The port for calculators: what turns a deal into figures.

use std::sync::Arc;

use bytes::Bytes;
use rollbook_ledger::runbook::calculator::{MetricDeclaration, MetricUnit};
use serde::{Deserialize, Serialize};

use super::values::Values;

/// One figure or text that a snapshot has for every deal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// The name that rules refer to.
    pub name: String,
    /// `cents`, `count` or `text`.
    pub unit: String,
}

impl MetricInfo {
    /// Whether its values are texts rather than numbers.
    pub fn is_text(&self) -> bool {
        self.unit == MetricUnit::Text.as_str()
    }

    /// Builds the metric from its declaration.
    pub fn of(declared: &MetricDeclaration) -> Self {
        Self {
            name: declared.name.clone(),
            unit: declared.unit.as_str().to_owned(),
        }
    }
}

/// A deal as read from the source, not yet interpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDeal {
    /// The deal's id.
    pub id: String,
    /// The type as stored, `None` for SQL NULL.
    pub deal_type: Option<String>,
    /// The inventory: a JSON array of items. A deal without any has `[]`.
    pub inventory: Bytes,
}

/// A model: a pure function from a deal to named figures.
///
/// The same deal must give the same figures on every machine and thread; snapshots are comparable
/// only because of that. A deal that cannot be computed is an error of that deal alone.
pub trait Calculator: Send + Sync + std::fmt::Debug {
    /// What the calculator is; a snapshot records it.
    fn description(&self) -> &CalculatorDescription;
    /// Computes the figures of one deal, or says why it has none.
    fn compute(&self, deal: &RawDeal) -> Result<Values, String>;
    /// Why no deal can be computed any more. Once this is set, the rows returned since are void and
    /// the snapshot must fail.
    fn fault(&self) -> Option<String> {
        None
    }
    /// Aborts computations that are waiting; later ones fail at once.
    fn stop(&self) {}
}

/// Stops a calculator when dropped, so that it does not outlive the task that wants its figures.
#[derive(Debug)]
pub struct StopOnDrop(pub Arc<dyn Calculator>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What identifies a calculator: two with equal descriptions compute the same figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalculatorDescription {
    /// The model's name, as it stands in manifests.
    pub name: String,
    /// SHA-256 of everything that determines the figures, apart from the deal and deal-type
    /// awareness.
    pub digest: String,
    /// Whether deal types change the figures; when off, every deal is computed the same way.
    pub deal_type_awareness: bool,
    /// The metrics, in the order in which [`Calculator::compute`] returns them.
    pub metrics: Vec<MetricInfo>,
}
