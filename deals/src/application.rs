//! One-time cost of moving each application (deal rules §3 "Per-application").

use super::category::AppCategory;
use super::error::DealError;
use super::exact::{Exact, ONE_MICRO};
use super::formula::Formula;
use super::inventory::{Application, Complexity, Deployment, Entity, Inventory};
use super::kind::DealType;
use super::model::{CostCategory, Model, PerApplication};

/// The one-time cost of an application (deal rules §3 "Per-application").
pub(super) const MOVE: Formula = Formula {
    name: "one-time cost of a target application",
    formula: "base × complexity × category × deployment × deal multiplier of `application` + per_api × api_integrations + sso, if sso_required + per_100_gb × data_volume_gb ÷ 100 + per_custom_interface × custom_interfaces",
    numbers: &["per_application", "multipliers"],
    deal_types: &DealType::ALL,
    rounded_to_cents: 1,
};

/// Categories of the business core: critical unless stated otherwise.
pub(super) const CORE: [AppCategory; 5] = [
    AppCategory::Erp,
    AppCategory::Finance,
    AppCategory::CoreBusiness,
    AppCategory::SupplyChain,
    AppCategory::Manufacturing,
];

/// Categories of office tools: simple if small and in the cloud.
pub(super) const OFFICE: [AppCategory; 5] = [
    AppCategory::Collaboration,
    AppCategory::Communication,
    AppCategory::Productivity,
    AppCategory::FileSharing,
    AppCategory::Email,
];

/// The cost of moving one application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationCost<'a> {
    /// The application's item id.
    pub item_id: &'a str,
    /// One-time cost, cents.
    pub one_time_cents: i64,
}

/// The costs of the target's applications, ordered by item id. The rule specifies no rounding, so
/// each figure is exact to the cent (half up).
pub(super) fn costs<'a>(
    inventory: &'a Inventory<'_>,
    model: &Model,
    multiplier: impl Fn(CostCategory) -> i64,
) -> Result<Vec<ApplicationCost<'a>>, DealError> {
    let multiplier_bp = multiplier(CostCategory::Application);
    let mut costs = Vec::with_capacity(inventory.applications.len());
    for item in &inventory.applications {
        if item.entity == Entity::Target {
            costs.push(ApplicationCost {
                item_id: &item.item_id,
                one_time_cents: one_time_cents(item, &model.per_application, multiplier_bp)?,
            });
        }
    }
    Ok(costs)
}

/// base × complexity × category × deployment × deal multiplier, plus amounts without multiplier for
/// interfaces, single sign-on and data (pro rata to the volume).
fn one_time_cents(
    item: &Application<'_>,
    table: &PerApplication,
    multiplier_bp: i64,
) -> Result<i64, DealError> {
    const FULL_VOLUME_GB: i64 = 100;
    // A checked model has every category; an unknown one counts as `other`.
    let other = || table.category_bp.get(&AppCategory::Other);
    let category_bp = table.category_bp.get(&item.category).or_else(other);
    Exact::cents(table.base_cents, "application cost")
        .times_bp(complexity_bp(item, table))
        .times_bp(category_bp.copied().unwrap_or(super::exact::ONE_BP))
        .times_bp(deployment_bp(item, table))
        .times_bp(multiplier_bp)
        .plus(item.api_integrations, table.per_api_cents)
        .plus(i64::from(item.sso_required), table.sso_cents)
        .plus_ratio(
            item.data_volume_micro_gb,
            table.per_100_gb_cents,
            1,
            FULL_VOLUME_GB * ONE_MICRO,
        )
        .plus(item.custom_interfaces, table.per_custom_interface_cents)
        .round(MOVE.rounded_to_cents)
}

/// The stated complexity or, if it is none of the four words, the rule's inference: business core
/// is checked before size, and size before office tools.
fn complexity_bp(item: &Application<'_>, table: &PerApplication) -> i64 {
    let levels = &table.complexity;
    match item.complexity {
        Some(Complexity::Simple) => return levels.simple_bp,
        Some(Complexity::Medium) => return levels.medium_bp,
        Some(Complexity::Complex) => return levels.complex_bp,
        Some(Complexity::Critical) => return levels.critical_bp,
        None => {}
    }
    let core = CORE.contains(&item.category);
    let office = OFFICE.contains(&item.category);
    if core {
        levels.critical_bp
    } else if item.users > table.complex_users_above
        || item.api_integrations > table.complex_apis_above
    {
        levels.complex_bp
    } else if office
        && item.users < table.simple_users_below
        && item.deployment == Some(Deployment::Saas)
    {
        levels.simple_bp
    } else {
        levels.medium_bp
    }
}

fn deployment_bp(item: &Application<'_>, table: &PerApplication) -> i64 {
    let levels = &table.deployment;
    match item.deployment {
        Some(Deployment::Saas) => levels.saas_bp,
        Some(Deployment::CloudIaas) => levels.cloud_iaas_bp,
        Some(Deployment::Hybrid) => levels.hybrid_bp,
        Some(Deployment::OnPrem) => levels.on_prem_bp,
        Some(Deployment::Custom) => levels.custom_bp,
        None => levels.unknown_bp,
    }
}
