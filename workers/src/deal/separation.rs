//! What a company that leaves its parent has to set up (deal rules §5 "Carveout/divestiture" and
//! decisions).

use super::category::AppCategory;
use super::cost::tier_factor_bp;
use super::error::DealError;
use super::exact::{Exact, ONE_BP, sum};
use super::inventory::{Application, Entity, Inventory};
use super::kind::DealType;
use super::model::{CostCategory, Model, SeparationCategory};

/// One category that the separated company lacks or shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeparationItem<'a> {
    /// The category.
    pub category: AppCategory,
    /// `critical` or `high`.
    pub criticality: &'a str,
    /// Setup, low, cents.
    pub setup_low_cents: i64,
    /// Setup, high, cents.
    pub setup_high_cents: i64,
    /// Transition services, cents a month; 0 for a divestiture.
    pub tsa_monthly_cents: i64,
    /// Months of transition services; 0 for a divestiture.
    pub tsa_months: i64,
    /// Setup and transition services, low, cents.
    pub total_low_cents: i64,
    /// Setup and transition services, high, cents.
    pub total_high_cents: i64,
    /// Shortest and longest duration in months.
    pub months: (i64, i64),
}

/// The needed categories, the highest total first, equal ones in the model's order. An acquisition
/// needs none. A divestiture has no transition services; its setup (extraction) costs divestiture ÷
/// carveout of the `application` multiplier more (decisions, "Divestiture extraction").
pub(super) fn of_separation<'a>(
    inventory: &Inventory<'_>,
    deal_type: DealType,
    users: i64,
    model: &'a Model,
) -> Result<Vec<SeparationItem<'a>>, DealError> {
    if deal_type == DealType::Acquisition {
        return Ok(Vec::new());
    }
    let mut needed = Vec::new();
    for row in &model.separation.categories {
        let present = inventory
            .applications
            .iter()
            .filter(|item| item.entity == Entity::Target && item.category == row.category);
        if let Some(monthly_cents) = monthly_cents(present, model)? {
            needed.push(item(row, monthly_cents, deal_type, users, model)?);
        }
    }
    needed.sort_by_key(|item| std::cmp::Reverse(item.total_high_cents));
    Ok(needed)
}

/// Transition services a month for a category, or nothing when the target stands alone in it. A
/// category is shared when the notes of one of its applications mention "shared" or "parent"; the
/// cost is then that of the applications so noted.
fn monthly_cents<'i>(
    mut present: impl Iterator<Item = &'i Application<'i>> + Clone,
    model: &Model,
) -> Result<Option<i64>, DealError> {
    let table = &model.separation;
    let mut shared = present.clone().filter(|item| item.notes_name_parent);
    if shared.clone().next().is_none() {
        let absent = present.next().is_none();
        return Ok(absent.then_some(table.absent_monthly_cents));
    }
    let known = shared.clone().filter_map(|item| item.annual_cost_cents);
    if shared.all(|item| item.annual_cost_cents.is_none()) {
        return Ok(Some(table.unknown_cost_monthly_cents));
    }
    let yearly = sum(known, "shared application cost")?;
    let monthly = Exact::cents(yearly, "separation TSA")
        .times_bp(table.shared_yearly_bp)
        .times(1, 12)
        .round(1)?;
    Ok(Some(monthly))
}

fn item<'a>(
    row: &'a SeparationCategory,
    monthly_cents: i64,
    deal_type: DealType,
    users: i64,
    model: &Model,
) -> Result<SeparationItem<'a>, DealError> {
    const WHAT: &str = "separation cost";
    let (monthly_cents, tsa_months) = match deal_type {
        DealType::Carveout => (monthly_cents, row.tsa_months),
        DealType::Acquisition | DealType::Divestiture => (0, 0),
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
        whole.times(over, under).times_bp(users_bp).round(1)
    };
    let services = Exact::cents(0, WHAT)
        .plus(monthly_cents, tsa_months)
        .round(1)?;
    let (setup_low_cents, setup_high_cents) =
        (setup(row.setup_low_cents)?, setup(row.setup_high_cents)?);
    Ok(SeparationItem {
        category: row.category,
        criticality: &row.criticality,
        setup_low_cents,
        setup_high_cents,
        tsa_monthly_cents: monthly_cents,
        tsa_months,
        total_low_cents: sum([setup_low_cents, services], WHAT)?,
        total_high_cents: sum([setup_high_cents, services], WHAT)?,
        months: (row.months_low, row.months_high),
    })
}
