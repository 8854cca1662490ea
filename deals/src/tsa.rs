//! Transition services that a carved-out company buys from its former parent (deal rules §4, the
//! deal-level model, and decisions).

use super::drivers::Drivers;
use super::error::DealError;
use super::exact::Exact;
use super::formula::Formula;
use super::kind::DealType;
use super::model::Model;

/// Transition services (deal rules §4 and decisions).
pub(super) const TSA: Formula = Formula {
    name: "transition services",
    formula: "months × (per_application × shared applications + per_infrastructure × shared infrastructure items, at least floor and at most ceiling); 0 if nothing is shared",
    numbers: &["tsa"],
    deal_types: &[DealType::Carveout],
    rounded_to_cents: 1,
};

/// The transition services of one carveout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tsa {
    /// Monthly cost in cents, after floor and ceiling.
    pub monthly_cents: i64,
    /// Cost over the whole term in cents.
    pub total_cents: i64,
}

/// A monthly amount for each shared application and infrastructure item, between floor and ceiling,
/// over the term. `None` if nothing is shared (decisions, "TSA on divestitures"). Callers use it
/// for carveouts only.
pub(super) fn of_carveout(drivers: &Drivers<'_>, model: &Model) -> Result<Option<Tsa>, DealError> {
    if drivers.shared_applications == 0 && drivers.shared_infrastructure == 0 {
        return Ok(None);
    }
    let table = &model.tsa;
    let monthly_cents = Exact::cents(0, "TSA cost")
        .plus(drivers.shared_applications, table.per_application_cents)
        .plus(
            drivers.shared_infrastructure,
            table.per_infrastructure_cents,
        )
        .round(TSA.rounded_to_cents)?
        .max(table.floor_cents)
        .min(table.ceiling_cents);
    let total_cents = Exact::cents(monthly_cents, "TSA cost").times(table.months, 1);
    Ok(Some(Tsa {
        monthly_cents,
        total_cents: total_cents.round(TSA.rounded_to_cents)?,
    }))
}
