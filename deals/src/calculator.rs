//! The deal model as a calculator for snapshots.

use std::sync::Arc;

use rollbook_workers::snapshot::calculator::{
    Calculator, CalculatorDescription, MetricInfo, RawDeal,
};
use rollbook_workers::snapshot::values::Values;

use super::error::DealError;
use super::kind::DealType;
use super::model::{Model, ModelError};
use super::outputs::{METRICS, Unit};

/// The model's name in manifests.
pub(super) const NAME: &str = "deal";

/// A calculator that applies the deal model.
#[derive(Debug)]
pub struct DealCalculator {
    model: Model,
    description: CalculatorDescription,
}

impl DealCalculator {
    /// Makes a calculator with or without deal-type awareness. Without it every deal is an
    /// acquisition, whatever its type.
    pub fn new(model: Model, awareness: bool) -> Result<Self, ModelError> {
        let metrics = METRICS.iter().map(|metric| MetricInfo {
            name: metric.name.to_owned(),
            unit: match metric.unit {
                Unit::Cents => "cents".to_owned(),
                Unit::Count => "count".to_owned(),
            },
        });
        Ok(Self {
            description: CalculatorDescription {
                name: NAME.to_owned(),
                digest: model.digest()?,
                deal_type_awareness: awareness,
                metrics: metrics.collect(),
            },
            model,
        })
    }

    /// The calculator of the model in a file, or of the built-in one.
    pub(super) fn of_file(
        file: Option<&[u8]>,
        awareness: bool,
    ) -> Result<Arc<dyn Calculator>, ModelError> {
        let model = file.map_or_else(|| Ok(Model::built_in()), Model::from_json)?;
        Ok(Arc::new(Self::new(model, awareness)?))
    }

    fn outputs(&self, deal: &RawDeal) -> Result<Vec<i64>, DealError> {
        let awareness = self.description.deal_type_awareness;
        let deal_type = if awareness {
            DealType::resolve(deal.deal_type.as_deref())?
        } else {
            DealType::Acquisition
        };
        let inventory = super::parse(&deal.inventory)?;
        let outputs = super::compute(&inventory, deal_type, awareness, &self.model)?;
        Ok(outputs.values.to_vec())
    }
}

impl Calculator for DealCalculator {
    fn description(&self) -> &CalculatorDescription {
        &self.description
    }

    fn compute(&self, deal: &RawDeal) -> Result<Values, String> {
        self.outputs(deal)
            .map(Values::from)
            .map_err(|error| error.to_string())
    }
}
