//! The eight cost items of integration or separation (deal rules §3).

use super::drivers::Drivers;
use super::error::DealError;
use super::exact::{Exact, HUNDRED_CENTS, ONE_BP, THOUSAND_CENTS};
use super::formula::Formula;
use super::kind::DealType;
use super::model::{
    Applicability, CostCategory, CostItem, CostItems, CutOff, Measure, Model, Tier, WorkPhase,
};
use super::word::mentions;

/// The one-time cost of a work item (deal rules §3).
pub(super) const ONE_TIME: Formula = Formula {
    name: "one-time cost of a work item",
    formula: "(base + per_user × users + per_site × sites + per_machine × (servers + vms) + per_application × applications) × complexity × deal multiplier of its category × scenario; with the option volume_discounts, users, sites and machines also × the factor of the highest tier that their number reaches",
    numbers: &[
        "cost_items",
        "multipliers",
        "applicability",
        "scenarios",
        "volume_discounts",
        "options",
    ],
    deal_types: &DealType::ALL,
    rounded_to_cents: THOUSAND_CENTS,
};

/// The licences of a work item, which have no factors.
pub(super) const LICENCES: Formula = Formula {
    name: "licences of a work item, a year",
    formula: "flat + per_user × users + per_site × sites + per_endpoint × endpoints",
    numbers: &["cost_items", "applicability"],
    deal_types: &DealType::ALL,
    rounded_to_cents: HUNDRED_CENTS,
};

/// Which cost item a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the work items of the table.
pub enum WorkItemKind {
    IdentitySeparation,
    EmailMigration,
    WanSeparation,
    EndpointEdr,
    SecurityOps,
    ErpStandalone,
    DcHostingExit,
    PmoTransition,
}

impl WorkItemKind {
    /// Every item, in the order of the table.
    pub(super) const ALL: [Self; 8] = [
        Self::IdentitySeparation,
        Self::EmailMigration,
        Self::WanSeparation,
        Self::EndpointEdr,
        Self::SecurityOps,
        Self::ErpStandalone,
        Self::DcHostingExit,
        Self::PmoTransition,
    ];

    /// When it applies, in words, with the numbers of a model.
    pub(super) fn applies_when(self, limits: &Applicability) -> String {
        match self {
            Self::IdentitySeparation => "parent_identity, or there are users".to_owned(),
            Self::EmailMigration => "there are users".to_owned(),
            Self::WanSeparation => format!("parent_wan, or sites > {}", limits.wan_sites_above),
            Self::EndpointEdr => "there are endpoints or users".to_owned(),
            Self::SecurityOps => {
                format!("parent_soc, or users > {}", limits.security_users_above)
            }
            Self::ErpStandalone => "parent_erp".to_owned(),
            Self::DcHostingExit => {
                format!("parent_dc, or servers > {}", limits.dc_servers_above)
            }
            Self::PmoTransition => {
                format!(
                    "at least {} of the other items apply",
                    limits.pmo_items_at_least
                )
            }
        }
    }

    /// Its line of the cost table.
    pub(super) fn item(self, items: &CostItems) -> &CostItem {
        match self {
            Self::IdentitySeparation => &items.identity_separation,
            Self::EmailMigration => &items.email_migration,
            Self::WanSeparation => &items.wan_separation,
            Self::EndpointEdr => &items.endpoint_edr,
            Self::SecurityOps => &items.security_ops,
            Self::ErpStandalone => &items.erp_standalone,
            Self::DcHostingExit => &items.dc_hosting_exit,
            Self::PmoTransition => &items.pmo_transition,
        }
    }

    /// Its name in the model file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdentitySeparation => "identity_separation",
            Self::EmailMigration => "email_migration",
            Self::WanSeparation => "wan_separation",
            Self::EndpointEdr => "endpoint_edr",
            Self::SecurityOps => "security_ops",
            Self::ErpStandalone => "erp_standalone",
            Self::DcHostingExit => "dc_hosting_exit",
            Self::PmoTransition => "pmo_transition",
        }
    }
}

/// One applicable cost item; each figure is rounded by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostLine {
    /// Which item.
    pub kind: WorkItemKind,
    /// When it is due.
    pub phase: WorkPhase,
    /// One-time cost in the upside scenario, cents.
    pub upside_cents: i64,
    /// One-time cost in the base scenario, cents.
    pub base_cents: i64,
    /// One-time cost in the stress scenario, cents.
    pub stress_cents: i64,
    /// Licences per year, cents.
    pub licences_cents: i64,
}

/// The applicable items, in the order of the table (deal rules §3 "Applicability").
pub(super) fn lines(
    drivers: &Drivers<'_>,
    model: &Model,
    multiplier: impl Fn(CostCategory) -> i64,
) -> Result<Vec<CostLine>, DealError> {
    let limits = &model.applicability;
    let items = &model.cost_items;
    let any_users = drivers.users > 0;
    let table = [
        (
            WorkItemKind::IdentitySeparation,
            &items.identity_separation,
            drivers.parent_identity || any_users,
        ),
        (
            WorkItemKind::EmailMigration,
            &items.email_migration,
            any_users,
        ),
        (
            WorkItemKind::WanSeparation,
            &items.wan_separation,
            drivers.parent_wan || drivers.sites > limits.wan_sites_above,
        ),
        (
            WorkItemKind::EndpointEdr,
            &items.endpoint_edr,
            drivers.endpoints > 0 || any_users,
        ),
        (
            WorkItemKind::SecurityOps,
            &items.security_ops,
            drivers.parent_soc || drivers.users > limits.security_users_above,
        ),
        // `parent_erp` implies that an ERP is present.
        (
            WorkItemKind::ErpStandalone,
            &items.erp_standalone,
            drivers.parent_erp,
        ),
        (
            WorkItemKind::DcHostingExit,
            &items.dc_hosting_exit,
            drivers.parent_dc || drivers.servers > limits.dc_servers_above,
        ),
    ];
    let mut lines = Vec::with_capacity(table.len() + 1);
    for (kind, item, applies) in table {
        if applies {
            lines.push(line(kind, item, drivers, model, &multiplier)?);
        }
    }
    if super::exact::count(lines.len()) >= limits.pmo_items_at_least {
        let item = &items.pmo_transition;
        lines.push(line(
            WorkItemKind::PmoTransition,
            item,
            drivers,
            model,
            &multiplier,
        )?);
    }
    Ok(lines)
}

/// [`ONE_TIME`] in each scenario and [`LICENCES`], computed exactly and rounded once, half up.
fn line(
    kind: WorkItemKind,
    item: &CostItem,
    drivers: &Drivers<'_>,
    model: &Model,
    multiplier: impl Fn(CostCategory) -> i64,
) -> Result<CostLine, DealError> {
    let machines = drivers.machines()?;
    let discount = |tiers: &[Tier], quantity| {
        if model.options.volume_discounts {
            tier_factor_bp(tiers, quantity)
        } else {
            ONE_BP
        }
    };
    let discounts = &model.volume_discounts;
    let volume = Exact::cents(item.base_cents, "one-time cost")
        .plus_scaled(
            drivers.users,
            item.per_user_cents,
            discount(&discounts.users, drivers.users),
        )
        .plus_scaled(
            drivers.sites,
            item.per_site_cents,
            discount(&discounts.sites, drivers.sites),
        )
        .plus_scaled(
            machines,
            item.per_machine_cents,
            discount(&discounts.machines, machines),
        )
        .plus(drivers.applications, item.per_application_cents)
        .times_bp(complexity_bp(item, drivers, machines))
        .times_bp(multiplier(item.category));
    let scenario = |factor_bp| volume.times_bp(factor_bp).round(ONE_TIME.rounded_to_cents);
    let licences = Exact::cents(item.licences.flat_cents, "licences")
        .plus(drivers.users, item.licences.per_user_cents)
        .plus(drivers.sites, item.licences.per_site_cents)
        .plus(drivers.endpoints, item.licences.per_endpoint_cents);
    Ok(CostLine {
        kind,
        phase: item.phase,
        upside_cents: scenario(model.scenarios.upside_bp)?,
        base_cents: scenario(model.scenarios.base_bp)?,
        stress_cents: scenario(model.scenarios.stress_bp)?,
        licences_cents: licences.round(LICENCES.rounded_to_cents)?,
    })
}

/// The complexity factor by the item's cut-offs (deal rules §3, column "Cut-offs").
fn complexity_bp(item: &CostItem, drivers: &Drivers<'_>, machines: i64) -> i64 {
    let (low, high) = match &item.cut_off {
        CutOff::Driver {
            measure,
            low_below,
            high_above,
        } => {
            let value = match measure {
                Measure::Users => drivers.users,
                Measure::Sites => drivers.sites,
                Measure::Endpoints => drivers.endpoints,
                Measure::Machines => machines,
            };
            (value < *low_below, value > *high_above)
        }
        CutOff::Programme {
            sites_low_below,
            sites_high_above,
            users_low_below,
            users_high_above,
        } => (
            drivers.sites < *sites_low_below && drivers.users < *users_low_below,
            drivers.sites > *sites_high_above || drivers.users > *users_high_above,
        ),
        CutOff::ErpSystem { low, high } => {
            let system = drivers.erp_system.unwrap_or_default();
            let has = |words: &[String]| mentions(system, words);
            (has(low), has(high))
        }
    };
    match (low, high) {
        (_, true) => item.complexity.high_bp,
        (true, false) => item.complexity.low_bp,
        (false, false) => item.complexity.medium_bp,
    }
}

/// The factor of the highest tier reached; 1.0 below the first tier.
pub(super) fn tier_factor_bp(tiers: &[Tier], quantity: i64) -> i64 {
    let reached = tiers.iter().rev().find(|tier| quantity >= tier.at_least);
    reached.map_or(ONE_BP, |tier| tier.factor_bp)
}
