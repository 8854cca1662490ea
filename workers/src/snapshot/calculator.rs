//! What turns a deal into figures.

use std::sync::Arc;

use bytes::Bytes;
use rollbook_ledger::runbook::calculator::{MetricDeclaration, MetricUnit};
use serde::{Deserialize, Serialize};

use super::values::Values;
use crate::deal::{self, DealError, DealType, METRICS, Model, ModelError, Unit};

/// One figure or text every deal of a snapshot has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// The name rules refer to: `cost_total`.
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
    /// What the model is called in manifests.
    fn name(&self) -> &str;
    /// SHA-256 of everything that determines the figures besides the deal.
    fn digest(&self) -> &str;
    /// Whether deal types change the figures; off, every deal is an acquisition.
    fn deal_type_awareness(&self) -> bool;
    /// The figures, in the order [`Calculator::compute`] gives them.
    fn metrics(&self) -> &[MetricInfo];
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
    /// [`Calculator::name`].
    pub name: String,
    /// [`Calculator::digest`].
    pub digest: String,
    /// [`Calculator::deal_type_awareness`].
    pub deal_type_awareness: bool,
    /// [`Calculator::metrics`].
    pub metrics: Vec<MetricInfo>,
}

impl CalculatorDescription {
    /// Describes a calculator.
    pub fn of(calculator: &dyn Calculator) -> Self {
        Self {
            name: calculator.name().to_owned(),
            digest: calculator.digest().to_owned(),
            deal_type_awareness: calculator.deal_type_awareness(),
            metrics: calculator.metrics().to_vec(),
        }
    }
}

/// The built-in deal model.
#[derive(Debug)]
pub struct DealCalculator {
    model: Model,
    digest: String,
    awareness: bool,
    metrics: Vec<MetricInfo>,
}

impl DealCalculator {
    /// The model with deal types in force or not. Without, every deal is an acquisition,
    /// whatever its type says.
    pub fn new(model: Model, awareness: bool) -> Result<Self, ModelError> {
        let metrics = METRICS.iter().map(|metric| MetricInfo {
            name: metric.name.to_owned(),
            unit: match metric.unit {
                Unit::Cents => "cents".to_owned(),
                Unit::Count => "count".to_owned(),
            },
        });
        Ok(Self {
            digest: model.digest()?,
            metrics: metrics.collect(),
            model,
            awareness,
        })
    }

    fn outputs(&self, deal: &RawDeal) -> Result<Vec<i64>, DealError> {
        let deal_type = if self.awareness {
            DealType::resolve(deal.deal_type.as_deref())?
        } else {
            DealType::Acquisition
        };
        let inventory = deal::parse(&deal.inventory)?;
        let outputs = deal::compute(&inventory, deal_type, self.awareness, &self.model)?;
        Ok(outputs.values.to_vec())
    }
}

impl Calculator for DealCalculator {
    fn name(&self) -> &str {
        "deal"
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn deal_type_awareness(&self) -> bool {
        self.awareness
    }

    fn metrics(&self) -> &[MetricInfo] {
        &self.metrics
    }

    fn compute(&self, deal: &RawDeal) -> Result<Values, String> {
        self.outputs(deal)
            .map(Values::from)
            .map_err(|error| error.to_string())
    }
}
