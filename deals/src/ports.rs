//! Implements the fleet's ports for deals.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_workers::audit::{Audit, Auditor};
use rollbook_workers::calculators::Calculators;
use rollbook_workers::compare::declaration::Declaration;
use rollbook_workers::snapshot::{Calculator, SnapshotError, SnapshotSource};

use super::audit;
use super::calculator::DealCalculator;
use super::declaration::DealDeclaration;

/// The deals: their calculators, their declaration for comparisons, and their audit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deals;

impl Calculators for Deals {
    fn built_in(
        &self,
        model: Option<&[u8]>,
        types_in_force: bool,
    ) -> Result<Arc<dyn Calculator>, String> {
        DealCalculator::of_file(model, types_in_force).map_err(|error| error.to_string())
    }

    fn declaration(&self) -> Arc<dyn Declaration> {
        Arc::new(DealDeclaration)
    }
}

#[async_trait]
impl Auditor for Deals {
    async fn audit(
        &self,
        source: &SnapshotSource,
        taken_at: Timestamp,
    ) -> Result<Audit, SnapshotError> {
        audit::take(source, taken_at).await?.into_audit()
    }
}
