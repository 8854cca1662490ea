//! The numbers behind the rules, as data: a JSON file or the built-in table.
//!
//! Money is in integer cents, factors are in basis points (10,000 = 1.0). An incomplete model is
//! refused; there are no partial overrides, so that the digest covers everything that was applied.

use std::collections::BTreeMap;

use rollbook_ledger::error_code::Coded;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::category::AppCategory;
use super::kind::DealType;

mod built_in;
mod validate;

/// Why a model file cannot be used. Never retryable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Coded)]
pub enum ModelError {
    /// The file is not JSON, or not in the shape of a model.
    #[error(
        "RB-MODEL-1: model does not parse: {reason}; start from `rollbook model show --numbers`"
    )]
    Malformed {
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A number is out of range, or a table is incomplete.
    #[error("RB-MODEL-2: model field {field}: {reason}")]
    BadValue {
        /// The path of the field.
        field: String,
        /// What is wrong and what is accepted.
        reason: String,
    },
}

/// When a work item is due, counted from the closing of the deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkPhase {
    /// On the first day.
    Day1,
    /// Within the first hundred days.
    Day100,
    /// After that.
    Post100,
}

/// The categories that have deal multipliers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The variants are the category words of deal rules §3.
pub enum CostCategory {
    Identity,
    Application,
    Infrastructure,
    Network,
    Cybersecurity,
    Organization,
}

/// One deal type's multipliers, in basis points (deal rules §3 "Deal multipliers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the categories.
pub struct Multipliers {
    pub identity: i64,
    pub application: i64,
    pub infrastructure: i64,
    pub network: i64,
    pub cybersecurity: i64,
    pub organization: i64,
}

/// The multipliers of all three types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the deal types.
pub struct MultiplierTable {
    pub acquisition: Multipliers,
    pub carveout: Multipliers,
    pub divestiture: Multipliers,
}

/// Factors for three levels of complexity, in basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the levels.
pub struct ComplexityLevels {
    pub low_bp: i64,
    pub medium_bp: i64,
    pub high_bp: i64,
}

/// A driver that determines complexity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// People.
    Users,
    /// Locations.
    Sites,
    /// User devices.
    Endpoints,
    /// Servers and virtual machines.
    Machines,
}

/// When work counts as low or high complexity; otherwise it is medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum CutOff {
    /// By one driver.
    Driver {
        /// The driver.
        measure: Measure,
        /// Low below this value.
        low_below: i64,
        /// High above this value.
        high_above: i64,
    },
    /// The transition programme: low when both drivers are low, high when either is high.
    Programme {
        /// Low below this number of sites.
        sites_low_below: i64,
        /// High above this number of sites.
        sites_high_above: i64,
        /// Low below this number of users.
        users_low_below: i64,
        /// High above this number of users.
        users_high_above: i64,
    },
    /// By the ERP's vendor or name: whether it contains one of these words; high takes precedence.
    ErpSystem {
        /// Words of small systems.
        low: Vec<String>,
        /// Words of large systems.
        high: Vec<String>,
    },
}

/// Yearly licences in cents; complexity, scenario and deal multipliers do not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the drivers they are counted by.
pub struct Licences {
    pub flat_cents: i64,
    pub per_user_cents: i64,
    pub per_site_cents: i64,
    pub per_endpoint_cents: i64,
}

/// One line of the cost table (deal rules §3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostItem {
    /// The category of the deal multiplier that applies.
    pub category: CostCategory,
    /// When it is due.
    pub phase: WorkPhase,
    /// Fixed part, cents.
    pub base_cents: i64,
    /// For each user, cents.
    pub per_user_cents: i64,
    /// For each site, cents.
    pub per_site_cents: i64,
    /// For each server and virtual machine, cents.
    pub per_machine_cents: i64,
    /// For each target application, cents.
    pub per_application_cents: i64,
    /// Factors by complexity.
    pub complexity: ComplexityLevels,
    /// How complexity is determined.
    pub cut_off: CutOff,
    /// Yearly licences.
    pub licences: Licences,
}

/// The eight cost items (deal rules §3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the work items of the table.
pub struct CostItems {
    pub identity_separation: CostItem,
    pub email_migration: CostItem,
    pub wan_separation: CostItem,
    pub endpoint_edr: CostItem,
    pub security_ops: CostItem,
    pub erp_standalone: CostItem,
    pub dc_hosting_exit: CostItem,
    pub pmo_transition: CostItem,
}

/// Thresholds of applicability (deal rules §3 "Applicability").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applicability {
    /// WAN work applies above this number of sites.
    pub wan_sites_above: i64,
    /// Security work applies above this number of users.
    pub security_users_above: i64,
    /// Data centre work applies above this number of servers.
    pub dc_servers_above: i64,
    /// A programme office applies when at least this many other items do.
    pub pmo_items_at_least: i64,
}

/// Scenario factors in basis points (deal rules §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the scenarios.
pub struct Scenarios {
    pub upside_bp: i64,
    pub base_bp: i64,
    pub stress_bp: i64,
}

/// The per-application table (deal rules §3 "Per-application").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerApplication {
    /// Fixed part, cents.
    pub base_cents: i64,
    /// Factor by complexity.
    pub complexity: AppComplexityLevels,
    /// Factor by category, basis points; every category has one.
    pub category_bp: BTreeMap<AppCategory, i64>,
    /// Factor by deployment.
    pub deployment: DeploymentLevels,
    /// For each API integration, in cents; without multiplier.
    pub per_api_cents: i64,
    /// For single sign-on, in cents; without multiplier.
    pub sso_cents: i64,
    /// For each 100 GB to move, pro rata, in cents; without multiplier.
    pub per_100_gb_cents: i64,
    /// For each custom interface, in cents; without multiplier.
    pub per_custom_interface_cents: i64,
    /// More users than this make an application complex, unless stated.
    pub complex_users_above: i64,
    /// More API integrations than this make an application complex, unless stated.
    pub complex_apis_above: i64,
    /// Fewer users than this make a cloud office tool simple, unless stated.
    pub simple_users_below: i64,
}

/// Factors by an application's complexity, basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the levels.
pub struct AppComplexityLevels {
    pub simple_bp: i64,
    pub medium_bp: i64,
    pub complex_bp: i64,
    pub critical_bp: i64,
}

/// Factors by an application's deployment, basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the deployments.
pub struct DeploymentLevels {
    pub saas_bp: i64,
    pub cloud_iaas_bp: i64,
    pub hybrid_bp: i64,
    pub on_prem_bp: i64,
    pub custom_bp: i64,
    pub unknown_bp: i64,
}

/// Transition services at deal level (deal rules §4 and decisions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TsaTable {
    /// For each shared application, cents a month.
    pub per_application_cents: i64,
    /// For each shared infrastructure item, cents a month.
    pub per_infrastructure_cents: i64,
    /// Minimum in cents a month, once anything is shared.
    pub floor_cents: i64,
    /// Maximum in cents a month.
    pub ceiling_cents: i64,
    /// The term, in months.
    pub months: i64,
}

/// Synergies of an acquisition (deal rules §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynergyTable {
    /// Minimum combined yearly cost of an overlap, in cents; smaller ones are skipped.
    pub combined_at_least_cents: i64,
    /// The share of the larger side that is saved in addition to the whole smaller one, low
    /// estimate, in basis points.
    pub larger_low_bp: i64,
    /// The same, high estimate.
    pub larger_high_bp: i64,
    /// The cost to achieve as a share of the smaller side, low estimate, in basis points.
    pub achieve_low_bp: i64,
    /// The same, high estimate.
    pub achieve_high_bp: i64,
    /// The years over which the net is counted.
    pub net_years: i64,
    /// Categories that take 12–18 months, with medium confidence.
    pub slow_categories: Vec<AppCategory>,
}

/// One category that a separated company must have (deal rules §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparationCategory {
    /// The category of target applications that it looks for.
    pub category: AppCategory,
    /// `critical` or `high`.
    pub criticality: String,
    /// Setup, low estimate, in cents.
    pub setup_low_cents: i64,
    /// Setup, high estimate, in cents.
    pub setup_high_cents: i64,
    /// Months of transition services until the setup is complete.
    pub tsa_months: i64,
    /// Shortest duration in months.
    pub months_low: i64,
    /// Longest duration in months.
    pub months_high: i64,
}

/// Separation of a carveout or divestiture (deal rules §5 and decisions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparationTable {
    /// The categories.
    pub categories: Vec<SeparationCategory>,
    /// Transition services for a category that the target lacks, in cents a month.
    pub absent_monthly_cents: i64,
    /// Transition services for a shared category whose yearly cost is unknown, in cents a month.
    pub unknown_cost_monthly_cents: i64,
    /// Yearly transition services for a shared category, as a share of its yearly cost, in basis
    /// points.
    pub shared_yearly_bp: i64,
    /// Factors on setup by number of users, used with the option `separation_user_scaling`.
    pub user_scaling: Vec<Tier>,
}

/// A factor that applies from a quantity upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The smallest quantity it applies to.
    pub at_least: i64,
    /// The factor, basis points.
    pub factor_bp: i64,
}

/// Factors on the variable part (deal rules §3 "Volume discounts").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the drivers.
pub struct VolumeDiscounts {
    pub users: Vec<Tier>,
    pub sites: Vec<Tier>,
    pub machines: Vec<Tier>,
}

/// Rules that are off unless enabled (deal rules, decisions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Apply the volume discounts to the variable part of one-time cost.
    pub volume_discounts: bool,
    /// Scale separation setup by users.
    pub separation_user_scaling: bool,
}

/// Every number that the rules use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Deal multipliers. They apply with deal-type awareness on; with it off the multiplier is
    /// always 1.0.
    pub multipliers: MultiplierTable,
    /// Cost items.
    pub cost_items: CostItems,
    /// When cost items apply.
    pub applicability: Applicability,
    /// Scenario factors.
    pub scenarios: Scenarios,
    /// Per-application table.
    pub per_application: PerApplication,
    /// Transition services.
    pub tsa: TsaTable,
    /// Synergies.
    pub synergy: SynergyTable,
    /// Separation.
    pub separation: SeparationTable,
    /// Volume discounts, used when the option is on.
    pub volume_discounts: VolumeDiscounts,
    /// Optional rules.
    pub options: Options,
}

impl Model {
    /// Parses and checks a model file.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] with line and column, or [`ModelError::BadValue`] with the field.
    pub fn from_json(json: &[u8]) -> Result<Self, ModelError> {
        let model: Self = serde_json::from_slice(json).map_err(|error| ModelError::Malformed {
            reason: error.to_string(),
        })?;
        validate::check(&model)?;
        Ok(model)
    }

    /// The table of deal rules §3–§5, with both options off.
    #[must_use]
    pub fn built_in() -> Self {
        built_in::model()
    }

    /// SHA-256 of the canonical JSON (RFC 8785), in lower-case hex: two digests are equal exactly
    /// when all numbers are.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] if the model has no canonical JSON; a checked model always has
    /// one.
    pub fn digest(&self) -> Result<String, ModelError> {
        let canonical =
            serde_json_canonicalizer::to_vec(self).map_err(|error| ModelError::Malformed {
                reason: error.to_string(),
            })?;
        Ok(hex::encode(Sha256::digest(&canonical)))
    }

    /// The multiplier of a deal type for a category, in basis points.
    #[must_use]
    pub fn multiplier_bp(&self, deal_type: DealType, category: CostCategory) -> i64 {
        let row = match deal_type {
            DealType::Acquisition => &self.multipliers.acquisition,
            DealType::Carveout => &self.multipliers.carveout,
            DealType::Divestiture => &self.multipliers.divestiture,
        };
        match category {
            CostCategory::Identity => row.identity,
            CostCategory::Application => row.application,
            CostCategory::Infrastructure => row.infrastructure,
            CostCategory::Network => row.network,
            CostCategory::Cybersecurity => row.cybersecurity,
            CostCategory::Organization => row.organization,
        }
    }
}

#[cfg(test)]
mod tests;
