//! The built-in table: the numbers of deal rules §3–§5, with the choices of its decisions.

use super::{
    AppComplexityLevels, Applicability, ComplexityLevels, CostCategory, CostItem, CostItems,
    CutOff, DeploymentLevels, Licences, Measure, Model, MultiplierTable, Multipliers, Options,
    PerApplication, Scenarios, SeparationCategory, SeparationTable, SynergyTable, Tier, TsaTable,
    VolumeDiscounts, WorkPhase,
};
use crate::category::AppCategory;
use crate::exact::DOLLAR_CENTS;

const fn dollars(amount: i64) -> i64 {
    amount * DOLLAR_CENTS
}

const fn thousands(amount: i64) -> i64 {
    dollars(amount * 1_000)
}

const fn levels(low_bp: i64, high_bp: i64) -> ComplexityLevels {
    ComplexityLevels {
        low_bp,
        medium_bp: 10_000,
        high_bp,
    }
}

const fn driver(measure: Measure, low_below: i64, high_above: i64) -> CutOff {
    CutOff::Driver {
        measure,
        low_below,
        high_above,
    }
}

const NO_LICENCES: Licences = Licences {
    flat_cents: 0,
    per_user_cents: 0,
    per_site_cents: 0,
    per_endpoint_cents: 0,
};

pub(super) fn model() -> Model {
    Model {
        multipliers: multipliers(),
        cost_items: cost_items(),
        applicability: Applicability {
            wan_sites_above: 1,
            security_users_above: 200,
            dc_servers_above: 10,
            pmo_items_at_least: 2,
        },
        scenarios: Scenarios {
            upside_bp: 8_500,
            base_bp: 10_000,
            stress_bp: 13_000,
        },
        per_application: per_application(),
        tsa: TsaTable {
            per_application_cents: thousands(5),
            per_infrastructure_cents: thousands(10),
            floor_cents: thousands(50),
            ceiling_cents: thousands(500),
            months: 12,
        },
        synergy: SynergyTable {
            combined_at_least_cents: thousands(100),
            larger_low_bp: 1_000,
            larger_high_bp: 3_000,
            achieve_low_bp: 5_000,
            achieve_high_bp: 20_000,
            net_years: 3,
            slow_categories: vec![
                AppCategory::Crm,
                AppCategory::Erp,
                AppCategory::Finance,
                AppCategory::Hcm,
            ],
        },
        separation: separation(),
        volume_discounts: VolumeDiscounts {
            users: tiers(&[500, 1_000, 2_500, 5_000, 10_000]),
            sites: tiers(&[5, 10, 25, 50]),
            machines: tiers(&[20, 50, 100, 200]),
        },
        options: Options::default(),
    }
}

/// Deal rules §3 "Deal multipliers": set (a) of the three conflicting ones, the only one that
/// satisfies both bounds (decisions, first row).
fn multipliers() -> MultiplierTable {
    let row = |[
        identity,
        application,
        infrastructure,
        network,
        cybersecurity,
        organization,
    ]: [i64; 6]| {
        Multipliers {
            identity,
            application,
            infrastructure,
            network,
            cybersecurity,
            organization,
        }
    };
    MultiplierTable {
        acquisition: row([10_000; 6]),
        carveout: row([25_000, 18_000, 20_000, 22_000, 19_000, 16_000]),
        divestiture: row([30_000, 22_000, 25_000, 28_000, 23_000, 20_000]),
    }
}

/// Deal rules §3, the work item table; phases from "Outputs of the model". A cut-off "≤3" is
/// written as "below 4".
fn cost_items() -> CostItems {
    let plain = |category, phase, base, complexity, cut_off, licences| CostItem {
        category,
        phase,
        base_cents: thousands(base),
        per_user_cents: 0,
        per_site_cents: 0,
        per_machine_cents: 0,
        per_application_cents: 0,
        complexity,
        cut_off,
        licences,
    };
    let per_user = |amount| Licences {
        per_user_cents: dollars(amount),
        ..NO_LICENCES
    };
    CostItems {
        identity_separation: CostItem {
            per_user_cents: dollars(15),
            per_site_cents: thousands(5),
            ..plain(
                CostCategory::Identity,
                WorkPhase::Day1,
                75,
                levels(7_000, 15_000),
                driver(Measure::Users, 500, 2_000),
                per_user(108 + 84),
            )
        },
        email_migration: CostItem {
            per_user_cents: dollars(20),
            ..plain(
                CostCategory::Application,
                WorkPhase::Day100,
                50,
                levels(8_000, 14_000),
                driver(Measure::Users, 300, 1_500),
                per_user(432),
            )
        },
        wan_separation: CostItem {
            per_site_cents: thousands(15),
            ..plain(
                CostCategory::Network,
                WorkPhase::Day100,
                100,
                levels(8_000, 16_000),
                driver(Measure::Sites, 4, 10),
                Licences {
                    per_site_cents: dollars(3_600),
                    ..NO_LICENCES
                },
            )
        },
        endpoint_edr: CostItem {
            per_user_cents: dollars(10),
            ..plain(
                CostCategory::Infrastructure,
                WorkPhase::Day100,
                30,
                levels(8_000, 13_000),
                driver(Measure::Endpoints, 200, 1_000),
                Licences {
                    per_endpoint_cents: dollars(60),
                    ..NO_LICENCES
                },
            )
        },
        security_ops: CostItem {
            per_user_cents: dollars(5),
            ..plain(
                CostCategory::Cybersecurity,
                WorkPhase::Day1,
                150,
                levels(7_000, 15_000),
                driver(Measure::Users, 500, 2_000),
                Licences {
                    flat_cents: thousands(180),
                    ..per_user(36)
                },
            )
        },
        erp_standalone: CostItem {
            per_user_cents: dollars(200),
            ..plain(
                CostCategory::Application,
                WorkPhase::Post100,
                500,
                levels(7_000, 20_000),
                CutOff::ErpSystem {
                    low: vec!["netsuite".to_owned(), "quickbooks".to_owned()],
                    high: vec!["sap".to_owned()],
                },
                per_user(2_400),
            )
        },
        dc_hosting_exit: CostItem {
            per_machine_cents: thousands(5),
            ..plain(
                CostCategory::Infrastructure,
                WorkPhase::Post100,
                100,
                levels(8_000, 15_000),
                driver(Measure::Machines, 20, 100),
                Licences {
                    flat_cents: thousands(120),
                    ..NO_LICENCES
                },
            )
        },
        pmo_transition: CostItem {
            per_site_cents: thousands(10),
            ..plain(
                CostCategory::Organization,
                WorkPhase::Day1,
                250,
                levels(8_000, 13_000),
                CutOff::Programme {
                    sites_low_below: 4,
                    sites_high_above: 10,
                    users_low_below: 500,
                    users_high_above: 2_000,
                },
                NO_LICENCES,
            )
        },
    }
}

/// Deal rules §3 "Per-application". Categories that the table does not name count as other.
fn per_application() -> PerApplication {
    let category_bp = |category| match category {
        AppCategory::Erp => 25_000,
        AppCategory::SupplyChain => 22_000,
        AppCategory::Finance | AppCategory::Manufacturing | AppCategory::Custom => 20_000,
        AppCategory::Crm | AppCategory::IndustryVertical => 18_000,
        AppCategory::Hcm | AppCategory::Analytics => 15_000,
        AppCategory::Database => 13_000,
        AppCategory::Infrastructure | AppCategory::Devops => 12_000,
        AppCategory::Collaboration => 8_000,
        AppCategory::Communication => 7_000,
        AppCategory::Productivity => 6_000,
        AppCategory::FileSharing => 5_000,
        AppCategory::Security
        | AppCategory::Other
        | AppCategory::Identity
        | AppCategory::Email
        | AppCategory::CoreBusiness => 10_000,
    };
    PerApplication {
        base_cents: thousands(20),
        complexity: AppComplexityLevels {
            simple_bp: 5_000,
            medium_bp: 10_000,
            complex_bp: 20_000,
            critical_bp: 30_000,
        },
        category_bp: AppCategory::ALL.map(|it| (it, category_bp(it))).into(),
        deployment: DeploymentLevels {
            saas_bp: 3_000,
            cloud_iaas_bp: 10_000,
            hybrid_bp: 12_000,
            on_prem_bp: 15_000,
            custom_bp: 20_000,
            unknown_bp: 10_000,
        },
        per_api_cents: thousands(2),
        sso_cents: thousands(5),
        per_100_gb_cents: thousands(10),
        per_custom_interface_cents: thousands(15),
        complex_users_above: 1_000,
        complex_apis_above: 5,
        simple_users_below: 50,
    }
}

/// Deal rules §5 "Carveout/divestiture", and its user scaling.
fn separation() -> SeparationTable {
    let row = |category, criticality: &str, setup: (i64, i64), tsa_months, months: (i64, i64)| {
        SeparationCategory {
            category,
            criticality: criticality.to_owned(),
            setup_low_cents: thousands(setup.0),
            setup_high_cents: thousands(setup.1),
            tsa_months,
            months_low: months.0,
            months_high: months.1,
        }
    };
    SeparationTable {
        categories: vec![
            row(AppCategory::Erp, "critical", (1_000, 5_000), 18, (12, 18)),
            row(AppCategory::Hcm, "critical", (500, 2_000), 18, (12, 18)),
            row(AppCategory::Finance, "critical", (300, 1_500), 18, (12, 18)),
            row(AppCategory::Crm, "high", (200, 1_000), 12, (6, 12)),
            row(AppCategory::Email, "high", (50, 300), 6, (3, 6)),
        ],
        absent_monthly_cents: thousands(15),
        unknown_cost_monthly_cents: thousands(10),
        shared_yearly_bp: 1_250,
        user_scaling: vec![tier(0, 10_000), tier(500, 8_000), tier(2_000, 6_000)],
    }
}

const fn tier(at_least: i64, factor_bp: i64) -> Tier {
    Tier {
        at_least,
        factor_bp,
    }
}

/// Adds five per cent at each threshold.
fn tiers(thresholds: &[i64]) -> Vec<Tier> {
    let factors = (1..).map(|step| 10_000 - 500 * step);
    let tiers = thresholds.iter().zip(factors);
    tiers
        .map(|(at_least, factor)| tier(*at_least, factor))
        .collect()
}
