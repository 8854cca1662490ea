//! The cost model as this service uses it: which type a deal is computed as, and the figures.

use std::path::Path;

use rollbook_deals::model::Multipliers;
use rollbook_deals::{self as deals, DealType, METRICS, Model};

use crate::error::Error;
use crate::store::{NewDeal, StoredDeal};

/// Largest model file.
const MAX_MODEL_BYTES: u64 = 1 << 20;

/// One hundred percent.
const WHOLE_PERCENT: i64 = 100;

/// A loaded model. Pure from here on: the same deal and flag give the same figures.
pub(crate) struct Engine {
    model: Model,
}

/// The figures of one deal.
#[derive(Debug)]
pub(crate) struct Computed {
    /// The type that the rules were applied for.
    pub(crate) computed_as: DealType,
    /// Every metric of the model by name: integer cents, or counts.
    pub(crate) metrics: serde_json::Value,
}

impl Engine {
    /// Reads the model of `file`, or takes the built-in one.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Error> {
        let Some(file) = file else {
            return Ok(Self {
                model: Model::built_in(),
            });
        };
        let unusable = |reason: String| Error::Model {
            path: file.display().to_string(),
            reason,
        };
        let size_bytes = std::fs::metadata(file)
            .map_err(|error| unusable(error.to_string()))?
            .len();
        if size_bytes > MAX_MODEL_BYTES {
            return Err(unusable(format!(
                "it has {size_bytes} bytes, at most {MAX_MODEL_BYTES} are read"
            )));
        }
        let json = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
        let model = Model::from_json(&json).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { model })
    }

    /// The figures of a stored deal. With the flag off every deal is an acquisition, as in the old
    /// system; with it on the stored type counts, and one that means nothing is an error.
    pub(crate) fn compute(
        &self,
        deal_id: &str,
        deal: &StoredDeal,
        flag_on: bool,
    ) -> Result<Computed, Error> {
        let failed = |error: deals::DealError| Error::Compute {
            deal_id: deal_id.to_owned(),
            reason: error.to_string(),
        };
        let computed_as = if flag_on {
            DealType::resolve(deal.deal_type.as_deref())
        } else {
            Ok(DealType::Acquisition)
        }
        .map_err(failed)?;
        let inventory =
            deals::parse(deal.inventory.as_deref().unwrap_or("[]").as_bytes()).map_err(failed)?;
        let outputs =
            deals::compute(&inventory, computed_as, flag_on, &self.model).map_err(failed)?;
        let metrics = METRICS
            .iter()
            .zip(outputs.values)
            .map(|(metric, value)| (metric.name.to_owned(), value.into()));
        Ok(Computed {
            computed_as,
            metrics: serde_json::Value::Object(metrics.collect()),
        })
    }

    /// Refuses a new deal whose inventory could not be computed later.
    pub(crate) fn check_inventory(&self, deal: &NewDeal) -> Result<(), Error> {
        match deals::parse(deal.inventory.as_bytes()) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Invalid(format!("inventory: {error}"))),
        }
    }
}

/// The built-in model as JSON, with the acquisition multipliers scaled to `percent`: the way to make
/// a fault that shows only in the new code path, since the old one applies no multipliers.
pub(crate) fn model_json(percent: i64) -> Result<String, Error> {
    let mut model = Model::built_in();
    let Multipliers {
        identity,
        application,
        infrastructure,
        network,
        cybersecurity,
        organization,
    } = &mut model.multipliers.acquisition;
    for multiplier_bp in [
        identity,
        application,
        infrastructure,
        network,
        cybersecurity,
        organization,
    ] {
        *multiplier_bp = *multiplier_bp * percent / WHOLE_PERCENT;
    }
    serde_json::to_string_pretty(&model)
        .map_err(|error| Error::Start(format!("model as JSON: {error}")))
}
