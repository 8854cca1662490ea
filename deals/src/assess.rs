//! Applies all rules to one deal.

use super::application::{self, ApplicationCost};
use super::cost::{self, CostLine};
use super::drivers::Drivers;
use super::error::DealError;
use super::exact::{ONE_BP, count, sum};
use super::inventory::Inventory;
use super::kind::DealType;
use super::model::{Model, WorkPhase};
use super::outputs::Outputs;
use super::separation::{self, SeparationItem};
use super::synergy::{self, Synergy};
use super::tsa::{self, Tsa};

/// The result of all rules for one deal; [`Outputs`] are its totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment<'a> {
    /// The type the rules were applied for; acquisition whenever awareness is off.
    pub deal_type: DealType,
    /// The inputs of the cost rules.
    pub drivers: Drivers<'a>,
    /// Applicable cost items.
    pub cost_lines: Vec<CostLine>,
    /// Cost of each target application.
    pub applications: Vec<ApplicationCost<'a>>,
    /// Transition services; carveouts only.
    pub tsa: Option<Tsa>,
    /// Synergies; acquisitions only.
    pub synergies: Vec<Synergy>,
    /// Separation; carveouts and divestitures only.
    pub separation: Vec<SeparationItem<'a>>,
    /// The totals.
    pub outputs: Outputs,
}

/// Applies every rule to one deal.
///
/// With `awareness` off every deal is an acquisition with multiplier 1.0, regardless of the model's
/// multipliers, as in the old system (deal rules, decisions, "Flag off").
///
/// # Errors
/// [`DealError::Overflow`] when a figure leaves the range of 64-bit cents.
pub fn assess<'a>(
    inventory: &'a Inventory<'_>,
    deal_type: DealType,
    awareness: bool,
    model: &'a Model,
) -> Result<Assessment<'a>, DealError> {
    let deal_type = if awareness {
        deal_type
    } else {
        DealType::Acquisition
    };
    let multiplier = |category| {
        if awareness {
            model.multiplier_bp(deal_type, category)
        } else {
            ONE_BP
        }
    };
    let drivers = Drivers::of(inventory)?;
    let cost_lines = cost::lines(&drivers, model, multiplier)?;
    let applications = application::costs(inventory, model, multiplier)?;
    let tsa = match tsa::TSA.applies_to(deal_type) {
        true => tsa::of_carveout(&drivers, model)?,
        false => None,
    };
    let synergies = match synergy::SAVINGS.applies_to(deal_type) {
        true => synergy::of_acquisition(inventory, model)?,
        false => Vec::new(),
    };
    let separation = separation::of_separation(inventory, deal_type, drivers.users, model)?;
    let mut assessment = Assessment {
        deal_type,
        drivers,
        cost_lines,
        applications,
        tsa,
        synergies,
        separation,
        outputs: Outputs::ZERO,
    };
    assessment.outputs = totals(&assessment, inventory)?;
    Ok(assessment)
}

/// The totals of [`assess`].
///
/// # Errors
/// As [`assess`].
pub fn compute(
    inventory: &Inventory<'_>,
    deal_type: DealType,
    awareness: bool,
    model: &Model,
) -> Result<Outputs, DealError> {
    assess(inventory, deal_type, awareness, model).map(|assessment| assessment.outputs)
}

/// Sums of rounded items, in the order of [`super::METRICS`] (deal rules, "Outputs of the model").
fn totals(deal: &Assessment<'_>, inventory: &Inventory<'_>) -> Result<Outputs, DealError> {
    let lines = |figure: fn(&CostLine) -> i64| sum(deal.cost_lines.iter().map(figure), "cost");
    let phase = |phase| {
        let due = deal.cost_lines.iter().filter(|line| line.phase == phase);
        sum(due.map(|line| line.base_cents), "cost by phase")
    };
    let synergies = |figure: fn(&Synergy) -> i64| sum(deal.synergies.iter().map(figure), "synergy");
    let separation = |figure: fn(&SeparationItem<'_>) -> i64| {
        sum(deal.separation.iter().map(figure), "separation cost")
    };
    let one_time_base = lines(|line| line.base_cents)?;
    let licences = lines(|line| line.licences_cents)?;
    let applications = sum(
        deal.applications.iter().map(|item| item.one_time_cents),
        "application cost",
    )?;
    let tsa = deal.tsa.map_or(0, |tsa| tsa.total_cents);
    // "Negotiate TSA" is a work item only if something has to be paid.
    let negotiate_tsa = usize::from(tsa > 0);
    let work_items =
        deal.cost_lines.len() + deal.synergies.len() + deal.separation.len() + negotiate_tsa;
    Ok(Outputs {
        values: [
            lines(|line| line.upside_cents)?,
            one_time_base,
            lines(|line| line.stress_cents)?,
            licences,
            applications,
            tsa,
            phase(WorkPhase::Day1)?,
            phase(WorkPhase::Day100)?,
            phase(WorkPhase::Post100)?,
            sum([one_time_base, applications, licences, tsa], "total cost")?,
            count(deal.synergies.len()),
            synergies(|it| it.savings_low_cents)?,
            synergies(|it| it.savings_high_cents)?,
            synergies(|it| it.cost_low_cents)?,
            synergies(|it| it.cost_high_cents)?,
            count(deal.separation.len()),
            separation(|it| it.total_low_cents)?,
            separation(|it| it.total_high_cents)?,
            count(work_items),
            count(inventory.applications.len()),
            count(inventory.infrastructure.len()),
            count(inventory.organization.len()),
            count(inventory.vendors.len()),
        ],
    })
}
