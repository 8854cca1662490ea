//! What turns a deal into figures.

use std::sync::Arc;

use bytes::Bytes;
use rollbook_ledger::runbook::calculator::{MetricDeclaration, MetricUnit};
use serde::{Deserialize, Serialize};

use super::values::Values;

/// One figure or text every deal of a snapshot has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// The name rules refer to.
    pub name: String,
    /// `cents`, `count` or `text`.
    pub unit: String,
}

impl MetricInfo {
    /// Whether its values are texts and not numbers.
    pub fn is_text(&self) -> bool {
        self.unit == MetricUnit::Text.as_str()
    }

    /// A declared figure.
    pub fn of(declared: &MetricDeclaration) -> Self {
        Self {
            name: declared.name.clone(),
            unit: declared.unit.as_str().to_owned(),
        }
    }
}

/// A deal as it was read, before any interpretation.
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
/// The same deal must give the same figures on every machine and thread; that is what makes
/// snapshots comparable. A deal that cannot be computed is an error of that deal only.
pub trait Calculator: Send + Sync + std::fmt::Debug {
    /// What it is: a snapshot tells of its calculator by it.
    fn description(&self) -> &CalculatorDescription;
    /// The figures of one deal, or why there are none.
    fn compute(&self, deal: &RawDeal) -> Result<Values, String>;
    /// Why nothing can be computed any more, whatever the deal. The rows given since are void
    /// and the snapshot must fail.
    fn fault(&self) -> Option<String> {
        None
    }
    /// Ends computations that wait for something; those that follow fail at once.
    fn stop(&self) {}
}

/// Stops a calculator when the one who wants its figures is gone.
#[derive(Debug)]
pub struct StopOnDrop(pub Arc<dyn Calculator>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What a calculator is, without the calculator: it tells whether two make the same figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalculatorDescription {
    /// What the model is called in manifests.
    pub name: String,
    /// SHA-256 of everything that determines the figures besides the deal and whether types count.
    pub digest: String,
    /// Whether deal types change the figures; off, every deal is computed the same way.
    pub deal_type_awareness: bool,
    /// The figures, in the order [`Calculator::compute`] gives them.
    pub metrics: Vec<MetricInfo>,
}
