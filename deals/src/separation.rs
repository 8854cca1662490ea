//! What a company that leaves its parent must set up (deal rules §5 "Carveout/divestiture" and
//! decisions).

use super::category::AppCategory;
use super::cost::tier_factor_bp;
use super::error::DealError;
use super::exact::{Exact, ONE_BP, sum};
use super::formula::Formula;
use super::inventory::{Application, Entity, Inventory};
use super::kind::DealType;
use super::model::{CostCategory, Model, SeparationCategory};

/// What a separated company must set up (deal rules §5 and decisions).
pub(super) const SEPARATION: Formula = Formula {
    name: "separation, of each category that the target lacks or shares with its parent",
    formula: "carveout: setup + tsa_months × monthly, which is absent_monthly for a category that it lacks, otherwise shared_yearly × the yearly cost of the shared applications ÷ 12, or unknown_cost_monthly if that is unknown; divestiture: setup × divestiture multiplier ÷ carveout multiplier of `application`; with the option separation_user_scaling, setup also × the factor of the tier that the users reach",
    numbers: &["separation", "multipliers", "options"],
    deal_types: &[DealType::Carveout, DealType::Divestiture],
    rounded_to_cents: 1,
};

/// One category that the separated company lacks or shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeparationItem<'a> {
    /// The category.
    pub category: AppCategory,
    /// `critical` or `high`.
    pub criticality: &'a str,
    /// Setup, low estimate, cents.
    pub setup_low_cents: i64,
    /// Setup, high estimate, cents.
    pub setup_high_cents: i64,
    /// Transition services in cents a month, rounded for display; 0 for a divestiture.
    pub tsa_monthly_cents: i64,
    /// Months of transition services; 0 for a divestiture.
    pub tsa_months: i64,
    /// Setup and transition services, low estimate, cents.
    pub total_low_cents: i64,
    /// Setup and transition services, high estimate, cents.
    pub total_high_cents: i64,
    /// Shortest and longest duration in months.
    pub months: (i64, i64),
}

/// The needed categories, highest total first, ties in the model's order. An acquisition needs
/// none. A divestiture has no transition services; its setup (extraction) is multiplied by
/// divestiture ÷ carveout of the `application` multiplier (decisions, "Divestiture extraction").
pub(super) fn of_separation<'a>(
    inventory: &Inventory<'_>,
    deal_type: DealType,
    users: i64,
    model: &'a Model,
) -> Result<Vec<SeparationItem<'a>>, DealError> {
    if !SEPARATION.applies_to(deal_type) {
        return Ok(Vec::new());
    }
    let mut needed = Vec::new();
    for row in &model.separation.categories {
        let present = inventory
            .applications
            .iter()
            .filter(|item| item.entity == Entity::Target && item.category == row.category);
        if let Some(monthly) = monthly(present, model)? {
            needed.push(item(row, monthly, deal_type, users, model)?);
        }
    }
    needed.sort_by_key(|item| std::cmp::Reverse(item.total_high_cents));
    Ok(needed)
}

/// The monthly cost of transition services.
#[derive(Clone, Copy)]
enum Monthly {
    Cents(i64),
    /// A share of the applications' yearly cost, in basis points.
    ShareOfYear {
        yearly_cents: i64,
        share_bp: i64,
    },
}

impl Monthly {
    /// Adds the exact cost of a number of months.
    fn add_to(self, sum: Exact, months: i64) -> Exact {
        match self {
            Self::Cents(cents) => sum.plus(months, cents),
            Self::ShareOfYear {
                yearly_cents,
                share_bp,
            } => sum.plus_ratio(months, yearly_cents, share_bp, 12 * ONE_BP),
        }
    }
}

/// The monthly transition services for a category; `None` if the target does not depend on its
/// parent for it. A category is shared when the notes of one of its applications mention "shared"
/// or "parent"; the cost is then that of the applications with such notes.
fn monthly<'i>(
    mut present: impl Iterator<Item = &'i Application<'i>> + Clone,
    model: &Model,
) -> Result<Option<Monthly>, DealError> {
    let table = &model.separation;
    let mut shared = present.clone().filter(|item| item.notes_name_parent);
    if shared.clone().next().is_none() {
        let absent = present.next().is_none();
        return Ok(absent.then_some(Monthly::Cents(table.absent_monthly_cents)));
    }
    let known = shared.clone().filter_map(|item| item.annual_cost_cents);
    if shared.all(|item| item.annual_cost_cents.is_none()) {
        return Ok(Some(Monthly::Cents(table.unknown_cost_monthly_cents)));
    }
    Ok(Some(Monthly::ShareOfYear {
        yearly_cents: sum(known, "shared application cost")?,
        share_bp: table.shared_yearly_bp,
    }))
}

/// The item for one category. Setup and services are one exact sum, rounded once.
fn item<'a>(
    row: &'a SeparationCategory,
    monthly: Monthly,
    deal_type: DealType,
    users: i64,
    model: &Model,
) -> Result<SeparationItem<'a>, DealError> {
    const WHAT: &str = "separation cost";
    let (monthly, tsa_months) = match deal_type {
        DealType::Carveout => (monthly, row.tsa_months),
        DealType::Acquisition | DealType::Divestiture => (Monthly::Cents(0), 0),
    };
    let (over, under) = match deal_type {
        DealType::Divestiture => (
            model.multiplier_bp(DealType::Divestiture, CostCategory::Application),
            model.multiplier_bp(DealType::Carveout, CostCategory::Application),
        ),
        DealType::Acquisition | DealType::Carveout => (1, 1),
    };
    let users_bp = if model.options.separation_user_scaling {
        tier_factor_bp(&model.separation.user_scaling, users)
    } else {
        ONE_BP
    };
    let setup = |cents: i64| {
        let whole = Exact::cents(cents, WHAT);
        whole.times(over, under).times_bp(users_bp)
    };
    let (low, high) = (setup(row.setup_low_cents), setup(row.setup_high_cents));
    Ok(SeparationItem {
        category: row.category,
        criticality: &row.criticality,
        setup_low_cents: low.round(1)?,
        setup_high_cents: high.round(1)?,
        tsa_monthly_cents: monthly.add_to(Exact::cents(0, WHAT), 1).round(1)?,
        tsa_months,
        total_low_cents: monthly
            .add_to(low, tsa_months)
            .round(SEPARATION.rounded_to_cents)?,
        total_high_cents: monthly
            .add_to(high, tsa_months)
            .round(SEPARATION.rounded_to_cents)?,
        months: (row.months_low, row.months_high),
    })
}
