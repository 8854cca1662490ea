//! One-time cost of moving each application (deal rules §3 "Per-application").

use super::category::AppCategory;
use super::drivers::is_one_of;
use super::error::DealError;
use super::exact::{Exact, ONE_MICRO};
use super::inventory::{Application, Entity, Inventory, is};
use super::model::{CostCategory, Model, PerApplication};

/// What moving one application costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationCost {
    /// The application's item id.
    pub item_id: String,
    /// One-time cost, cents.
    pub one_time_cents: i64,
}

/// The target's applications, in the order of item ids. The rule names no rounding, so each figure
/// is exact to the cent (half up).
pub(super) fn costs(
    inventory: &Inventory<'_>,
    model: &Model,
    multiplier: impl Fn(CostCategory) -> i64,
) -> Result<Vec<ApplicationCost>, DealError> {
    let multiplier_bp = multiplier(CostCategory::Application);
    let target = inventory.applications.iter();
    target
        .filter(|item| item.entity == Entity::Target)
        .map(|item| {
            Ok(ApplicationCost {
                item_id: item.item_id.clone().into_owned(),
                one_time_cents: one_time_cents(item, &model.per_application, multiplier_bp)?,
            })
        })
        .collect()
}

/// base × complexity × category × deployment × deal multiplier, plus unmultiplied amounts for
/// interfaces, single sign-on and data (pro rata to the volume).
fn one_time_cents(
    item: &Application<'_>,
    table: &PerApplication,
    multiplier_bp: i64,
) -> Result<i64, DealError> {
    const FULL_VOLUME_GB: i64 = 100;
    // A checked model has every category; `other` is what an unknown one falls to.
    let other = || table.category_bp.get(&AppCategory::Other);
    let category_bp = table.category_bp.get(&item.category).or_else(other);
    Exact::cents(i128::from(table.base_cents), "application cost")
        .times_bp(complexity_bp(item, table))?
        .times_bp(category_bp.copied().unwrap_or(super::exact::ONE_BP))?
        .times_bp(deployment_bp(item, table))?
        .times_bp(multiplier_bp)?
        .plus(item.api_integrations, table.per_api_cents)?
        .plus(i64::from(item.sso_required), table.sso_cents)?
        .plus_ratio(
            item.data_volume_micro_gb,
            table.per_100_gb_cents,
            1,
            FULL_VOLUME_GB * ONE_MICRO,
        )?
        .plus(item.custom_interfaces, table.per_custom_interface_cents)?
        .round(1)
}

/// The stated complexity; where none of the four words is stated, the inference of the rule. The
/// business core comes before size, size before office tools.
fn complexity_bp(item: &Application<'_>, table: &PerApplication) -> i64 {
    let levels = &table.complexity;
    let words = [
        ("simple", levels.simple_bp),
        ("medium", levels.medium_bp),
        ("complex", levels.complex_bp),
        ("critical", levels.critical_bp),
    ];
    if let Some((_, stated)) = words.iter().find(|(word, _)| is(&item.complexity, word)) {
        return *stated;
    }
    let core = matches!(
        item.category,
        AppCategory::Erp
            | AppCategory::Finance
            | AppCategory::CoreBusiness
            | AppCategory::SupplyChain
            | AppCategory::Manufacturing
    );
    let office = matches!(
        item.category,
        AppCategory::Collaboration
            | AppCategory::Communication
            | AppCategory::Productivity
            | AppCategory::FileSharing
            | AppCategory::Email
    );
    if core {
        levels.critical_bp
    } else if item.users > table.complex_users_above
        || item.api_integrations > table.complex_apis_above
    {
        levels.complex_bp
    } else if office && item.users < table.simple_users_below && is(&item.deployment, "saas") {
        levels.simple_bp
    } else {
        levels.medium_bp
    }
}

fn deployment_bp(item: &Application<'_>, table: &PerApplication) -> i64 {
    let levels = &table.deployment;
    let words: [(&[&str], i64); 5] = [
        (&["saas"], levels.saas_bp),
        (
            &["cloud_iaas", "cloud-iaas", "cloud iaas", "iaas"],
            levels.cloud_iaas_bp,
        ),
        (&["hybrid"], levels.hybrid_bp),
        (
            &["on_prem", "on-prem", "on prem", "on-premise", "on-premises"],
            levels.on_prem_bp,
        ),
        (&["custom"], levels.custom_bp),
    ];
    let found = words
        .iter()
        .find(|(names, _)| is_one_of(&item.deployment, names));
    found.map_or(levels.unknown_bp, |(_, factor)| *factor)
}
