//! What the fleet reaches the deals through.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::audit;
use super::calculator::DealCalculator;
use super::comparison::DealDeclaration;
use crate::audit::{Audit, Auditor};
use crate::calculators::Calculators;
use crate::compare::declaration::Declaration;
use crate::snapshot::{Calculator, SnapshotError, SnapshotSource};

/// The deals: their model, what comparisons are told of them, and their audit.
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
