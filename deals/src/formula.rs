//! A rule in words, beside the code that computes it.

use serde::Serialize;

use super::kind::DealType;

/// A formula of the model. The code takes deal types and rounding from here, so that what is
/// printed is what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Formula {
    /// What it computes.
    pub name: &'static str,
    /// The formula, with the names of the model's fields and of the drivers.
    pub formula: &'static str,
    /// The sections of a model file that its numbers are in.
    pub numbers: &'static [&'static str],
    /// The deal types it is computed for; for all others the figure is 0.
    pub deal_types: &'static [DealType],
    /// Halves are rounded up to the next multiple of this, in cents; 1 is exact to the cent.
    pub rounded_to_cents: i64,
}

impl Formula {
    /// Whether it is computed for deals of this type.
    #[must_use]
    pub fn applies_to(&self, deal_type: DealType) -> bool {
        self.deal_types.contains(&deal_type)
    }
}
