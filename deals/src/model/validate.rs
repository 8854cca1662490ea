//! Checks that a parsed model is usable: every number is in range and every table complete.

use super::{CostItem, CutOff, Model, ModelError, Multipliers, Tier};
use crate::category::AppCategory;

/// Ten trillion dollars, in cents, which canonical JSON still writes as an integer.
const MAX_CENTS: i64 = 1_000_000_000_000_000;
/// The factor 100, in basis points.
const MAX_FACTOR_BP: i64 = 1_000_000;
const MAX_COUNT: i64 = 1_000_000_000_000;
const MAX_MONTHS: i64 = 1_200;
const MAX_TIERS: usize = 64;

pub(super) fn check(model: &Model) -> Result<(), ModelError> {
    multipliers(model)?;
    cost_items(model)?;
    for (field, value) in [
        ("scenarios.upside_bp", model.scenarios.upside_bp),
        ("scenarios.base_bp", model.scenarios.base_bp),
        ("scenarios.stress_bp", model.scenarios.stress_bp),
    ] {
        factor(field, value)?;
    }
    let limits = &model.applicability;
    for (field, value) in [
        ("applicability.wan_sites_above", limits.wan_sites_above),
        (
            "applicability.security_users_above",
            limits.security_users_above,
        ),
        ("applicability.dc_servers_above", limits.dc_servers_above),
        (
            "applicability.pmo_items_at_least",
            limits.pmo_items_at_least,
        ),
    ] {
        range(field, value, 0, MAX_COUNT)?;
    }
    per_application(model)?;
    tsa(model)?;
    synergy(model)?;
    separation(model)?;
    tiers("volume_discounts.users", &model.volume_discounts.users)?;
    tiers("volume_discounts.sites", &model.volume_discounts.sites)?;
    tiers(
        "volume_discounts.machines",
        &model.volume_discounts.machines,
    )
}

fn bad(field: &str, reason: impl Into<String>) -> ModelError {
    ModelError::BadValue {
        field: field.to_owned(),
        reason: reason.into(),
    }
}

fn range(field: &str, value: i64, low: i64, high: i64) -> Result<(), ModelError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(bad(field, format!("{value} is not within {low} to {high}")))
    }
}

fn cents(field: &str, value: i64) -> Result<(), ModelError> {
    range(field, value, 0, MAX_CENTS)
}

fn factor(field: &str, value: i64) -> Result<(), ModelError> {
    range(field, value, 1, MAX_FACTOR_BP)
}

fn multipliers(model: &Model) -> Result<(), ModelError> {
    let table = &model.multipliers;
    for (deal_type, row) in [
        ("acquisition", &table.acquisition),
        ("carveout", &table.carveout),
        ("divestiture", &table.divestiture),
    ] {
        let Multipliers {
            identity,
            application,
            infrastructure,
            network,
            cybersecurity,
            organization,
        } = *row;
        for (category, value) in [
            ("identity", identity),
            ("application", application),
            ("infrastructure", infrastructure),
            ("network", network),
            ("cybersecurity", cybersecurity),
            ("organization", organization),
        ] {
            factor(&format!("multipliers.{deal_type}.{category}"), value)?;
        }
    }
    Ok(())
}

fn cost_items(model: &Model) -> Result<(), ModelError> {
    let items = &model.cost_items;
    for (name, item) in [
        ("identity_separation", &items.identity_separation),
        ("email_migration", &items.email_migration),
        ("wan_separation", &items.wan_separation),
        ("endpoint_edr", &items.endpoint_edr),
        ("security_ops", &items.security_ops),
        ("erp_standalone", &items.erp_standalone),
        ("dc_hosting_exit", &items.dc_hosting_exit),
        ("pmo_transition", &items.pmo_transition),
    ] {
        cost_item(&format!("cost_items.{name}"), item)?;
    }
    Ok(())
}

fn cost_item(path: &str, item: &CostItem) -> Result<(), ModelError> {
    for (field, value) in [
        ("base_cents", item.base_cents),
        ("per_user_cents", item.per_user_cents),
        ("per_site_cents", item.per_site_cents),
        ("per_machine_cents", item.per_machine_cents),
        ("per_application_cents", item.per_application_cents),
        ("licences.flat_cents", item.licences.flat_cents),
        ("licences.per_user_cents", item.licences.per_user_cents),
        ("licences.per_site_cents", item.licences.per_site_cents),
        (
            "licences.per_endpoint_cents",
            item.licences.per_endpoint_cents,
        ),
    ] {
        cents(&format!("{path}.{field}"), value)?;
    }
    for (field, value) in [
        ("low_bp", item.complexity.low_bp),
        ("medium_bp", item.complexity.medium_bp),
        ("high_bp", item.complexity.high_bp),
    ] {
        factor(&format!("{path}.complexity.{field}"), value)?;
    }
    let ordered = |low: i64, high: i64| {
        let path = format!("{path}.cut_off");
        range(&path, low, 0, MAX_COUNT)?;
        // A value above `high` must not also be below `low`.
        range(&path, high, low.saturating_sub(1).max(0), MAX_COUNT)
    };
    match &item.cut_off {
        CutOff::Driver {
            low_below,
            high_above,
            ..
        } => ordered(*low_below, *high_above),
        CutOff::Programme {
            sites_low_below,
            sites_high_above,
            users_low_below,
            users_high_above,
        } => {
            ordered(*sites_low_below, *sites_high_above)?;
            ordered(*users_low_below, *users_high_above)
        }
        CutOff::ErpSystem { low, high } => {
            if low
                .iter()
                .chain(high)
                .any(|word| word.is_empty() || !word.is_ascii())
            {
                let reason = "a word is empty or not ASCII; it could never be compared";
                return Err(bad(&format!("{path}.cut_off"), reason));
            }
            Ok(())
        }
    }
}

fn per_application(model: &Model) -> Result<(), ModelError> {
    let table = &model.per_application;
    for (field, value) in [
        ("base_cents", table.base_cents),
        ("per_api_cents", table.per_api_cents),
        ("sso_cents", table.sso_cents),
        ("per_100_gb_cents", table.per_100_gb_cents),
        (
            "per_custom_interface_cents",
            table.per_custom_interface_cents,
        ),
    ] {
        cents(&format!("per_application.{field}"), value)?;
    }
    for (field, value) in [
        ("complexity.simple_bp", table.complexity.simple_bp),
        ("complexity.medium_bp", table.complexity.medium_bp),
        ("complexity.complex_bp", table.complexity.complex_bp),
        ("complexity.critical_bp", table.complexity.critical_bp),
        ("deployment.saas_bp", table.deployment.saas_bp),
        ("deployment.cloud_iaas_bp", table.deployment.cloud_iaas_bp),
        ("deployment.hybrid_bp", table.deployment.hybrid_bp),
        ("deployment.on_prem_bp", table.deployment.on_prem_bp),
        ("deployment.custom_bp", table.deployment.custom_bp),
        ("deployment.unknown_bp", table.deployment.unknown_bp),
    ] {
        factor(&format!("per_application.{field}"), value)?;
    }
    for category in AppCategory::ALL {
        let path = format!("per_application.category_bp.{}", category.as_str());
        let value = table.category_bp.get(&category);
        factor(
            &path,
            *value.ok_or_else(|| bad(&path, "is missing; give every category a factor"))?,
        )?;
    }
    for (field, value) in [
        ("complex_users_above", table.complex_users_above),
        ("complex_apis_above", table.complex_apis_above),
        ("simple_users_below", table.simple_users_below),
    ] {
        range(&format!("per_application.{field}"), value, 0, MAX_COUNT)?;
    }
    Ok(())
}

fn tsa(model: &Model) -> Result<(), ModelError> {
    cents("tsa.per_application_cents", model.tsa.per_application_cents)?;
    cents(
        "tsa.per_infrastructure_cents",
        model.tsa.per_infrastructure_cents,
    )?;
    cents("tsa.floor_cents", model.tsa.floor_cents)?;
    range(
        "tsa.ceiling_cents",
        model.tsa.ceiling_cents,
        model.tsa.floor_cents,
        MAX_CENTS,
    )?;
    range("tsa.months", model.tsa.months, 1, MAX_MONTHS)
}

fn synergy(model: &Model) -> Result<(), ModelError> {
    let table = &model.synergy;
    cents(
        "synergy.combined_at_least_cents",
        table.combined_at_least_cents,
    )?;
    factor("synergy.larger_low_bp", table.larger_low_bp)?;
    range(
        "synergy.larger_high_bp",
        table.larger_high_bp,
        table.larger_low_bp,
        MAX_FACTOR_BP,
    )?;
    factor("synergy.achieve_low_bp", table.achieve_low_bp)?;
    range(
        "synergy.achieve_high_bp",
        table.achieve_high_bp,
        table.achieve_low_bp,
        MAX_FACTOR_BP,
    )?;
    range("synergy.net_years", table.net_years, 1, 100)
}

fn separation(model: &Model) -> Result<(), ModelError> {
    let table = &model.separation;
    if table.categories.is_empty() {
        return Err(bad(
            "separation.categories",
            "is empty; name at least one category",
        ));
    }
    for (index, row) in table.categories.iter().enumerate() {
        let path = |field: &str| format!("separation.categories[{index}].{field}");
        if table
            .categories
            .iter()
            .take(index)
            .any(|other| other.category == row.category)
        {
            return Err(bad(
                &path("category"),
                "occurs twice; keep one row for each category",
            ));
        }
        if !matches!(row.criticality.as_str(), "critical" | "high") {
            return Err(bad(&path("criticality"), "is neither critical nor high"));
        }
        cents(&path("setup_low_cents"), row.setup_low_cents)?;
        range(
            &path("setup_high_cents"),
            row.setup_high_cents,
            row.setup_low_cents,
            MAX_CENTS,
        )?;
        range(&path("tsa_months"), row.tsa_months, 0, MAX_MONTHS)?;
        range(&path("months_low"), row.months_low, 0, MAX_MONTHS)?;
        range(
            &path("months_high"),
            row.months_high,
            row.months_low,
            MAX_MONTHS,
        )?;
    }
    cents(
        "separation.absent_monthly_cents",
        table.absent_monthly_cents,
    )?;
    cents(
        "separation.unknown_cost_monthly_cents",
        table.unknown_cost_monthly_cents,
    )?;
    factor("separation.shared_yearly_bp", table.shared_yearly_bp)?;
    tiers("separation.user_scaling", &table.user_scaling)
}

fn tiers(field: &str, tiers: &[Tier]) -> Result<(), ModelError> {
    if tiers.len() > MAX_TIERS {
        return Err(bad(field, format!("has over {MAX_TIERS} tiers")));
    }
    for tier in tiers {
        range(field, tier.at_least, 0, MAX_COUNT)?;
        factor(field, tier.factor_bp)?;
    }
    let rising = tiers.is_sorted_by(|left, right| left.at_least < right.at_least);
    if rising {
        Ok(())
    } else {
        Err(bad(
            field,
            "thresholds do not rise; order the tiers by at_least",
        ))
    }
}
