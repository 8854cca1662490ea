//! The calculators and declaration that tests shared with the workers use.

use std::sync::Arc;

use rollbook_deals::{DealCalculator, Deals, Model};
use rollbook_workers::audit::Auditor;
use rollbook_workers::calculators::Calculators;
use rollbook_workers::compare::declaration::Declaration;
use rollbook_workers::snapshot::Calculator;

pub(crate) fn calculator(awareness: bool) -> Arc<dyn Calculator> {
    Arc::new(DealCalculator::new(Model::built_in(), awareness).unwrap())
}

pub(crate) fn declared() -> Arc<dyn Declaration> {
    Deals.declaration()
}

pub(crate) fn calculators() -> Arc<dyn Calculators> {
    Arc::new(Deals)
}

pub(crate) fn auditor() -> Arc<dyn Auditor> {
    Arc::new(Deals)
}
